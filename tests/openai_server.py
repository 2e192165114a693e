"""An OpenAI-compatible server on loopback that does what a test tells it, request by request."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = Callable[["Exchange"], None]


class Exchange:
    """One request, and the means to answer it."""

    def __init__(self, handler: BaseHTTPRequestHandler, request: dict[str, Any], left: threading.Event) -> None:
        self.request = request
        self.left = left
        """Set when the client has gone, or the test ends."""
        self._handler = handler

    def refuse(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        body = json.dumps({"error": {"message": message}}).encode()
        self._handler.send_response(status)
        for name, value in ({"Content-Type": "application/json", "Content-Length": str(len(body))} | (headers or {})).items():
            self._handler.send_header(name, value)
        self._handler.end_headers()
        self._handler.wfile.write(body)

    def begin(self, kind: str = "text/event-stream") -> None:
        self._handler.send_response(200)
        self._handler.send_header("Content-Type", kind)
        self._handler.end_headers()
        self._handler.wfile.flush()

    def send(self, data: str) -> None:
        self._handler.wfile.write(data.encode())
        self._handler.wfile.flush()

    def say(self, *words: str) -> None:
        for word in words:
            self.send(f"data: {json.dumps({'choices': [{'index': 0, 'delta': {'content': word}, 'finish_reason': None}]})}\n\n")

    def finish(self, prompt_tokens: int | None = None, completion_tokens: int = 0) -> None:
        self.send(f"data: {json.dumps({'choices': [{'index': 0, 'delta': {}, 'finish_reason': 'stop'}]})}\n\n")
        if prompt_tokens is not None:
            usage = {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens, "total_tokens": 0}
            self.send(f"data: {json.dumps({'choices': [], 'usage': usage})}\n\n")
        self.send("data: [DONE]\n\n")

    def has_left(self, wait_s: float) -> bool:
        """Whether the client goes within so many seconds."""
        self._handler.connection.settimeout(wait_s)
        try:
            return not self._handler.connection.recv(1)
        except TimeoutError:
            return False
        except OSError:
            return True

    def stall(self) -> None:
        """Keeps the connection, silently, until the client goes."""
        while not self.left.is_set():
            if self.has_left(0.02):
                self.left.set()


class Server:
    """Answers its requests by these, in order; the last one stays."""

    def __init__(self, *replies: Reply) -> None:
        self.replies = list(replies)
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.left = threading.Event()
        """The client of a stalled request has gone."""
        self.url = ""
        self.models: list[str] | None = []
        """What it says it has; None: it does not know the question."""

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        request = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        self.requests.append(request)
        self.keys.append(handler.headers["Authorization"])
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        reply(Exchange(handler, request, self.left))


@contextmanager
def serving(*replies: Reply) -> Iterator[Server]:
    server = Server(*replies)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            server.answer(self)

        def do_GET(self) -> None:
            models = server.models if self.path == "/v1/models" else None
            body = json.dumps({"object": "list", "data": [{"id": name, "object": "model"} for name in models or ()]}).encode()
            self.send_response(404 if models is None else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that goes is what some tests are about."""

    with Quiet(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, name="test server")
        thread.start()
        server.url = f"http://127.0.0.1:{http.server_port}/v1"
        try:
            yield server
        finally:
            server.left.set()
            http.shutdown()
            thread.join()
