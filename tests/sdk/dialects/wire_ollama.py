"""Ollama's own chat: one JSON document a line."""

import json

from script import USAGE, VECTOR, Call, Text, Thought, View, pieces

CONTENT_TYPE = "application/x-ndjson"


def model(_, request):
    return request["model"]


def is_embeddings(path):
    return path.endswith("embed")


def is_count(_):
    return False


def embeddings(request):
    inputs = request["input"] if isinstance(request["input"], list) else [request["input"]]
    return {"model": request["model"], "embeddings": [VECTOR for _ in inputs], "prompt_eval_count": USAGE["input"]}


def view(_, request):
    found = View(stream=request.get("stream", True), thinking=bool(request.get("think")))
    for message in request["messages"]:
        if message["role"] == "tool":
            found.results.append(message["content"])
        elif message["role"] == "system":
            found.system.append(message["content"])
        elif message["role"] == "user":
            found.results.clear()
            found.texts.append(message["content"])
            found.images += ["image/png" for _ in message.get("images", [])]
        for call in message.get("tool_calls", []):
            assert isinstance(call["function"]["arguments"], dict)
    found.tools = [tool["function"]["name"] for tool in request.get("tools", [])]
    found.schema = isinstance(request.get("format"), dict)
    return found


def document(model_name, message, done=None):
    value = {"model": model_name, "created_at": "2026-01-01T00:00:00Z", "message": message, "done": bool(done)}
    if done:
        value |= {"done_reason": done, "total_duration": 5, "load_duration": 1, "prompt_eval_count": USAGE["input"]}
        value |= {"prompt_eval_duration": 2, "eval_count": USAGE["output"], "eval_duration": 2}
    return value


def messages(parts):
    for part in parts:
        if isinstance(part, Text):
            yield from ({"role": "assistant", "content": piece} for piece in pieces(part.text))
        elif isinstance(part, Thought):
            yield from ({"role": "assistant", "content": "", "thinking": piece} for piece in pieces(part.text))
        elif isinstance(part, Call):
            call = {"function": {"name": part.name, "arguments": part.arguments}}
            yield {"role": "assistant", "content": "", "tool_calls": [call]}


def answer(model_name, parts, _):
    whole = {"role": "assistant", "content": ""}
    for message in messages(parts):
        whole["content"] += message["content"]
        if "thinking" in message:
            whole["thinking"] = whole.get("thinking", "") + message["thinking"]
        if "tool_calls" in message:
            whole.setdefault("tool_calls", []).extend(message["tool_calls"])
    return document(model_name, whole, "stop")


def events(model_name, parts, _):
    for message in messages(parts):
        yield json.dumps(document(model_name, message)).encode() + b"\n"
    yield json.dumps(document(model_name, {"role": "assistant", "content": ""}, "stop")).encode() + b"\n"


def failure(_, text):
    return {"error": text}, []
