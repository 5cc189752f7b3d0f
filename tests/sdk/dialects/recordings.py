"""Recorded answers of real providers: a server that replays them, and what each says, read without the gateway.

RECORDINGS_DIR names the folder. It is not part of the project.
"""

import base64
import binascii
import itertools
import json
import os
import re
import struct
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

from wire_bedrock import CONTENT_TYPE as EVENT_STREAM
from wire_bedrock import frame

FOLDER = os.environ.get("RECORDINGS_DIR")

ASKED = itertools.count()

# By the recordings' word for an API: the upstream that is asked for it.
APIS = {
    "chat": "chat",
    "responses": "responses",
    "messages": "anthropic",
    "generateContent": "gemini",
    "converse": "bedrock",
    "converse-stream": "bedrock",
    "cohere-chat": "cohere",
}

# Filed under an API that they are no answers of.
STRANGERS = {
    "anthropic/messages-plain-072e9d6ef7": "a count of tokens",
    "anthropic/messages-plain-339c9fb7f8": "a count of tokens",
    "anthropic/messages-plain-529dcb9738": "a skill",
    "anthropic/messages-plain-b2048714f8": "a batch",
    "anthropic/messages-plain-b9c01c3b74": "a version of a skill",
    "cohere/cohere-chat-plain-ae2c7c8658": "embeddings",
    "cohere/cohere-chat-plain-b70235dc3b": "a reranking",
    "gemini/generateContent-plain-06b60f6014": "Interactions API",
    "gemini/generateContent-plain-44b3750a63": "Interactions API",
    "gemini/generateContent-plain-56de76b817": "Interactions API",
    "gemini/generateContent-plain-b59bbe6377": "Interactions API",
    "gemini/generateContent-stream-7ccaa9fb4e": "Live API",
    "gemini/generateContent-stream-8f68a52846": "Interactions API",
    "openai/chat-plain-c66416b17d": "a picture",
    "openai/chat-plain-fb8161d385": "embeddings",
    "openai/chat-stream-5dfed2b7c1": "old completions",
    "openai/responses-plain-7b330b87a9": "a background response, only queued",
}


@dataclass
class Recording:
    number: int
    id: str
    upstream: str
    stream: bool
    status: int
    content_type: str
    body: bytes

    def model(self, cut=None):
        """The model that the gateway is asked for, and that it asks the replaying server for.

        It has another name each time, as a failure shuts a model for a while.
        """
        name = f"{self.upstream}-rec-{self.number}-{next(ASKED)}"
        return name if cut is None else f"{name}-cut-{cut}"

    @property
    def api(self):
        return self.upstream.partition("-")[0]

    @property
    def words(self):
        """The provider's message of what went wrong."""
        found = re.search(rb'"message"\s*:\s*("(?:[^"\\]|\\.)*")', self.body)
        return json.loads(found[1])

    def events(self):
        """The body in its units: events of an SSE stream, messages of Amazon's framing."""
        if self.content_type == EVENT_STREAM:
            return list(messages(self.body))
        return [event for event in re.split(rb"(?<=\n\n)|(?<=\r\n\r\n)", self.body) if event.strip()]

    def cut(self, place):
        """The body up to a place before its ending: 0 behind a third, 1 within an event, 2 right before the ending."""
        events = self.events()
        whole = next((at for at, event in enumerate(events) if ends(self.api, event)), len(events))
        if place == 0:
            return b"".join(events[: whole // 3])
        if place == 1:
            at = min(whole * 2 // 3, whole)
            return b"".join(events[:at]) + events[at][: len(events[at]) // 2]
        return b"".join(events[:whole])


def load():
    """Every recording of an API that can be asked for an answer; those that are none are left out."""
    found = []
    entries = json.loads(Path(FOLDER, "index.json").read_text(encoding="utf-8")) if FOLDER else []
    for number, entry in enumerate(entries):
        if entry["kind"] not in APIS or entry["id"] in STRANGERS:
            continue
        response = json.loads(Path(FOLDER, entry["id"] + ".json").read_text(encoding="utf-8"))["response"]
        if "body_b64" in response:
            body = base64.b64decode(response["body_b64"])
        else:
            body = response["body"].encode()
        stream = entry["stream"] and entry["status"] == 200
        upstream, content_type = APIS[entry["kind"]], response["content_type"]
        if entry["kind"] == "chat" and re.search(rb'"(object|type)"\s*:\s*"response', body):
            upstream = "responses"
        elif upstream == "chat" and entry["provider"] in PRESETS:
            upstream = f"chat-{entry['provider']}"
        elif entry["provider"] == "vertex":
            upstream = "vertex"
        if upstream == "bedrock" and stream and content_type != EVENT_STREAM:
            values = [json.loads(line[5:]) for line in body.splitlines() if line.startswith(b"data:")]
            body = b"".join(frame(kind, value) for each in values for kind, value in each.items())
            content_type = EVENT_STREAM
        found.append(Recording(number, entry["id"], upstream, stream, entry["status"], content_type, body))
    return found


# Providers with a preset, where theirs has habits of its own.
PRESETS = ("cerebras", "deepseek", "groq", "mistral", "openrouter", "perplexity")


def messages(body):
    """The messages of application/vnd.amazon.eventstream, whole."""
    while body:
        (length,) = struct.unpack("!I", body[:4])
        message, body = body[:length], body[length:]
        assert binascii.crc32(message[:-4]) == struct.unpack("!I", message[-4:])[0]
        yield message


def opened(message):
    """The name and the value of an event in such a message."""
    (size,) = struct.unpack("!I", message[4:8])
    headers = message[12 : 12 + size]
    name = re.search(rb":event-type\x07(..)", headers, re.DOTALL)
    (length,) = struct.unpack("!H", name[1])
    return headers[name.end() : name.end() + length].decode(), json.loads(message[12 + size : -4])


def ends(api, event):
    """Whether an event says that the answer is whole."""
    if api == "bedrock":
        return opened(event)[0] == "messageStop"
    marks = {
        "chat": rb'"finish_reason"\s*:\s*"|\[DONE\]|"error"\s*:',
        "responses": rb'"type"\s*:\s*"(response\.(completed|failed|incomplete)|error)"',
        "anthropic": rb'"message_delta"|"message_stop"',
        "gemini": rb'"finishReason"\s*:\s*"',
        "vertex": rb'"finishReason"\s*:\s*"',
        "cohere": rb'"message-end"',
    }
    return re.search(marks[api], event) is not None


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):  # noqa: N802
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        # Some name the model in the path, some in the body.
        named = re.search(r"-rec-(\d+)-\d+(?:-cut-(\d))?", unquote(self.path) + body.decode())
        recording = self.server.recordings[int(named[1])]
        data = recording.cut(int(named[2])) if named[2] else recording.body
        self.send_response(recording.status)
        self.send_header("content-type", recording.content_type)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for at in range(0, len(data), 8192):
            piece = data[at : at + 8192]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")


class Replay:
    def __init__(self):
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.recordings = {recording.number: recording for recording in load()}
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self._server.shutdown()


@dataclass
class Said:
    """An answer, as far as every dialect can tell it."""

    text: str = ""
    calls: list = field(default_factory=list)  # names and arguments
    thought: str = ""
    finish: str = ""  # stop, calls, length, filter, or another word
    input: int = 0  # with what was cached
    cached: int = 0
    output: int = 0  # with what was thought

    def settled(self):
        """With what dialects say differently made the same.

        That calls end an answer: Gemini and Responses don't say so. Blanks between thoughts: one list, or several. A
        text for a custom tool: where there are none, it is the only argument of a function.
        """
        if self.finish in ("stop", "calls"):
            self.finish = "calls" if self.calls else "stop"
        self.thought = "".join(self.thought.split())
        self.calls = [(name, {"input": given} if isinstance(given, str) else given) for name, given in self.calls]
        return self


FINISHES = {
    "stop": ["stop", "end_turn", "stop_sequence", "STOP", "COMPLETE", "STOP_SEQUENCE", "completed", "eos"],
    "calls": ["tool_calls", "function_call", "tool_use", "TOOL_CALL"],
    "length": [
        "length", "max_tokens", "max_output_tokens", "MAX_TOKENS", "model_context_window_exceeded", "model_length",
    ],  # fmt: skip
    "filter": ["content_filter", "refusal", "guardrail_intervened", "content_filtered", "SAFETY", "PROHIBITED_CONTENT"],
}


def finish(word):
    return next((name for name, words in FINISHES.items() if word in words), str(word))


def arguments(text):
    """Parsed, where they can be."""
    if not isinstance(text, str):
        return text or {}
    try:
        return json.loads(text or "{}")
    except ValueError:
        return text


def of_chat(value):
    """What a whole answer of OpenAI's chat says, the forms of thoughts that others have given it included."""
    choice = value["choices"][0]
    message = choice["message"]
    said = Said(finish=finish(choice["finish_reason"]))
    content = message.get("content") or ""
    for part in [{"type": "text", "text": content}] if isinstance(content, str) else content:
        if part["type"] == "thinking":
            said.thought += "".join(piece.get("text", "") for piece in part["thinking"])
        else:
            said.text += part.get("text", "")
    said.text += message.get("refusal") or ""
    details = "".join(each.get("text") or each.get("summary") or "" for each in message.get("reasoning_details") or [])
    said.thought += message.get("reasoning_content") or message.get("reasoning") or details
    for call in message.get("tool_calls") or []:
        own = call.get("function") or call["custom"]
        said.calls.append((own["name"], arguments(own.get("arguments", own.get("input")))))
    if usage := value.get("usage"):
        said.input, said.output = usage["prompt_tokens"], usage["completion_tokens"]
        prompt, completion = usage.get("prompt_tokens_details") or {}, usage.get("completion_tokens_details") or {}
        # xAI counts what was thought beside the output, Mistral what was heard beside the input: see the total.
        beside = usage["total_tokens"] - said.input - said.output
        said.output += beside if beside == completion.get("reasoning_tokens") else 0
        said.input += beside if beside == prompt.get("audio_tokens") else 0
        cached = prompt.get("cached_tokens") or usage.get("prompt_cache_hit_tokens") or 0
        said.cached = min(cached, said.input)
    return said


def of_chunks(chunks):
    """The same of a stream, put together by hand: the SDK's own hands know only what OpenAI sends."""
    parts, calls, said = [], {}, {"content": "", "refusal": "", "reasoning_content": "", "reasoning": ""}
    details, reason, usage = [], None, None
    for chunk in chunks:
        usage = chunk.get("usage") or (chunk.get("x_groq") or {}).get("usage") or usage
        for choice in chunk.get("choices") or []:
            reason = choice.get("finish_reason") or reason
            usage = choice.get("usage") or usage
            delta = choice.get("delta") or {}
            for name in said:
                if isinstance(delta.get(name), str):
                    said[name] += delta[name]
            if isinstance(delta.get("content"), list):
                parts += delta["content"]
            details += delta.get("reasoning_details") or []
            for call in delta.get("tool_calls") or []:
                own = calls.setdefault(call.get("index"), {"name": "", "arguments": ""})
                own["name"] = call["function"].get("name") or own["name"]
                own["arguments"] += call["function"].get("arguments") or ""
    if parts:
        said["content"] = [*parts, {"type": "text", "text": said["content"]}]
    message = {**said, "reasoning_details": details, "tool_calls": [{"function": own} for own in calls.values()]}
    return of_chat({"choices": [{"message": message, "finish_reason": reason}], "usage": usage})


def of_response(value):
    """What a Response says."""
    reason = (value.get("incomplete_details") or {}).get("reason") or value["status"]
    said = Said(finish=finish(reason))
    for item in value["output"]:
        if item["type"] == "message":
            said.text += "".join(part.get("text") or part.get("refusal") or "" for part in item["content"])
            if any(part["type"] == "refusal" for part in item["content"]):
                said.finish = "filter"
        elif item["type"] == "reasoning":
            pieces = item.get("summary") or item.get("content") or []
            said.thought += "".join(piece["text"] for piece in pieces)
        elif item["type"] == "function_call":
            said.calls.append((item["name"], arguments(item["arguments"])))
        elif item["type"] == "custom_tool_call":
            said.calls.append((item["name"], item["input"]))
    if usage := value.get("usage"):
        said.input, said.output = usage["input_tokens"], usage["output_tokens"]
        said.cached = (usage.get("input_tokens_details") or {}).get("cached_tokens") or 0
    return said


def of_message(value):
    """What a message of Anthropic's says."""
    said = Said(finish=finish(value["stop_reason"]))
    for block in value["content"]:
        if block["type"] == "text":
            said.text += block["text"]
        elif block["type"] == "thinking":
            said.thought += block["thinking"]
        elif block["type"] == "tool_use":
            said.calls.append((block["name"], block["input"]))
    usage = value["usage"]
    said.input = sum(
        usage.get(name) or 0 for name in ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    )
    said.cached, said.output = usage.get("cache_read_input_tokens") or 0, usage["output_tokens"]
    return said


def of_contents(values):
    """What one or more answers of Gemini's say together."""
    said, open_call = Said(), None
    for value in values:
        for candidate in (value.get("candidates") or [])[:1]:
            if word := candidate.get("finishReason"):
                said.finish = finish(word)
            for part in (candidate.get("content") or {}).get("parts") or []:
                if "text" in part and part.get("thought"):
                    said.thought += part["text"]
                elif "text" in part:
                    said.text += part["text"]
                elif (call := part.get("functionCall")) is not None:
                    # A call that comes in pieces is named in its first, and each but the last says that more come.
                    if open_call is None:
                        said.calls.append((call.get("name"), call.get("args") or {}))
                    for piece in call.get("partialArgs") or []:
                        lay(said.calls[-1][1], piece)
                    open_call = call if call.get("willContinue") else None
        if usage := value.get("usageMetadata"):
            said.input = (usage.get("promptTokenCount") or 0) + (usage.get("toolUsePromptTokenCount") or 0)
            said.cached = usage.get("cachedContentTokenCount") or 0
            said.output = (usage.get("candidatesTokenCount") or 0) + (usage.get("thoughtsTokenCount") or 0)
    return said


def of_lines(values):
    """What the lines of an answer in Ollama's chat say together."""
    said = Said(finish=finish(values[-1]["done_reason"]))
    for value in values:
        message = value["message"]
        said.text += message.get("content") or ""
        said.thought += message.get("thinking") or ""
        for call in message.get("tool_calls") or []:
            said.calls.append((call["function"]["name"], call["function"]["arguments"]))
    said.input, said.output = values[-1].get("prompt_eval_count") or 0, values[-1].get("eval_count") or 0
    return said


def lay(arguments, piece):
    """Puts a piece of `partialArgs` where its path says; texts grow."""
    steps = [name or int(index) for name, index in re.findall(r"\.(\w+)|\[(\d+)\]", piece["jsonPath"])]
    place = arguments
    for step, then in zip(steps, steps[1:]):
        if isinstance(place, list) and step == len(place):
            place.append([] if isinstance(then, int) else {})
        elif isinstance(place, dict):
            place.setdefault(step, [] if isinstance(then, int) else {})
        place = place[step]
    kind = next((kind for kind in ("stringValue", "numberValue", "boolValue", "nullValue") if kind in piece), None)
    value = None if kind == "nullValue" else piece.get(kind, "")
    if isinstance(place, list) and steps[-1] == len(place):
        place.append(value)
    elif kind == "stringValue" and isinstance(place, dict):
        place[steps[-1]] = place.get(steps[-1], "") + value
    elif kind is not None:
        place[steps[-1]] = value


def of_converse(recording):
    """What a recording of Bedrock's says ("Converse", "ConverseStream" in Amazon's API reference)."""
    if not recording.stream:
        value = json.loads(recording.body)
        blocks, reason, usage = value["output"]["message"]["content"], value["stopReason"], value["usage"]
    else:
        slots, reason, usage = {}, None, None
        for message in messages(recording.body):
            name, value = opened(message)
            reason = value.get("stopReason", reason)
            usage = value.get("usage", usage)
            empty = {"text": "", "thought": "", "call": None, "input": ""}
            slot = slots.setdefault(value.get("contentBlockIndex"), empty)
            if "toolUse" in value.get("start", {}):
                slot["call"] = value["start"]["toolUse"]["name"]
            delta = value.get("delta", {})
            slot["text"] += delta.get("text", "")
            slot["thought"] += delta.get("reasoningContent", {}).get("text", "")
            slot["input"] += delta.get("toolUse", {}).get("input", "")
        blocks = []
        for slot in slots.values():
            blocks += [{"text": slot["text"]}, {"reasoningContent": {"reasoningText": {"text": slot["thought"]}}}]
            if slot["call"] is not None:
                blocks.append({"toolUse": {"name": slot["call"], "input": arguments(slot["input"])}})
    said = Said(finish=finish(reason))
    for block in blocks:
        said.text += block.get("text", "")
        said.text += "".join(part["text"] for part in block.get("citationsContent", {}).get("content", []))
        said.thought += block.get("reasoningContent", {}).get("reasoningText", {}).get("text", "")
        if "toolUse" in block and block["toolUse"].get("type") != "server_tool_use":
            said.calls.append((block["toolUse"]["name"], block["toolUse"]["input"]))
    if usage:
        names = ("inputTokens", "cacheReadInputTokens", "cacheWriteInputTokens")
        said.input, said.output = sum(usage.get(name) or 0 for name in names), usage["outputTokens"]
        said.cached = usage.get("cacheReadInputTokens") or 0
    return said


def of_cohere(recording):
    """What a recording of Cohere's says ("Chat", "Streaming" in its API reference)."""
    if not recording.stream:
        value = json.loads(recording.body)
        message, end = value["message"], value
    else:
        message, end = {"content": [], "tool_calls": [], "tool_plan": ""}, None
        for line in recording.body.splitlines():
            if not line.startswith(b"data:"):
                continue
            event = json.loads(line[5:])
            delta = event.get("delta", {})
            told = delta.get("message", {})
            if event["type"].startswith("content"):
                message["content"].append(told.get("content", {}))
            elif event["type"] == "tool-plan-delta":
                message["tool_plan"] += told["tool_plan"]
            elif event["type"] == "tool-call-start":
                message["tool_calls"].append(told["tool_calls"])
            elif event["type"] == "tool-call-delta":
                message["tool_calls"][-1]["function"]["arguments"] += told["tool_calls"]["function"]["arguments"]
            elif event["type"] == "message-end":
                end = delta
    said = Said(finish=finish(end["finish_reason"]), thought=message.get("tool_plan") or "")
    for part in message.get("content") or []:
        said.text += part.get("text") or ""
        said.thought += part.get("thinking") or ""
    for call in message.get("tool_calls") or []:
        said.calls.append((call["function"]["name"], arguments(call["function"]["arguments"])))
    if usage := end.get("usage"):
        said.input, said.output = int(usage["tokens"]["input_tokens"]), int(usage["tokens"]["output_tokens"])
        said.cached = int(usage.get("cached_tokens") or 0)
    return said
