"""Ollama's library for Python before every kind of upstream."""

import json

import ollama
import pytest
from cases import EMBEDS, PERSON, PNG, WEATHER, said
from conftest import KEY, KINDS

TOOL = {"type": "function", "function": {"name": "get_weather", "description": "Weather", "parameters": WEATHER}}
STREAMS = pytest.mark.parametrize("stream", [False, True])


@pytest.fixture
def client(gateway):
    with ollama.Client(host=gateway.url, headers={"Authorization": f"Bearer {KEY}"}, timeout=30) as client:
        yield client


def ask(client, stream, **request):
    """The message, that of a stream put together, and the last document."""
    if not stream:
        answer = client.chat(**request)
        return answer.message, answer
    whole, last = ollama.Message(role="assistant", content="", thinking="", tool_calls=[]), None
    for document in client.chat(stream=True, **request):
        assert last is None or not last.done
        whole.content += document.message.content or ""
        whole.thinking += document.message.thinking or ""
        whole.tool_calls += document.message.tool_calls or []
        last = document
    return whole, last


def user(content, **members):
    return {"role": "user", "content": content, **members}


@STREAMS
def test_chat(client, kind, stream, upstreams):
    messages = [{"role": "system", "content": "Be brief."}, user("Grüß Gott 👋")]
    message, last = ask(client, stream, model=kind, messages=messages, options={"temperature": 0.5, "num_predict": 100})
    assert message.content == said(kind, "Grüß Gott 👋") and message.role == "assistant"
    assert last.done and last.done_reason == "stop" and last.model
    assert last.prompt_eval_count == 11 and last.eval_count == 7
    name, view = upstreams.views[-1]
    assert name == kind and view.system == ["Be brief."]


# Asked natively for one text, which the script's Ollama does not know.
GENERATES = [kind for kind in KINDS if kind != "ollama"]


@STREAMS
@pytest.mark.parametrize("kind", GENERATES)
def test_generate(client, kind, stream, upstreams):
    request = {"model": kind, "prompt": "Hello", "system": "Be brief."}
    if stream:
        documents = list(client.generate(stream=True, **request))
        assert len(documents) > 3 and [document.done for document in documents].index(True) == len(documents) - 1
        text, last = "".join(document.response for document in documents), documents[-1]
    else:
        last = client.generate(**request)
        text = last.response
    assert text == said(kind, "Hello") and last.done_reason == "stop" and last.eval_count == 7
    assert upstreams.views[-1][1].system == ["Be brief."]


@STREAMS
def test_tools(client, kind, stream):
    messages = [user("Weather in both?")]
    message, last = ask(client, stream, model=kind, messages=messages, tools=[TOOL])
    assert last.done and last.done_reason == "stop"
    calls = [call.function for call in message.tool_calls]
    assert [call.name for call in calls] == ["get_weather"] * 2
    assert [call.arguments for call in calls] == [{"city": "Paris"}, {"city": "Rome"}]
    messages.append(message)
    messages += [{"role": "tool", "tool_name": "get_weather", "content": text} for text in ["21 degrees", "25 degrees"]]
    message, _ = ask(client, stream, model=kind, messages=messages, tools=[TOOL])
    assert message.content == "Results: 21 degrees | 25 degrees"
    messages += [message, user("Thanks, no tools.")]
    message, _ = ask(client, stream, model=kind, messages=messages, tools=[TOOL])
    assert message.content == said(kind, "Thanks, no tools.")


def test_functions_of_python(client, kind):
    def get_weather(city: str) -> str:
        """
        Weather.

        Args:
            city (str): Where
        """
        return f"sun in {city}"

    messages = [user("Weather?")]
    message = client.chat(model=kind, messages=messages, tools=[get_weather]).message
    messages.append(message)
    for call in message.tool_calls:
        content = get_weather(**call.function.arguments)
        messages.append({"role": "tool", "tool_name": call.function.name, "content": content})
    answer = client.chat(model=kind, messages=messages, tools=[get_weather])
    assert answer.message.content == "Results: sun in Paris"


@STREAMS
@pytest.mark.parametrize("think", [True, "medium"])
def test_thinking(client, kind, stream, think):
    message, _ = ask(client, stream, model=kind, messages=[user("Think.")], think=think)
    assert message.content == said(kind, "Think.")
    # OpenAI's chat has no word for thought without an effort: its models think by themselves.
    is_silent = think is True and kind in ("openai", "azure")
    assert is_silent or message.thinking == "Let me think about it."


@pytest.mark.parametrize("kind", GENERATES)
def test_thinking_of_one_text(client, kind):
    answer = client.generate(model=kind, prompt="Think.", think="high")
    assert answer.thinking == "Let me think about it." and answer.response == said(kind, "Think.")


@STREAMS
def test_structured_output(client, kind, stream):
    message, last = ask(client, stream, model=kind, messages=[user("Who?")], format=PERSON)
    assert json.loads(message.content) == {"name": "Ada", "age": 36}
    assert last.done_reason == "stop" and not message.tool_calls


@STREAMS
def test_vision(client, kind, stream):
    message, _ = ask(client, stream, model=kind, messages=[user("What is it?", images=[PNG])])
    assert message.content == "Pictures: image/png"


@pytest.mark.parametrize("kind", GENERATES)
def test_vision_of_one_text(client, kind):
    assert client.generate(model=kind, prompt="What is it?", images=[PNG]).response == "Pictures: image/png"


def test_embeddings(client, kind):
    if kind not in EMBEDS:
        with pytest.raises(ollama.ResponseError) as caught:
            client.embed(model=kind, input="one")
        assert caught.value.status_code == 400 and caught.value.error
        return
    answer = client.embed(model=kind, input=["one", "two"])
    assert answer.embeddings == [[0.25, -0.5, 0.125]] * 2 and answer.model
    assert client.embed(model=kind, input="one").embeddings == [[0.25, -0.5, 0.125]]
    if kind != "ollama":
        assert client.embeddings(model=kind, prompt="one").embedding == [0.25, -0.5, 0.125]


def test_models(client):
    assert set(KINDS) <= {model.model for model in client.list().models}


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 503])
@STREAMS
def test_errors(client, kind, status, stream):
    with pytest.raises(ollama.ResponseError) as caught:
        ask(client, stream, model=f"{kind}-fail-{status}", messages=[user("x")])
    assert caught.value.status_code == status
    assert caught.value.error == f"the scripted provider fails with {status}"


def test_a_cut_stream_is_an_error(client, kind):
    documents = []
    with pytest.raises(ollama.ResponseError) as caught:
        for document in client.chat(model=f"{kind}-cut-1", messages=[user("Hello, and on and on")], stream=True):
            documents.append(document)
    assert caught.value.error and documents and not any(document.done for document in documents)


def test_a_wrong_key_and_a_model_that_nobody_serves(client, gateway):
    with pytest.raises(ollama.ResponseError) as caught:
        client.chat(model="nobody", messages=[user("x")])
    assert caught.value.status_code == 404 and "nobody" in caught.value.error
    with ollama.Client(host=gateway.url, headers={"Authorization": "Bearer sk-nobody"}) as stranger:
        with pytest.raises(ollama.ResponseError) as caught:
            stranger.chat(model="openai", messages=[user("x")])
    assert caught.value.status_code == 401 and caught.value.error


def test_what_a_target_cannot_honour_is_refused_by_name_or_dropped(client):
    request = {"messages": [user("x")], "options": {"mirostat": 1}}
    with pytest.raises(ollama.ResponseError) as caught:
        client.chat(model="anthropic", **request)
    assert caught.value.status_code == 400 and "options.mirostat" in caught.value.error
    assert client.chat(model="lossy/anthropic", **request).message.content == said("anthropic", "x")
