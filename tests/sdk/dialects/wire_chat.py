"""OpenAI's chat completions."""

import json

from script import USAGE, VECTOR, Call, Text, Thought, View, pieces

CONTENT_TYPE = "text/event-stream"


def model(_, request):
    return request["model"]


def is_embeddings(path):
    return path.endswith("embeddings")


def is_count(_):
    return False


def embeddings(request):
    inputs = request["input"] if isinstance(request["input"], list) else [request["input"]]
    data = [{"object": "embedding", "index": at, "embedding": VECTOR} for at in range(len(inputs))]
    return {
        "object": "list",
        "data": data,
        "model": request["model"],
        "usage": {"prompt_tokens": USAGE["input"], "total_tokens": USAGE["input"]},
    }


def view(_, request):
    found = View(stream=request.get("stream", False), thinking=bool(request.get("reasoning_effort")))
    for message in request["messages"]:
        content = message.get("content")
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content or []
        if message["role"] == "tool":
            found.results.append("".join(part["text"] for part in parts))
        elif message["role"] in ("system", "developer"):
            found.system += [part["text"] for part in parts]
        elif message["role"] == "user":
            found.results.clear()
            for part in parts:
                if part["type"] == "text":
                    found.texts.append(part["text"])
                else:
                    found.images.append(part["image_url"]["url"].split(";")[0].removeprefix("data:"))
        elif message["role"] == "assistant":
            for call in message.get("tool_calls") or []:
                assert isinstance(json.loads(call["function"]["arguments"]), dict)
    found.tools = [tool["function"]["name"] for tool in request.get("tools", [])]
    choice = request.get("tool_choice")
    found.forced = choice["function"]["name"] if isinstance(choice, dict) else None
    found.schema = request.get("response_format", {}).get("type") == "json_schema"
    return found


def usage():
    return {
        "prompt_tokens": USAGE["input"],
        "completion_tokens": USAGE["output"],
        "total_tokens": USAGE["input"] + USAGE["output"],
        "prompt_tokens_details": {"cached_tokens": USAGE["cached"]},
        "completion_tokens_details": {"reasoning_tokens": USAGE["reasoning"]},
    }


def head(model_name, kind):
    return {"id": "chatcmpl-script", "object": kind, "created": 1760000000, "model": model_name}


def tool_call(call):
    function = {"name": call.name, "arguments": json.dumps(call.arguments)}
    return {"id": call.id, "type": "function", "function": function}


def answer(model_name, parts, calls):
    message = {"role": "assistant", "content": None, "refusal": None}
    for part in parts:
        if isinstance(part, Text):
            message["content"] = (message["content"] or "") + part.text
        elif isinstance(part, Thought):
            message["reasoning_content"] = part.text
        else:
            message.setdefault("tool_calls", []).append(tool_call(part))
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if calls else "stop", "logprobs": None}
    return {**head(model_name, "chat.completion"), "choices": [choice], "usage": usage()}


def events(model_name, parts, calls):
    def chunk(delta, finish=None):
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        value = {**head(model_name, "chat.completion.chunk"), "choices": [choice], "usage": None}
        return f"data: {json.dumps(value)}\n\n".encode()

    yield chunk({"role": "assistant", "content": ""})
    at = 0
    for part in parts:
        if isinstance(part, Text):
            yield from (chunk({"content": piece}) for piece in pieces(part.text))
        elif isinstance(part, Thought):
            yield from (chunk({"reasoning_content": piece}) for piece in pieces(part.text))
        elif isinstance(part, Call):
            begun = {**tool_call(part), "index": at}
            begun["function"] = {"name": part.name, "arguments": ""}
            yield chunk({"tool_calls": [begun]})
            for piece in pieces(json.dumps(part.arguments)):
                yield chunk({"tool_calls": [{"index": at, "function": {"arguments": piece}}]})
            at += 1
    yield chunk({}, "tool_calls" if calls else "stop")
    last = {**head(model_name, "chat.completion.chunk"), "choices": [], "usage": usage()}
    yield f"data: {json.dumps(last)}\n\n".encode()
    yield b"data: [DONE]\n\n"


def failure(status, text):
    kinds = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
    kind = kinds.get(status, "invalid_request_error" if status < 500 else "server_error")
    return {"error": {"message": text, "type": kind, "param": None, "code": None}}, []
