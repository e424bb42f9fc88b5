"""A reward in the shapes that other trainers call: TRL, flow_grpo and DiffusionNFT, T2I-R1, Flow-Factory. (verl-omni: `verl_omni`.)

The records come with the data: every trainer passes the columns of its data set on, and `exporters` writes data sets that have them. Which
scene a picture is scored against is decided by its record alone, never by the text of its prompt.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from anyscene.errors import RecordError, SpecError
from anyscene.media import Media
from anyscene.rewards.columns import filled, mean_figures, questions_text, record_of, records_from_columns
from anyscene.rewards.pictures import batch_of
from anyscene.rewards.protocol import Record, Reward, Score, flat_figures

__all__ = [
    "AsyncTrlReward",
    "FlowFactoryOutput",
    "T2iR1Reward",
    "TrlReward",
    "as_flow_factory",
    "as_flow_grpo",
    "as_t2i_r1",
    "as_trl",
    "as_trl_async",
]

Watch = Callable[[Sequence[Any], Sequence[Record], Sequence[Score | None]], object]
"""Called with every scored batch; `guards.Guards.check` fits."""


class TrlReward:
    """A reward as TRL's ``GRPOTrainer`` takes it in ``reward_funcs``; `as_trl` makes it."""

    def __init__(self, reward: Reward, image_key: str = "generated_image", watch: Watch | None = None) -> None:
        self.reward, self.image_key, self.watch = reward, image_key, watch
        self.__name__ = reward.name

    def __call__(self, prompts: Sequence[Any] = (), completions: Sequence[Any] = (), **columns: Any) -> list[float | None]:
        """One reward for each rollout; None for those that could not be judged, which TRL leaves out."""
        images, records = self._batch(columns)
        return self._report(images, records, self.reward.score(images, records), columns)

    def _batch(self, columns: dict[str, Any]) -> tuple[list[Any], list[dict[str, Any]]]:
        if self.image_key not in columns:
            found = ", ".join(columns) or "none"
            raise RecordError(f"no pictures in {self.image_key!r}: the rollout function must return them there; the columns are {found}")
        images = batch_of(columns[self.image_key])
        others = {name: values for name, values in columns.items() if name not in (self.image_key, "completion_ids")}
        return images, records_from_columns(others, len(images))

    def _report(
        self, images: Sequence[Any], records: Sequence[Record], scores: Sequence[Score | None], columns: dict[str, Any]
    ) -> list[float | None]:
        name = self.reward.name
        if log_metric := columns.get("log_metric"):
            for figure, value in mean_figures(scores).items():
                log_metric(f"rewards/{name}/{figure}", value)
        if log_extra := columns.get("log_extra"):
            log_extra("record_id", [str(record["id"]) for record in records])
            log_extra(f"{name}_questions", [questions_text(score) for score in scores])
        if self.watch:
            self.watch(images, records, scores)
        return [None if score is None else score.value for score in scores]


class AsyncTrlReward(TrlReward):
    """As `TrlReward`, awaited: TRL runs all its async rewards at once. `as_trl_async` makes it."""

    async def __call__(  # type: ignore[override]
        self, prompts: Sequence[Any] = (), completions: Sequence[Any] = (), **columns: Any
    ) -> list[float | None]:
        """One reward for each rollout; the judge works in a thread."""
        images, records = self._batch(columns)
        scores = await asyncio.to_thread(self.reward.score, images, records)
        return self._report(images, records, scores, columns)


def as_trl(reward: Reward, image_key: str = "generated_image", *, watch: Watch | None = None) -> TrlReward:
    """A reward for TRL: ``GRPOTrainer(reward_funcs=as_trl(reward), rollout_func=...)``.

    Logs every figure through ``log_metric``, and each rollout's record and per-question probabilities through ``log_extra``.

    Args:
        reward: any reward.
        image_key: field of the rollout function's result that holds the pictures. Not ``image`` or ``images``: those make the trainer take
            its prompts for multimodal ones.
        watch: called with pictures, records and scores of every batch, such as ``Guards(...).check``.
    """
    return TrlReward(reward, image_key, watch)


def as_trl_async(reward: Reward, image_key: str = "generated_image", *, watch: Watch | None = None) -> AsyncTrlReward:
    """As `as_trl`, as a coroutine function: several rewards are computed at the same time."""
    return AsyncTrlReward(reward, image_key, watch)


def as_flow_grpo(
    reward: Reward, *, missing: str | float = "group", watch: Watch | None = None
) -> Callable[..., tuple[dict[str, list[float]], dict[str, Any]]]:
    """A reward for flow_grpo and DiffusionNFT, in place of what ``flow_grpo.rewards.multi_score`` gives.

    Called as ``fn(images, prompts, metadata, only_strict=...)`` with images ``(batch, 3, height, width)`` floats from 0 to 1 or
    ``(batch, height, width, 3) uint8``, and a record in each metadata. It gives ``({name: values, "avg": values, "known": ...}, {})``; the
    values of the parts of a combined reward are there, too, -10 where one is missing, which flow_grpo leaves out of its means. To have it
    beside flow_grpo's own scorers, see docs/rewards.md.

    Args:
        reward: any reward.
        missing: flow_grpo knows no missing rewards; what to put in their place (`columns.filled`).
        watch: see `as_trl`.
    """

    def score_batch(
        images: Any, prompts: Sequence[str], metadata: Sequence[Any], ref_images: Any = None, only_strict: bool = True
    ) -> tuple[dict[str, list[float]], dict[str, Any]]:
        pictures = batch_of(images)
        if len(metadata) != len(pictures):
            raise SpecError(
                f"{len(metadata)} metadata for {len(pictures)} pictures: flow_grpo passes one for each, see exporters.export_flow_grpo"
            )
        records = [record_of(one) for one in metadata]
        scores = reward.score(pictures, records)
        if watch:
            watch(pictures, records, scores)
        ids = [str(record["id"]) for record in records]
        values = filled(scores, ids, missing)
        parts: dict[str, list[float]] = {name: [] for score in scores if score is not None for name in score.parts}
        for name in parts:
            parts[name] = [-10.0 if one is None or (own := one.parts.get(name)) is None else own.value for one in scores]
        return {**parts, reward.name: values, "known": [float(score is not None) for score in scores], "avg": list(values)}, {}

    score_batch.__name__ = reward.name
    return score_batch


class T2iR1Reward:
    """A reward as T2I-R1 calls it: ``fn(prompts=[...], images=[PIL, ...], **columns) -> [float, ...]``; `as_t2i_r1` makes it."""

    def __init__(self, reward: Reward, missing: str | float = "group", watch: Watch | None = None) -> None:
        self.reward, self.missing, self.watch = reward, missing, watch
        self.__name__ = reward.name

    def load_to_device(self, load_device: object) -> None:
        """T2I-R1 asks every reward to move its weights; a judge has its own device, given where it is loaded."""

    def __call__(self, prompts: Sequence[str], images: Sequence[Any], **columns: Any) -> list[float]:
        """One reward for each picture."""
        pictures = batch_of(images)
        records = records_from_columns(columns, len(pictures))
        scores = self.reward.score(pictures, records)
        if self.watch:
            self.watch(pictures, records, scores)
        return filled(scores, [str(record["id"]) for record in records], self.missing)


def as_t2i_r1(reward: Reward, *, missing: str | float = "group", watch: Watch | None = None) -> T2iR1Reward:
    """A reward for T2I-R1 and what follows its keyword lists.

    Args:
        reward: any reward.
        missing: T2I-R1 knows no missing rewards; what to put in their place (`columns.filled`).
        watch: see `as_trl`.
    """
    return T2iR1Reward(reward, missing, watch)


@dataclass
class FlowFactoryOutput:
    """What Flow-Factory reads: the rewards, and whatever else.

    Attributes:
        rewards: one for each prompt.
        extra_info: ``questions`` (JSON text for each), ``figures``.
    """

    rewards: list[float]
    extra_info: dict[str, Any] = field(default_factory=dict)


def as_flow_factory(reward: Reward, base: type = object, *, missing: str | float = "group", watch: Watch | None = None) -> type:
    """A reward model class for Flow-Factory.

    Args:
        reward: any reward.
        base: Flow-Factory's ``PointwiseRewardModel``, which its trainer looks for; a config names the class that comes out.
        missing: Flow-Factory knows no missing rewards; what to put in their place (`columns.filled`).
        watch: see `as_trl`.

    Returns:
        A class whose instances are called with ``prompt``, ``image`` or ``video``, and ``metadata``: JSON text that holds the record.
    """

    def call(
        self: object,
        prompt: Sequence[str],
        image: Sequence[Any] | None = None,
        video: Sequence[Sequence[Any]] | None = None,
        metadata: Sequence[Any] | None = None,
        **kwargs: Any,
    ) -> FlowFactoryOutput:
        if (image is None) == (video is None):
            raise SpecError("give either image or video")
        pictures = batch_of(image) if image is not None else [_clip(one) for one in video or ()]
        if metadata is None or len(metadata) != len(pictures):
            raise RecordError("Flow-Factory gave no metadata: the data set must hold the records, see exporters.export_trl")
        records = [record_of(record_of({"record": one})) for one in metadata]
        scores = reward.score(pictures, records)
        if watch:
            watch(pictures, records, scores)
        values = filled(scores, [str(record["id"]) for record in records], missing)
        figures = [{} if score is None else flat_figures(score) for score in scores]
        return FlowFactoryOutput(values, {"questions": [questions_text(score) for score in scores], "figures": figures})

    return type(
        "AnysceneReward", (base,), {"required_fields": ("prompt", "image", "metadata"), "use_tensor_inputs": False, "__call__": call}
    )


def _clip(frames: Any) -> Any:
    """A clip from a list of frames; a tensor as it is."""
    return Media.of_frames(frames, "video") if isinstance(frames, (list, tuple)) else frames
