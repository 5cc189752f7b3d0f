"""google-genai, Google's SDK for Python, before every kind of upstream."""

import json

import pytest
from cases import EMBEDS, PERSON, PNG, WEATHER, said
from conftest import KEY, KINDS
from google import genai
from google.genai import errors, types
from pydantic import BaseModel

TOOL = types.Tool(
    function_declarations=[{"name": "get_weather", "description": "Weather", "parameters_json_schema": WEATHER}]
)
THINKING = types.ThinkingConfig(include_thoughts=True, thinking_budget=2048)
SIGNED = {"anthropic", "vertexclaude", "bedrock", "gemini", "vertex", "responses"}
STREAMS = pytest.mark.parametrize("stream", [False, True])


def get_weather(city: str) -> str:
    """Weather.

    Args:
        city: Where
    """
    return f"sun in {city}"


@pytest.fixture
def client(gateway):
    options = types.HttpOptions(base_url=gateway.url, timeout=30_000)
    with genai.Client(api_key=KEY, http_options=options) as client:
        yield client


def ask(client, stream, **request):
    """The parts of the answer, pieces of a text joined, and the last response."""
    if stream:
        responses = list(client.models.generate_content_stream(**request))
    else:
        responses = [client.models.generate_content(**request)]
    parts = []
    for part in (part for response in responses for part in response.candidates[0].content.parts or []):
        last = parts[-1] if parts else None
        if last and last.text is not None and part.text is not None and bool(last.thought) == bool(part.thought):
            last.text += part.text
            last.thought_signature = part.thought_signature or last.thought_signature
        else:
            parts.append(part)
    return [part for part in parts if part.text != "" or part.thought_signature], responses[-1]


def text(parts):
    return "".join(part.text for part in parts if part.text and not part.thought)


def outcome(call, value):
    return types.Part(
        function_response=types.FunctionResponse(id=call.id, name=call.name, response={"result": value})
    )


@STREAMS
def test_text(client, kind, stream, upstreams):
    config = types.GenerateContentConfig(system_instruction="Be brief.", temperature=0.5, max_output_tokens=100)
    parts, last = ask(client, stream, model=kind, contents="Grüß Gott 👋", config=config)
    assert text(parts) == said(kind, "Grüß Gott 👋") and len(parts) == 1
    candidate = last.candidates[0]
    assert candidate.finish_reason == types.FinishReason.STOP and candidate.content.role == "model"
    usage = last.usage_metadata
    assert usage.prompt_token_count == 11 and usage.total_token_count == 18
    assert (usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0) == 7
    assert last.response_id and last.model_version
    name, view = upstreams.views[-1]
    assert name == kind and view.system == ["Be brief."]


def test_the_pieces_of_a_stream(client, kind):
    pieces = list(client.models.generate_content_stream(model=kind, contents="Hello"))
    assert len([piece for piece in pieces if piece.text]) > 2
    assert "".join(piece.text or "" for piece in pieces) == said(kind, "Hello")
    finishes = [piece.candidates[0].finish_reason for piece in pieces if piece.candidates[0].finish_reason]
    assert finishes == [types.FinishReason.STOP]


@STREAMS
def test_tools(client, kind, stream):
    config = types.GenerateContentConfig(tools=[TOOL])
    contents = [types.UserContent("Weather in both?")]
    parts, _ = ask(client, stream, model=kind, contents=contents, config=config)
    calls = [part.function_call for part in parts if part.function_call]
    assert [call.name for call in calls] == ["get_weather"] * 2
    assert [call.args for call in calls] == [{"city": "Paris"}, {"city": "Rome"}]
    contents.append(types.ModelContent(parts))
    contents.append(types.UserContent([outcome(call, value) for call, value in zip(calls, ["21", "25"])]))
    parts, _ = ask(client, stream, model=kind, contents=contents, config=config)
    results = text(parts).removeprefix("Results: ").split(" | ")
    assert [result if result.isdigit() else json.loads(result)["result"] for result in results] == ["21", "25"]


@STREAMS
def test_functions_that_the_sdk_calls_by_itself(client, kind, stream, upstreams):
    """The loop of a chat, and a second question in it, with the history as the SDK keeps it."""
    chat = client.chats.create(model=kind, config=types.GenerateContentConfig(tools=[get_weather]))
    for question in ["Weather in both?", "Again, in both."]:
        if stream:
            answer = "".join(piece.text or "" for piece in chat.send_message_stream(question))
        else:
            answer = chat.send_message(question).text
        assert answer.startswith("Results: ")
        assert answer.index("sun in Paris") < answer.index("sun in Rome")
    view = upstreams.views[-1][1]
    assert view.texts == ["Weather in both?", "Again, in both."] and len(view.results.ever) == 4


@STREAMS
def test_a_function_that_must_be_called(client, kind, stream, upstreams):
    calling = types.FunctionCallingConfig(mode="ANY", allowed_function_names=["get_weather"])
    config = types.GenerateContentConfig(
        tools=[TOOL], tool_config=types.ToolConfig(function_calling_config=calling)
    )
    try:
        parts, _ = ask(client, stream, model=kind, contents="x", config=config)
    except errors.ClientError as refusal:
        assert refusal.code == 400 and kind in ("cohere", "ollama")
        assert "tool_choice" in refusal.message
        return
    assert parts[0].function_call.args == {"city": "Paris"}
    assert kind == "cohere" or upstreams.views[-1][1].forced == "get_weather"


@STREAMS
def test_vision(client, kind, stream):
    contents = [types.Part.from_bytes(data=PNG, mime_type="image/png"), "What is it?"]
    parts, _ = ask(client, stream, model=kind, contents=contents)
    assert text(parts) == "Pictures: image/png"


class Person(BaseModel):
    name: str
    age: int


@STREAMS
@pytest.mark.parametrize("form", ["class", "json_schema"])
def test_structured_output(client, kind, stream, form):
    schema = {"response_schema": Person} if form == "class" else {"response_json_schema": PERSON}
    config = types.GenerateContentConfig(response_mime_type="application/json", **schema)
    parts, last = ask(client, stream, model=kind, contents="Who?", config=config)
    assert json.loads(text(parts)) == {"name": "Ada", "age": 36}
    assert last.candidates[0].finish_reason == types.FinishReason.STOP
    if form == "class" and not stream:
        assert last.parsed == Person(name="Ada", age=36)


@STREAMS
def test_thinking(client, kind, stream):
    config = types.GenerateContentConfig(thinking_config=THINKING, max_output_tokens=4096)
    parts, _ = ask(client, stream, model=kind, contents="Think.", config=config)
    assert [bool(part.thought) for part in parts] == [True, False]
    assert parts[0].text == "Let me think about it." and parts[1].text == said(kind, "Think.")


@STREAMS
def test_a_thought_comes_back_to_whom_it_belongs(client, kind, stream, upstreams):
    config = types.GenerateContentConfig(thinking_config=THINKING, tools=[TOOL], max_output_tokens=4096)
    contents = [types.UserContent("Think.")]
    parts, _ = ask(client, stream, model=kind, contents=contents, config=config)
    call = next(part.function_call for part in parts if part.function_call)
    contents += [types.ModelContent(parts), types.UserContent([outcome(call, "x")])]
    parts, _ = ask(client, stream, model=kind, contents=contents, config=config)
    assert text(parts).startswith("Results: ")
    assert bool(upstreams.views[-1][1].signatures) == (kind in SIGNED)


def test_embeddings(client, kind):
    if kind not in EMBEDS:
        with pytest.raises(errors.ClientError) as caught:
            client.models.embed_content(model=kind, contents="one")
        assert caught.value.code == 400 and caught.value.status == "INVALID_ARGUMENT"
        return
    assert client.models.embed_content(model=kind, contents="one").embeddings[0].values == [0.25, -0.5, 0.125]
    contents = [types.UserContent("one"), types.UserContent("two")]
    answer = client.models.embed_content(model=kind, contents=contents)
    assert [item.values for item in answer.embeddings] == [[0.25, -0.5, 0.125]] * 2


def test_count_tokens(client, kind):
    count = client.models.count_tokens(model=kind, contents="How many are these? " * 20).total_tokens
    if kind in ("anthropic", "vertexclaude", "gemini", "vertex", "bedrock", "responses") and count == 11:
        return
    assert 60 < count < 600
    assert client.models.count_tokens(model=kind, contents="How many are these? " * 40).total_tokens > count


def test_models(client):
    names = {model.name for model in client.models.list()}
    assert {f"models/{kind}" for kind in KINDS} <= names
    assert client.models.get(model="openai").name == "models/openai"


ERRORS = {
    400: (errors.ClientError, "INVALID_ARGUMENT"),
    401: (errors.ClientError, "UNAUTHENTICATED"),
    403: (errors.ClientError, "PERMISSION_DENIED"),
    404: (errors.ClientError, "NOT_FOUND"),
    429: (errors.ClientError, "RESOURCE_EXHAUSTED"),
    500: (errors.ServerError, "INTERNAL"),
    503: (errors.ServerError, "UNAVAILABLE"),
}


@pytest.mark.parametrize("status", ERRORS)
@STREAMS
def test_errors(client, kind, status, stream):
    expected, word = ERRORS[status]
    with pytest.raises(expected) as caught:
        ask(client, stream, model=f"{kind}-fail-{status}", contents="x")
    assert caught.value.code == status and caught.value.status == word
    assert caught.value.message == f"the scripted provider fails with {status}"


def test_a_cut_stream_is_an_error(client, kind):
    pieces = []
    with pytest.raises(errors.APIError) as caught:
        for piece in client.models.generate_content_stream(model=f"{kind}-cut-1", contents="Hello, and on and on"):
            pieces.append(piece)
    assert caught.value.code >= 500 and caught.value.message
    assert pieces and not any(piece.candidates[0].finish_reason for piece in pieces)


def test_a_wrong_key_and_a_model_that_nobody_serves(client, gateway):
    with pytest.raises(errors.ClientError) as caught:
        client.models.generate_content(model="nobody", contents="x")
    assert caught.value.code == 404 and "nobody" in caught.value.message
    options = types.HttpOptions(base_url=gateway.url)
    with genai.Client(api_key="sk-nobody", http_options=options) as stranger:
        with pytest.raises(errors.ClientError) as caught:
            stranger.models.generate_content(model="openai", contents="x")
    assert caught.value.code == 401 and caught.value.status == "UNAUTHENTICATED"


def test_what_a_target_cannot_honour_is_refused_by_name(client):
    for setting, name in [("top_k", "topK"), ("candidate_count", "candidateCount")]:
        with pytest.raises(errors.ClientError) as caught:
            client.models.generate_content(model="responses", contents="x", config={setting: 2})
        assert caught.value.code == 400 and f"generationConfig.{name}" in caught.value.message
