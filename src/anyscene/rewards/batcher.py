"""Scoring in batches: pictures of many requests wait in one queue with an end, and go to the reward together.

The event loop owns the queue. Pictures are decoded in a few threads while they wait for their batch; the reward runs in one thread of its
own, one batch after the other. A batch begins when the reward is free and it is full, or its first picture has waited long enough. What
is cancelled while it waits leaves the queue at once, with its bytes.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import os
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from anyscene.errors import AnySceneError, JudgeError, MediaError, RecordError, SpecError
from anyscene.rewards.protocol import Score
from anyscene.rewards.telemetry import Telemetry
from anyscene.rewards.wire import Refusal

__all__ = ["Batcher", "Scores", "Waiting"]

Result = TypeVar("Result")
Result_co = TypeVar("Result_co", covariant=True)

LONGEST_RETRY_AFTER_S = 30.0


class Waiting(Protocol):
    """What waits: `wire.Item`, or whatever else is decoded and scored."""

    @property
    def record(self) -> Any:
        """What it is scored against."""
        ...

    @property
    def pixels(self) -> int:
        """Once it is decoded."""
        ...

    def media(self) -> Any:
        """It, decoded; called in a thread."""
        ...


class Scores(Protocol[Result_co]):
    """What scores: a `Reward`, or whatever else gives one result for each picture."""

    name: str

    def score(self, images: Sequence[Any], records: Sequence[Any]) -> Sequence[Result_co | None]:
        """One result, or None, for each picture."""
        ...


@dataclass(eq=False, slots=True)
class _Place:
    """One picture in the queue: whose it is, and where its score goes."""

    item: Waiting
    result: asyncio.Future[Any]
    since: float
    decoding: asyncio.Future[Any] | None = None


class Batcher(Generic[Result]):
    """A queue before a reward. Everything but the reward runs in the event loop that `start` was called in.

    Args:
        reward: scores the batches, in one thread.
        telemetry: where batches are counted.
        max_batch: pictures in a batch.
        max_batch_pixels: of all pictures of a batch; a single one may have more.
        max_wait_s: how long the first picture of a batch waits for others while the reward is free.
        max_queue: pictures that may wait.
        decoders: threads that decode pictures; by default one for each core, and at most 8.
        results: the type of its scores.

    Raises:
        SpecError: an option is out of its range.
    """

    def __init__(
        self,
        reward: Scores[Result],
        telemetry: Telemetry,
        *,
        max_batch: int = 32,
        max_batch_pixels: int = 64 * 2**20,
        max_wait_s: float = 0.01,
        max_queue: int = 1024,
        decoders: int | None = None,
        results: type = Score,
    ) -> None:
        decoders = min(8, os.cpu_count() or 1) if decoders is None else decoders
        if min(max_batch, max_batch_pixels, max_queue, decoders) < 1 or not 0 <= max_wait_s <= 60:
            raise SpecError(
                f"max_batch={max_batch}, max_queue={max_queue}, max_wait_s={max_wait_s}: a batch and the queue hold at least 1 picture, "
                "and a batch waits from 0 to 60 s"
            )
        self.reward, self.telemetry, self._results = reward, telemetry, results
        self.max_batch, self.max_batch_pixels, self.max_wait_s, self.max_queue = max_batch, max_batch_pixels, max_wait_s, max_queue
        self.failure = ""
        """Why the judge could not be used at all, the last time it was asked; empty when it could."""
        self._numbers = itertools.count()
        self._queue: OrderedDict[int, _Place] = OrderedDict()
        self._gathered: list[_Place] = []
        self._stopping, self._busy_since = False, math.nan
        self._decoders = ThreadPoolExecutor(decoders, thread_name_prefix="decode")
        self._thread = _OneThread("reward")

    async def start(self) -> None:
        """Begins to take pictures out of the queue."""
        self._change, self._free = asyncio.Event(), asyncio.Event()
        self._free.set()
        self._loop = asyncio.create_task(self._run())

    async def close(self, timeout_s: float = 30.0) -> None:
        """Takes no more, finishes what waits, as long as there is time, and stops its threads."""
        self._stopping, until = True, time.monotonic() + timeout_s
        while (self.waiting or not self._free.is_set()) and time.monotonic() < until:
            await asyncio.sleep(0.01)
        self._loop.cancel()
        await asyncio.gather(self._loop, return_exceptions=True)
        self._thread.close()
        self._decoders.shutdown(wait=False, cancel_futures=True)

    @property
    def waiting(self) -> int:
        """Pictures that wait for their batch to begin."""
        return len(self._queue) + sum(not place.result.done() for place in self._gathered)

    @property
    def busy_s(self) -> float:
        """For how long the reward has been at its present batch; 0 when it is free."""
        return 0.0 if math.isnan(self._busy_since) else time.monotonic() - self._busy_since

    def retry_after_s(self) -> float:
        """When there will be room again, by how long batches took so far."""
        batches = math.ceil(max(self.waiting, 1) / self.max_batch)
        return min(LONGEST_RETRY_AFTER_S, max(0.05, batches * self.telemetry.scoring.mean))

    def check_room(self, number: int = 1) -> None:
        """Whether so many more pictures may wait.

        Raises:
            Refusal: they may not.
        """
        if self._stopping:
            raise Refusal(503, "stopping", "the server is stopping", 1.0)
        if self.waiting + number > self.max_queue:
            room = f"{self.waiting} of {self.max_queue} places in the queue are taken, and {number} are needed"
            raise Refusal(503, "busy", room, self.retry_after_s())

    async def score(self, items: Sequence[Waiting]) -> list[Result | None]:
        """The score of each picture, in order. Cancelled, the pictures that wait give up their places.

        Raises:
            Refusal: there is no room, a picture or a record is bad, or the reward failed.
        """
        if len(items) > self.max_queue:
            raise Refusal(413, "too_many_images", f"{len(items)} images; the queue holds {self.max_queue}")
        self.check_room(len(items))
        now, loop = time.monotonic(), asyncio.get_running_loop()
        places = {next(self._numbers): _Place(item, loop.create_future(), now) for item in items}
        self._queue.update(places)
        self._change.set()
        try:
            return list(await asyncio.gather(*(place.result for place in places.values())))
        finally:  # also where one failed: the others are then of no use
            for number, place in places.items():
                place.result.cancel()
                self._queue.pop(number, None)
            self._change.set()

    async def _run(self) -> None:
        while True:
            batch = await self._gather()
            media = await asyncio.gather(*(self._decoded(place) for place in batch))
            pairs = [(place, one) for place, one in zip(batch, media, strict=True) if one is not None and not place.result.done()]
            self._gathered = []
            if pairs:
                self._begin(pairs)

    async def _gather(self) -> list[_Place]:
        """The next batch: as many as fit while the reward is busy, then for as long as the first may wait."""
        while True:
            self._change.clear()
            self._gathered = batch = [place for place in self._gathered if not place.result.done()]
            full = self._fill(batch)
            free = self._free.is_set()
            due_s = batch[0].since + self.max_wait_s - time.monotonic() if batch else math.inf
            if batch and free and (full or due_s <= 0):
                return batch
            try:
                await asyncio.wait_for(self._change.wait(), due_s if batch and free else None)
            except asyncio.TimeoutError:
                continue

    def _fill(self, batch: list[_Place]) -> bool:
        """Moves pictures out of the queue into a batch and begins to decode them; whether no more fit."""
        pixels = sum(place.item.pixels for place in batch)
        while self._queue and len(batch) < self.max_batch:
            first = next(iter(self._queue.values()))
            pixels += first.item.pixels
            if batch and pixels > self.max_batch_pixels:
                return True
            self._queue.popitem(last=False)
            first.decoding = asyncio.get_running_loop().run_in_executor(self._decoders, first.item.media)
            batch.append(first)
        return len(batch) >= self.max_batch

    async def _decoded(self, place: _Place) -> Any:
        """The picture; None where its file is damaged, which its request is told."""
        assert place.decoding is not None
        try:
            return await place.decoding
        except Exception as error:
            if not place.result.done():
                place.result.set_exception(_as_refusal(error))
            return None

    def _begin(self, pairs: Sequence[tuple[_Place, Any]]) -> None:
        """Hands a batch to the reward's thread."""
        self._free.clear()
        started = self._busy_since = time.monotonic()
        for place, _ in pairs:
            self.telemetry.waiting.add(started - place.since)
        self.telemetry.batches.add(len(pairs))
        work = asyncio.wrap_future(self._thread.submit(lambda: self._scored([(one, place.item.record) for place, one in pairs])))
        places = [place for place, _ in pairs]
        work.add_done_callback(lambda done: self._end(places, done))

    def _end(self, places: Sequence[_Place], work: asyncio.Future[list[Result | Exception | None]]) -> None:
        self.telemetry.scoring.add(time.monotonic() - self._busy_since)
        self._busy_since = math.nan
        self._free.set()
        self._change.set()
        failed = work.exception()
        results: list[Result | Exception | None] = [_as_refusal(failed)] * len(places) if failed is not None else work.result()
        self.failure = next((str(one) for one in results if isinstance(one, JudgeError)), "")
        for place, result in zip(places, results, strict=True):
            if place.result.done():
                self.telemetry.count("pictures", 'outcome="abandoned"')
            elif isinstance(result, Exception):
                self.telemetry.count("pictures", 'outcome="failed"')
                place.result.set_exception(_as_refusal(result))
            else:
                self.telemetry.count("pictures", 'outcome="unanswerable"' if result is None else 'outcome="scored"')
                place.result.set_result(result)

    def _scored(self, pairs: Sequence[tuple[Any, Any]]) -> list[Result | Exception | None]:
        """Scores of a batch. Where it fails as a whole it is halved, so that one bad record, or too much at once, spoils no other's."""
        try:
            found = self.reward.score([media for media, _ in pairs], [record for _, record in pairs])
            if len(found) != len(pairs):
                raise AnySceneError(f"{self.reward.name} gave {len(found)} scores for {len(pairs)} pictures")
            if strangers := [type(one).__name__ for one in found if one is not None and not isinstance(one, self._results)]:
                raise AnySceneError(f"{self.reward.name} gave {strangers[0]} for a score")
            return list(found)
        except JudgeError as error:
            return [error] * len(pairs)
        except Exception as error:
            if len(pairs) == 1:
                return [error]
            half = len(pairs) // 2
            return [*self._scored(pairs[:half]), *self._scored(pairs[half:])]


class _OneThread:
    """A thread that does one thing after the other, and that a stuck reward cannot make outlive the program."""

    def __init__(self, name: str) -> None:
        self._work: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = queue.SimpleQueue()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def submit(self, call: Callable[[], Any]) -> Future[Any]:
        done: Future[Any] = Future()
        self._work.put((call, done))
        return done

    def close(self) -> None:
        self._work.put(None)

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            call, done = work
            try:
                done.set_result(call())
            except BaseException as error:
                done.set_exception(error)
            del work, call, done  # a batch is not kept while the next one is waited for


def _as_refusal(error: BaseException) -> Refusal:
    """What a request is told of a failure."""
    said = f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
    if isinstance(error, Refusal):
        return error
    if isinstance(error, RecordError):
        return Refusal(400, "bad_record", str(error)[:500])
    if isinstance(error, MediaError):
        return Refusal(400, "bad_image", str(error)[:500])
    if isinstance(error, JudgeError):
        return Refusal(503, "judge_failed", f"the judge cannot be used: {str(error)[:500]}", 5.0)
    return Refusal(500, "score_failed", f"scoring failed: {said}")
