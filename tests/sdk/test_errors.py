"""Each error class of the SDK, its retries, and what passes through unchanged, before a scripted upstream."""

import json
import time

import httpx2
import openai
import pytest
import samples
from mock_upstream import Answer, json_answer, sse_answer

ASK = [{"role": "user", "content": "Tell me about mills"}]
UPSTREAM_KEY = "sk-upstream-secret"


def chat(client, model, **options):
    return client.chat.completions.create(model=model, messages=ASK, **options)


def counting(client_of, key="SDK_KEY", **options):
    """A client, and the list of the statuses it saw on the wire."""
    statuses = []
    hooks = {"response": [lambda answer: statuses.append(answer.status_code)]}
    return client_of(key, http_client=openai.DefaultHttpxClient(event_hooks=hooks), **options), statuses


def test_a_wrong_key(client_of, model):
    with pytest.raises(openai.AuthenticationError) as caught:
        chat(client_of("sk-nobody"), model)
    assert caught.value.code == "invalid_api_key"
    assert caught.value.response.headers["x-request-id"]


def test_a_model_the_key_may_not_use(client_of, mock, model):
    mock.script("m-allowed", json_answer(samples.completion()))
    client = client_of("SDK_KEY_NARROW")
    assert chat(client, "m-allowed").choices[0].message.content == samples.TEXT
    with pytest.raises(openai.PermissionDeniedError):
        chat(client, model)
    assert mock.seen(model) == []


def test_a_model_without_a_route(client):
    with pytest.raises(openai.NotFoundError) as caught:
        chat(client, "nobody-serves-this")
    assert caught.value.code == "model_not_found"


def test_a_path_that_is_not_served(client):
    with pytest.raises(openai.NotFoundError):
        client.post("/no/such/thing", body={"model": "m-1"}, cast_to=object)


def test_a_request_without_a_model(client):
    with pytest.raises(openai.BadRequestError) as caught:
        client.post("/chat/completions", body={"messages": ASK}, cast_to=object)
    assert caught.value.param == "model"


def test_two_models_in_one_request(client, mock):
    content = b'{"model":"m-allowed","model":"m-other","messages":[]}'
    with pytest.raises(openai.BadRequestError):
        client.post("/chat/completions", content=content, cast_to=object)
    assert mock.seen("m-other") == []


@pytest.mark.parametrize(
    ("status", "kind", "attempts"),
    [
        (400, openai.BadRequestError, 1),
        (403, openai.PermissionDeniedError, 1),
        (404, openai.NotFoundError, 1),
        (409, openai.ConflictError, 1),
        (422, openai.UnprocessableEntityError, 1),
        (429, openai.RateLimitError, 1),
        (500, openai.InternalServerError, 2),
        (503, openai.InternalServerError, 2),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_an_error_of_the_upstream_passes_through(client, mock, model, status, kind, attempts, stream):
    """Only a failure of the upstream's own is tried again, once, and what it says then is passed on."""
    first = [json_answer(samples.error("at first"), status)] * (attempts - 1)
    mock.script(model, *first, json_answer(samples.error("as it was said"), status))
    with pytest.raises(kind) as caught:
        chat(client, model, stream=stream)
    assert caught.value.status_code == status
    assert caught.value.body == samples.error("as it was said")["error"]
    assert len(mock.seen(model)) == attempts
    headers = caught.value.response.headers
    assert (headers["x-millstream-upstream"], headers["x-millstream-attempts"]) == ("mock", str(attempts))


@pytest.mark.parametrize("stream", [False, True])
def test_an_attempt_that_failed_leaves_no_trace(client, mock, model, stream):
    broken = samples.error(kind="server_error")
    failed = sse_answer([samples.event(broken)]) if stream else json_answer(broken, 500)
    mock.script(model, failed, sse_answer(samples.chat_events()) if stream else json_answer(samples.completion()))
    answer = chat(client, model, stream=stream)
    if stream:
        text = "".join(chunk.choices[0].delta.content or "" for chunk in answer)
    else:
        text = answer.choices[0].message.content
    assert text == samples.TEXT
    assert len(mock.seen(model)) == 2


def test_a_limit_of_the_upstream_is_retried_by_the_client_when_told(client_of, mock, model):
    limited = json_answer(samples.error(), 429, {"retry-after": "1"})
    mock.script(model, limited, limited, json_answer(samples.completion()))
    client, statuses = counting(client_of, max_retries=2)
    began = time.monotonic()
    assert chat(client, model).choices[0].message.content == samples.TEXT
    assert statuses == [429, 429, 200]
    assert len(mock.seen(model)) == 3
    assert time.monotonic() - began > 1.9, "retry-after did not reach the client"


def test_a_limit_of_the_key(client_of, mock, model):
    mock.script(model, json_answer(samples.completion()))
    client = client_of("SDK_KEY_LIMITED")
    with pytest.raises(openai.RateLimitError) as caught:
        for _ in range(200):
            chat(client, model)
    assert 1 <= int(caught.value.response.headers["retry-after"]) <= 60
    admitted = len(mock.seen(model))
    assert 1 <= admitted < 200
    patient, statuses = counting(client_of, "SDK_KEY_LIMITED", max_retries=2)
    assert chat(patient, model).choices[0].message.content == samples.TEXT
    assert statuses[-1] == 200
    assert len(mock.seen(model)) == admitted + 1


def test_an_upstream_that_cannot_be_reached(client):
    with pytest.raises(openai.InternalServerError) as caught:
        chat(client, "m-gone")
    assert caught.value.status_code in (502, 503)
    assert caught.value.code


def test_the_next_target_is_asked_where_the_first_cannot_be_reached(client, mock):
    mock.script("m-renamed", json_answer(samples.completion()))
    assert chat(client, "m-fallback").choices[0].message.content == samples.TEXT
    assert json.loads(mock.seen("m-renamed")[-1].body)["messages"] == ASK


@pytest.mark.parametrize("end", ["fin", "rst"])
def test_a_whole_answer_that_is_cut_is_an_error(client, mock, model, end):
    answer = json_answer(samples.completion())
    answer.cut, answer.end = 40, end
    mock.script(model, answer)
    with pytest.raises(openai.InternalServerError) as caught:
        chat(client, model)
    assert (caught.value.status_code, caught.value.code) == (502, "upstream_error")
    assert len(mock.seen(model)) == 2
    mock.script(model, answer, json_answer(samples.completion()))
    assert chat(client, model).choices[0].message.content == samples.TEXT


def test_an_answer_that_is_no_http_is_an_error(client, mock, model):
    mock.script(model, Answer(0, {}, [b""], "length"))
    with pytest.raises(openai.InternalServerError) as caught:
        chat(client, model)
    assert caught.value.status_code == 502


def test_keys_do_not_cross(client_of, mock, model):
    mock.script(model, json_answer(samples.completion(), headers={"set-cookie": "a=b"}))
    answer = client_of().chat.completions.with_raw_response.create(model=model, messages=ASK)
    [request] = mock.seen(model)
    assert request.headers["authorization"] == f"Bearer {UPSTREAM_KEY}"
    assert "sk-test" not in str(request.headers)
    assert "set-cookie" not in answer.headers
    assert UPSTREAM_KEY not in str(answer.headers)


def test_the_request_reaches_the_upstream_byte_for_byte(client, gateway, mock, model):
    body = b'{ "messages" : [],\n "model":"%s", "seed":1e3, "x":"\\u00e9\xc3\xa9", "new":{"a":[1.0,null]} }' % model.encode()
    mock.script(model, json_answer(samples.completion()))
    headers = {"authorization": "Bearer sk-test-everything", "content-type": "application/json"}
    assert httpx2.post(f"{gateway.base_url}/chat/completions", content=body, headers=headers).status_code == 200
    assert mock.seen(model)[0].body == body


def test_tools_over_several_turns(client, mock, model):
    call = samples.tool_call("grind", '{"grain":"rye"}')
    mock.script(
        model,
        json_answer(samples.completion(None, [call], "tool_calls")),
        json_answer(samples.completion("ground")),
    )
    tools = [{"type": "function", "function": {"name": "grind", "parameters": {"type": "object", "properties": {}}}}]
    first = chat(client, model, tools=tools).choices[0].message
    assert first.tool_calls[0].function.arguments == '{"grain":"rye"}'
    messages = [*ASK, first, {"role": "tool", "tool_call_id": first.tool_calls[0].id, "content": "flour"}]
    second = client.chat.completions.create(model=model, messages=messages, tools=tools)
    assert second.choices[0].message.content == "ground"
    sent = mock.seen(model)[1].json["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "tool"]
    assert sent[1]["tool_calls"] == [call]


def test_tools_in_a_stream(client, mock, model):
    mock.script(model, sse_answer(samples.tool_events()))
    arguments, name = "", None
    for chunk in chat(client, model, stream=True):
        for call in chunk.choices[0].delta.tool_calls or []:
            name = name or call.function.name
            arguments += call.function.arguments
    assert (name, arguments) == ("grind", '{"grain":"rye"}')
