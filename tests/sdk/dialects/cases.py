"""What every SDK is asked to do, and what comes out of it."""

import base64
import struct
import zlib

WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string", "description": "Where"}, "unit": {"type": "string", "enum": ["C", "F"]}},
    "required": ["city"],
    "additionalProperties": False,
}

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


def _png():
    def chunk(kind, data):
        return struct.pack("!I", len(data)) + kind + data + struct.pack("!I", zlib.crc32(kind + data))

    head = struct.pack("!IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0\xff\0\0")) + chunk(b"IEND", b"")


PNG = _png()
PNG_BASE64 = base64.b64encode(PNG).decode()

# Kinds whose scripted answers can show a thought, and those that take a picture, a schema.
THINKS = {"openai", "responses", "azure", "anthropic", "gemini", "vertex", "vertexclaude", "bedrock", "cohere", "ollama"}
EMBEDS = {"openai", "responses", "azure", "gemini", "vertex", "cohere", "ollama"}


def said(kind, text):
    return f"Hello from {kind}. You said: {text}"
