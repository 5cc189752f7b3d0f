"""LangChain's models of three vendors, each against every kind of upstream."""

import pytest
from cases import PNG_BASE64, said
from conftest import KEY
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_google_genai import ChatGoogleGenerativeAI
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

THOUGHT = "Let me think about it."


class Person(BaseModel):
    """Who somebody is."""

    name: str
    age: int


@tool
def get_weather(city: str) -> str:
    """Weather"""
    return {"Paris": "21 degrees", "Rome": "25 degrees"}[city]


MODELS = {
    "openai": lambda url, **more: ChatOpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0, stream_usage=True, **more),
    "responses": lambda url, **more: ChatOpenAI(
        base_url=f"{url}/v1", api_key=KEY, max_retries=0, use_responses_api=True, **more
    ),
    "anthropic": lambda url, **more: ChatAnthropic(base_url=url, api_key=KEY, max_retries=0, max_tokens=4000, **more),
    "google": lambda url, **more: ChatGoogleGenerativeAI(
        base_url=url, google_api_key=KEY, max_retries=1, vertexai=False, **more
    ),
}
# What asks the model to think and to show it, in each.
THINKING = {
    "responses": {"reasoning": {"effort": "medium", "summary": "auto"}, "output_version": "v1"},
    "anthropic": {"thinking": {"type": "enabled", "budget_tokens": 2000}},
    "google": {"include_thoughts": True, "thinking_budget": 1000, "temperature": 1},
}


@pytest.fixture(params=MODELS)
def vendor(request):
    return request.param


@pytest.fixture
def model(gateway, vendor, kind):
    return MODELS[vendor](gateway.url, model=kind)


def ask(model, messages, stream):
    if not stream:
        return model.invoke(messages)
    whole = None
    for piece in model.stream(messages):
        whole = piece if whole is None else whole + piece
    return whole


@pytest.mark.parametrize("stream", [False, True])
def test_text(model, kind, stream):
    answer = ask(model, [SystemMessage("Be brief."), HumanMessage("Grüß Gott 👋")], stream)
    assert answer.text == said(kind, "Grüß Gott 👋")
    assert answer.usage_metadata["input_tokens"] == 11 and answer.usage_metadata["output_tokens"] == 7


@pytest.mark.parametrize("stream", [False, True])
def test_tools(model, stream):
    model = model.bind_tools([get_weather])
    messages = [HumanMessage("Weather in both?")]
    messages.append(ask(model, messages, stream))
    calls = messages[-1].tool_calls
    assert [(call["name"], call["args"]) for call in calls] == [("get_weather", {"city": city}) for city in ("Paris", "Rome")]
    messages += [ToolMessage(get_weather.invoke(call["args"]), tool_call_id=call["id"]) for call in calls]
    assert ask(model, messages, stream).text == "Results: 21 degrees | 25 degrees"


def test_structured_output(gateway, vendor, kind):
    # Anthropic's makes a tool of it that must be called.
    model = MODELS[vendor](gateway.url, model=kind)
    if (vendor, kind) == ("anthropic", "ollama"):
        with pytest.raises(Exception, match="can't honour: tool_choice"):
            model.with_structured_output(Person).invoke("Who?")
        model = MODELS[vendor](gateway.url, model=f"lossy/{kind}")
    assert model.with_structured_output(Person).invoke("Who?") == Person(name="Ada", age=36)


def test_structured_output_as_a_tool(gateway, vendor, kind):
    # It must be called, and for OpenAI's alone: who can't promise that says so.
    lacks = {"ollama": "tool_choice"}
    if vendor in ("openai", "responses"):
        lacks |= dict.fromkeys(["gemini", "vertex", "cohere"], "parallel_tool_calls")
    if kind in lacks:
        model = MODELS[vendor](gateway.url, model=kind).with_structured_output(Person, method="function_calling")
        with pytest.raises(Exception, match=f"can't honour: {lacks[kind]}"):
            model.invoke("Who?")
    model = MODELS[vendor](gateway.url, model=f"lossy/{kind}" if kind in lacks else kind)
    model = model.with_structured_output(Person, method="function_calling")
    assert model.invoke("Who?") == Person(name="Ada", age=36)


@pytest.mark.parametrize("stream", [False, True])
def test_vision(model, stream):
    picture = {"type": "image", "base64": PNG_BASE64, "mime_type": "image/png"}
    answer = ask(model, [HumanMessage([{"type": "text", "text": "What is it?"}, picture])], stream)
    assert answer.text == "Pictures: image/png"


@pytest.mark.parametrize("vendor", THINKING)
@pytest.mark.parametrize("stream", [False, True])
def test_thoughts(gateway, vendor, kind, stream):
    model = MODELS[vendor](gateway.url, model=kind, **THINKING[vendor]).bind_tools([get_weather])
    messages = [HumanMessage("Weather?")]
    for _ in range(2):
        answer = ask(model, messages, stream)
        thoughts = [block.get("reasoning", "") for block in answer.content_blocks if block["type"] == "reasoning"]
        assert "".join(thoughts) == THOUGHT
        messages.append(answer)
        messages += [ToolMessage(get_weather.invoke(call["args"]), tool_call_id=call["id"]) for call in answer.tool_calls]
    assert answer.text == "Results: 21 degrees"


def test_errors(gateway, vendor, kind):
    model = MODELS[vendor](gateway.url, model=f"{kind}-fail-404")
    with pytest.raises(Exception, match="the scripted provider fails with 404"):
        model.invoke("x")
