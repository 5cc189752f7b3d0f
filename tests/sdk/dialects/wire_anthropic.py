"""Anthropic's messages, on its own API and on Vertex AI."""

import json
import re

from script import USAGE, Call, Text, Thought, View, pieces

CONTENT_TYPE = "text/event-stream"


def model(path, request):
    return request.get("model") or path.rsplit("/", 1)[-1].split(":")[0]


def is_embeddings(_):
    return False


def is_count(path):
    return path.endswith(("/count_tokens", "/count-tokens:rawPredict"))


def count(_):
    return {"input_tokens": USAGE["input"]}


def blocks(content):
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def view(path, request):
    assert request["max_tokens"] > 0
    if "rawPredict" in path or "streamRawPredict" in path:
        assert request["anthropic_version"] == "vertex-2023-10-16"
    found = View(stream=request.get("stream", False))
    found.thinking = request.get("thinking", {}).get("type") in ("enabled", "adaptive")
    found.system = [block["text"] for block in blocks(request.get("system", []))]
    roles = [message["role"] for message in request["messages"]]
    assert roles[0] == "user" and all(one != two for one, two in zip(roles, roles[1:])), roles
    for message in request["messages"]:
        for block in blocks(message["content"]):
            if block["type"] == "tool_result":
                content = blocks(block.get("content", []))
                found.results.append("".join(part.get("text", "") for part in content))
            elif block["type"] == "image":
                found.images.append(block["source"].get("media_type", "url"))
            elif block["type"] == "tool_use":
                assert re.fullmatch("[a-zA-Z0-9_-]+", block["id"]) and isinstance(block["input"], dict)
            elif block["type"] == "thinking":
                found.signatures.append(block["signature"])
            elif block["type"] == "text" and message["role"] == "user":
                found.results.clear()
                found.texts.append(block["text"])
    found.tools = [tool["name"] for tool in request.get("tools", [])]
    found.forced = request.get("tool_choice", {}).get("name")
    found.schema = "format" in request.get("output_config", {})
    return found


def content(parts):
    for part in parts:
        if isinstance(part, Text):
            yield {"type": "text", "text": part.text}
        elif isinstance(part, Thought):
            yield {"type": "thinking", "thinking": part.text, "signature": part.signature}
        elif isinstance(part, Call):
            yield {"type": "tool_use", "id": "toolu_" + part.id, "name": part.name, "input": part.arguments}


def usage():
    return {
        "input_tokens": USAGE["input"] - USAGE["cached"],
        "cache_read_input_tokens": USAGE["cached"],
        "cache_creation_input_tokens": 0,
        "output_tokens": USAGE["output"],
    }


def message(model_name, blocks, reason):
    return {
        "id": "msg_script",
        "type": "message",
        "role": "assistant",
        "model": model_name,
        "content": blocks,
        "stop_reason": reason,
        "stop_sequence": None,
        "usage": usage(),
    }


def answer(model_name, parts, calls):
    return message(model_name, list(content(parts)), "tool_use" if calls else "end_turn")


def events(model_name, parts, calls):
    def event(kind, **members):
        return f"event: {kind}\ndata: {json.dumps({'type': kind, **members})}\n\n".encode()

    begun = message(model_name, [], None)
    begun["usage"]["output_tokens"] = 1
    yield event("message_start", message=begun)
    yield event("ping")
    for at, block in enumerate(content(parts)):
        empty = {"text": {"text": ""}, "thinking": {"thinking": "", "signature": ""}, "tool_use": {"input": {}}}
        yield event("content_block_start", index=at, content_block={**block, **empty[block["type"]]})
        deltas = []
        if block["type"] == "text":
            deltas = [{"type": "text_delta", "text": piece} for piece in pieces(block["text"])]
        elif block["type"] == "thinking":
            deltas = [{"type": "thinking_delta", "thinking": piece} for piece in pieces(block["thinking"])]
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
        else:
            fragments = ["", *pieces(json.dumps(block["input"]))]
            deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in fragments]
        for delta in deltas:
            yield event("content_block_delta", index=at, delta=delta)
        yield event("content_block_stop", index=at)
    delta = {"stop_reason": "tool_use" if calls else "end_turn", "stop_sequence": None}
    yield event("message_delta", delta=delta, usage=usage())
    yield event("message_stop")


def failure(status, text):
    kinds = {
        400: "invalid_request_error",
        401: "authentication_error",
        403: "permission_error",
        404: "not_found_error",
        413: "request_too_large",
        429: "rate_limit_error",
        529: "overloaded_error",
    }
    error = {"type": kinds.get(status, "api_error"), "message": text}
    return {"type": "error", "error": error, "request_id": "req_script"}, [("retry-after-ms", "10")] if status == 429 else []
