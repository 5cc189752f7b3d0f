"""The OpenAI SDK for Python against every kind of upstream: chat, Responses, embeddings."""

import json

import openai
import pytest
from cases import EMBEDS, PERSON, PNG_BASE64, WEATHER, said
from conftest import KEY
from pydantic import BaseModel

TOOL = {"type": "function", "function": {"name": "get_weather", "description": "Weather", "parameters": WEATHER}}
RESPONSES_TOOL = {"type": "function", "name": "get_weather", "description": "Weather", "parameters": WEATHER, "strict": False}


@pytest.fixture
def client(gateway):
    with openai.OpenAI(api_key=KEY, base_url=gateway.base_url, max_retries=0, timeout=30) as client:
        yield client


def streamed(client, **request):
    """The final message, as the SDK puts it together."""
    with client.chat.completions.stream(**request) as stream:
        for _ in stream:
            pass
        return stream.get_final_completion()


def ask(client, stream, **request):
    if stream:
        return streamed(client, stream_options={"include_usage": True}, **request)
    return client.chat.completions.create(**request)


@pytest.mark.parametrize("stream", [False, True])
def test_text(client, kind, stream):
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Grüß Gott 👋"}]
    answer = ask(client, stream, model=kind, messages=messages, max_tokens=100, temperature=0.5)
    choice = answer.choices[0]
    assert choice.message.content == said(kind, "Grüß Gott 👋")
    assert choice.message.role == "assistant" and choice.finish_reason == "stop"
    assert answer.usage.prompt_tokens == 11 and answer.usage.completion_tokens == 7


def test_the_system_is_heard(client, kind, upstreams):
    client.chat.completions.create(
        model=kind, messages=[{"role": "developer", "content": "Rule one."}, {"role": "user", "content": "x"}]
    )
    name, view = upstreams.views[-1]
    assert name == kind and view.system == ["Rule one."]


@pytest.mark.parametrize("stream", [False, True])
def test_tools(client, kind, stream):
    messages = [{"role": "user", "content": "Weather in both?"}]
    answer = ask(client, stream, model=kind, messages=messages, tools=[TOOL])
    message = answer.choices[0].message
    assert answer.choices[0].finish_reason == "tool_calls"
    calls = message.tool_calls
    assert [call.function.name for call in calls] == ["get_weather"] * 2
    assert [json.loads(call.function.arguments) for call in calls] == [{"city": "Paris"}, {"city": "Rome"}]
    assert len({call.id for call in calls}) == 2
    messages.append(message.to_dict())
    for call, result in zip(calls, ["21 degrees", "25 degrees"]):
        messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
    answer = ask(client, stream, model=kind, messages=messages, tools=[TOOL])
    assert answer.choices[0].message.content == "Results: 21 degrees | 25 degrees"


@pytest.mark.parametrize("stream", [False, True])
def test_vision(client, kind, stream):
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG_BASE64}"}}
    messages = [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, picture]}]
    answer = ask(client, stream, model=kind, messages=messages)
    assert answer.choices[0].message.content == "Pictures: image/png"


@pytest.mark.parametrize("stream", [False, True])
def test_structured_output(client, kind, stream):
    schema = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON, "strict": True}}
    answer = ask(
        client, stream, model=kind, messages=[{"role": "user", "content": "Who?"}], response_format=schema
    )
    assert json.loads(answer.choices[0].message.content) == {"name": "Ada", "age": 36}
    assert answer.choices[0].finish_reason == "stop" and not answer.choices[0].message.tool_calls


def test_parse(client, kind):
    class Person(BaseModel):
        name: str
        age: int

    answer = client.chat.completions.parse(
        model=kind, messages=[{"role": "user", "content": "Who?"}], response_format=Person
    )
    assert answer.choices[0].message.parsed == Person(name="Ada", age=36)


@pytest.mark.parametrize("stream", [False, True])
def test_reasoning(client, kind, stream):
    messages = [{"role": "user", "content": "Think."}]
    answer = ask(client, stream, model=kind, messages=messages, reasoning_effort="medium")
    message = answer.choices[0].message
    assert message.content == said(kind, "Think.")
    assert message.reasoning_content == "Let me think about it."


def test_a_thought_comes_back_to_whom_it_belongs(client, kind, upstreams):
    messages = [{"role": "user", "content": "Think."}]
    answer = client.chat.completions.create(
        model=kind, messages=messages, reasoning_effort="medium", tools=[TOOL]
    )
    message = answer.choices[0].message
    messages.append(message.to_dict())
    messages.append({"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "x"})
    client.chat.completions.create(model=kind, messages=messages, reasoning_effort="medium", tools=[TOOL])
    signed = {"anthropic", "vertexclaude", "bedrock", "gemini", "vertex", "responses"}
    assert bool(upstreams.views[-1][1].signatures) == (kind in signed)


@pytest.mark.parametrize("stream", [False, True])
def test_responses(client, kind, stream):
    request = {"model": kind, "input": "Hello", "instructions": "Be brief."}
    if stream:
        with client.responses.stream(**request) as events:
            numbers = [event.sequence_number for event in events]
            assert numbers == list(range(len(numbers)))
            answer = events.get_final_response()
    else:
        answer = client.responses.create(**request)
    assert answer.output_text == said(kind, "Hello")
    assert answer.status == "completed" and answer.usage.input_tokens == 11 and answer.usage.output_tokens == 7


@pytest.mark.parametrize("stream", [False, True])
def test_responses_tools(client, kind, stream):
    conversation = [{"role": "user", "content": "Weather in both?"}]

    def ask():
        request = {"model": kind, "input": conversation, "tools": [RESPONSES_TOOL]}
        if not stream:
            return client.responses.create(**request)
        with client.responses.stream(**request) as events:
            return events.until_done().get_final_response()

    answer = ask()
    calls = [item for item in answer.output if item.type == "function_call"]
    assert [json.loads(call.arguments) for call in calls] == [{"city": "Paris"}, {"city": "Rome"}]
    conversation += [item.to_dict() for item in answer.output]
    conversation += [
        {"type": "function_call_output", "call_id": call.call_id, "output": result}
        for call, result in zip(calls, ["21 degrees", "25 degrees"])
    ]
    assert ask().output_text == "Results: 21 degrees | 25 degrees"


def test_responses_structured_output(client, kind):
    class Person(BaseModel):
        name: str
        age: int

    answer = client.responses.parse(model=kind, input="Who?", text_format=Person)
    assert answer.output_parsed == Person(name="Ada", age=36)


def test_completions(client, kind):
    if kind in ("openai", "azure"):
        pytest.skip("passed through to an upstream that the script has not")
    answer = client.completions.create(model=kind, prompt="Hello", max_tokens=10)
    assert answer.choices[0].text == said(kind, "Hello") and answer.choices[0].finish_reason == "stop"
    pieces = client.completions.create(model=kind, prompt="Hello", max_tokens=10, stream=True)
    assert "".join(piece.choices[0].text for piece in pieces if piece.choices) == said(kind, "Hello")


def test_embeddings(client, kind):
    if kind not in EMBEDS:
        with pytest.raises(openai.BadRequestError):
            client.embeddings.create(model=kind, input="x")
        return
    answer = client.embeddings.create(model=kind, input=["one", "two"])
    assert [item.embedding for item in answer.data] == [[0.25, -0.5, 0.125]] * 2


ERRORS = {
    400: openai.BadRequestError,
    401: openai.AuthenticationError,
    403: openai.PermissionDeniedError,
    404: openai.NotFoundError,
    429: openai.RateLimitError,
    500: openai.InternalServerError,
    503: openai.InternalServerError,
}


@pytest.mark.parametrize("status", ERRORS)
@pytest.mark.parametrize("stream", [False, True])
def test_errors(client, kind, status, stream):
    with pytest.raises(ERRORS[status]) as caught:
        client.chat.completions.create(
            model=f"{kind}-fail-{status}", messages=[{"role": "user", "content": "x"}], stream=stream
        )
    assert caught.value.message and caught.value.body["message"] == f"the scripted provider fails with {status}"


def test_a_cut_stream_is_an_error(client, kind):
    stream = client.chat.completions.create(
        model=f"{kind}-cut-1", messages=[{"role": "user", "content": "Hello, and on and on"}], stream=True
    )
    with pytest.raises(openai.APIError):
        for _ in stream:
            pass


def test_what_a_target_cannot_honour_is_refused_by_name_or_dropped(client, gateway):
    request = {"messages": [{"role": "user", "content": "x"}], "logit_bias": {"1": 5}}
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="anthropic", **request)
    assert caught.value.param == "logit_bias" and "logit_bias" in caught.value.message
    answer = client.chat.completions.with_raw_response.create(model="lossy/anthropic", **request)
    assert answer.headers["x-millstream-dropped"] == "logit_bias"
    assert answer.parse().choices[0].message.content == said("anthropic", "x")
