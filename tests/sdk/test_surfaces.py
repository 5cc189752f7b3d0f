"""Every surface that the SDK has a method for, against the demo upstream."""

import asyncio
import io
import json

import openai
import pytest
from pydantic import BaseModel

ASK = [{"role": "user", "content": "Tell me about mills"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather at a place",
        "parameters": {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
    },
}


class Mill(BaseModel):
    name: str
    stones: int


def text_of(chunks):
    return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)


def test_chat(demo_client):
    answer = demo_client.chat.completions.create(model="demo", messages=ASK)
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_chat_stream(demo_client):
    with demo_client.chat.completions.create(model="demo", messages=ASK, stream=True) as stream:
        chunks = list(stream)
    assert text_of(chunks)
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert all(c.choices for c in chunks), "a usage chunk that nobody asked for"


def test_chat_stream_with_usage(demo_client):
    options = {"include_usage": True}
    chunks = list(demo_client.chat.completions.create(model="demo", messages=ASK, stream=True, stream_options=options))
    assert chunks[-1].choices == []
    assert chunks[-1].usage.total_tokens > 0


def test_chat_stream_of_several_choices(demo_client):
    chunks = list(demo_client.chat.completions.create(model="demo", messages=ASK, stream=True, n=2))
    finished = {choice.index for c in chunks for choice in c.choices if choice.finish_reason}
    assert finished == {0, 1}


def test_async_streams_side_by_side(demo):
    async def one(client):
        stream = await client.chat.completions.create(model="demo", messages=ASK, stream=True)
        return text_of([chunk async for chunk in stream])

    async def several():
        async with openai.AsyncOpenAI(api_key="none", base_url=demo.base_url, max_retries=0) as client:
            return await asyncio.gather(*(one(client) for _ in range(20)))

    texts = asyncio.run(several())
    assert all(texts)


def test_async_whole(demo):
    async def whole():
        async with openai.AsyncOpenAI(api_key="none", base_url=demo.base_url, max_retries=0) as client:
            return await client.chat.completions.create(model="demo", messages=ASK)

    assert asyncio.run(whole()).choices[0].message.content


def test_tools(demo_client):
    answer = demo_client.chat.completions.create(model="demo", messages=ASK, tools=[WEATHER], tool_choice="required")
    call = answer.choices[0].message.tool_calls[0]
    assert answer.choices[0].finish_reason == "tool_calls"
    assert "place" in json.loads(call.function.arguments)
    messages = [*ASK, answer.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "windy"}]
    assert demo_client.chat.completions.create(model="demo", messages=messages, tools=[WEATHER]).choices[0].message.content


def test_parse(demo_client):
    answer = demo_client.chat.completions.parse(model="demo", messages=ASK, response_format=Mill)
    assert isinstance(answer.choices[0].message.parsed, Mill)


def test_responses(demo_client):
    made = demo_client.responses.create(model="demo", input="Tell me about mills")
    assert made.status == "completed"
    assert made.output_text
    assert demo_client.responses.retrieve(made.id).output_text == made.output_text
    assert demo_client.responses.input_items.list(made.id).data


def test_responses_stream(demo_client):
    with demo_client.responses.create(model="demo", input="Tell me about mills", stream=True) as stream:
        events = list(stream)
    assert events[0].type == "response.created"
    assert events[-1].type == "response.completed"
    assert [e.sequence_number for e in events] == list(range(len(events)))
    text = "".join(e.delta for e in events if e.type == "response.output_text.delta")
    assert text == events[-1].response.output_text


def test_responses_cancel(demo_client):
    made = demo_client.responses.create(model="demo", input="Tell me about mills", background=True)
    assert demo_client.responses.cancel(made.id).id == made.id


def test_completions(demo_client):
    assert demo_client.completions.create(model="demo", prompt="A mill").choices[0].text
    chunks = list(demo_client.completions.create(model="demo", prompt="A mill", stream=True))
    assert "".join(c.choices[0].text for c in chunks if c.choices)


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_embeddings(demo_client, encoding):
    answer = demo_client.embeddings.create(model="demo", input=["a", "b"], encoding_format=encoding)
    assert [item.index for item in answer.data] == [0, 1]
    assert answer.data[0].embedding


def test_moderations(demo_client):
    assert demo_client.moderations.create(model="demo", input="flour").results[0].flagged is False


def test_models(demo_client):
    assert "demo" in [model.id for model in demo_client.models.list()]
    assert demo_client.models.retrieve("demo").id == "demo"
    with pytest.raises(openai.NotFoundError):
        demo_client.models.retrieve("no-such-model")


def test_speech(demo_client):
    with demo_client.audio.speech.with_streaming_response.create(model="demo", voice="alloy", input="hi") as answer:
        assert b"".join(answer.iter_bytes())


def test_transcription(demo_client):
    sound = ("mill.wav", io.BytesIO(b"RIFF" + bytes(300_000)), "audio/wav")
    assert demo_client.audio.transcriptions.create(model="demo", file=sound).text


def test_images(demo_client):
    answer = demo_client.images.generate(model="demo", prompt="a mill", response_format="b64_json")
    assert answer.data[0].b64_json


def test_files_and_batches(demo_client):
    lines = ("lines.jsonl", b'{"custom_id":"1"}\n', "application/jsonl")
    made = demo_client.files.create(file=lines, purpose="batch")
    assert made.id
    assert list(demo_client.files.list())
    batch = demo_client.batches.create(
        input_file_id=made.id, endpoint="/v1/chat/completions", completion_window="24h"
    )
    assert demo_client.batches.retrieve(batch.id).id == batch.id


def test_raw_response_has_a_request_id(demo_client):
    answers = [
        demo_client.chat.completions.with_raw_response.create(model="demo", messages=ASK) for _ in range(2)
    ]
    ids = {answer.headers["x-request-id"] for answer in answers}
    assert len(ids) == 2
    assert answers[0].parse().choices[0].message.content


def test_streaming_response(demo_client):
    ask = {"model": "demo", "messages": ASK, "stream": True}
    with demo_client.chat.completions.with_streaming_response.create(**ask) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert [line for line in answer.iter_lines() if line][-1] == "data: [DONE]"


def test_metrics_count_what_was_done(demo, demo_client):
    demo_client.chat.completions.create(model="demo", messages=ASK)
    lines = demo.metrics().splitlines()
    assert any(line.startswith("millstream_") and not line.endswith(" 0") for line in lines)
