"""A scripted upstream on plain sockets: what it answers, and how it breaks off, is decided per model name.

Nothing here sleeps to wait for somebody; a script waits for an event (``gate``) or for the peer to leave.
"""

import json
import socket
import struct
import threading
from dataclasses import dataclass, field


@dataclass
class Request:
    method: str
    path: str
    headers: dict
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def model(self):
        if self.headers.get("content-type", "").startswith("multipart/form-data"):
            part = self.body.partition(b'name="model"\r\n\r\n')[2]
            return part.partition(b"\r\n")[0].decode()
        try:
            return self.json.get("model", "")
        except (ValueError, AttributeError):
            return ""


@dataclass
class Answer:
    """One answer. ``parts`` are written one by one; ``end`` says what follows the last."""

    status: int = 200
    headers: dict = field(default_factory=dict)
    parts: list = field(default_factory=list)
    framing: str = "chunked"  # or "length", "close"
    end: str = "end"  # or "fin", "rst", "stall" (until the peer leaves)
    cut: int | None = None  # bytes of the framed body after which it breaks off
    gate: threading.Event | None = None  # waited for before the last part
    gate_timeout: float = 20.0
    left: threading.Event = field(default_factory=threading.Event)  # the peer left during a stall

    def wire(self):
        """The framed body, part by part."""
        if self.framing != "chunked":
            return list(self.parts)
        return [b"%x\r\n%s\r\n" % (len(part), part) for part in self.parts] + [b"0\r\n\r\n"]


def json_answer(value, status=200, headers=None):
    headers = {"content-type": "application/json", **(headers or {})}
    return Answer(status, headers, [json.dumps(value).encode()], "length")


def sse_answer(parts, **how):
    return Answer(200, {"content-type": "text/event-stream", "x-request-id": "req_mock"}, list(parts), **how)


class MockUpstream:
    def __init__(self):
        self.requests = []
        self._scripts = {}
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def script(self, model, *answers):
        """``model`` gets these answers in turn, and the last one ever after. An answer may be a function of the
        request. Returns the first, for its events."""
        with self._lock:
            self._scripts[model] = list(answers)
        return answers[0]

    def seen(self, model):
        with self._lock:
            return [request for request in self.requests if request.model == model]

    def close(self):
        self._listener.close()

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        reader = connection.makefile("rb")
        try:
            while True:
                request = read_request(reader)
                if request is None or not self._answer(connection, request):
                    break
        except OSError:
            pass
        finally:
            reader.close()
            connection.close()

    def _answer(self, connection, request):
        """Writes one answer; true if the connection may be used again."""
        with self._lock:
            self.requests.append(request)
            script = self._scripts.get(request.model) or [not_scripted]
            answer = script.pop(0) if len(script) > 1 else script[0]
        if callable(answer):
            answer = answer(request)
        connection.sendall(head(answer))
        room = answer.cut
        wire = answer.wire()
        for index, part in enumerate(wire):
            if answer.gate and index == len(answer.parts) - 1:
                answer.gate.wait(answer.gate_timeout)
            if answer.end != "end" and answer.framing == "chunked" and index == len(answer.parts) and room is None:
                break  # a break leaves the last chunk out
            piece = part if room is None else part[:room]
            room = None if room is None else room - len(piece)
            connection.sendall(piece)
        if answer.end == "stall":
            self._stall(connection, answer)
        elif answer.end == "rst":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif answer.end == "fin":
            connection.shutdown(socket.SHUT_WR)
        return answer.end == "end" and answer.framing != "close"

    @staticmethod
    def _stall(connection, answer):
        connection.settimeout(30)
        try:
            if connection.recv(1) == b"":
                answer.left.set()
        except ConnectionError:
            answer.left.set()


def not_scripted(request):
    message = f"no script for {request.method} {request.path} model {request.model!r}"
    return json_answer({"error": {"message": message, "type": "mock", "param": None, "code": "not_scripted"}}, 418)


def head(answer):
    lines = [f"HTTP/1.1 {answer.status} Scripted"]
    lines += [f"{name}: {value}" for name, value in answer.headers.items()]
    if answer.framing == "length":
        lines.append(f"content-length: {sum(map(len, answer.parts))}")
    else:
        lines.append("transfer-encoding: chunked" if answer.framing == "chunked" else "connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def read_request(reader):
    line = reader.readline()
    if not line.strip():
        return None
    method, path, _ = line.decode().split(" ", 2)
    headers = {}
    while (line := reader.readline()) not in (b"\r\n", b""):
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()
    if "content-length" in headers:
        body = reader.read(int(headers["content-length"]))
    elif "chunked" in headers.get("transfer-encoding", ""):
        body = b""
        while size := int(reader.readline().split(b";")[0], 16):
            body += reader.read(size)
            reader.readline()
        reader.readline()
    else:
        body = b""
    return Request(method, path, headers, body)
