"""The threshold of a detector: how high a score must be to call a picture generated, at a stated share of false alarms.

The threshold is the k-th largest score of n real pictures with k = ⌊rate (n + 1)⌋: a new real picture is above it with probability
k / (n + 1) at most, whatever the scores are like (Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World (2005), chapter 2).
It takes 3 / rate real pictures at least: where none of n is a false alarm, the rate may still be 3 / n (the rule of three), so fewer
cannot tell the rate that is asked for from one that is higher.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from anyscene.errors import ModelError, SpecError
from anyscene.moderation.metrics import problem_of
from anyscene.scoring.question_bank import Floats
from anyscene.scoring.statistics import clopper_pearson

__all__ = ["Calibration", "calibrate", "check_rate", "reals_needed"]


@dataclass(frozen=True, slots=True)
class Calibration:
    """A threshold and what it was made from.

    Attributes:
        threshold: a picture with a higher score is called generated.
        rate: the share of false alarms that it was made for.
        asked: the share that was asked for; lower than ``rate`` where there were too few real pictures for it.
        false_alarms: real pictures above the threshold.
        reals: real pictures that it was made from.
        low: lower end of the exact (Clopper-Pearson) interval of the share of false alarms.
        high: upper end.
    """

    threshold: float
    rate: float
    asked: float
    false_alarms: int
    reals: int
    low: float
    high: float

    @property
    def words(self) -> str:
        """In one sentence."""
        told = (
            f"{self.false_alarms} of {self.reals:,} real pictures above the threshold "
            f"({100 * self.low:.2f} to {100 * self.high:.2f} %); made for {100 * self.rate:.3g} %"
        )
        return told if self.rate == self.asked else f"{told}, for {100 * self.asked:.3g} % takes {reals_needed(self.asked):,}"

    def to_dict(self) -> dict[str, Any]:
        """As it stands in ``detector.json``."""
        return asdict(self)


def reals_needed(rate: float) -> int:
    """How many real pictures a threshold for this share of false alarms takes."""
    return math.ceil(3 / rate - 1e-9)


def check_rate(reals: int, rate: float, widen: bool = False) -> float:
    """The share of false alarms that so many real pictures bear.

    Args:
        reals: how many there are.
        rate: the share that is asked for.
        widen: take the smallest share that they bear where they are too few.

    Raises:
        SpecError: the rate is not between 0 and 0.5, or they are too few for it.
    """
    if not 0 < rate <= 0.5:
        raise SpecError(f"a false-positive rate of {rate:g}: it must be above 0 and at most 0.5")
    if reals >= reals_needed(rate):
        return rate
    least = 3 / max(reals, 1)
    if widen and least <= 0.5:
        return least
    what = f"they bear {least:.3g} (--widen takes it)" if least <= 0.5 else "6 is the least for any rate"
    few = f"{reals:,} real pictures are too few for a threshold at a false-positive rate of {rate:g}"
    raise SpecError(f"{few}: that takes {reals_needed(rate):,}; {what}")


def calibrate(scores: Sequence[float | None] | Floats, rate: float = 0.01, *, widen: bool = False, slack: float = 0.0) -> Calibration:
    """The threshold for a share of false alarms.

    Args:
        scores: of real pictures that were not learnt from, one for each source image; None or NaN where there is none.
        rate: the share.
        widen: see `check_rate`.
        slack: by how much a score may change by rounding; the threshold is higher by it.

    Raises:
        SpecError: there are too few of them.
        ModelError: the scores are all alike, or one is missing: no threshold makes sense.
    """
    values = np.array([math.nan if one is None else one for one in scores], dtype=np.float64)
    bears = check_rate(len(values), rate, widen)
    if problem := problem_of(values):
        raise ModelError(f"no threshold can be set: of the real pictures of the validation split, {problem}")
    place = math.floor(bears * (len(values) + 1) + 1e-9)
    threshold = float(np.sort(values)[-place]) + slack
    alarms = int((values > threshold).sum())
    return Calibration(threshold, bears, rate, alarms, len(values), *clopper_pearson(alarms, len(values)))
