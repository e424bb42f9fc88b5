"""The local page on which people answer: one HTML page served on this machine alone, by the standard library.

Every answer is on the disk before the next question is shown, so the page can be closed at any moment and opened again. The address
holds a random token; whoever does not know it gets nothing. Pictures come in an order that is each rater's own, drawn by hash, and the
questions of one picture one after the other.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
import threading
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from anyscene.errors import AnySceneError, JudgeError
from anyscene.judges.human import HumanFolder, Item

__all__ = ["LabelServer", "serve_questions"]

LOOPBACK = "127.0.0.1"
MOST_BYTES = 10_000
_TYPES = {".png": "image/png", ".apng": "image/apng", ".jpg": "image/jpeg", ".webp": "image/webp", ".gif": "image/gif", ".bmp": "image/bmp"}
_RATER = re.compile(r"[\w .@-]{1,60}")


class LabelServer:
    """Serves the questions of a folder until it is closed.

    Args:
        folder: made by a run that was judged by ``human:FOLDER``.
        port: of the loopback address; 0 takes a free one.

    Raises:
        JudgeError: there are no questions in the folder, or the port is taken.
    """

    def __init__(self, folder: Path, port: int = 0) -> None:
        if not folder.is_dir():
            raise JudgeError(f"{folder}: no such folder; judge a run with human:{folder} first, which puts its questions there")
        self.folder = HumanFolder(folder)
        if not self.folder.items:
            raise JudgeError(
                f"{folder}: there are no questions here; judge a run with human:{folder} first, which puts its questions there"
            )
        self.token = secrets.token_urlsafe(18)
        page = self
        try:
            self._server = ThreadingHTTPServer((LOOPBACK, port), type("Handler", (_Handler,), {"page": page}))
        except OSError as error:
            raise JudgeError(
                f"port {port} of this machine cannot be used ({error.strerror}); leave the port out to take a free one"
            ) from error
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        """The page's address, token included."""
        return f"http://{LOOPBACK}:{self._server.server_address[1]}/{self.token}/"

    def serve(self) -> None:
        """Serves until `close` is called from another thread, or Ctrl-C."""
        self._server.serve_forever(poll_interval=0.2)

    def start(self) -> None:
        """Serves in a thread of its own."""
        threading.Thread(target=self.serve, daemon=True).start()

    def close(self) -> None:
        """Stops serving and frees the port. What was answered is on the disk already."""
        self._server.shutdown()
        self._server.server_close()

    def items_for(self, rater: str) -> list[dict[str, Any]]:
        """The questions in this rater's order, with what they answered before."""
        given = self.folder.answers()

        def order(item: Item) -> tuple[str, str]:
            return _hash(rater, item.media_sha256), _hash(rater, item.id)

        return [
            {
                "item": item.id,
                "media": item.media,
                "modality": item.modality,
                "form": item.form,
                "question": item.question,
                "choices": item.choices,
                "answer": given.get(item.id, {}).get(rater),
            }
            for item in sorted(self.folder.items.values(), key=order)
        ]

    def save(self, said: Mapping[str, Any]) -> None:
        """Writes one answer down.

        Raises:
            ValueError: it is no answer to a question of the folder.
        """
        rater, item, text = (said.get(name) for name in ("rater", "item", "answer"))
        if not isinstance(rater, str) or not _RATER.fullmatch(rater.strip()):
            raise ValueError("a name has 1 to 60 letters, digits, spaces, or . @ - _")
        if not isinstance(item, str) or item not in self.folder.items:
            raise ValueError("there is no such question")
        if not isinstance(text, str) or len(text) > 500 or text[:1] in ("=", "+", "@"):
            raise ValueError("an answer has at most 500 letters and does not begin with = + or @")
        self.folder.save(rater.strip(), item, " ".join(text.split()))


def serve_questions(folder: Path, port: int = 0, open_browser: bool = True) -> None:
    """Serves the page until Ctrl-C, and shows it in the browser.

    Raises:
        JudgeError: there are no questions in the folder, or the port is taken.
    """
    import webbrowser

    from anyscene.runs import say

    server = LabelServer(folder, port)
    say(f"{len(server.folder.items):,} questions at {server.url} (Ctrl-C ends; every answer is kept at once)")
    if open_browser:
        webbrowser.open(server.url)
    try:
        server.serve()
    except KeyboardInterrupt:
        say("Stopped. Judge the run again to take the answers in.")
    finally:
        server._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    """Answers requests for one server's page. Anything that is not asked exactly right gets nothing."""

    page: LabelServer
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_GET(self) -> None:
        place = self._place()
        if place is None:
            return
        path, _, query = place.partition("?")
        if path == "":
            self._send(HTTPStatus.OK, "text/html; charset=utf-8", (files("anyscene.judges") / "assets" / "label.html").read_bytes())
        elif path == "items":
            rater = parse_qs(query).get("rater", [""])[0]
            self._send_json(HTTPStatus.OK, self.page.items_for(rater))
        elif path in {item.media for item in self.page.folder.items.values()}:
            file = self.page.folder.path / path
            if file.is_file():
                self._send(HTTPStatus.OK, _TYPES.get(file.suffix, "application/octet-stream"), file.read_bytes())
            else:
                self._send(HTTPStatus.NOT_FOUND, "text/plain", b"the picture is no longer in the folder")
        else:
            self._send(HTTPStatus.NOT_FOUND, "text/plain", b"nothing here")

    def do_POST(self) -> None:
        place = self._place()
        if place is None:
            return
        size = self.headers.get("Content-Length", "")
        if place != "answer" or not size.isdigit() or int(size) > MOST_BYTES:
            self.close_connection = True
            self._send(HTTPStatus.BAD_REQUEST, "text/plain", b"not an answer")
            return
        try:
            said = json.loads(self.rfile.read(int(size)))
            if not isinstance(said, dict):
                raise ValueError("not an answer")
            self.page.save(said)
        except ValueError as error:
            self._send_json(HTTPStatus.BAD_REQUEST, {"error": str(error)})
        except AnySceneError as error:
            self._send_json(HTTPStatus.INTERNAL_SERVER_ERROR, {"error": str(error)})
        else:
            self._send_json(HTTPStatus.OK, {"saved": True})

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: the terminal belongs to the user."""

    def _place(self) -> str | None:
        """What is asked for behind the token; None, and a reply, where the token or the host is wrong."""
        host = (self.headers.get("Host") or "").rpartition(":")[0]
        target = urlsplit(self.path)
        token, _, rest = target.path.removeprefix("/").partition("/")
        if host not in (LOOPBACK, "localhost") or not hmac.compare_digest(token.encode(), self.page.token.encode()):
            self.close_connection = True
            self._send(HTTPStatus.FORBIDDEN, "text/plain", b"open the address that the terminal shows")
            return None
        return rest + (f"?{target.query}" if target.query else "")

    def _send_json(self, status: HTTPStatus, value: object) -> None:
        self._send(status, "application/json", json.dumps(value).encode())

    def _send(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header(
            "Content-Security-Policy",
            "default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'",
        )
        self.end_headers()
        self.wfile.write(body)


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
