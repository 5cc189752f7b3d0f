"""Amazon Bedrock's Converse, with its binary framing of streams."""

import binascii
import json
import struct

from script import USAGE, Call, Text, Thought, View, pieces

CONTENT_TYPE = "application/vnd.amazon.eventstream"


def model(path, _):
    return path.split("model/", 1)[1].rsplit("/", 1)[0]


def is_embeddings(path):
    return path.endswith("/invoke")


def is_count(path):
    return path.endswith("/count-tokens")


def count(request):
    assert request["input"]["converse"]["messages"]
    return {"inputTokens": USAGE["input"]}


def view(path, request):
    found = View(stream=path.endswith("/converse-stream"))
    found.thinking = "thinking" in request.get("additionalModelRequestFields", {})
    found.system = [block["text"] for block in request.get("system", []) if "text" in block]
    roles = [message["role"] for message in request["messages"]]
    assert roles[0] == "user" and all(one != two for one, two in zip(roles, roles[1:])), roles
    for message in request["messages"]:
        for block in message["content"]:
            if "toolResult" in block:
                parts = block["toolResult"]["content"]
                found.results.append("".join(part.get("text") or json.dumps(part.get("json")) for part in parts))
            elif "image" in block:
                found.images.append("image/" + block["image"]["format"])
            elif "reasoningContent" in block:
                found.signatures.append(block["reasoningContent"]["reasoningText"]["signature"])
            elif "toolUse" in block:
                assert isinstance(block["toolUse"]["input"], dict)
            elif "text" in block and message["role"] == "user":
                found.results.clear()
                found.texts.append(block["text"])
    config = request.get("toolConfig", {})
    found.tools = [tool["toolSpec"]["name"] for tool in config.get("tools", []) if "toolSpec" in tool]
    found.forced = config.get("toolChoice", {}).get("tool", {}).get("name")
    # Claude's own form, which has more than Converse.
    own = request.get("additionalModelRequestFields", {}).get("tool_choice", {})
    found.forced = found.forced or own.get("name")
    found.schema = "outputConfig" in request
    return found


def usage():
    return {
        "inputTokens": USAGE["input"] - USAGE["cached"],
        "cacheReadInputTokens": USAGE["cached"],
        "outputTokens": USAGE["output"],
        "totalTokens": USAGE["input"] + USAGE["output"],
    }


def content(parts):
    for part in parts:
        if isinstance(part, Text):
            yield {"text": part.text}
        elif isinstance(part, Thought):
            yield {"reasoningContent": {"reasoningText": {"text": part.text, "signature": part.signature}}}
        elif isinstance(part, Call):
            yield {"toolUse": {"toolUseId": "tooluse_" + part.id, "name": part.name, "input": part.arguments}}


def answer(_, parts, calls):
    return {
        "output": {"message": {"role": "assistant", "content": list(content(parts))}},
        "stopReason": "tool_use" if calls else "end_turn",
        "usage": usage(),
        "metrics": {"latencyMs": 1},
    }


def frame(kind, value):
    """One message of application/vnd.amazon.eventstream."""
    headers = b""
    for name, text in [(":event-type", kind), (":content-type", "application/json"), (":message-type", "event")]:
        headers += struct.pack("!B", len(name)) + name.encode() + b"\x07" + struct.pack("!H", len(text)) + text.encode()
    payload = json.dumps(value).encode()
    prelude = struct.pack("!II", 16 + len(headers) + len(payload), len(headers))
    message = prelude + struct.pack("!I", binascii.crc32(prelude)) + headers + payload
    return message + struct.pack("!I", binascii.crc32(message))


def events(_, parts, calls):
    yield frame("messageStart", {"role": "assistant"})
    for at, part in enumerate(parts):
        deltas = []
        if isinstance(part, Text):
            deltas = [{"text": piece} for piece in pieces(part.text)]
        elif isinstance(part, Thought):
            deltas = [{"reasoningContent": {"text": piece}} for piece in pieces(part.text)]
            deltas.append({"reasoningContent": {"signature": part.signature}})
        elif isinstance(part, Call):
            start = {"toolUse": {"toolUseId": "tooluse_" + part.id, "name": part.name}}
            yield frame("contentBlockStart", {"contentBlockIndex": at, "start": start})
            deltas = [{"toolUse": {"input": piece}} for piece in pieces(json.dumps(part.arguments))]
        for delta in deltas:
            yield frame("contentBlockDelta", {"contentBlockIndex": at, "delta": delta})
        yield frame("contentBlockStop", {"contentBlockIndex": at})
    yield frame("messageStop", {"stopReason": "tool_use" if calls else "end_turn"})
    yield frame("metadata", {"usage": usage(), "metrics": {"latencyMs": 1}})


def failure(status, text):
    kinds = {
        400: "ValidationException",
        401: "UnrecognizedClientException",
        403: "AccessDeniedException",
        404: "ResourceNotFoundException",
        413: "RequestEntityTooLargeException",
        429: "ThrottlingException",
        503: "ServiceUnavailableException",
    }
    return {"message": text}, [("x-amzn-errortype", kinds.get(status, "InternalServerException"))]
