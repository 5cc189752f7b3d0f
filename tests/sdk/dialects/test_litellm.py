"""LiteLLM's library as a client, in three dialects, against every kind of upstream."""

import json
import os

import pytest
from cases import PERSON, PNG_BASE64, WEATHER, said
from conftest import KEY, KINDS

# Its list of prices and models is not to be fetched.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm  # noqa: E402

litellm.telemetry = False
litellm.suppress_debug_info = True
# What it says of a model that it does not know: that it takes no system text and no schema, if it is one of Gemini's.
KNOWN = {"litellm_provider": "gemini", "mode": "chat", "supports_system_messages": True, "supports_response_schema": True}
KNOWN |= {"supports_reasoning": True, "supports_function_calling": True, "supports_vision": True}
litellm.register_model({f"gemini/{kind}": KNOWN for kind in [*KINDS, "lossy/gemini"]})

TOOL = {"type": "function", "function": {"name": "get_weather", "description": "Weather", "parameters": WEATHER}}
# By dialect: the prefix of the model, and where the gateway is for it.
DIALECTS = {
    "openai": ("openai/", "{url}/v1"),
    "responses": ("openai/responses/", "{url}/v1"),
    "anthropic": ("anthropic/", "{url}"),
    "gemini": ("gemini/", "{url}/v1beta"),
}


@pytest.fixture(params=DIALECTS)
def dialect(request):
    return request.param


@pytest.fixture
def ask(gateway, dialect):
    prefix, base = DIALECTS[dialect]

    def ask(model, content, stream=False, **more):
        messages = content if isinstance(content, list) else [{"role": "user", "content": content}]
        request = {"model": prefix + model, "messages": messages, "max_tokens": 4000, "num_retries": 0, **more}
        base_url = base.format(url=gateway.url)
        if not stream:
            return litellm.completion(api_base=base_url, api_key=KEY, **request)
        options = {"stream": True, "stream_options": {"include_usage": True}}
        pieces = list(litellm.completion(api_base=base_url, api_key=KEY, **options, **request))
        return litellm.stream_chunk_builder(pieces, messages=messages)

    return ask


@pytest.mark.parametrize("stream", [False, True])
def test_text(ask, kind, stream):
    answer = ask(kind, [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Grüß Gott 👋"}], stream)
    assert answer.choices[0].message.content == said(kind, "Grüß Gott 👋")
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.prompt_tokens == 11 and answer.usage.completion_tokens == 7


@pytest.mark.parametrize("stream", [False, True])
def test_tools(ask, kind, stream):
    messages = [{"role": "user", "content": "Weather in both?"}]
    answer = ask(kind, messages, stream, tools=[TOOL])
    calls = answer.choices[0].message.tool_calls
    assert answer.choices[0].finish_reason == "tool_calls"
    assert [json.loads(call.function.arguments) for call in calls] == [{"city": "Paris"}, {"city": "Rome"}]
    messages.append(answer.choices[0].message.model_dump())
    for call, result in zip(calls, ["21 degrees", "25 degrees"]):
        messages.append({"role": "tool", "tool_call_id": call.id, "name": "get_weather", "content": result})
    answer = ask(kind, messages, stream, tools=[TOOL])
    assert answer.choices[0].message.content == "Results: 21 degrees | 25 degrees"


@pytest.mark.parametrize("stream", [False, True])
def test_structured_output(ask, dialect, kind, stream):
    form = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON, "strict": True}}
    model = kind
    if (dialect, kind) == ("anthropic", "ollama"):
        # It makes a tool of it that must be called.
        with pytest.raises(litellm.BadRequestError, match="honour: tool_choice"):
            ask(kind, "Who?", stream, response_format=form)
        model = f"lossy/{kind}"
    elif dialect == kind == "gemini":
        # It can't be told of a model that is named as its vendor.
        model = f"lossy/{kind}"
    answer = ask(model, "Who?", stream, response_format=form)
    assert json.loads(answer.choices[0].message.content) == {"name": "Ada", "age": 36}


@pytest.mark.parametrize("stream", [False, True])
def test_reasoning(ask, dialect, kind, stream):
    wish = {
        "openai": {"reasoning_effort": "low"},
        "responses": {"reasoning_effort": {"effort": "low", "summary": "auto"}},
        "anthropic": {"thinking": {"type": "enabled", "budget_tokens": 1024}},
        "gemini": {"reasoning_effort": "low"},
    }[dialect]
    answer = ask(kind, "Think.", stream, **wish, allowed_openai_params=list(wish))
    assert answer.choices[0].message.content == said(kind, "Think.")
    assert answer.choices[0].message.reasoning_content == "Let me think about it."


def test_vision(ask, kind):
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG_BASE64}"}}
    answer = ask(kind, [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, picture]}])
    assert answer.choices[0].message.content == "Pictures: image/png"


ERRORS = {
    400: litellm.BadRequestError,
    401: litellm.AuthenticationError,
    404: litellm.NotFoundError,
    500: litellm.InternalServerError,
}


@pytest.mark.parametrize("status", ERRORS)
def test_errors(ask, kind, status):
    with pytest.raises(ERRORS[status], match=f"the scripted provider fails with {status}"):
        ask(f"{kind}-fail-{status}", "x")
