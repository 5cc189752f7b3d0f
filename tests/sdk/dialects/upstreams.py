"""One server that speaks every provider's dialect, each below a prefix of its own, and follows the same script in all."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import wire_anthropic
import wire_bedrock
import wire_chat
import wire_cohere
import wire_gemini
import wire_ollama
import wire_responses
from script import plan

# By prefix of the path: how requests are understood and answers written there.
WIRES = {
    "openai": wire_chat,
    "azure": wire_chat,
    "responses": wire_responses,
    "anthropic": wire_anthropic,
    "vertexclaude": wire_anthropic,
    "gemini": wire_gemini,
    "vertex": wire_gemini,
    "bedrock": wire_bedrock,
    "cohere": wire_cohere,
    "ollama": wire_ollama,
}

# What models named `fail-STATUS` are answered with, in each dialect.
FAILURE = "the scripted provider fails with {status}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):  # noqa: N802
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        path = unquote(urlsplit(self.path).path)
        kind, _, rest = path.lstrip("/").partition("/")
        request = json.loads(body)
        self.server.seen.append((kind, rest, dict(self.headers), request))
        wire = WIRES[kind]
        model = wire.model(rest, request)
        if "fail-" in model:
            return self.fail(wire, int(model.split("fail-")[1][:3]))
        if wire.is_embeddings(rest):
            return self.whole(200, wire.embeddings(request))
        if wire.is_count(rest):
            return self.whole(200, wire.count(request))
        view = wire.view(rest, request)
        self.server.views.append((kind, view))
        parts, calls = plan(kind, view)
        if not view.stream:
            return self.whole(200, wire.answer(model, parts, calls))
        return self.stream(wire, wire.events(model, parts, calls), "cut-" in model)

    def fail(self, wire, status):
        body, headers = wire.failure(status, FAILURE.format(status=status))
        self.whole(status, body, headers)

    def whole(self, status, value, headers=()):
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        for name, text in headers:
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(data)

    def stream(self, wire, events, is_cut):
        """Event by event. One that is cut ends, as it should for a transfer, behind its first half."""
        self.send_response(200)
        self.send_header("content-type", wire.CONTENT_TYPE)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        events = list(events)
        for event in events[: len(events) // 2] if is_cut else events:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")


class Upstreams:
    def __init__(self):
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        # What was asked: raw, and as the script sees it.
        self.seen = self._server.seen = []
        self.views = self._server.views = []
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self._server.shutdown()
