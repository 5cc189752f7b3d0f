"""Wire forms of OpenAI's API, written for these tests."""

import json

WORDS = ["The ", "mill ", "grinds ", "été."]
TEXT = "".join(WORDS)
DONE = b"data: [DONE]\n\n"
USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}


def event(value, name=None):
    data = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    return (b"event: " + name.encode() + b"\n" if name else b"") + b"data: " + data + b"\n\n"


def chunk(delta=None, finish=None, **extra):
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    base = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices}
    return event({**base, **extra})


def chat_events(done=True, usage=False):
    events = [chunk({"role": "assistant", "content": ""})]
    events += [chunk({"content": word}) for word in WORDS]
    events.append(chunk({}, "stop"))
    if usage:
        events.append(chunk(None, usage=USAGE))
    return events + ([DONE] if done else [])


def completion(content=TEXT, tool_calls=None, finish="stop"):
    message = {"role": "assistant", "content": content, "refusal": None}
    if tool_calls:
        message["tool_calls"] = tool_calls
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
    return {"id": "c1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": USAGE}


def tool_call(name, arguments, call_id="call_1"):
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def tool_events():
    def piece(**call):
        return chunk({"tool_calls": [{"index": 0, **call}]})

    first = {"id": "call_1", "type": "function", "function": {"name": "grind", "arguments": ""}}
    pieces = [piece(function={"arguments": text}) for text in ('{"gra', 'in":"r', 'ye"}')]
    return [piece(**first), *pieces, chunk({}, "tool_calls"), DONE]


def response(status="completed", text=TEXT):
    content = [{"type": "output_text", "text": text, "annotations": []}]
    message = {"id": "msg_1", "type": "message", "status": "completed", "role": "assistant", "content": content}
    return {
        "id": "resp_1", "object": "response", "created_at": 1, "status": status, "model": "m", "output": [message],
        "parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "error": None, "incomplete_details": None,
        "instructions": None, "metadata": {}, "temperature": 1.0, "top_p": 1.0,
    }  # fmt: skip


def response_events(complete=True):
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0, "logprobs": []}
    values = [{"type": "response.created", "response": {**response("in_progress"), "output": []}}]
    values += [{"type": "response.output_text.delta", "delta": word, **place} for word in WORDS]
    if complete:
        values.append({"type": "response.completed", "response": response()})
    return [event({**value, "sequence_number": number}, value["type"]) for number, value in enumerate(values)]


def error(message="told", kind="invalid_request_error", code="some_code", param="messages"):
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
