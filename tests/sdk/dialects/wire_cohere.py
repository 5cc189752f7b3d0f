"""Cohere's chat, version 2."""

import json

from script import USAGE, VECTOR, Call, Text, Thought, View, pieces

CONTENT_TYPE = "text/event-stream"


def model(_, request):
    return request["model"]


def is_embeddings(path):
    return path.endswith("embed")


def is_count(_):
    return False


def embeddings(request):
    assert request["embedding_types"] == ["float"] and request["input_type"]
    texts = request.get("texts") or request["inputs"]
    meta = {"billed_units": {"input_tokens": USAGE["input"]}}
    return {"id": "embed-script", "embeddings": {"float": [VECTOR for _ in texts]}, "texts": texts, "meta": meta}


def view(_, request):
    found = View(stream=request.get("stream", False))
    found.thinking = request.get("thinking", {}).get("type") == "enabled"
    for message in request["messages"]:
        content = message.get("content") or []
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        if message["role"] == "tool":
            found.results.append("".join(part.get("text") or json.dumps(part.get("document")) for part in parts))
        elif message["role"] == "system":
            found.system += [part["text"] for part in parts]
        elif message["role"] == "user":
            found.results.clear()
            for part in parts:
                if part["type"] == "text":
                    found.texts.append(part["text"])
                else:
                    found.images.append(part["image_url"]["url"].split(";")[0].removeprefix("data:"))
    found.tools = [tool["function"]["name"] for tool in request.get("tools", [])]
    found.schema = "response_format" in request
    return found


def usage():
    return {"tokens": {"input_tokens": USAGE["input"], "output_tokens": USAGE["output"]}}


def tool_call(call):
    function = {"name": call.name, "arguments": json.dumps(call.arguments)}
    return {"id": call.id, "type": "function", "function": function}


def answer(_, parts, calls):
    message = {"role": "assistant"}
    for part in parts:
        if isinstance(part, Text):
            message.setdefault("content", []).append({"type": "text", "text": part.text})
        elif isinstance(part, Thought):
            message.setdefault("content", []).append({"type": "thinking", "thinking": part.text})
        else:
            message.setdefault("tool_calls", []).append(tool_call(part))
    return {"id": "cohere-script", "message": message, "finish_reason": "TOOL_CALL" if calls else "COMPLETE", "usage": usage()}


def events(_, parts, calls):
    def event(kind, **members):
        return f"event: {kind}\ndata: {json.dumps({'type': kind, **members})}\n\n".encode()

    yield event("message-start", id="cohere-script", delta={"message": {"role": "assistant", "content": []}})
    for at, part in enumerate(parts):
        if isinstance(part, Call):
            begun = tool_call(part)
            begun["function"]["arguments"] = ""
            yield event("tool-call-start", index=at, delta={"message": {"tool_calls": begun}})
            for piece in pieces(json.dumps(part.arguments)):
                delta = {"message": {"tool_calls": {"function": {"arguments": piece}}}}
                yield event("tool-call-delta", index=at, delta=delta)
            yield event("tool-call-end", index=at)
            continue
        kind = "thinking" if isinstance(part, Thought) else "text"
        yield event("content-start", index=at, delta={"message": {"content": {"type": kind, kind: ""}}})
        for piece in pieces(part.text):
            yield event("content-delta", index=at, delta={"message": {"content": {kind: piece}}})
        yield event("content-end", index=at)
    reason = "TOOL_CALL" if calls else "COMPLETE"
    yield event("message-end", id="cohere-script", delta={"finish_reason": reason, "usage": usage()})


def failure(_, text):
    return {"id": "error-script", "message": text}, []
