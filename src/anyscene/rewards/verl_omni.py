"""The reward that verl-omni calls: an async function at module level, by keyword, one picture at a time.

    reward:
      reward_functions:
        scene:
          path: pkg://anyscene.rewards.verl_omni
          name: compute_score
          weight: 1.0
          required: true       # else verl-omni counts a picture that could not be judged as 0
          judge: transformers:Qwen/Qwen3-VL-8B-Instruct

Calls that wait at the same time in one event loop are scored together, so that the judge sees batches.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

from anyscene.errors import AnySceneError, JudgeError, MediaError, RecordError, SpecError
from anyscene.judges import load_judge
from anyscene.media import Media
from anyscene.rewards.columns import filled, questions_text, record_of
from anyscene.rewards.pictures import media_of
from anyscene.rewards.protocol import Record, Reward, Score, flat_figures
from anyscene.rewards.scene import SceneReward

__all__ = ["FIGURES", "compute_score", "use_reward"]

FIGURES = ("answered", "plain", "foils")
"""Reported with every score; NaN where a record has none: verl puts the numbers of a batch into arrays, so all have the same names."""
FROM_VERL = ("reward_router_address", "reward_model_tokenizer", "model_name", "sampling_params")
"""What verl-omni passes to every reward function, whether it has a reward model or not. There is none here."""

_rewards: dict[str, Reward] = {}
_lock = Lock()
_queues: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, _Queue]] = WeakKeyDictionary()


def use_reward(reward: Reward | None) -> None:
    """Sets the reward of this process for calls without ``judge``; None forgets all rewards."""
    with _lock:
        _rewards.clear()
        if reward is not None:
            _rewards[""] = reward


async def compute_score(
    data_source: str,
    solution_image: Any,
    ground_truth: str,
    extra_info: Mapping[str, Any] | None = None,
    *,
    judge: str = "",
    judge_options: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    missing: str | float = "raise",
    batch_size: int = 32,
    wait_ms: float = 5.0,
    **kwargs: Any,
) -> dict[str, Any]:
    """The reward of one picture, as verl-omni calls it.

    Args:
        data_source: not used: the record says what to ask.
        solution_image: ``(channels, height, width) uint8``, or with frames before.
        ground_truth: the caption; used where the record has none.
        extra_info: holds the record, in its columns or as JSON text in ``record`` (`exporters.export_verl` writes it).
        judge: who answers; without, the reward of `use_reward`.
        judge_options: of the judge's back-end.
        options: of `SceneReward`.
        missing: what to give for a picture that could not be judged: ``raise``, ``nan`` or a number. verl-omni knows no missing reward.
        batch_size: most pictures that are scored together.
        wait_ms: how long the first one waits for others, in milliseconds.
        kwargs: what verl-omni passes to every reward function.

    Returns:
        ``score``; the figures of `FIGURES`; ``known``, 1.0 or 0.0; ``questions``, JSON text of the probability of each right answer.

    Raises:
        SpecError: an option that is unknown or wrong.
        JudgeError: the picture, or nothing at all, could be judged.
        RecordError: there is no record, or it lacks what the reward needs.
    """
    if unknown := sorted(set(kwargs) - set(FROM_VERL)):
        raise SpecError(f"compute_score has no option {unknown[0]!r}; it has judge, judge_options, options, missing, batch_size, wait_ms")
    if batch_size < 1 or wait_ms < 0:
        raise SpecError(f"batch_size {batch_size}, wait_ms {wait_ms}: they must be at least 1 and 0")
    record = {"caption": ground_truth, **record_of(extra_info or {})}
    if missing == "group":
        raise SpecError("missing 'group': verl-omni passes one picture at a time; choose raise, nan or a number")
    picture = media_of(solution_image)
    key = json.dumps([judge, judge_options or {}, options or {}], sort_keys=True, default=str) if judge else ""
    if key not in _rewards:
        await asyncio.to_thread(_load, key, judge, dict(judge_options or {}), dict(options or {}))
    queues = _queues.setdefault(asyncio.get_running_loop(), {})
    queue = queues.setdefault(f"{key} {batch_size} {wait_ms}", _Queue(_rewards[key], batch_size, wait_ms / 1000))
    score = await queue.put(picture, record)
    figures = {} if score is None else flat_figures(score)
    return {
        "score": filled([score], [str(record["id"])], missing)[0],
        **{name: figures.get(name, float("nan")) for name in FIGURES},
        "known": float(score is not None),
        "questions": questions_text(score),
    }


def _load(key: str, judge: str, judge_options: dict[str, Any], options: dict[str, Any]) -> None:
    with _lock:
        if key in _rewards:
            return
        if not judge:
            raise SpecError(
                "compute_score has no reward: name a judge in the config (judge: sandbox:pixels), or call use_reward(...) first"
            )
        try:
            _rewards[key] = SceneReward(load_judge(judge, **judge_options), **options)
        except TypeError as error:
            raise SpecError(f"options of the scene reward: {error}") from None


class _Queue:
    """Pictures that wait in one event loop; scored in batches, one batch at a time, in a thread."""

    def __init__(self, reward: Reward, most: int, wait_s: float) -> None:
        self.reward, self.most, self.wait_s = reward, most, wait_s
        self.waiting: list[tuple[Media | None, Record, asyncio.Future[Score | None]]] = []
        self.worker: asyncio.Task[None] | None = None
        self.full = asyncio.Event()

    async def put(self, picture: Media | None, record: Record) -> Score | None:
        """The score, once its batch is done."""
        future: asyncio.Future[Score | None] = asyncio.get_running_loop().create_future()
        self.waiting.append((picture, record, future))
        if len(self.waiting) >= self.most:
            self.full.set()
        if self.worker is None or self.worker.done():
            self.worker = asyncio.create_task(self._work())
        return await future

    async def _work(self) -> None:
        while self.waiting:
            if len(self.waiting) < self.most:
                self.full.clear()
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self.full.wait(), self.wait_s)
            batch, self.waiting = self.waiting[: self.most], self.waiting[self.most :]
            results = await asyncio.to_thread(self._score, [one[0] for one in batch], [one[1] for one in batch])
            for (_, _, future), result in zip(batch, results, strict=True):
                if future.done():  # its caller went away
                    continue
                if isinstance(result, BaseException):
                    future.set_exception(result)
                else:
                    future.set_result(result)

    def _score(self, pictures: list[Media | None], records: list[Record]) -> list[Score | BaseException | None]:
        """Scores or errors. A record or picture that is wrong spoils no other's score."""
        try:
            return list(self.reward.score(pictures, records))
        except (RecordError, MediaError) as error:
            if len(records) == 1:
                return [error]
            return [self._score([picture], [record])[0] for picture, record in zip(pictures, records, strict=True)]
        except AnySceneError as error:
            return [error] * len(records)
        except Exception as error:  # the callers must hear of it, or they wait for ever
            return [JudgeError(f"the reward {self.reward.name!r} failed: {type(error).__name__}: {error}")] * len(records)
