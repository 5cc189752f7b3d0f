"""Recorded answers of real providers, through the gateway, in each front dialect with its real SDK.

What the SDK puts together must say what the recording says, as the provider's own SDK reads it. Needs RECORDINGS_DIR.
"""

import os
from dataclasses import replace

import anthropic
import ollama
import openai
import pytest
import recordings
from conftest import HEAD, KEY
from gateway import Gateway
from google import genai
from google.genai import errors as genai_errors
from google.genai import types
from recordings import (
    PRESETS,
    Replay,
    of_chat,
    of_chunks,
    of_cohere,
    of_contents,
    of_converse,
    of_lines,
    of_message,
    of_response,
)

if recordings.FOLDER is None:
    pytest.skip("RECORDINGS_DIR is not set", allow_module_level=True)

# The SDKs' own types don't know all that providers say.
pytestmark = pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")

ALL = recordings.load()
GOOD = [recording for recording in ALL if recording.status == 200]
BAD = [recording for recording in ALL if recording.status >= 400]
STREAMS = [recording for recording in GOOD if recording.stream]
# Every tenth, and the first of each API.
CUT = [each for at, each in enumerate(STREAMS) if at % 10 == 0 or each.api not in {one.api for one in STREAMS[:at]}]

UPSTREAMS = {
    "chat": 'kind = "openai"\nresponses = false',
    "responses": 'kind = "openai"\napi = "responses"\nresponses = true',
    "anthropic": 'kind = "anthropic"',
    "gemini": 'kind = "gemini"',
    "vertex": 'kind = "vertex"\nproject = "p"',
    "bedrock": 'kind = "bedrock"\nregion = "us-east-1"',
    "cohere": 'kind = "cohere"',
} | {f"chat-{preset}": f'kind = "openai"\npreset = "{preset}"\nresponses = false' for preset in PRESETS}

ENTRY = """
[[upstreams]]
name = "{name}"
{settings}
base_url = "{url}/{name}"
key_env = "DIALECTS_UPSTREAM_KEY"

[[routes]]
model = "{name}-rec-*"
targets = ["{name}"]
"""

ASK = [{"role": "user", "content": "Tell me about mills"}]


@pytest.fixture(scope="session")
def replay():
    replay = Replay()
    yield replay
    replay.close()


@pytest.fixture(scope="session")
def gateway(replay, tmp_path_factory):
    folder = tmp_path_factory.mktemp("recordings")
    upstreams = UPSTREAMS | {alone(*case).upstream: UPSTREAMS[case[0].upstream] for case in [*CUTS, *REFUSED]}
    entries = [ENTRY.format(name=name, settings=settings, url=replay.url) for name, settings in upstreams.items()]
    (folder / "config.toml").write_text(HEAD + "".join(entries))
    os.environ |= {"DIALECTS_KEY": KEY, "DIALECTS_UPSTREAM_KEY": "upstream-0123456789"}
    gateway = Gateway(["serve", "-c", str(folder / "config.toml")], folder, "recordings")
    yield gateway
    assert gateway.stop() == 0


class Sdks:
    """The SDKs before one address: the gateway's, or that of the replaying server itself."""

    def __init__(self, url, openai_url):
        self.openai = openai.OpenAI(api_key=KEY, base_url=openai_url, max_retries=0, timeout=30)
        self.anthropic = anthropic.Anthropic(api_key=KEY, base_url=url, max_retries=0, timeout=30)
        self.gemini = genai.Client(api_key=KEY, http_options=types.HttpOptions(base_url=url, timeout=30_000))
        self.ollama = ollama.Client(host=url, headers={"Authorization": f"Bearer {KEY}"}, timeout=30)

    def chat(self, model, stream):
        if not stream:
            return of_chat(self.openai.chat.completions.create(model=model, messages=ASK).to_dict())
        options = {"include_usage": True}
        with self.openai.chat.completions.stream(model=model, messages=ASK, stream_options=options) as events:
            try:
                return of_chat(events.get_final_completion().to_dict())
            except openai.LengthFinishReasonError as cut:
                # The helper's way to tell of an answer that is too long.
                return of_chat(cut.completion.to_dict())

    def chunks(self, model, stream):
        """As `chat`, chunk by chunk."""
        if not stream:
            return self.chat(model, stream)
        options = {"include_usage": True}
        chunks = self.openai.chat.completions.create(model=model, messages=ASK, stream=True, stream_options=options)
        return of_chunks([chunk.to_dict() for chunk in chunks])

    def responses(self, model, stream):
        if not stream:
            return of_response(self.openai.responses.create(model=model, input=ASK).to_dict())
        with self.openai.responses.stream(model=model, input=ASK) as events:
            for event in events:
                if event.type == "response.incomplete":
                    return of_response(event.response.to_dict())
            return of_response(events.get_final_response().to_dict())

    def events(self, model, stream):
        """As `responses`, event by event."""
        if not stream:
            return self.responses(model, stream)
        last = list(self.openai.responses.create(model=model, input=ASK, stream=True))[-1]
        assert last.type in ("response.completed", "response.incomplete")
        return of_response(last.response.to_dict())

    def messages(self, model, stream):
        if not stream:
            return of_message(self.anthropic.messages.create(model=model, messages=ASK, max_tokens=1000).to_dict())
        with self.anthropic.messages.stream(model=model, messages=ASK, max_tokens=1000) as events:
            return of_message(events.get_final_message().to_dict())

    def contents(self, model, stream):
        contents = ASK[0]["content"]
        if stream:
            answers = list(self.gemini.models.generate_content_stream(model=model, contents=contents))
        else:
            answers = [self.gemini.models.generate_content(model=model, contents=contents)]
        values = [answer.model_dump(mode="json", by_alias=True, exclude_none=True) for answer in answers]
        return of_contents(values)

    def lines(self, model, stream):
        answers = self.ollama.chat(model=model, messages=ASK, stream=stream)
        return of_lines([answer.model_dump() for answer in (answers if stream else [answers])])


FRONTS = {
    "chat": Sdks.chat,
    "chunks": Sdks.chunks,
    "responses": Sdks.responses,
    "events": Sdks.events,
    "messages": Sdks.messages,
    "contents": Sdks.contents,
    "lines": Sdks.lines,
}

# What a front raises where a provider fails or its stream breaks.
ERRORS = {
    "chat": openai.APIError,
    "chunks": openai.APIError,
    "responses": openai.APIError,
    "events": openai.APIError,
    "messages": anthropic.APIError,
    "contents": genai_errors.APIError,
    "lines": ollama.ResponseError,
}

# By dialect of the upstream: the fronts that its answers are passed through to as they are.
SAME = {
    "chat": ("chat", "chunks"),
    "responses": ("responses", "events"),
    "anthropic": ("messages",),
    "gemini": ("contents",),
    "vertex": ("contents",),
}

# Fronts that say that an answer ends because of its calls.
SAY_CALLS = ("chat", "messages")
# Its calls were made, and answered, within the turn by the code that the provider has run.
ANSWERED = ("anthropic/messages-plain-e7c4169458",)

# What a front's SDK can't take in.
UNFIT = {
    ("openai/responses-stream-284bd29ada", "contents"): "the picture in it was cut short by who recorded it",
    ("openai/responses-stream-284bd29ada", "lines"): "the SDK takes no pictures in answers",
    ("azure/chat-stream-5df302b036", "lines"): "the SDK takes no pictures in answers",
}

# What fails although its status is a success: in a stream, or in the place of an answer.
FAILURES = ("groq/chat-stream-25e988586b", "openai/chat-plain-b7e49d3788", "openai/responses-stream-ce62faea01")

# What a provider's own answer makes its SDK raise, which the gateway hands on as it is.
RAISES = {
    ("mistral/chat-stream-d8ecd6e075", "chat"): (TypeError, "calls without an index"),
    ("moonshotai/chat-stream-5f3a1e7c63", "chat"): (AssertionError, "chunks that don't say what they are"),
    ("openai/chat-plain-b7e49d3788", "chat"): (KeyError, "an error with the status of a success"),
    ("openai/responses-stream-76ed4e2f2a", "responses"): (RuntimeError, "items whose ids change"),
}


@pytest.fixture(scope="session")
def sdks(gateway):
    return Sdks(gateway.url, gateway.base_url)


@pytest.fixture(scope="session")
def direct(replay):
    """The SDKs before the replaying server, without the gateway."""
    return Sdks(replay.url, replay.url)


@pytest.fixture(scope="session")
def own(direct):
    """What a recording says, by the SDK of its provider where that is here; or how that fails."""
    by_api = {
        "chat": Sdks.chunks,
        "responses": Sdks.events,
        "anthropic": Sdks.messages,
        "gemini": Sdks.contents,
        "vertex": Sdks.contents,
    }
    known = {}

    def own(recording):
        if recording.id not in known:
            if recording.api in by_api:
                known[recording.id] = outcome(by_api[recording.api], direct, recording)
            else:
                known[recording.id] = (of_converse if recording.api == "bedrock" else of_cohere)(recording).settled()
        return known[recording.id]

    return own


def outcome(front, sdks, recording):
    try:
        return front(sdks, recording.model(), recording.stream).settled()
    except Exception as error:  # noqa: BLE001
        return error


def cases(recordings):
    """Each recording in each front. Piece by piece only where the pieces are the provider's own."""
    for recording in recordings:
        for front in FRONTS:
            is_whole = front not in ("chunks", "events")
            if is_whole or (recording.stream and front in SAME.get(recording.api, ())):
                yield recording, front


def name(value):
    """Of a parameter, in the name of its test."""
    return getattr(value, "id", value)


CUTS = [(*case, place) for case in cases(CUT) for place in range(3)]
REFUSED = [(*case, stream) for case in cases(BAD) for stream in (False, True)]


def alone(recording, front, case):
    """A recording of a failure, behind an upstream that nothing else is asked of: its breaker must stay closed."""
    return replace(recording, upstream=f"{recording.upstream}-alone-{recording.number}-{front}-{case}".lower())


@pytest.mark.parametrize(("recording", "front"), list(cases(GOOD)), ids=name)
def test_what_a_recording_says(sdks, direct, own, recording, front):
    if reason := UNFIT.get((recording.id, front)):
        pytest.skip(reason)
    told = own(recording)
    if front in SAME.get(recording.api, ()):
        # Passed through as it is: what the SDK makes of it is what it makes of the provider's own, be it an exception.
        raw = outcome(FRONTS[front], direct, recording)
        if (recording.id, front) in RAISES:
            expected = RAISES[recording.id, front][0]
            assert type(raw) is expected
            with pytest.raises(expected):
                FRONTS[front](sdks, recording.model(), recording.stream)
            return
        told = raw
    if recording.id in FAILURES:
        assert isinstance(told, Exception)
        with pytest.raises(ERRORS[front]) as caught:
            FRONTS[front](sdks, recording.model(), recording.stream)
        assert recording.words in str(caught.value)
        return
    said = FRONTS[front](sdks, recording.model(), recording.stream)
    if front in SAY_CALLS and front not in SAME.get(recording.api, ()) and recording.id not in ANSWERED:
        assert said.finish == told.finish
    # Ollama has no word for what came from the cache.
    assert said.settled() == (replace(told, cached=0) if front == "lines" else told)


@pytest.mark.parametrize(("recording", "front", "place"), CUTS, ids=name)
def test_a_cut_is_told(sdks, recording, front, place):
    with pytest.raises(ERRORS[front]):
        FRONTS[front](sdks, alone(recording, front, place).model(place), True)


@pytest.mark.parametrize("front", ["responses", "messages", "contents", "lines"])
def test_an_error_in_place_of_a_stream(sdks, front):
    recording = next(recording for recording in GOOD if recording.id == "openai/chat-plain-b7e49d3788")
    with pytest.raises(ERRORS[front]) as caught:
        FRONTS[front](sdks, recording.model(), True)
    assert recording.words in str(caught.value)


CLASSES = {
    "openai": {
        400: openai.BadRequestError,
        401: openai.AuthenticationError,
        404: openai.NotFoundError,
        429: openai.RateLimitError,
    },
    "anthropic": {
        400: anthropic.BadRequestError,
        401: anthropic.AuthenticationError,
        404: anthropic.NotFoundError,
        429: anthropic.RateLimitError,
    },
    "ollama": dict.fromkeys((400, 401, 404, 429), ollama.ResponseError),
    "gemini": dict.fromkeys((400, 401, 404, 429), genai_errors.ClientError),
}
SDK_OF = {"messages": "anthropic", "contents": "gemini", "lines": "ollama"}

# Amazon says it with 400 that there is no such model.
STATUSES = {"bedrock/converse-stream-plain-389515891e": 404}


@pytest.mark.parametrize(("recording", "front", "stream"), REFUSED, ids=name)
def test_a_failure_is_told(sdks, recording, front, stream):
    status = STATUSES.get(recording.id, recording.status)
    with pytest.raises(CLASSES[SDK_OF.get(front, "openai")][status]) as caught:
        FRONTS[front](sdks, alone(recording, front, stream).model(), stream)
    assert recording.words in str(caught.value)
    assert (caught.value.code if front == "contents" else caught.value.status_code) == status
