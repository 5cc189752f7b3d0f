"""What becomes of a stream that does not end as it should, and of the client that leaves one."""

import http.client
import threading
import time

import openai
import pytest
import samples
from mock_upstream import sse_answer

ASK = [{"role": "user", "content": "Tell me about mills"}]


def read(client, model, **options):
    """The text that came, and the error that ended it or None."""
    text = ""
    try:
        for chunk in client.chat.completions.create(model=model, messages=ASK, stream=True, **options):
            text += (chunk.choices[0].delta.content or "") if chunk.choices else ""
    except openai.APIError as error:
        return text, error
    return text, None


def raw_stream(gateway, model):
    connection = http.client.HTTPConnection(gateway.url.removeprefix("http://"), timeout=30)
    body = b'{"model":"%s","stream":true,"messages":[]}' % model.encode()
    headers = {"authorization": "Bearer sk-test-everything", "content-type": "application/json"}
    connection.request("POST", "/v1/chat/completions", body, headers)
    return connection.getresponse()


@pytest.mark.parametrize("framing", ["chunked", "close", "length"])
def test_a_whole_stream_arrives_byte_for_byte(gateway, mock, model, framing):
    mock.script(model, sse_answer(samples.chat_events(), framing=framing))
    answer = raw_stream(gateway, model)
    assert answer.status == 200
    assert answer.read() == b"".join(samples.chat_events())


def test_a_finish_reason_is_enough_of_an_end(client, mock, model):
    mock.script(model, sse_answer(samples.chat_events(done=False)))
    assert read(client, model) == (samples.TEXT, None)


@pytest.mark.parametrize("framing", ["chunked", "close"])
def test_a_stream_cut_at_any_byte_is_never_a_success(client, mock, model, framing):
    """The short stream is cut behind each of its bytes, framing included, by FIN and by RST. Before its first token
    is whole that is tried again, and after it never."""
    parts = [
        samples.chunk({"content": "é"}),
        samples.chunk({"content": "b"}),
        samples.chunk({}, "stop"),
        samples.DONE,
    ]
    whole = sse_answer(parts, framing=framing).wire()
    evidence = sum(map(len, whole[:3])) - (2 if framing == "chunked" else 0)
    token = len(whole[0]) - (2 if framing == "chunked" else 0)
    successes = []
    for end in ("fin", "rst"):
        for cut in range(sum(map(len, whole))):
            name = f"{model}-{end}-{cut}"
            mock.script(name, sse_answer(parts, framing=framing, end=end, cut=cut))
            text, error = read(client, name)
            assert "éb".startswith(text), f"{end} after {cut} bytes: {text!r}"
            # The blank line of the finish reason's event may be missing without harm to its meaning.
            if error is None and cut < evidence - 1:
                successes.append((end, cut))
            attempts = len(mock.seen(name))
            if text or (end == "fin" and cut >= token):
                assert attempts == 1, f"{end} after {cut} bytes was sent again"
            elif cut < token - 1:
                assert attempts == 2, f"{end} after {cut} bytes was not tried again"
                assert error.status_code == 502
            # A reset may overtake what was sent before it.
            assert attempts <= 2
    assert successes == []


def test_a_clean_end_without_an_ending_is_an_error(client, mock, model):
    mock.script(model, sse_answer(samples.chat_events()[:3]))
    text, error = read(client, model)
    assert text == "The mill "
    assert error is not None
    assert error.code


@pytest.mark.parametrize("end", ["fin", "rst"])
def test_a_break_after_the_first_token_has_a_code(client, mock, model, end):
    # The text may not be lost to the reset: the break comes when the client has it.
    gate = threading.Event()
    mock.script(model, sse_answer(samples.chat_events()[:4], end=end, gate=gate))
    with client.chat.completions.create(model=model, messages=ASK, stream=True) as stream:
        chunks = iter(stream)
        assert next(chunks).choices[0].delta.role == "assistant"
        gate.set()
        with pytest.raises(openai.APIError) as caught:
            list(chunks)
    assert caught.value.code


def test_a_break_before_the_first_token_is_a_status(client, mock, model):
    mock.script(model, sse_answer([samples.DONE], end="fin", cut=0))
    text, error = read(client, model)
    assert text == ""
    assert isinstance(error, openai.InternalServerError)
    assert (error.status_code, error.code) == (502, "upstream_error")
    assert len(mock.seen(model)) == 2


def test_an_upstream_that_never_begins_runs_into_its_deadline(client, mock, model):
    answer = mock.script(model, sse_answer([], end="stall"))
    _, error = read(client, model)
    assert (error.status_code, error.code) == (504, "upstream_timeout")
    assert answer.left.wait(5), "the upstream connection outlives its exchange"


def test_an_error_event_of_the_upstream_passes_through(client, mock, model):
    parts = [*samples.chat_events()[:2], samples.event(samples.error("overheated", code="hot")), samples.DONE]
    mock.script(model, sse_answer(parts))
    _, error = read(client, model)
    assert (error.message, error.code) == ("overheated", "hot")


def test_a_client_that_leaves_takes_the_upstream_along(client, mock, model):
    answer = mock.script(model, sse_answer(samples.chat_events()[:2], end="stall"))
    with client.chat.completions.create(model=model, messages=ASK, stream=True) as stream:
        next(iter(stream))
    began = time.monotonic()
    assert answer.left.wait(5)
    assert time.monotonic() - began < 2


def test_a_client_that_leaves_before_the_first_token_takes_the_upstream_along(client_of, mock, model):
    answer = mock.script(model, sse_answer([], end="stall"))
    with pytest.raises(openai.APITimeoutError):
        read_or_raise(client_of(timeout=0.5), model)
    assert answer.left.wait(3)


def read_or_raise(client, model):
    text, error = read(client, model)
    if error:
        raise error
    return text


def test_usage_is_asked_for_and_kept_from_who_did_not_ask(client, mock, model):
    def answer(request):
        asked = (request.json.get("stream_options") or {}).get("include_usage", False)
        return sse_answer(samples.chat_events(usage=asked))

    mock.script(model, answer)
    chunks = list(client.chat.completions.create(model=model, messages=ASK, stream=True))
    assert all(chunk.choices for chunk in chunks)
    options = {"include_usage": True}
    chunks = list(client.chat.completions.create(model=model, messages=ASK, stream=True, stream_options=options))
    assert chunks[-1].usage.total_tokens == samples.USAGE["total_tokens"]
    asked = [request.json["stream_options"]["include_usage"] for request in mock.seen(model)]
    assert asked == [True, True]


def test_keep_alive_comments_flow_and_do_no_harm(gateway, client, mock, model):
    gate = threading.Event()
    mock.script(model, sse_answer(samples.chat_events(), gate=gate, gate_timeout=10))
    watched = raw_stream(gateway, model)
    while not (line := watched.readline()).startswith(b":"):
        assert line, "the stream ended without a comment"
    gate.set()
    rest = watched.read()
    assert rest.endswith(samples.DONE)

    # The SDK, over a silence in which at least one comment comes.
    mock.script(model, sse_answer(samples.chat_events(), gate=threading.Event(), gate_timeout=2.5))
    assert read(client, model) == (samples.TEXT, None)


def test_comments_of_the_upstream_pass_through(client, mock, model):
    parts = [b": PROCESSING\n\n", *samples.chat_events()]
    mock.script(model, sse_answer(parts))
    assert read(client, model) == (samples.TEXT, None)


def test_pieces_that_split_characters_and_lines(client, mock, model):
    whole = b"".join(samples.chat_events())
    mock.script(model, sse_answer([whole[at : at + 1] for at in range(len(whole))]))
    assert read(client, model) == (samples.TEXT, None)


def test_crlf_lines(client, mock, model):
    parts = [part.replace(b"\n", b"\r\n") for part in samples.chat_events()]
    mock.script(model, sse_answer(parts))
    assert read(client, model) == (samples.TEXT, None)


def test_a_responses_stream(client, mock, model):
    mock.script(model, sse_answer(samples.response_events()))
    events = list(client.responses.create(model=model, input="mills", stream=True))
    assert events[-1].type == "response.completed"
    assert "".join(e.delta for e in events if e.type.endswith("text.delta")) == samples.TEXT


@pytest.mark.parametrize("end", ["end", "fin", "rst"])
def test_a_responses_stream_without_its_end_is_raised(client, mock, model, end):
    gate = threading.Event()
    mock.script(model, sse_answer(samples.response_events(complete=False), end=end, gate=gate))
    kinds = []
    with pytest.raises(openai.APIError) as caught:
        for event in client.responses.create(model=model, input="mills", stream=True):
            kinds.append(event.type)
            gate.set()
    assert caught.value.code
    assert kinds[0] == "response.created"
    assert "response.completed" not in kinds


def test_the_helper_for_responses_raises_as_well(client, mock, model):
    # Created and no more, which is no answer yet; and one that has begun.
    item = {"id": "msg_1", "type": "message", "status": "in_progress", "role": "assistant", "content": []}
    added = {"type": "response.output_item.added", "output_index": 0, "item": item, "sequence_number": 1}
    created = samples.response_events()[0]
    for events, attempts in (([created], 2), ([created, samples.event(added, added["type"])], 1)):
        name = f"{model}-{attempts}"
        mock.script(name, sse_answer(events))
        with pytest.raises(openai.APIError) as caught, client.responses.stream(model=name, input="mills") as stream:
            list(stream)
        assert isinstance(caught.value, openai.APIStatusError) == (attempts == 2)
        assert len(mock.seen(name)) == attempts


@pytest.mark.parametrize("framing", ["chunked", "close"])
def test_a_responses_stream_cut_anywhere_is_never_a_success(client, mock, model, framing):
    """Cut behind every eleventh byte, by FIN and by RST: either the last event came whole, or an error is raised."""
    parts = samples.response_events()
    whole = sse_answer(parts, framing=framing).wire()
    evidence = sum(map(len, whole[: len(parts)])) - (2 if framing == "chunked" else 0) - 1
    token = sum(map(len, whole[:2])) - (2 if framing == "chunked" else 0)
    for end in ("fin", "rst"):
        for cut in range(0, evidence, 11):
            name = f"{model}-{end}-{cut}"
            mock.script(name, sse_answer(parts, framing=framing, end=end, cut=cut))
            kinds = []
            with pytest.raises(openai.APIError):
                for event in client.responses.create(model=name, input="mills", stream=True):
                    kinds.append(event.type)
            attempts = len(mock.seen(name))
            if kinds or (end == "fin" and cut >= token):
                assert attempts == 1, f"{end} after {cut} bytes was sent again"
            elif cut < token - 1:
                assert attempts == 2, f"{end} after {cut} bytes was not tried again"
            assert attempts <= 2


def test_parse_of_a_stream(client, mock, model):
    mock.script(model, sse_answer(samples.chat_events()))
    with client.chat.completions.stream(model=model, messages=ASK) as stream:
        assert stream.get_final_completion().choices[0].message.content == samples.TEXT


def test_every_stream_ended_once(gateway, client, mock, model):
    """After all of the above and one more, nothing is in flight."""
    mock.script(model, sse_answer(samples.chat_events()))
    assert read(client, model)[1] is None
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        active = [line for line in gateway.metrics().splitlines() if line.startswith("millstream_streams_active")]
        if active and all(float(line.rsplit(" ", 1)[1]) == 0 for line in active):
            return
    pytest.fail(f"still in flight: {active}")
