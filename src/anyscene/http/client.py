"""A client for OpenAI-compatible servers: JSON in, JSON out, tried again where that can help.

Busy servers, cut connections and garbled replies are tried again, with growing pauses and as the server's ``Retry-After`` asks. What is
wrong with one request only is a value, `HttpFailure`, so that one picture or one question fails and not the run. What is wrong with all
requests (no key, no such model, no credit left) is raised at once.

The key comes from the environment, is sent to the one server it was given for, and is never written anywhere.
"""

from __future__ import annotations

import email.utils
import hashlib
import json
import math
import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from urllib.parse import urljoin, urlsplit

from anyscene.errors import JudgeError, MissingExtraError, ModelError, SpecError

if TYPE_CHECKING:
    import httpx

__all__ = ["ApiClient", "Charge", "HttpFailure", "Malformed", "jitter"]

T = TypeVar("T")

RETRIED = frozenset({408, 409, 425, 429})
UNREACHABLE = frozenset({0, 200})
"""There was no reply at all, or one that could not be used."""
LONGEST_PAUSE_S = 60.0
MAX_REPLY_BYTES = 256 * 2**20
NO_CREDIT = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "account_deactivated")
NO_MODEL = ("model_not_found", "invalid_model", "model_not_available", "NotFoundError")
REFUSED = ("content_policy", "content_filter", "moderation", "responsible_ai", "safety system", "content policy", "safety_violation")


class Malformed(ValueError):
    """A reply that is not what it should be. It is asked for again."""


class Charge(Protocol):
    """What a request may cost, reserved before it is sent."""

    def reserve(self) -> bool:
        """Whether one more request may be sent."""
        ...

    def refund(self) -> None:
        """The server did not do the work: nothing was charged."""
        ...


@dataclass(frozen=True, slots=True)
class HttpFailure:
    """A request that failed for good.

    Attributes:
        reason: one line.
        status: of the last HTTP reply; 0 where there was none.
        text: what the server said, at most 2,000 characters.
        refused: the server will not do it, by its content rules.
        budget: it was not sent (again), because of its cost.
        wait_s: how long the server wanted us to wait before another attempt; None where it did not say.
    """

    reason: str
    status: int = 0
    text: str = ""
    refused: bool = False
    budget: bool = False
    wait_s: float | None = None

    @property
    def passing(self) -> bool:
        """Whether it is the server that failed and not the request: another server, or this one later, may do it."""
        return self.status in UNREACHABLE | RETRIED or self.status >= 500


@dataclass(frozen=True, slots=True)
class _Again:
    """An attempt that may be repeated: why, and how long the server wants us to wait."""

    reason: str
    status: int = 0
    text: str = ""
    wait_s: float | None = None


class ApiClient:
    """One server, one key, one way of trying again. Safe to use from many threads.

    Args:
        base_url: up to and with the version: ``https://api.openai.com/v1``.
        error: what is raised when the server cannot be used at all.
        key_env: environment variable that holds the key. Without it no key is sent.
        key_required: there must be a key.
        timeout_s: for one attempt, from the first byte sent to the last received.
        retries: further attempts after the first.
        deadline_s: for all attempts of one request together, pauses included; by default so that every attempt may time out.
        backoff_s: pause before the second attempt; it doubles each time, up to a minute, times a factor between 0.5 and 1 that is
            drawn from the request.
        connections: most at once.

    Raises:
        MissingExtraError: httpx is not installed.
        SpecError: the address is none, or holds a password.
    """

    def __init__(
        self,
        base_url: str,
        *,
        error: type[ModelError] | type[JudgeError],
        key_env: str = "OPENAI_API_KEY",
        key_required: bool = False,
        timeout_s: float = 120.0,
        retries: int = 6,
        deadline_s: float | None = None,
        backoff_s: float = 1.0,
        connections: int = 16,
    ) -> None:
        try:
            import httpx
        except ImportError:
            raise MissingExtraError("Asking a server over HTTP", "http") from None
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SpecError(f"base_url {base_url!r} is no address; it looks like http://localhost:8000/v1")
        if parts.username or parts.password or parts.query:
            raise SpecError(
                f"base_url of {parts.hostname}: an address with a password or a query may not be used; put the key into {key_env}"
            )
        if min(timeout_s, backoff_s) < 0 or retries < 0 or not timeout_s:
            raise SpecError(f"timeout_s={timeout_s}, retries={retries}, backoff_s={backoff_s}: none may be negative, and timeout_s not 0")
        self.base_url = base_url.rstrip("/")
        self.host = parts.hostname
        self._key = os.environ.get(key_env, "").strip()
        if key_required and not self._key:
            raise error(
                f"{self.host} wants a key, and the environment variable {key_env} is not set. Set it, or name another with key_env="
            )
        if not self._key.isascii() or any(letter.isspace() for letter in self._key):
            raise error(f"the environment variable {key_env} holds no key: it has spaces or letters that no key has")
        self._error, self._key_env = error, key_env
        self._timeout_s, self._retries, self._backoff_s = timeout_s, retries, backoff_s
        pauses_s = sum(min(LONGEST_PAUSE_S, backoff_s * 2**number) for number in range(retries))
        self._deadline_s = deadline_s if deadline_s is not None else timeout_s * (retries + 1) + pauses_s
        self._errors: tuple[type[Exception], ...] = (httpx.TransportError, httpx.DecodingError, httpx.TooManyRedirects)
        self._unsent: tuple[type[Exception], ...] = (httpx.ConnectError, httpx.ConnectTimeout)
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
        self._client: httpx.Client = httpx.Client(
            timeout=httpx.Timeout(timeout_s, connect=min(timeout_s, 30.0), pool=None), limits=limits, headers={"Accept": "*/*"}
        )
        self._closed = threading.Event()
        self.close = weakref.finalize(self, _close, self._client, self._closed)
        """Ends all pauses and closes all connections."""

    def __repr__(self) -> str:
        return f"ApiClient({self.base_url!r})"

    def post(
        self, path: str, body: Mapping[str, object], read: Callable[[Any], T], *, optional: bool = False, charge: Charge | None = None
    ) -> T | HttpFailure:
        """Sends JSON and reads the JSON that comes back.

        Args:
            path: below the base address: ``/images/generations``.
            body: what is sent.
            read: makes the value from the parsed reply; raises `Malformed` where it is not what it should be.
            optional: the server need not know the path: then that is a failure, and no error.
            charge: asked before each attempt.

        Raises:
            ModelError, JudgeError: the server cannot be used at all (whichever was given as ``error``).
        """
        data = json.dumps(body, allow_nan=False).encode()

        def once() -> T | _Again | HttpFailure:
            if charge is not None and not charge.reserve():
                return HttpFailure("the budget is used up", budget=True)
            try:
                status, headers, content = self._send("POST", self.base_url + path, data)
            except self._unsent:
                if charge is not None:
                    charge.refund()
                raise
            if status < 400:
                value = _parsed(content)
                status = _hidden_status(value)
                if not status:
                    return read(value)
            if charge is not None:
                charge.refund()
            return self._verdict(status, headers, content, path, optional)

        return self._try(once, data)

    def fetch(self, address: str, read: Callable[[bytes], T]) -> T | HttpFailure:
        """Gets a file that the server points to; the key goes along only to the server that it is for."""
        url = urljoin(self.base_url + "/", address)
        if urlsplit(url).scheme not in ("http", "https"):
            return HttpFailure(f"the reply points to {address[:80]!r}, which is no web address")

        def once() -> T | _Again | HttpFailure:
            status, headers, content = self._send("GET", url)
            if status < 400:
                return read(content)
            if status in RETRIED or status >= 500:
                return _Again(f"HTTP {status}", status, wait_s=_retry_after(headers))
            return HttpFailure(f"the file that the reply points to cannot be had: HTTP {status}", status)

        return self._try(once, url.encode())

    def _send(self, method: str, url: str, data: bytes | None = None) -> tuple[int, Mapping[str, str], bytes]:
        """One attempt: status, headers and the whole body, within the time-out."""
        until = time.monotonic() + self._timeout_s
        headers = {"Content-Type": "application/json"} if data is not None else {}
        if self._key and _origin(url) == _origin(self.base_url):
            headers["Authorization"] = f"Bearer {self._key}"
        content = bytearray()
        with self._client.stream(method, url, content=data, headers=headers, follow_redirects=method == "GET") as reply:
            for piece in reply.iter_bytes():
                content += piece
                if len(content) > MAX_REPLY_BYTES:
                    raise Malformed(f"a reply of more than {MAX_REPLY_BYTES:,} bytes")
                if time.monotonic() > until:
                    raise TimeoutError
        if 300 <= reply.status_code < 400:
            raise self._error(f"{self.host} answers HTTP {reply.status_code}: it has moved to {reply.headers.get('location', 'elsewhere')}")
        return reply.status_code, reply.headers, bytes(content)

    def _try(self, once: Callable[[], T | _Again | HttpFailure], salt: bytes) -> T | HttpFailure:
        """Attempts until one is final, with pauses between."""
        until = time.monotonic() + self._deadline_s
        for attempt in range(self._retries + 1):
            result = self._attempt(once)
            if not isinstance(result, _Again):
                return result
            pause_s = min(LONGEST_PAUSE_S, self._backoff_s * 2**attempt) * jitter(salt, attempt)
            if result.wait_s is not None:
                pause_s = max(pause_s, result.wait_s)
            why = ""
            if attempt == self._retries:
                why = f"given up after {attempt + 1} attempts"
            elif time.monotonic() + pause_s > until:
                why = f"given up: {self._deadline_s:.0f} s are allowed, and the next attempt would begin after {pause_s:.0f} s more"
            elif self._closed.wait(pause_s):
                why = "stopped"
            if why:
                return HttpFailure(f"{result.reason} ({why})", result.status, result.text, wait_s=result.wait_s)
        raise AssertionError("the last attempt always ends")

    def _attempt(self, once: Callable[[], T | _Again | HttpFailure]) -> T | _Again | HttpFailure:
        import httpx

        try:
            return once()
        except (httpx.TimeoutException, TimeoutError):
            return _Again(f"no reply within {self._timeout_s:g} s")
        except Malformed as wrong:
            return _Again(f"a reply that cannot be used: {self._hidden(str(wrong))}", 200)
        except self._errors as error:
            return _Again(f"no connection to {self.host}, or it broke: {type(error).__name__} {self._hidden(str(error))}".strip())
        except httpx.InvalidURL as error:
            return HttpFailure(f"no address: {error}")
        except RuntimeError:
            if self._closed.is_set():
                return HttpFailure("stopped")
            raise

    def _verdict(self, status: int, headers: Mapping[str, str], content: bytes, path: str, optional: bool) -> _Again | HttpFailure:
        """What an error reply means: for this request, for now, or for all."""
        text = self._hidden(content[:2000].decode("utf-8", "replace"))
        said, codes = _error_of(content)
        said = self._hidden(said) or text[:200] or "no reason given"
        known = " ".join((*codes, said)).casefold()
        if status < 500 and any(word in known for word in REFUSED):
            return HttpFailure(f"refused: {said}", status, text, refused=True)
        if optional and status in (401, 403, 404, 405, 501):
            return HttpFailure(f"{self.host} has no {path}", status, text)
        where = f"{self.host} answers HTTP {status}: {said}"
        if status == 402 or any(code in NO_CREDIT for code in codes):
            raise self._error(f"{where}. There is no credit left; the same command goes on when there is.")
        if status in (401, 403):
            key = f"The key in {self._key_env} is not accepted" if self._key else f"The environment variable {self._key_env} holds no key"
            raise self._error(f"{where}. {key}.")
        if status == 404 or (status < 500 and any(code in NO_MODEL for code in codes)):
            raise self._error(f"{where}. There is no such model, or no {path} at {self.base_url}.")
        if status in RETRIED or status >= 500:
            return _Again(f"HTTP {status}: {said}", status, text, _retry_after(headers))
        return HttpFailure(f"HTTP {status}: {said}", status, text)

    def _hidden(self, text: str) -> str:
        """One line, without the key."""
        if self._key:
            text = text.replace(self._key, "[key]")
        return " ".join(text.split())


def _close(client: httpx.Client, closed: threading.Event) -> None:
    closed.set()
    client.close()


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def jitter(salt: bytes, attempt: int) -> float:
    """Between 0.5 and 1, spread evenly over requests and attempts, so that many clients do not come back all at once."""
    digest = hashlib.blake2b(salt + attempt.to_bytes(2, "big"), digest_size=4).digest()
    return 0.5 + int.from_bytes(digest, "big") / 2**33


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """How many seconds the server wants us to wait; given in milliseconds, in seconds, or as a date."""
    for name, scale in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) * scale
        except ValueError:
            continue
        if math.isfinite(seconds) and seconds >= 0:
            return seconds
    try:
        date = email.utils.parsedate_to_datetime(headers.get("retry-after", ""))
    except (ValueError, TypeError):
        return None
    return max(0.0, date.timestamp() - time.time())


def _hidden_status(value: Any) -> int:
    """The status of an error that came as HTTP 200, as gateways send it; 0 where the reply is no error."""
    error = value.get("error") if isinstance(value, dict) else None
    if not error or any(value.get(name) for name in ("choices", "data", "answers")):
        return 0
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, int) and 400 <= code < 600 else 502


def _parsed(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"{len(content):,} bytes that are no JSON ({error})") from None


def _error_of(content: bytes) -> tuple[str, tuple[str, ...]]:
    """Message and codes of an error reply, in any of the shapes that servers use."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return "", ()
    error = value.get("error", value) if isinstance(value, dict) else value
    if not isinstance(error, dict):
        return str(error)[:300], ()
    said = error.get("message") or error.get("detail") or error.get("error") or ""
    codes = tuple(str(error[name]) for name in ("code", "type") if error.get(name))
    return str(said)[:300], codes
