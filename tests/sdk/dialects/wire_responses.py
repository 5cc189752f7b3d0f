"""OpenAI's Responses."""

import json

from script import USAGE, Call, Text, Thought, View, pieces
from wire_chat import embeddings, failure, is_embeddings, model  # noqa: F401

CONTENT_TYPE = "text/event-stream"


def is_count(path):
    return path.endswith("/input_tokens")


def count(_):
    return {"object": "response.input_tokens", "input_tokens": USAGE["input"]}


def view(_, request):
    found = View(stream=request.get("stream", False), thinking=bool(request.get("reasoning")))
    if request.get("instructions"):
        found.system.append(request["instructions"])
    items = request["input"] if isinstance(request["input"], list) else [{"role": "user", "content": request["input"]}]
    for item in items:
        kind = item.get("type", "message")
        if kind == "function_call_output":
            output = item["output"]
            found.results.append(output if isinstance(output, str) else "".join(part["text"] for part in output))
        elif kind == "function_call":
            assert isinstance(json.loads(item["arguments"]), dict)
        elif kind == "reasoning":
            found.signatures.append(item["encrypted_content"])
        elif item.get("role") == "user":
            found.results.clear()
            content = item["content"]
            parts = [{"type": "input_text", "text": content}] if isinstance(content, str) else content
            for part in parts:
                if part["type"] == "input_text":
                    found.texts.append(part["text"])
                else:
                    found.images.append(part["image_url"].split(";")[0].removeprefix("data:"))
        elif item.get("role") in ("system", "developer"):
            content = item["content"]
            found.system += [content] if isinstance(content, str) else [part["text"] for part in content]
    found.tools = [tool["name"] for tool in request.get("tools") or []]
    choice = request.get("tool_choice")
    found.forced = choice.get("name") if isinstance(choice, dict) else None
    found.schema = request.get("text", {}).get("format", {}).get("type") == "json_schema"
    return found


def items(parts):
    for at, part in enumerate(parts):
        if isinstance(part, Text):
            content = [{"type": "output_text", "text": part.text, "annotations": [], "logprobs": []}]
            yield {"id": f"msg_{at}", "type": "message", "role": "assistant", "status": "completed", "content": content}
        elif isinstance(part, Thought):
            summary = [{"type": "summary_text", "text": part.text}]
            yield {"id": f"rs_{at}", "type": "reasoning", "summary": summary, "encrypted_content": part.signature}
        elif isinstance(part, Call):
            yield {
                "id": f"fc_{at}",
                "type": "function_call",
                "status": "completed",
                "call_id": part.id,
                "name": part.name,
                "arguments": json.dumps(part.arguments),
            }


def response(model_name, output, status):
    usage = {
        "input_tokens": USAGE["input"],
        "input_tokens_details": {"cached_tokens": USAGE["cached"]},
        "output_tokens": USAGE["output"],
        "output_tokens_details": {"reasoning_tokens": USAGE["reasoning"]},
        "total_tokens": USAGE["input"] + USAGE["output"],
    }
    return {
        "id": "resp_script",
        "object": "response",
        "created_at": 1760000000,
        "status": status,
        "model": model_name,
        "output": output,
        "usage": usage if status == "completed" else None,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
    }


def answer(model_name, parts, _):
    return response(model_name, list(items(parts)), "completed")


def events(model_name, parts, _):
    number = 0

    def event(kind, **members):
        nonlocal number
        value = {"type": kind, "sequence_number": number, **members}
        number += 1
        return f"event: {kind}\ndata: {json.dumps(value)}\n\n".encode()

    yield event("response.created", response=response(model_name, [], "in_progress"))
    done = list(items(parts))
    for at, item in enumerate(done):
        place = {"output_index": at, "item_id": item["id"]}
        if item["type"] == "message":
            text = item["content"][0]["text"]
            yield event("response.output_item.added", output_index=at, item={**item, "content": [], "status": "in_progress"})
            part = {"type": "output_text", "text": "", "annotations": []}
            yield event("response.content_part.added", **place, content_index=0, part=part)
            for piece in pieces(text):
                yield event("response.output_text.delta", **place, content_index=0, delta=piece, logprobs=[])
            yield event("response.output_text.done", **place, content_index=0, text=text, logprobs=[])
            yield event("response.content_part.done", **place, content_index=0, part=item["content"][0])
        elif item["type"] == "reasoning":
            text = item["summary"][0]["text"]
            yield event("response.output_item.added", output_index=at, item={**item, "summary": [], "encrypted_content": None})
            part = {"type": "summary_text", "text": ""}
            yield event("response.reasoning_summary_part.added", **place, summary_index=0, part=part)
            for piece in pieces(text):
                yield event("response.reasoning_summary_text.delta", **place, summary_index=0, delta=piece)
            yield event("response.reasoning_summary_text.done", **place, summary_index=0, text=text)
            yield event("response.reasoning_summary_part.done", **place, summary_index=0, part=item["summary"][0])
        else:
            yield event("response.output_item.added", output_index=at, item={**item, "arguments": "", "status": "in_progress"})
            for piece in pieces(item["arguments"]):
                yield event("response.function_call_arguments.delta", **place, delta=piece)
            yield event("response.function_call_arguments.done", **place, arguments=item["arguments"], name=item["name"])
        yield event("response.output_item.done", output_index=at, item=item)
    yield event("response.completed", response=response(model_name, done, "completed"))
