"""A reward that lives behind reward servers: `RewardClient` is used like any other reward, and sends what it is given over HTTP.

Pictures go out a few to a request, many requests at once, each to the server that has least to do; one that is down or busy is passed
over, and asked again later. Each score is checked to belong to its own picture and record before it is believed.
"""

from __future__ import annotations

import base64
import itertools
import json
import math
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from anyscene.errors import AnySceneError, JudgeError, MediaError, RecordError, SpecError
from anyscene.http import HttpFailure, Malformed, Servers, run_together
from anyscene.media import Media
from anyscene.rewards.pictures import media_of
from anyscene.rewards.protocol import Record, Score
from anyscene.rewards.scene import checked_batch

__all__ = ["RewardClient"]

COLUMNS = ("id", "caption", "modality", "questions")
_BLAMED: dict[str, type[AnySceneError]] = {
    "bad_image": MediaError,
    "too_many_pixels": MediaError,
    "too_many_frames": MediaError,
    "bad_record": RecordError,
    "too_many_questions": RecordError,
    "too_long": RecordError,
}
"""Whose fault a refusal is, by its code; any other is the fault of how the client was set up."""


class RewardClient:
    """A reward behind one server or several. Safe to use from many threads.

    Args:
        urls: ``http://127.0.0.1:8765``, or several; they must serve the same reward.
        token_env: environment variable that holds the servers' token.
        timeout_s: for one attempt; longer than the servers' own time limit, or they work for nothing.
        retries: further rounds over all servers after the first.
        backoff_s: pause before the second round; it doubles each time, up to half a minute.
        pictures_per_request: the servers make their own batches, out of all requests.
        requests: at once, to all servers together.
        columns: what of each record is sent, where it is there.
        name: for logs.

    Raises:
        SpecError: an address is none, or a number is out of its range.
        MissingExtraError: httpx is not installed.
    """

    def __init__(
        self,
        urls: str | Sequence[str],
        *,
        token_env: str = "ANYSCENE_REWARD_TOKEN",
        timeout_s: float = 150.0,
        retries: int = 6,
        backoff_s: float = 0.5,
        pictures_per_request: int = 8,
        requests: int = 16,
        columns: Sequence[str] = COLUMNS,
        name: str = "remote",
    ) -> None:
        addresses = [urls] if isinstance(urls, str) else list(urls)
        if not addresses or min(pictures_per_request, requests) < 1 or retries < 0 or backoff_s < 0:
            raise SpecError(
                f"{len(addresses)} servers, pictures_per_request={pictures_per_request}, requests={requests}: each must be at least 1; "
                f"retries={retries}, backoff_s={backoff_s}: neither may be negative"
            )
        self.name = name
        self._servers = Servers(
            addresses, error=JudgeError, key_env=token_env, timeout_s=timeout_s, retries=retries, backoff_s=backoff_s, connections=requests
        )
        self._retries, self._size, self._columns = retries, pictures_per_request, tuple(columns)
        self._pool = ThreadPoolExecutor(requests, thread_name_prefix="reward-client")
        self.close = weakref.finalize(self, _close, self._servers, self._pool)
        """Ends all pauses and closes all connections."""

    def __repr__(self) -> str:
        return f"RewardClient({self._servers.urls!r})"

    def score(self, images: Sequence[Any], records: Sequence[Record]) -> list[Score | None]:
        """One score for each picture, in order; see `Reward.score`.

        Raises:
            SpecError: pictures and records differ in number, or a server does not take requests of this size.
            RecordError, MediaError: a server refuses a record or a picture; the message says which and why.
            JudgeError: no server could be used, after all attempts.
        """
        checked_batch(images, records, "id")
        media = [media_of(image) for image in images]
        there = [place for place, one in enumerate(media) if one is not None]
        pairs = [(_sendable(one), record) for one, record in zip(media, records, strict=True) if one is not None]
        chunks = [pairs[start : start + self._size] for start in range(0, len(pairs), self._size)]
        found: list[Score | None] = [None] * len(images)
        scores = itertools.chain.from_iterable(run_together(self._pool, self._send, chunks))
        for place, score in zip(there, scores, strict=True):
            found[place] = score
        return found

    def _send(self, pairs: Sequence[tuple[Media, Record]]) -> list[Score | None]:
        """One request, to one server after the other, round after round, until one answers."""
        body = {
            "images": [base64.b64encode(media.data).decode() for media, _ in pairs],
            "records": [{name: record[name] for name in self._columns if record.get(name) is not None} for _, record in pairs],
        }

        def read(reply: Any) -> list[Score | None]:
            return _read_scores(reply, pairs)

        try:
            reply = self._servers.post("/score", body, read)
        except (TypeError, ValueError) as error:
            raise RecordError(f"a record cannot be sent as JSON: {error}; name the columns to send with columns=") from None
        if not isinstance(reply, HttpFailure):
            return reply
        if self._servers.closed:
            raise JudgeError(f"{self!r} is closed")
        if not reply.passing:
            raise _blame(reply)
        hosts = ", ".join(self._servers.urls)
        raise JudgeError(f"no reward from {hosts} after {self._retries + 1} attempts: {reply.reason.partition(' (given up')[0]}")


def _close(servers: Servers, pool: ThreadPoolExecutor) -> None:
    pool.shutdown(wait=False, cancel_futures=True)
    servers.close()


def _sendable(media: Media) -> Media:
    """The same picture in a file that servers take."""
    return media if media.suffix in (".png", ".apng", ".jpg") else Media.of_frames(media.frames, media.modality, media.fps)


def _read_scores(reply: Any, pairs: Sequence[tuple[Media, Record]]) -> list[Score | None]:
    """The scores of a reply, if they are those of what was sent.

    Raises:
        Malformed: they are not.
    """
    scores, digests = (reply.get("scores"), reply.get("sha256")) if isinstance(reply, dict) else (None, None)
    if not isinstance(scores, list) or len(scores) != len(pairs):
        raise Malformed(f"{len(scores) if isinstance(scores, list) else 'no'} scores for {len(pairs)} pictures")
    if digests != [media.sha256 for media, _ in pairs]:
        raise Malformed("scores of other pictures")
    try:
        found = [None if one is None else Score.from_dict(one) for one in scores]
    except (RecordError, TypeError) as error:
        raise Malformed(str(error)) from None
    for score, (_, record) in zip(found, pairs, strict=True):
        if score is not None and (not math.isfinite(score.value) or score.record_id not in ("", str(record["id"]))):
            raise Malformed(f"a score {score.value} of record {score.record_id!r}, where {record['id']!r} was sent")
    return found


def _blame(failure: HttpFailure) -> AnySceneError:
    """What is raised for a request that no attempt would mend."""
    try:
        code = json.loads(failure.text)["error"]["code"]
    except (ValueError, TypeError, LookupError):
        code = ""
    return _BLAMED.get(code, SpecError)(f"the reward server does not take it: {failure.reason}")
