"""Anthropic's SDK for Python, and requests as Claude Code makes them, before every kind of upstream."""

import json

import anthropic
import pytest
from cases import PERSON, PNG_BASE64, WEATHER, said
from conftest import KEY, KINDS
from pydantic import BaseModel

CACHED = {"cache_control": {"type": "ephemeral"}}
TOOL = {"name": "get_weather", "description": "Weather", "input_schema": WEATHER}
THINKING = {"type": "enabled", "budget_tokens": 2048}
# Whose models take back what they signed.
SIGNED = {"anthropic", "vertexclaude", "bedrock", "gemini", "vertex", "responses"}
STREAMS = pytest.mark.parametrize("stream", [False, True])


@pytest.fixture
def client(gateway):
    with anthropic.Anthropic(api_key=KEY, base_url=gateway.url, max_retries=0, timeout=30) as client:
        yield client


def ask(surface, stream, /, **request):
    """The final message; of a stream, as the SDK puts it together."""
    request = {"max_tokens": 4096, **request}
    if not stream:
        return surface.create(**request)
    with surface.stream(**request) as events:
        return events.get_final_message()


def user(content):
    return {"role": "user", "content": content}


def reply(message):
    """As the next request brings it back."""
    return {"role": "assistant", "content": [block.to_dict() for block in message.content]}


def results(calls, *texts):
    return user([{"type": "tool_result", "tool_use_id": call.id, "content": text} for call, text in zip(calls, texts)])


def called(message):
    return [block for block in message.content if block.type == "tool_use"]


@STREAMS
def test_text(client, kind, stream, upstreams):
    system = [{"type": "text", "text": "Be brief."}, {"type": "text", "text": "Be kind.", **CACHED}]
    request = {"model": kind, "system": system, "messages": [user("Grüß Gott 👋")]}
    answer = ask(client.messages, stream, **request, extra_body={"temperature": 0.5})
    assert answer.content[0].text == said(kind, "Grüß Gott 👋") and len(answer.content) == 1
    assert (answer.role, answer.stop_reason, answer.stop_sequence) == ("assistant", "end_turn", None)
    assert answer.id and answer.type == "message"
    name, view = upstreams.views[-1]
    assert name == kind and "".join(view.system).replace("\n", "") == "Be brief.Be kind."


@STREAMS
def test_usage(client, kind, stream):
    usage = ask(client.messages, stream, model=kind, messages=[user("x")]).usage
    cached = 0 if kind in ("cohere", "ollama") else 3
    assert (usage.input_tokens, usage.cache_read_input_tokens or 0) == (11 - cached, cached)
    assert usage.output_tokens == 7


def test_the_events_of_a_stream(client, kind):
    """Blocks are opened and closed one by one, and the helpers of the SDK see the pieces as they come."""
    names, thought, text, signatures = [], "", "", 0
    request = {"model": kind, "max_tokens": 4096, "messages": [user("Think.")], "thinking": THINKING}
    with client.messages.stream(**request) as events:
        for event in events:
            names.append(event.type)
            thought += event.thinking if event.type == "thinking" else ""
            text += event.text if event.type == "text" else ""
            signatures += event.type == "signature"
    assert thought == "Let me think about it." and text == said(kind, "Think.")
    blocks = [name for name in names if name in ("content_block_start", "content_block_stop")]
    assert blocks == ["content_block_start", "content_block_stop"] * 2
    assert names[0] == "message_start" and names[-2:] == ["message_delta", "message_stop"]
    assert names.count("text") > 2 and signatures <= 1


@STREAMS
def test_tools(client, kind, stream):
    messages = [user("Weather in both?")]
    request = {"model": kind, "messages": messages, "tools": [{**TOOL, **CACHED}], "tool_choice": {"type": "auto"}}
    answer = ask(client.messages, stream, **request)
    calls = called(answer)
    assert answer.stop_reason == "tool_use" and [call.name for call in calls] == ["get_weather"] * 2
    assert [call.input for call in calls] == [{"city": "Paris"}, {"city": "Rome"}]
    assert len({call.id for call in calls}) == 2
    messages += [reply(answer), results(calls, "21 degrees", [{"type": "text", "text": "25 degrees", **CACHED}])]
    answer = ask(client.messages, stream, **request)
    assert answer.content[-1].text == "Results: 21 degrees | 25 degrees" and answer.stop_reason == "end_turn"
    messages += [reply(answer), user("And now in Paris?")]
    answer = ask(client.messages, stream, **request)
    assert [call.input for call in called(answer)] == [{"city": "Paris"}]
    messages += [reply(answer), results(called(answer), "22 degrees")]
    assert ask(client.messages, stream, **request).content[-1].text == "Results: 22 degrees"


@STREAMS
def test_the_runner_of_tools(client, kind, stream):
    @anthropic.beta_tool
    def get_weather(city: str) -> str:
        """Weather.

        Args:
            city: Where
        """
        return f"sun in {city}"

    runner = client.beta.messages.tool_runner(
        model=kind, max_tokens=4096, tools=[get_weather], messages=[user("Weather in both?")], stream=stream
    )
    finals = [turn.get_final_message() if stream else turn for turn in runner]
    assert len(finals) == 2 and finals[-1].content[-1].text == "Results: sun in Paris | sun in Rome"


@STREAMS
def test_a_tool_that_must_be_called(client, kind, stream, upstreams):
    choice = {"type": "tool", "name": "get_weather", "disable_parallel_tool_use": True}
    request = {"model": kind, "messages": [user("x")], "tools": [TOOL], "tool_choice": choice}
    try:
        answer = ask(client.messages, stream, **request)
    except anthropic.BadRequestError as refusal:
        assert "tool_choice" in refusal.api_message and kind in ("gemini", "vertex", "bedrock", "cohere", "ollama")
        return
    assert called(answer)[0].input == {"city": "Paris"} and upstreams.views[-1][1].forced == "get_weather"


@STREAMS
@pytest.mark.parametrize("kind_of_source", ["base64", "url"])
def test_vision(client, kind, stream, kind_of_source):
    source = {"type": "base64", "media_type": "image/png", "data": PNG_BASE64}
    if kind_of_source == "url":
        source = {"type": "url", "url": "https://pictures.example/a.png"}
    messages = [user([{"type": "image", "source": source}, {"type": "text", "text": "What is it?"}])]
    try:
        text = ask(client.messages, stream, model=kind, messages=messages).content[0].text
    except anthropic.BadRequestError as refusal:
        assert kind_of_source == "url" and kind in ("bedrock", "ollama")
        assert "messages[0].content[0]" in refusal.api_message
        return
    assert text.startswith("Pictures: ") and (kind_of_source == "url" or text == "Pictures: image/png")


@STREAMS
def test_structured_output(client, kind, stream):
    config = {"format": {"type": "json_schema", "schema": PERSON}}
    answer = ask(client.messages, stream, model=kind, messages=[user("Who?")], output_config=config)
    assert json.loads(answer.content[0].text) == {"name": "Ada", "age": 36}
    assert answer.stop_reason == "end_turn" and len(answer.content) == 1


class Person(BaseModel):
    name: str
    age: int


def test_parse(client, kind):
    request = {"model": kind, "max_tokens": 100, "messages": [user("Who?")], "output_format": Person}
    assert client.messages.parse(**request).parsed_output == Person(name="Ada", age=36)
    with client.messages.stream(**request) as events:
        assert events.get_final_message().parsed_output == Person(name="Ada", age=36)


@STREAMS
@pytest.mark.parametrize("form", ["enabled", "adaptive"])
def test_thinking(client, kind, stream, form):
    request = {"model": kind, "messages": [user("Think.")], "thinking": THINKING}
    if form == "adaptive":
        request |= {"thinking": {"type": form, "display": "summarized"}, "output_config": {"effort": "medium"}}
    answer = ask(client.messages, stream, **request)
    assert [block.type for block in answer.content] == ["thinking", "text"]
    assert answer.content[0].thinking == "Let me think about it."
    assert isinstance(answer.content[0].signature, str) and answer.content[1].text == said(kind, "Think.")


@STREAMS
def test_a_thought_comes_back_to_whom_it_belongs(client, kind, stream, upstreams):
    messages = [user("Think, in both.")]
    request = {"model": kind, "messages": messages, "tools": [TOOL], "thinking": THINKING}
    answer = ask(client.messages, stream, **request)
    assert answer.content[0].type == "thinking"
    messages += [reply(answer), results(called(answer), "x", "y")]
    assert ask(client.messages, stream, **request).content[-1].text == "Results: x | y"
    assert bool(upstreams.views[-1][1].signatures) == (kind in SIGNED)


def test_count_tokens(client, kind):
    request = {"model": kind, "system": "Be brief.", "messages": [user("How many are these? " * 20)], "tools": [TOOL]}
    count = client.messages.count_tokens(**request).input_tokens
    if kind in ("anthropic", "vertexclaude", "gemini", "vertex", "bedrock", "responses") and count == 11:
        return
    # An estimate where the provider does not count: of the order of the words, and more for more of them.
    assert 60 < count < 600
    request["messages"] = [user("How many are these? " * 40)]
    assert client.messages.count_tokens(**request).input_tokens > count


def test_models(client):
    names = {model.id for model in client.models.list()}
    assert set(KINDS) <= names
    assert client.models.retrieve("gemini").id == "gemini"


# As the gateway says it: the class, and the type that stands in the body.
ERRORS = {
    400: (anthropic.BadRequestError, "invalid_request_error"),
    401: (anthropic.AuthenticationError, "authentication_error"),
    403: (anthropic.PermissionDeniedError, "permission_error"),
    404: (anthropic.NotFoundError, "not_found_error"),
    413: (anthropic.APIStatusError, "request_too_large"),
    429: (anthropic.RateLimitError, "rate_limit_error"),
    500: (anthropic.InternalServerError, "api_error"),
    503: (anthropic.InternalServerError, "overloaded_error"),
    529: (anthropic.InternalServerError, "overloaded_error"),
}


@pytest.mark.parametrize("status", ERRORS)
@STREAMS
def test_errors(client, kind, status, stream):
    expected, name = ERRORS[status]
    with pytest.raises(expected) as caught:
        ask(client.messages, stream, model=f"{kind}-fail-{status}", messages=[user("x")])
    assert caught.value.api_message == f"the scripted provider fails with {status}"
    names = {name, "api_error"} if status in (503, 529) else {name}
    assert caught.value.type in names and caught.value.request_id


def test_a_cut_stream_is_an_error(client, kind):
    request = {"model": f"{kind}-cut-1", "max_tokens": 100, "messages": [user("Hello, and on and on")]}
    seen = []
    with pytest.raises(anthropic.APIError), client.messages.stream(**request) as events:
        seen += (event.type for event in events)
    assert "message_stop" not in seen and "text" in seen


def test_a_wrong_key_and_a_model_that_nobody_serves(client, gateway):
    with pytest.raises(anthropic.NotFoundError) as caught:
        client.messages.create(model="nobody", max_tokens=1, messages=[user("x")])
    assert caught.value.type == "not_found_error" and "nobody" in caught.value.api_message
    with anthropic.Anthropic(api_key="sk-nobody", base_url=gateway.url, max_retries=0) as stranger:
        with pytest.raises(anthropic.AuthenticationError) as caught:
            stranger.messages.create(model="openai", max_tokens=1, messages=[user("x")])
    assert caught.value.type == "authentication_error"


def test_what_a_target_cannot_honour_is_refused_by_name_or_dropped(client):
    request = {"max_tokens": 9, "messages": [user("x")], "inference_geo": "eu"}
    with pytest.raises(anthropic.BadRequestError) as caught:
        client.messages.create(model="cohere", **request)
    assert "inference_geo" in caught.value.api_message
    answer = client.messages.with_raw_response.create(model="lossy/cohere", **request)
    assert answer.headers["x-millstream-dropped"] == "inference_geo"
    assert answer.parse().content[0].text == said("cohere", "x")


# --- Claude Code ---


def agent_tools():
    """As many as an agent has, with all that its generators of schemas write."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "file_path": {"type": "string", "description": "Where", "minLength": 1},
            "offset": {"type": "integer", "minimum": 0, "maximum": 9007199254740991},
            "limit": {"type": "number", "exclusiveMinimum": 0},
            "url": {"type": "string", "format": "uri"},
            "mode": {"anyOf": [{"type": "string", "enum": ["a", "b"]}, {"type": "null"}], "default": "a"},
            "answers": {"type": "object", "propertyNames": {"type": "string"}, "additionalProperties": {}},
            "edits": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "properties": {"old": {"type": "string"}, "kind": {"const": "edit"}},
                    "required": ["old"],
                    "additionalProperties": False,
                },
            },
        },
        "required": ["file_path"],
        "additionalProperties": False,
    }
    names = ["Bash", "Glob", "Grep", "Read", "Edit", "Write", "NotebookEdit", "WebFetch", "TodoWrite", "Task"]
    names += ["mcp__files__list_all_directories_of_the_workspace"]
    tools = [{"name": name, "description": f"{name}: does it.", "input_schema": schema} for name in names]
    return [*tools, {**TOOL, **CACHED}]


def agent_request(model, messages):
    user_id = f"user_{'0123456789abcdef' * 4}_account_{'1' * 36}_session_{'2' * 36}"
    return {
        "model": model,
        "max_tokens": 32000,
        "extra_body": {"temperature": 1},
        "betas": ["claude-code-20250219", "interleaved-thinking-2025-05-14", "context-management-2025-06-27"],
        "metadata": {"user_id": user_id},
        "thinking": {"type": "enabled", "budget_tokens": 31999},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "system": [
            {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1; cc_entrypoint=cli;"},
            {"type": "text", "text": "You are an agent.", "cache_control": {"type": "ephemeral"}},
            {"type": "text", "text": "Do as the user says.", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
        ],
        "tools": agent_tools(),
        "messages": messages,
    }


def test_claude_code(client, kind, upstreams):
    """Three turns: the last has an error of a tool, and a history that was sent before."""
    reminder = {"type": "text", "text": "<system-reminder>Be careful.</system-reminder>"}
    messages = [user([reminder, {"type": "text", "text": "Look at both.", **CACHED}])]
    answer = ask(client.beta.messages, True, **agent_request(kind, messages))
    calls = called(answer)
    assert [call.input["city"] for call in calls] == ["Paris", "Rome"] and answer.stop_reason == "tool_use"
    outcomes = [
        {"type": "tool_result", "tool_use_id": calls[0].id, "content": "21 degrees", "is_error": False},
        {"type": "tool_result", "tool_use_id": calls[1].id, "content": "no such city", "is_error": True, **CACHED},
    ]
    messages += [reply(answer), user(outcomes)]
    answer = ask(client.beta.messages, True, **agent_request(kind, messages))
    text = answer.content[-1].text
    assert text.startswith("Results: 21 degrees | ") and "no such city" in text
    messages += [reply(answer), user([{"type": "text", "text": "Thanks, no tools now.", **CACHED}])]
    answer = ask(client.beta.messages, True, **agent_request(kind, messages))
    assert [block.type for block in answer.content] == ["thinking", "text"]
    assert answer.content[-1].text == said(kind, "Thanks, no tools now.")
    view = upstreams.views[-1][1]
    # Where a message is one text, its blocks are joined.
    texts = "\n".join(view.texts).replace("\n\n", "\n").split("\n")
    assert texts == [reminder["text"], "Look at both.", "Thanks, no tools now."]
    assert view.tools == [tool["name"] for tool in agent_tools()]
    is_own = kind in ("anthropic", "vertexclaude")
    assert is_own or "billing" not in "".join(view.system)
    assert "You are an agent." in "".join(view.system)


@pytest.mark.parametrize("limit", [1, 512])
def test_a_short_question_of_an_agent(client, kind, limit):
    """Whether the key works, and a title for the conversation: without a stream, few tokens, no thought."""
    message = client.beta.messages.create(
        model=kind, max_tokens=limit, messages=[user("quota")], metadata={"user_id": "u" * 200},
        betas=["claude-code-20250219"],
    )  # fmt: skip
    assert message.content[0].text == said(kind, "quota")
