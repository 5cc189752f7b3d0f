"""Recorded streams of real providers, replayed through the gateway in random pieces: bytes out are bytes in.

Needs RECORDINGS_DIR, a folder of recordings that is not part of the project.
"""

import http.client
import json
import os
import random
from pathlib import Path

import pytest
from mock_upstream import Answer

FOLDER = os.environ.get("RECORDINGS_DIR")
PATHS = {"chat": "/v1/chat/completions", "responses": "/v1/responses"}


def recordings():
    """(path of the surface, recording) of every stream in OpenAI's dialect."""
    found = []
    for file in sorted(Path(FOLDER).glob("*/*.json")) if FOLDER else []:
        recording = json.loads(file.read_text(encoding="utf-8"))
        if recording.get("stream") and recording.get("kind") in PATHS and recording["response"]["status"] == 200:
            body = recording["response"]["body"]
            # Some are filed as chat although they were taken from the Responses API.
            kind = "responses" if '"type":"response.' in body.replace(" ", "") else recording["kind"]
            found.append(pytest.param(PATHS[kind], recording["response"], id=f"{file.parent.name}/{file.stem}"))
    return found


def pieces(body, seed):
    draw = random.Random(seed)
    cuts = sorted(draw.randrange(len(body) + 1) for _ in range(draw.choice([0, 3, 40, 400])))
    bounds = [0, *cuts, len(body)]
    return [body[a:b] for a, b in zip(bounds, bounds[1:], strict=False) if b > a]


@pytest.mark.skipif(FOLDER is None, reason="RECORDINGS_DIR is not set")
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("path", "recorded"), recordings())
def test_a_recorded_stream_passes_byte_for_byte(gateway, mock, model, path, recorded, seed):
    body = recorded["body"].encode()
    framing = ["chunked", "close", "length"][seed]
    mock.script(model, Answer(200, {"content-type": recorded["content_type"]}, pieces(body, seed), framing))
    ask = {"model": model, "stream": True, "input": "x"}
    if path == PATHS["chat"]:
        # Usage is asked for, because the gateway takes it out of answers to those who did not.
        ask = {"model": model, "stream": True, "messages": [], "stream_options": {"include_usage": True}}
    connection = http.client.HTTPConnection(gateway.url.removeprefix("http://"), timeout=30)
    headers = {"authorization": "Bearer sk-test-everything", "content-type": "application/json"}
    connection.request("POST", path, json.dumps(ask), headers)
    answer = connection.getresponse()
    assert answer.status == 200
    received = answer.read()
    if ends_as_it_should(path, recorded["body"]):
        assert received == body
    else:
        # A recording without an ending is passed on, and then the break is told.
        assert received.startswith(body.rstrip(b"\n"))
        assert b"error" in received[len(body.rstrip(b"\n")) :] or '"error"' in recorded["body"]


def ends_as_it_should(path, body):
    bare = body.replace(" ", "")
    if path == PATHS["chat"]:
        return "data:[DONE]" in bare or '"finish_reason":"' in bare
    kinds = ("response.completed", "response.failed", "response.incomplete", "error")
    return any(f'"type":"{kind}"' in bare for kind in kinds)
