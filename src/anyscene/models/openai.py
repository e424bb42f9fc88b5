"""Any OpenAI-compatible images endpoint as a model: GPT-Image, DALL-E 3, servers of one's own.

One request makes one picture. What servers offer differs, so only what is asked for is sent. A hosted model gives another picture each
time, whatever the seed; ``settings`` say so.
"""

from __future__ import annotations

import base64
import binascii
import json
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from anyscene.errors import MediaError, ModelError, SpecError
from anyscene.http import ApiClient, HttpFailure, Malformed, run_together
from anyscene.media import Media, read_media
from anyscene.models.protocol import Failure

__all__ = ["OPENAI_URL", "OpenAIModel"]

OPENAI_URL = "https://api.openai.com/v1"
SEED_LIMIT = 2**32


class OpenAIModel:
    """A model behind ``/v1/images/generations``.

    Args:
        name: of the model: ``gpt-image-1``, ``dall-e-3``, whatever the server calls it.
        base_url: up to and with the version. A server other than OpenAI's need not have a key.
        size: as the server writes it: ``1024x1024``.
        quality: as the server writes it: ``high``, ``hd``.
        style: as the server writes it: ``vivid``, ``natural``.
        key_env: environment variable that holds the key.
        timeout_s: for one attempt.
        retries: further attempts at one picture.
        deadline_s: for all attempts at one picture; None: as long as they take.
        backoff_s: pause before the second attempt; it doubles each time.
        budget_usd: most that this command may spend. Requests that may have been charged without a picture to show for it count too.
        price_usd: of one picture; needed with a budget.
        workers: requests at once.
        send_seed: the server takes a ``seed``.
        body: more of the request, as JSON: ``{"background": "opaque"}``.

    Attributes:
        price_usd: as given.
        stopped: why nothing more can be made; None while all is well.

    Raises:
        SpecError: no name, or options that do not go together.
        ModelError: no key for OpenAI's own server.
        MissingExtraError: httpx is not installed.
    """

    modality = "image"
    revision = ""

    def __init__(
        self,
        name: str,
        *,
        base_url: str = OPENAI_URL,
        size: str | None = None,
        quality: str | None = None,
        style: str | None = None,
        key_env: str = "OPENAI_API_KEY",
        timeout_s: float = 180.0,
        retries: int = 6,
        deadline_s: float | None = None,
        backoff_s: float = 1.0,
        budget_usd: float | None = None,
        price_usd: float | None = None,
        workers: int = 4,
        send_seed: bool = False,
        body: dict[str, Any] | str | None = None,
    ) -> None:
        if not name:
            raise SpecError("openai: which model? For example openai:gpt-image-1")
        if workers < 1:
            raise SpecError(f"openai:{name}, workers={workers}: at least one request must run")
        extra = _extra(body, f"openai:{name}")
        self.name = f"openai:{name}"
        self.price_usd = price_usd
        self.batch_size = 4 * workers
        self._budget = _Budget(self.name, budget_usd, price_usd)
        self._client = ApiClient(
            base_url,
            error=ModelError,
            key_env=key_env,
            key_required=base_url.rstrip("/") == OPENAI_URL,
            timeout_s=timeout_s,
            retries=retries,
            deadline_s=deadline_s,
            backoff_s=backoff_s,
            connections=workers,
        )
        wanted = {"size": size, "quality": quality, "style": style}
        self._body: dict[str, object] = {"model": name, "n": 1, **{key: value for key, value in wanted.items() if value is not None}}
        if name.startswith("dall-e"):
            self._body["response_format"] = "b64_json"
        self._body.update(extra)
        self._send_seed = send_seed
        self._workers = workers
        self.stopped: ModelError | None = None
        self.settings: Mapping[str, object] = {
            **{key: value for key, value in self._body.items() if key not in ("model", "n", "response_format")},
            "server": self._client.host,
            "seed": "sent" if send_seed else "not sent: the same caption gives another picture each time",
        }

    def generate(self, captions: Sequence[str], seeds: Sequence[int]) -> list[Media | Failure]:
        """One picture, or the reason why there is none, for each caption, in order.

        Pictures that were paid for are never thrown away: when the server or the budget stops the work among several captions, what was
        made is given, the others are failures, and the next call raises.

        Raises:
            ModelError: the server cannot be used (no key, no such model, no credit), or the budget has no room for one more picture.
        """
        if self.stopped is not None:
            raise self.stopped
        if captions:
            self._budget.check()
        with ThreadPoolExecutor(self._workers) as pool:
            try:
                results = run_together(pool, self._one, list(zip(captions, seeds, strict=True)))
            except BaseException:
                self._client.close()  # Ctrl-C: no pause and no request is waited for
                raise
        if self.stopped is not None and not any(isinstance(result, Media) for result in results):
            raise self.stopped
        return results

    def _one(self, task: tuple[str, int]) -> Media | Failure:
        caption, seed = task
        if self.stopped is not None:
            return Failure("failed", f"not asked: {self.stopped}")
        body = {**self._body, "prompt": caption}
        if self._send_seed:
            body["seed"] = seed % SEED_LIMIT
        try:
            result = self._client.post("/images/generations", body, _picture, charge=self._budget)
            if isinstance(result, str):
                result = self._client.fetch(result, _media)
        except ModelError as stop:
            self.stopped = stop
            return Failure("failed", str(stop))
        if not isinstance(result, HttpFailure):
            return result
        if result.budget:
            self.stopped = ModelError(self._budget.message())
            return Failure("failed", str(self.stopped))
        return Failure("refused" if result.refused else "failed", result.reason)


class _Budget:
    """Counts what requests may have cost, and says when the next would cost too much."""

    def __init__(self, name: str, budget_usd: float | None, price_usd: float | None) -> None:
        if budget_usd is not None and (price_usd is None or price_usd <= 0):
            raise SpecError(f"{name}, budget_usd={budget_usd:g}: a budget needs the price of one picture, price_usd=0.04 for example")
        self._name, self._price = name, price_usd or 0.0
        self._most = None if budget_usd is None else int(budget_usd / self._price + 1e-9)
        self._sent = 0
        self._lock = threading.Lock()

    def reserve(self) -> bool:
        with self._lock:
            if self._most is not None and self._sent >= self._most:
                return False
            self._sent += 1
            return True

    def refund(self) -> None:
        with self._lock:
            self._sent -= 1

    def check(self) -> None:
        """Raises ModelError where there is no room for one more picture."""
        if self._most is not None and self._sent >= self._most:
            raise ModelError(self.message())

    def message(self) -> str:
        """How much was spent, and what to do."""
        spent = self._sent * self._price
        return (
            f"{self._name}: the budget is used up: {self._sent:,} pictures for about {spent:.2f} USD, and one more costs "
            f"{self._price:g} USD. What was made is kept: the same command goes on from there with a new budget"
        )


def _extra(body: dict[str, Any] | str | None, what: str) -> dict[str, Any]:
    """The option ``body`` as a dict."""
    try:
        value = json.loads(body) if isinstance(body, str) else body or {}
    except ValueError as error:
        raise SpecError(f'{what}, body={body}: no JSON ({error}); it looks like {{"background": "opaque"}}') from None
    taken = {"prompt", "n", "model", "seed", "stream"}
    if not isinstance(value, dict) or taken & set(value):
        raise SpecError(f"{what}, body={body}: it must be a JSON object without {', '.join(sorted(taken))}")
    return value


def _picture(reply: Any) -> Media | HttpFailure | str:
    """The picture in a reply, or the address where it is, or that it was refused."""
    data = reply.get("data") if isinstance(reply, dict) else None
    first = data[0] if isinstance(data, list) and data else None
    if not isinstance(first, dict):
        raise Malformed("no picture in it")
    encoded, address = first.get("b64_json"), first.get("url")
    if isinstance(address, str) and address.startswith("data:"):
        encoded = address.partition(",")[2]
    if isinstance(encoded, str) and encoded:
        try:
            return _media(base64.b64decode(encoded, validate=True))
        except binascii.Error:
            raise Malformed("a picture that is no base64") from None
    if isinstance(address, str) and address:
        return address
    if "content_filter" in json.dumps(first):
        return HttpFailure("refused: the picture was held back by a content filter", 200, refused=True)
    raise Malformed("no picture in it")


def _media(data: bytes) -> Media:
    try:
        return read_media(data, name="the picture")
    except MediaError as error:
        raise Malformed(str(error)) from None
