"""Gemini's generateContent, on its own API and on Vertex AI."""

import json
import re

from script import USAGE, VECTOR, Call, Text, Thought, View, pieces, signature

CONTENT_TYPE = "text/event-stream"


def model(path, _):
    return path.rsplit("/models/", 1)[-1].rsplit(":", 1)[0]


def is_embeddings(path):
    return path.endswith("mbedContents") or path.endswith(":embedContent") or path.endswith(":predict")


def is_count(path):
    return path.endswith(":countTokens")


def count(_):
    return {"totalTokens": USAGE["input"]}


def embeddings(request):
    if "instances" in request:
        return {"predictions": [{"embeddings": {"values": VECTOR, "statistics": {"token_count": 4}}} for _ in request["instances"]]}
    if "requests" in request:
        return {"embeddings": [{"values": VECTOR} for _ in request["requests"]]}
    return {"embedding": {"values": VECTOR}}


def camel(request):
    """Some clients write names as Python would. Gemini takes both."""
    return json.loads(re.sub(r'_([a-z])(?=[a-zA-Z_]*":)', lambda found: found[1].upper(), json.dumps(request)))


def view(path, request):
    request = camel(request)
    config = request.get("generationConfig", {})
    found = View(stream=path.endswith(":streamGenerateContent"))
    found.thinking = bool(config.get("thinkingConfig", {}).get("includeThoughts"))
    found.system = [part["text"] for part in request.get("systemInstruction", {}).get("parts", [])]
    for content in request["contents"]:
        for part in content["parts"]:
            if "thoughtSignature" in part:
                found.signatures.append(part["thoughtSignature"])
            if "functionResponse" in part:
                # Vercel's SDK writes the name beside the content.
                response = {name: value for name, value in part["functionResponse"]["response"].items() if name != "name"}
                found.results.append(str(next(iter(response.values()), "")) if len(response) == 1 else json.dumps(response))
            elif "inlineData" in part:
                found.images.append(part["inlineData"]["mimeType"])
            elif "fileData" in part:
                found.images.append(part["fileData"].get("mimeType", "url"))
            elif "functionCall" in part:
                assert isinstance(part["functionCall"].get("args", {}), dict)
            elif "text" in part and content.get("role", "user") == "user":
                found.results.clear()
                found.texts.append(part["text"])
    for tool in request.get("tools", []):
        found.tools += [function["name"] for function in tool.get("functionDeclarations", [])]
    choice = request.get("toolConfig", {}).get("functionCallingConfig", {})
    allowed = choice.get("allowedFunctionNames") or []
    found.forced = allowed[0] if choice.get("mode") == "ANY" and allowed else None
    found.schema = "responseJsonSchema" in config or "responseSchema" in config
    return found


def content(parts):
    for part in parts:
        if isinstance(part, Text):
            yield {"text": part.text}
        elif isinstance(part, Thought):
            yield {"text": part.text, "thought": True}
        elif isinstance(part, Call):
            yield {"functionCall": {"name": part.name, "args": part.arguments}, "thoughtSignature": signature("google")}


def response(model_name, parts, reason, usage):
    candidate = {"content": {"role": "model", "parts": parts}, "index": 0}
    if reason:
        candidate["finishReason"] = reason
    value = {"candidates": [candidate], "modelVersion": model_name, "responseId": "resp-script"}
    if usage:
        value["usageMetadata"] = {
            "promptTokenCount": USAGE["input"],
            "cachedContentTokenCount": USAGE["cached"],
            "candidatesTokenCount": USAGE["output"] - USAGE["reasoning"],
            "thoughtsTokenCount": USAGE["reasoning"],
            "totalTokenCount": USAGE["input"] + USAGE["output"],
        }
    return value


def answer(model_name, parts, _):
    return response(model_name, list(content(parts)), "STOP", True)


def events(model_name, parts, _):
    def event(value):
        return f"data: {json.dumps(value)}\r\n\r\n".encode()

    for part in content(parts):
        if "text" in part:
            for piece in pieces(part["text"]):
                yield event(response(model_name, [{**part, "text": piece}], None, True))
        else:
            yield event(response(model_name, [part], None, True))
    yield event(response(model_name, [{"text": ""}], "STOP", True))


def failure(status, text):
    words = {
        400: "INVALID_ARGUMENT",
        401: "UNAUTHENTICATED",
        413: "INVALID_ARGUMENT",
        403: "PERMISSION_DENIED",
        404: "NOT_FOUND",
        429: "RESOURCE_EXHAUSTED",
        503: "UNAVAILABLE",
        504: "DEADLINE_EXCEEDED",
    }
    return {"error": {"code": status, "message": text, "status": words.get(status, "INTERNAL")}}, []
