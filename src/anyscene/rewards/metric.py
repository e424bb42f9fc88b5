"""Rewards that compare the picture with its caption as a whole: CLIPScore and every other metric that can be loaded by name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from anyscene.rewards.pictures import media_of
from anyscene.rewards.protocol import Record, Score
from anyscene.rewards.scene import checked_batch
from anyscene.scoring.metrics import Metric, load_metric

__all__ = ["MetricReward", "clip_reward"]


class MetricReward:
    """A metric as a reward, on the metric's own scale.

    Args:
        metric: anything with ``score(media, captions)`` (`scoring.metrics.Metric`).
        name: for logs; the metric's own by default.
    """

    def __init__(self, metric: Metric, *, name: str | None = None) -> None:
        self.metric = metric
        self.name = name or metric.name.partition(":")[0]

    def score(self, images: Sequence[Any], records: Sequence[Record]) -> list[Score | None]:
        """One score for each picture, in order; see `Reward.score`."""
        checked_batch(images, records, "id", "caption")
        found = self.metric.score([media_of(image) for image in images], [str(record["caption"]) for record in records])
        return [
            None if value is None or not math.isfinite(value) else Score(float(value), str(record["id"]))
            for value, record in zip(found, records, strict=True)
        ]


def clip_reward(weights: str, **options: object) -> MetricReward:
    """CLIPScore as a reward: what SimpleAR was trained with, and the paper's baseline.

    Args:
        weights: a folder, or a name on the hub: ``openai/clip-vit-base-patch32``.
        options: of `scoring.metrics.ClipScore`.

    Raises:
        SpecError: there is no such option.
        JudgeError: the weights cannot be loaded.
        MissingExtraError: transformers is not installed.
    """
    return MetricReward(load_metric("clipscore", weights, **options), name="clip")
