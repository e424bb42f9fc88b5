"""Several servers that serve the same thing, behind one client: work goes to the least busy one, and past those that are down."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from anyscene.errors import JudgeError, ModelError, SpecError
from anyscene.http.client import UNREACHABLE, ApiClient, HttpFailure, jitter

__all__ = ["Servers"]

T = TypeVar("T")

REST_S = 10.0
"""How long a server that could not be reached is passed over, while others can be."""
LONGEST_PAUSE_S = 30.0


class Servers:
    """One server, or several of the same kind. Safe to use from many threads.

    A server that is down or busy is passed over for the next one. After a round over all of them there is a pause, then another round.
    With one server, everything is as `ApiClient` does it.

    Args:
        urls: addresses, up to and with the version.
        error: what is raised when a server cannot be used at all.
        key_env: environment variable that holds the key of all of them.
        key_required: there must be a key.
        timeout_s: for one attempt.
        retries: further rounds after the first.
        deadline_s: for all attempts of one request together; by default so that in every round one may time out.
        backoff_s: pause before the second round; it doubles each time, up to half a minute.
        connections: most at once, to each server.

    Attributes:
        clients: one of each server.

    Raises:
        MissingExtraError: httpx is not installed.
        SpecError: there is no address, or one is none, holds a password, or is given twice.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        error: type[ModelError] | type[JudgeError],
        key_env: str,
        key_required: bool = False,
        timeout_s: float = 120.0,
        retries: int = 6,
        deadline_s: float | None = None,
        backoff_s: float = 1.0,
        connections: int = 16,
    ) -> None:
        several = len(urls) > 1
        if not urls or len({url.rstrip("/") for url in urls}) < len(urls):
            raise SpecError(f"{len(urls)} servers ({', '.join(urls)}): give at least one, and each of them once")
        if retries < 0 or backoff_s < 0:
            raise SpecError(f"timeout_s={timeout_s}, retries={retries}, backoff_s={backoff_s}: none may be negative, and timeout_s not 0")
        self.clients = [
            ApiClient(
                url,
                error=error,
                key_env=key_env,
                key_required=key_required,
                timeout_s=timeout_s,
                retries=0 if several else retries,
                deadline_s=None if several else deadline_s,
                backoff_s=backoff_s,
                connections=connections,
            )
            for url in urls
        ]
        self._retries, self._backoff_s = retries, backoff_s
        pauses_s = sum(min(LONGEST_PAUSE_S, backoff_s * 2**number) for number in range(retries))
        self._deadline_s = deadline_s if deadline_s is not None else timeout_s * (retries + 1) + pauses_s
        self._busy, self._resting, self._lock = [0] * len(urls), [0.0] * len(urls), threading.Lock()
        self._closed = threading.Event()
        self.close = weakref.finalize(self, _close, self.clients, self._closed)
        """Ends all pauses and closes all connections."""

    def __repr__(self) -> str:
        return f"Servers({self.urls!r})"

    @property
    def urls(self) -> list[str]:
        """Their addresses."""
        return [client.base_url for client in self.clients]

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed.is_set()

    @contextmanager
    def turn(self) -> Iterator[int]:
        """The place of the server that has least to do, for requests that are better off at one server: those about one picture.

        It counts as busy until the block ends.
        """
        with self._lock:
            place = min(self._awake(range(len(self.clients))), key=self._busy.__getitem__)
            self._busy[place] += 1
        try:
            yield place
        finally:
            with self._lock:
                self._busy[place] -= 1

    def post(
        self,
        path: str,
        body: Mapping[str, object],
        read: Callable[[Any], T],
        *,
        first: int | None = None,
        alone: bool = False,
        optional: bool = False,
    ) -> T | HttpFailure:
        """Sends JSON and reads the JSON that comes back, as `ApiClient.post` does.

        Args:
            path: below the base address.
            body: what is sent.
            read: makes the value from the parsed reply; raises `Malformed` where it is not what it should be.
            first: place of the server that is asked before the others; the least busy one by default.
            alone: no other than the first is asked, and that once.
            optional: a server need not know the path.
        """
        if len(self.clients) == 1 or (alone and first is not None):
            return self.clients[first or 0].post(path, body, read, optional=optional)
        if first is None:
            with self.turn() as place:
                return self.post(path, body, read, first=place, optional=optional)
        until = time.monotonic() + self._deadline_s
        for attempt in range(self._retries + 1):
            waits = []
            for place in self._awake([(first + step) % len(self.clients) for step in range(len(self.clients))]):
                reply = self.clients[place].post(path, body, read, optional=optional)
                if not isinstance(reply, HttpFailure):
                    self._resting[place] = 0.0
                    return reply
                if not reply.passing or self._closed.is_set():
                    return reply
                if reply.status in UNREACHABLE:
                    self._resting[place] = time.monotonic() + REST_S
                waits.append(reply.wait_s or 0.0)
                last = reply
            pause_s = min(LONGEST_PAUSE_S, self._backoff_s * 2**attempt) * jitter(f"{path} {until}".encode(), attempt)
            pause_s = max(pause_s, min(waits))
            if attempt == self._retries or time.monotonic() + pause_s > until or self._closed.wait(pause_s):
                break
        why = f"given up after {attempt + 1} rounds over {len(self.clients)} servers"
        return HttpFailure(f"{last.reason.partition(' (given up')[0]} ({why})", last.status, last.text, wait_s=last.wait_s)

    def _awake(self, places: Sequence[int]) -> list[int]:
        """Those places whose servers could be reached lately; all if none could."""
        now = time.monotonic()
        return [place for place in places if self._resting[place] <= now] or list(places)


def _close(clients: Sequence[ApiClient], closed: threading.Event) -> None:
    closed.set()
    for client in clients:
        client.close()
