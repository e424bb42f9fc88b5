"""Rewards out of rewards: weighted sums of what is on different scales, and gates. Every part stays visible in the score."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anyscene.errors import SpecError
from anyscene.rewards.pictures import media_of
from anyscene.rewards.protocol import Record, Reward, Score, flat_figures
from anyscene.rewards.scene import checked_batch

__all__ = ["NORMALISERS", "Gate", "Weighted"]

NORMALISERS = ("none", "batch", "group", "running")
EPSILON = 1e-4
"""Added to a standard deviation before dividing, as TRL does: a group that ties stays at 0 and is not blown up."""

Floats = NDArray[np.float64]


class Weighted:
    """A weighted sum of rewards.

    What ``normalise`` does to each reward before it is weighted and added:

    - ``none``: nothing, as flow_grpo;
    - ``batch``: minus the mean, over the standard deviation, of the batch;
    - ``group``: the same within the rollouts of each record, as in GDPO, so that a reward of small spread is not drowned. The batch must
      hold whole groups. Equals TRL's ``multi_objective_aggregation="normalize_then_sum"`` before its last step over the batch;
    - ``running``: with the mean and the standard deviation of all that was seen so far, this batch included; with whole groups or without.

    Standard deviations are those of samples (n - 1); a single value becomes 0.

    Args:
        parts: reward and weight of each name: ``{"scene": (scene, 1.0), "clip": (clip, 0.3)}``.
        normalise: ``none``, ``batch``, ``group`` or ``running``.
        name: for logs.

    Raises:
        SpecError: there are no parts, a weight is no number, or there is no such way to normalise.
    """

    def __init__(self, parts: Mapping[str, tuple[Reward, float]], *, normalise: str = "none", name: str = "weighted") -> None:
        if not parts:
            raise SpecError("a weighted sum needs at least one reward")
        for key, (_, weight) in parts.items():
            if not math.isfinite(weight):
                raise SpecError(f"weight of {key!r}: {weight} is no number")
        if normalise not in NORMALISERS:
            raise SpecError(f"normalise {normalise!r}: it must be one of {', '.join(NORMALISERS)}")
        self.parts, self.normalise, self.name = dict(parts), normalise, name
        self._seen = dict.fromkeys(parts, (0, 0.0, 0.0))  # count, mean, sum of squared deviations
        self._lock = Lock()

    def score(self, images: Sequence[Any], records: Sequence[Record]) -> list[Score | None]:
        """One score for each picture, in order. None where a part with a weight has none: sums over different parts do not compare."""
        checked_batch(images, records, "id")
        media = [media_of(image) for image in images]
        ids = [str(record["id"]) for record in records]
        found = {key: reward.score(media, records) for key, (reward, _) in self.parts.items()}
        terms = {key: self.parts[key][1] * self._normalised(key, _values(scores), ids) for key, scores in found.items()}
        return [
            None
            if any(math.isnan(terms[key][place]) and weight for key, (_, weight) in self.parts.items())
            else Score(
                math.fsum(float(terms[key][place]) for key, (_, weight) in self.parts.items() if weight),
                record_id,
                figures={f"term/{key}": float(own[place]) for key, own in terms.items() if not math.isnan(own[place])},
                parts={key: scores[place] for key, scores in found.items()},
            )
            for place, record_id in enumerate(ids)
        ]

    def state_dict(self) -> dict[str, Any]:
        """What ``running`` has seen, as plain JSON values, for a checkpoint."""
        return {key: list(one) for key, one in self._seen.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from `state_dict`.

        Raises:
            SpecError: it is the state of other parts.
        """
        if set(state) != set(self.parts):
            raise SpecError(f"the state is of the rewards {', '.join(state)}; these are {', '.join(self.parts)}")
        self._seen = {key: (int(one[0]), float(one[1]), float(one[2])) for key, one in state.items()}

    def _normalised(self, key: str, values: Floats, ids: Sequence[str]) -> Floats:
        if self.normalise == "none":
            return values
        if self.normalise == "batch":
            return _standard(values)
        if self.normalise == "running":
            mean, deviation = self._update(key, values[~np.isnan(values)])
            return (values - mean) / (deviation + EPSILON)
        result = values.copy()
        for one in dict.fromkeys(ids):
            own = [place for place, other in enumerate(ids) if other == one]
            result[own] = _standard(values[own])
        return result

    def _update(self, key: str, values: Floats) -> tuple[float, float]:
        """Mean and standard deviation with these values added (Chan's update)."""
        with self._lock:
            count, mean, squares = self._seen[key]
            if len(values):
                own = float(values.mean())
                total = count + len(values)
                squares += float(((values - own) ** 2).sum()) + (own - mean) ** 2 * count * len(values) / total
                mean += (own - mean) * len(values) / total
                count = total
                self._seen[key] = (count, mean, squares)
            return mean, math.sqrt(squares / (count - 1)) if count > 1 else 0.0


class Gate:
    """A reward that is paid only where another one is high enough; elsewhere a fixed value.

    Args:
        reward: what is paid.
        by: another reward, or the name of a figure of the reward itself (``foils``, ``scene/foils``).
        threshold: the lowest value at which the gate is open.
        otherwise: what is paid where it is shut.
        name: for logs; that of the reward by default.

    Raises:
        SpecError: the threshold or the other value is no number.
    """

    def __init__(self, reward: Reward, by: Reward | str, threshold: float, *, otherwise: float = 0.0, name: str | None = None) -> None:
        if not (math.isfinite(threshold) and math.isfinite(otherwise)):
            raise SpecError(f"a gate at {threshold} with {otherwise} elsewhere: both must be numbers")
        self.reward, self.by, self.threshold, self.otherwise = reward, by, threshold, otherwise
        self.name = name or reward.name

    def score(self, images: Sequence[Any], records: Sequence[Record]) -> list[Score | None]:
        """One score for each picture, in order. None where the reward or what it is gated by is not known."""
        media = [media_of(image) for image in images]
        paid = self.reward.score(media, records)
        judged: Sequence[Score | None] = [] if isinstance(self.by, str) else self.by.score(media, records)
        result: list[Score | None] = []
        for place, one in enumerate(paid):
            other = judged[place] if judged else None
            known = _known(self.by, one, other)
            if one is None or known is None:
                result.append(None)
                continue
            open_ = known >= self.threshold
            parts: dict[str, Score | None] = {} if other is None else {"gate": other}
            figures = {"open": float(open_), "ungated": one.value}
            shown = replace(one, figures={**one.figures, **figures}, parts={**one.parts, **parts})
            result.append(shown if open_ else replace(shown, value=self.otherwise))
        return result


def _known(by: Reward | str, own: Score | None, other: Score | None) -> float | None:
    """What a gate looks at; None where that is not known."""
    if isinstance(by, str):
        return None if own is None else flat_figures(own).get(by)
    return None if other is None else other.value


def _values(scores: Sequence[Score | None]) -> Floats:
    return np.array([math.nan if score is None else score.value for score in scores], dtype=np.float64)


def _standard(values: Floats) -> Floats:
    known = values[~np.isnan(values)]
    if not len(known):
        return values
    deviation = float(known.std(ddof=1)) if len(known) > 1 else 0.0
    result: Floats = (values - known.mean()) / (deviation + EPSILON)
    return result
