"""The routes of a reward server, and what any server of pictures shares. Imported when there is something to serve: it needs FastAPI.

The order of the checks is that of their cost: the token, the room in the queue and the announced length before a byte of the body is
read; the number of values before it is parsed; the head of each picture before it is decoded.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from anyscene.rewards.batcher import Batcher
from anyscene.rewards.pickles import pickled_items, read_pickle, write_pickle
from anyscene.rewards.protocol import Score
from anyscene.rewards.telemetry import Telemetry
from anyscene.rewards.wire import Item, Limits, Refusal, checked_items, error_body, read_request, write_reply

if TYPE_CHECKING:
    from anyscene.rewards.server import ServerConfig

__all__ = ["RewardRoutes", "Routes", "Settings", "make_app"]

STUCK_AFTER = 4.0
"""A batch that takes so many times the time limit of a request is taken to be stuck."""
GONE = 499
"""What a request whose sender has left is counted as; nobody is there to be told."""
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Settings:
    """What the routes need to know.

    Attributes:
        limits: of one request.
        token: that every request but ``/health`` and ``/ready`` must bring; empty for none.
        timeout_s: from the last byte of a request to its reply.
        body_timeout_s: for a body to come in.
        most_bytes: of all requests together, from their first byte to their reply.
        most_requests: at once.
        pickles: whether flow_grpo's pickles are taken at ``/`` and ``/pickle``.
        scenes: records that a pickle may name by id or by caption.
    """

    limits: Limits
    token: str = ""
    timeout_s: float = 120.0
    body_timeout_s: float = 60.0
    most_bytes: int = 512 * 2**20
    most_requests: int = 1024
    pickles: bool = False
    scenes: tuple[Mapping[str, Any], ...] = ()

    @classmethod
    def of(cls, config: ServerConfig, scenes: Sequence[Mapping[str, Any]] = ()) -> Settings:
        """Those of a server.

        Raises:
            SpecError: its token is missing or not safe.
        """
        return cls(
            config.limits,
            config.token(),
            config.timeout_s,
            config.body_timeout_s,
            config.max_bytes,
            config.max_requests,
            config.pickles,
            tuple(scenes),
        )


class _Held:
    """Bytes of all requests that are being served, with an end."""

    def __init__(self, most: int) -> None:
        self.most, self.now = most, 0

    def take(self, number: int) -> None:
        if self.now + number > self.most:
            raise Refusal(503, "busy", f"requests of {self.now:,} bytes are being served, and {self.most:,} are the most", 1.0)
        self.now += number


class Routes(ABC):
    """What the handlers of every server share: a request goes through `served`, from its first byte to its reply.

    Args:
        batcher: scores.
        settings: limits and the like.
        parsers: threads that read requests and write replies.

    Attributes:
        title: of the server.
    """

    title: ClassVar[str]

    def __init__(self, batcher: Batcher[Any], settings: Settings, parsers: int = 2) -> None:
        self.batcher, self.settings, self.telemetry = batcher, settings, batcher.telemetry
        self.held, self.active = _Held(settings.most_bytes), 0
        self.parsers = ThreadPoolExecutor(parsers, thread_name_prefix="parse")
        self.telemetry.gauge("queue_pictures", lambda: self.batcher.waiting)
        self.telemetry.gauge("active_requests", lambda: self.active)
        self.telemetry.gauge("held_bytes", lambda: self.held.now)
        self.telemetry.gauge("batch_running_seconds", lambda: self.batcher.busy_s)

    @abstractmethod
    def posts(self) -> dict[str, Callable[[Request], Awaitable[Response]]]:
        """Paths that take pictures, and what handles them."""

    def close(self) -> None:
        """When the server has stopped."""
        self.parsers.shutdown(wait=False, cancel_futures=True)

    async def health(self, request: Request) -> Response:
        """Whether the process serves: 503 where a batch never ends."""
        if self.batcher.busy_s > STUCK_AFTER * self.settings.timeout_s:
            raise Refusal(503, "stuck", f"scoring has been at one batch for {self.batcher.busy_s:.0f} s")
        return _json(b'{"status": "ok"}')

    async def ready(self, request: Request) -> Response:
        """Whether it makes sense to send pictures now."""
        self.batcher.check_room()
        if self.batcher.failure:
            raise Refusal(503, "judge_failed", f"the judge could not be used: {self.batcher.failure[:500]}", 5.0)
        return _json(b'{"status": "ready"}')

    async def metrics(self, request: Request) -> Response:
        """Numbers for Prometheus."""
        self.check_token(request)
        return Response(self.telemetry.text(), media_type="text/plain; version=0.0.4")

    async def served(
        self,
        request: Request,
        check: Callable[[], None],
        read: Callable[[bytearray], list[Any]],
        write: Callable[[Sequence[Any], Sequence[Any]], bytes],
        media_type: str,
    ) -> Response:
        """One request from its first byte to its reply."""
        self.check_token(request)
        check()
        if self.active >= self.settings.most_requests:
            raise Refusal(503, "busy", f"{self.active} requests are being served, and that is the most", self.batcher.retry_after_s())
        self.batcher.check_room()
        started, held = time.monotonic(), [0]
        self.active += 1
        try:
            body = await self.body(request, held)
            items = await asyncio.get_running_loop().run_in_executor(self.parsers, read, body)
            del body
            scores = await self.scored(request, items)
            reply = await asyncio.get_running_loop().run_in_executor(self.parsers, write, scores, items)
            return Response(reply, 200, media_type=media_type)
        except ClientDisconnect:
            return Response(status_code=GONE)
        finally:
            self.active -= 1
            self.held.now -= held[0]
            self.telemetry.latency.add(time.monotonic() - started)

    async def body(self, request: Request, held: list[int]) -> bytearray:
        """The body, within its limits of size and time."""
        most, announced = self.settings.limits.body_bytes, request.headers.get("content-length", "")
        if announced.isdecimal() and int(announced[:20]) > most:
            raise Refusal(413, "too_large", f"the body has {announced[:20]} bytes; at most {most:,} are taken")
        found = bytearray()

        async def read() -> None:
            async for piece in request.stream():
                if len(found) + len(piece) > most:
                    raise Refusal(413, "too_large", f"the body has more than {most:,} bytes")
                self.held.take(len(piece))
                held[0] += len(piece)
                found.extend(piece)

        try:
            await asyncio.wait_for(read(), self.settings.body_timeout_s)
        except asyncio.TimeoutError:
            raise Refusal(408, "slow_body", f"the body took longer than {self.settings.body_timeout_s:g} s to come in") from None
        return found

    async def scored(self, request: Request, items: Sequence[Any]) -> list[Any]:
        """The scores, unless time runs out or the sender leaves."""
        scoring = asyncio.ensure_future(self.batcher.score(items))
        leaving = asyncio.ensure_future(_left(request))
        try:
            await asyncio.wait({scoring, leaving}, timeout=self.settings.timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if scoring.done():
                return scoring.result()
            if leaving.done():
                raise ClientDisconnect
            raise Refusal(504, "timeout", f"no score within {self.settings.timeout_s:g} s", self.batcher.retry_after_s())
        finally:
            scoring.cancel()
            leaving.cancel()
            await asyncio.gather(scoring, leaving, return_exceptions=True)

    def check_token(self, request: Request) -> None:
        """Whether the request brings the token; all wrong ones take equally long."""
        if not self.settings.token:
            return
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        same = hmac.compare_digest(given.strip().encode(), self.settings.token.encode())
        if scheme.lower() != "bearer" or not same:
            raise Refusal(401, "unauthorized", "the header Authorization must be: Bearer, and the server's token")


class RewardRoutes(Routes):
    """The handlers of a reward server."""

    title = "Anyscene reward server"

    def __init__(self, batcher: Batcher[Score], settings: Settings) -> None:
        super().__init__(batcher, settings)
        self.by_id = {str(record["id"]): record for record in settings.scenes}
        self.by_caption: dict[str, Mapping[str, Any] | None] = {}
        for record in settings.scenes:
            caption = str(record.get("caption") or "")
            self.by_caption[caption] = None if caption in self.by_caption else record  # None: several scenes have this caption

    def posts(self) -> dict[str, Callable[[Request], Awaitable[Response]]]:
        return {"/score": self.score, **({"/": self.pickle, "/pickle": self.pickle} if self.settings.pickles else {})}

    async def score(self, request: Request) -> Response:
        """Pictures and records in, scores out."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()

        def check() -> None:
            if kind != "application/json":  # a web page cannot send this one to another site unasked
                raise Refusal(415, "bad_content_type", f"Content-Type must be application/json, not {kind[:60] or 'left out'}")

        reward = self.batcher.reward.name
        return await self.served(request, check, self.parsed, lambda scores, items: write_reply(scores, items, reward), "application/json")

    async def pickle(self, request: Request) -> Response:
        """What flow_grpo sends its remote rewards, and errors in the same form."""
        try:
            return await self.served(request, lambda: None, self.unpickled, _pickled, "application/octet-stream")
        except Refusal as refusal:
            reply = write_pickle({"error": str(refusal), "code": refusal.code})
            return Response(reply, refusal.status, _headers(refusal), "application/octet-stream")

    def parsed(self, body: bytearray) -> list[Item]:
        return read_request(body, self.settings.limits)

    def unpickled(self, body: bytearray) -> list[Item]:
        """The items of a pickle; their records are in it, or are looked up by id, else by caption."""
        images, prompts, metadata = pickled_items(read_pickle(body, self.settings.limits.values))
        given = metadata or prompts
        if not given or (metadata and prompts and len(metadata) != len(prompts)):
            raise Refusal(400, "bad_request", f"{len(images)} images, {len(prompts)} prompts, {len(metadata)} entries of metadata")
        records = [self.record(entry, prompt) for entry, prompt in zip(metadata or [None] * len(given), prompts or given, strict=True)]
        return checked_items(images, records, self.settings.limits)

    def record(self, entry: Any, prompt: Any) -> Any:
        if isinstance(entry, dict) and isinstance(entry.get("record"), dict):
            entry = entry["record"]
        if isinstance(entry, dict) and "questions" in entry:
            return entry
        known = self.by_id.get(entry["id"]) if isinstance(entry, dict) and isinstance(entry.get("id"), str) else None
        if known is None and isinstance(prompt, str):
            known = self.by_caption.get(prompt)
        if known is None:
            said = prompt[:80] if isinstance(prompt, str) else type(prompt).__name__
            raise Refusal(400, "no_record", f"{said!r}: neither its metadata nor the server's scenes have one record for it")
        return known


class _Counted:
    """Counts replies by their status."""

    def __init__(self, app: ASGIApp, telemetry: Telemetry) -> None:
        self.app, self.telemetry = app, telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.telemetry.count("replies", f'status="{message["status"]}"')
            await send(message)

        await self.app(scope, receive, counted)


def make_app(routes: Routes, close_timeout_s: float, *beside: Callable[[], Awaitable[None]]) -> ASGIApp:
    """The application.

    Args:
        routes: what handles requests.
        close_timeout_s: for what is in flight when the server stops.
        beside: runs while the server does.
    """
    batcher = routes.batcher

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await batcher.start()
        tasks = [asyncio.ensure_future(one()) for one in beside]
        yield
        for task in tasks:
            task.cancel()
        await batcher.close(close_timeout_s)
        routes.close()

    app = FastAPI(title=routes.title, docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    posts, gets = routes.posts(), {"/health": routes.health, "/ready": routes.ready, "/metrics": routes.metrics}
    for method, handlers in (("GET", gets), ("POST", posts)):
        for path, handler in handlers.items():
            app.add_api_route(path, handler, methods=[method], response_class=Response, response_model=None)

    async def unknown(request: Request, error: Exception) -> Response:
        """No such path, or not with this method."""
        assert isinstance(error, HTTPException)
        code = {404: "not_found", 405: "bad_method"}.get(error.status_code, "bad_request")
        there = f"there is POST {', '.join(posts)}, and GET {', '.join(gets)}"
        said = f"{request.method} {request.url.path[:100]}: {error.detail}; {there}"
        return _json(error_body(code, said), error.status_code, error.headers)

    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(HTTPException, unknown)
    app.add_exception_handler(Exception, _internal)
    return _Counted(app, batcher.telemetry)


async def _left(request: Request) -> None:
    """Ends when the sender of a request that was read has closed its connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return _json(error_body(error.code, str(error)), error.status, _headers(error))


async def _internal(_: Request, error: Exception) -> Response:
    """A fault of the server: its log says more than its reply."""
    return _json(error_body("internal", f"internal error: {type(error).__name__}"), 500)


def _headers(refusal: Refusal) -> dict[str, str]:
    headers = {"WWW-Authenticate": "Bearer"} if refusal.status == 401 else {}
    if refusal.retry_after_s is not None:
        whole = max(1, round(refusal.retry_after_s + 0.5))
        headers |= {"Retry-After": str(whole), "Retry-After-Ms": str(round(1000 * refusal.retry_after_s))}
    return headers


def _pickled(scores: Sequence[Score | None], items: Sequence[Item]) -> bytes:
    values = [None if one is None else one.value for one in scores]
    return write_pickle({"scores": values, "outputs": values})


def _json(body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(body, status, dict(headers) if headers else None, "application/json")
