"""A small OpenAI-compatible server for tests: it answers as told, slowly, wrongly or not at all, and remembers what it was asked."""

from __future__ import annotations

import base64
import io
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from PIL import Image


@dataclass(frozen=True)
class Reply:
    """What the server sends: JSON, or bytes as they are."""

    body: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    cut_after: int | None = None
    """Bytes of the body after which the connection is closed, though more were announced."""
    drip_s: float = 0.0
    """Pause between the bytes of the body."""

    @property
    def data(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


@dataclass(frozen=True)
class Asked:
    """A request as it came in."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any
    time_s: float


class Server:
    """Answers every request by a function of it. ``url`` ends in ``/v1``."""

    def __init__(self, answer: Callable[[Asked], Reply]) -> None:
        self.answer = answer
        self.asked: list[Asked] = []
        self.most_at_once = 0
        self._now = 0
        self._lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                server._serve(self)

            def do_POST(self) -> None:
                server._serve(self)

            def log_message(self, *_: object) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_: object) -> None:
                """Connections that break are what is tested."""

        self._http = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}/v1"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)

    def paths(self) -> list[str]:
        return [one.path for one in self.asked]

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers.get("Content-Length") or 0)
        data = handler.rfile.read(length)
        asked = Asked(handler.command, handler.path, dict(handler.headers), json.loads(data) if data else None, time.monotonic())
        with self._lock:
            self.asked.append(asked)
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        try:
            reply = self.answer(asked)
            time.sleep(reply.delay_s)
        finally:
            with self._lock:
                self._now -= 1
        handler.send_response(reply.status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(reply.data)), **reply.headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        data = reply.data if reply.cut_after is None else reply.data[: reply.cut_after]
        if reply.drip_s:
            for byte in data:
                handler.wfile.write(bytes([byte]))
                handler.wfile.flush()
                time.sleep(reply.drip_s)
        else:
            handler.wfile.write(data)
        if reply.cut_after is not None:
            handler.close_connection = True

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


@contextmanager
def serving(answer: Callable[[Asked], Reply]) -> Iterator[Server]:
    with Server(answer) as server:
        yield server


def in_turn(*replies: Reply) -> Callable[[Asked], Reply]:
    """One reply after the other; the last one from then on."""
    left = list(replies)
    lock = threading.Lock()

    def answer(_: Asked) -> Reply:
        with lock:
            return left.pop(0) if len(left) > 1 else left[0]

    return answer


def png(colour: tuple[int, int, int] = (255, 0, 0), size: int = 8) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (size, size), colour).save(buffer, "PNG")
    return buffer.getvalue()


def picture_reply(data: bytes | None = None) -> Reply:
    """What an images endpoint says."""
    return Reply({"created": 1, "data": [{"b64_json": base64.b64encode(png() if data is None else data).decode()}]})


def caption_colour(caption: str) -> tuple[int, int, int]:
    """A colour of the caption's own, so that pictures can be told apart."""
    value = sum(ord(letter) * (place + 1) for place, letter in enumerate(caption))
    return value % 256, value // 256 % 256, len(caption) % 256


def error_reply(status: int, message: str, code: str = "", **headers: str) -> Reply:
    return Reply(
        {"error": {"message": message, "type": code, "code": code}},
        status,
        {name.replace("_", "-"): value for name, value in headers.items()},
    )
