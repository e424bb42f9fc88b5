"""A reward behind HTTP: one process, one reward, many trainers.

    server = RewardServer(SceneReward(load_judge("sandbox:pixels")), ServerConfig(port=8765))
    server.run()                 # until Ctrl-C or SIGTERM; what is in flight is finished
    with server: ...             # or in a thread of this process, at server.url

JSON and PNG only. A server that listens beyond this machine needs a token. See docs/reward-server.md.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from anyscene.errors import MissingExtraError, RunError, SpecError
from anyscene.rewards.batcher import Batcher
from anyscene.rewards.protocol import Reward, Score
from anyscene.rewards.telemetry import Telemetry
from anyscene.rewards.wire import Limits

if TYPE_CHECKING:
    import uvicorn

__all__ = ["RewardServer", "Server", "ServerConfig", "is_loopback"]

Own = TypeVar("Own", bound="Server")

KEEP_ALIVE_S = 20
TOKEN_LETTERS = 16


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """How a reward is served.

    Attributes:
        host: address to listen at; beyond loopback only with a token.
        port: 0 takes a free one.
        token_env: environment variable that holds the token; empty for none.
        limits: of one request.
        max_batch: pictures in a batch.
        max_wait_s: how long a picture waits for others while the reward is free.
        max_queue: pictures that wait, of all requests; more are told to come back.
        max_requests: at once.
        max_bytes: of all requests that are being served.
        timeout_s: from the last byte of a request to its reply.
        body_timeout_s: for a request to come in.
        send_timeout_s: for a reply to be taken; a connection that is slower, or idle for longer, is cut.
        stop_timeout_s: for what is in flight when the server is stopped.
        pickles: take flow_grpo's pickles too, on loopback only.

    Raises:
        SpecError: a number is out of its range; or it would listen beyond loopback without a token, or with pickles.
    """

    host: str = "127.0.0.1"
    port: int = 8765
    token_env: str = ""
    limits: Limits = field(default_factory=Limits)
    max_batch: int = 32
    max_wait_s: float = 0.01
    max_queue: int = 1024
    max_requests: int = 1024
    max_bytes: int = 512 * 2**20
    timeout_s: float = 120.0
    body_timeout_s: float = 60.0
    send_timeout_s: float = 60.0
    stop_timeout_s: float = 30.0
    pickles: bool = False

    def __post_init__(self) -> None:
        times = (self.timeout_s, self.body_timeout_s, self.send_timeout_s, self.stop_timeout_s)
        limits = self.limits
        if not 0 <= self.port <= 65535:
            raise SpecError(f"port {self.port}: it must be from 0 to 65535")
        if not all(0 < one < 86_400 for one in times):
            raise SpecError(f"time limits {', '.join(f'{one:g}' for one in times)} s: each must be above 0 and below a day")
        if min(limits.body_bytes, limits.images, limits.pixels, limits.frames, limits.questions, limits.values, self.max_requests) < 1:
            raise SpecError(f"{limits}, max_requests={self.max_requests}: each must be at least 1")
        if self.max_bytes < limits.body_bytes:
            raise SpecError(f"max_bytes={self.max_bytes:,}: one request may have {limits.body_bytes:,} bytes, and must fit")
        if self.max_queue < limits.images:
            raise SpecError(f"max_queue={self.max_queue}: one request may have {limits.images} images, and must fit")
        if not is_loopback(self.host):
            if self.pickles:
                raise SpecError(f"pickles at {self.host}: they are taken on loopback only (127.0.0.1); RewardClient sends JSON")
            if not self.token_env:
                raise SpecError(f"host {self.host}: beyond this machine a token is needed, in an environment variable that token_env names")

    def token(self) -> str:
        """The token, out of the environment; empty where none is wanted.

        Raises:
            SpecError: the variable is not set, or holds no token that can be sent or is safe.
        """
        if not self.token_env:
            return ""
        token = os.environ.get(self.token_env, "").strip()
        if len(token) < TOKEN_LETTERS or not token.isascii() or any(letter.isspace() for letter in token):
            raise SpecError(
                f"the environment variable {self.token_env} must hold a token: at least {TOKEN_LETTERS} letters, no spaces, "
                "for example: openssl rand -hex 24"
            )
        return token


class Server:
    """An application that is served in this thread (`run`) or in one beside it (``with``). Each server runs once.

    Args:
        config: how.
        telemetry: what it counts in.
        make: the application, when it is given what is to run beside it.
        what: is served, for messages: "a reward".

    Attributes:
        url: where it listens; empty before it does.
        telemetry: what it counts.

    Raises:
        MissingExtraError: uvicorn is not installed.
    """

    def __init__(self, config: ServerConfig, telemetry: Telemetry, make: Callable[[Callable[[], Awaitable[None]]], Any], what: str) -> None:
        self.config, self.url, self.telemetry = config, "", telemetry
        try:
            import uvicorn
        except ImportError:
            raise MissingExtraError(f"Serving {what}", "serve") from None
        self._server: uvicorn.Server = uvicorn.Server(
            uvicorn.Config(
                make(self._watch),
                ws="none",
                lifespan="on",
                log_config=None,
                log_level="error",
                access_log=False,
                proxy_headers=False,
                server_header=False,
                limit_concurrency=2 * config.max_requests,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=max(1, round(config.stop_timeout_s)),
            )
        )
        self._thread: threading.Thread | None = None
        self._fault: BaseException | None = None

    def run(self, on_start: Callable[[str], None] = lambda url: None) -> None:
        """Serves until Ctrl-C or SIGTERM, then finishes what is in flight.

        Args:
            on_start: told the address, when it is listened at.

        Raises:
            RunError: the address cannot be listened at.
        """
        listener = self._listen()
        on_start(self.url)
        self._server.run(sockets=[listener])

    def __enter__(self: Own) -> Own:
        listener = self._listen()

        def serve() -> None:
            try:
                self._server.run(sockets=[listener])
            except BaseException as error:
                self._fault = error

        self._thread = threading.Thread(target=serve, name="server", daemon=True)
        self._thread.start()
        while not self._server.started:
            if not self._thread.is_alive():
                raise RunError(f"the server at {self.url} did not start: {self._fault}")
            time.sleep(0.005)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(2 * self.config.stop_timeout_s + 5)

    def _listen(self) -> socket.socket:
        host, port = self.config.host, self.config.port
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
            listener = socket.socket(family, kind, protocol)
            try:
                if os.name == "posix":  # elsewhere it would let two servers share a port
                    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind(address)
                listener.listen(2048)
            except OSError:
                listener.close()
                raise
        except OSError as error:
            raise RunError(f"{host}:{port} cannot be listened at: {error.strerror or error}; take another with host and port") from None
        name = f"[{host}]" if ":" in host else host
        self.url = f"http://{name}:{listener.getsockname()[1]}"
        return listener

    async def _watch(self) -> None:
        """Cuts connections that do not take their reply, or send no request, in time; uvicorn itself would wait for ever."""
        limit_s = self.config.send_timeout_s
        since: dict[tuple[int, int, bool], float] = {}
        while True:
            await asyncio.sleep(min(1.0, limit_s / 4))
            now, before = time.monotonic(), since
            since = {}
            for connection in list(self._server.server_state.connections):
                transport, cycle = getattr(connection, "transport", None), getattr(connection, "cycle", None)
                if transport is None:
                    continue
                stalled = transport.get_write_buffer_size() > 0
                if stalled or cycle is None or cycle.response_complete:
                    key = (id(connection), id(cycle), stalled)
                    since[key] = before.get(key, now)
                    if now - since[key] > limit_s:
                        self.telemetry.count("cut_connections", 'reason="reply not taken"' if stalled else 'reason="no request"')
                        transport.abort()


class RewardServer(Server):
    """Serves a reward.

    Args:
        reward: what is served. It is called from one thread at a time.
        config: how.
        scenes: records that pickles may name by id or by caption.

    Raises:
        MissingExtraError: FastAPI or uvicorn is not installed.
        SpecError: the token is missing or not safe.
    """

    def __init__(self, reward: Reward, config: ServerConfig | None = None, *, scenes: Sequence[Mapping[str, Any]] = ()) -> None:
        own, telemetry = config or ServerConfig(), Telemetry()
        try:
            from anyscene.rewards.app import RewardRoutes, Settings, make_app
        except ImportError:
            raise MissingExtraError("Serving a reward", "serve") from None
        batcher: Batcher[Score] = Batcher(reward, telemetry, max_batch=own.max_batch, max_wait_s=own.max_wait_s, max_queue=own.max_queue)
        routes = RewardRoutes(batcher, Settings.of(own, scenes))
        super().__init__(own, telemetry, lambda watch: make_app(routes, own.stop_timeout_s, watch), "a reward")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
