"""A receiver of webhooks: a real HTTP server that answers as a test tells it and keeps what it took."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Request(NamedTuple):
    """One POST as it came in."""

    headers: Message
    body: bytes

    @property
    def alert_id(self) -> str:
        return str(json.loads(self.body)["alert_id"])

    @property
    def alert(self) -> dict[str, Any]:
        alert: dict[str, Any] = json.loads(self.body)
        return alert


class Answer(NamedTuple):
    """What to say to a request, and after how long."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    after_s: float = 0.0


class WebhookReceiver:
    """`requests` holds everything that came, also what was refused; `accepted` what was answered with 2xx."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.requests: list[Request] = []
        self.accepted: list[Request] = []
        self.answer: Callable[[Request], Answer] = lambda request: Answer()
        self._came = threading.Condition()

    def take(self, request: Request) -> Answer:
        with self._came:
            self.requests.append(request)
            answer = self.answer(request)
            if 200 <= answer.status < 300:
                self.accepted.append(request)
            self._came.notify_all()
        time.sleep(answer.after_s)
        return answer

    def wait_for_requests(self, n: int, within_s: float = 20.0) -> None:
        """Block until `n` requests came in all."""
        with self._came:
            if not self._came.wait_for(lambda: len(self.requests) >= n, within_s):
                raise AssertionError(f"expected {n} requests within {within_s} s, got {len(self.requests)}")


@contextmanager
def webhook_receiver() -> Iterator[WebhookReceiver]:
    """A receiver on a free local port, stopped at the end."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answer = receiver.take(Request(self.headers, body))
            self.send_response(answer.status)
            for name, value in answer.headers:
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: the test says what matters."""

    class Server(ThreadingHTTPServer):
        request_queue_size = 128
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A sender that was killed leaves a broken connection; that is the test's purpose."""

    server = Server(("127.0.0.1", 0), Handler)
    receiver = WebhookReceiver(f"http://127.0.0.1:{server.server_address[1]}/alerts")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
