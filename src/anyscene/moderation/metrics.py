"""How well scores tell generated pictures from real ones: AUROC, average precision, recall at few false alarms, accuracies at a threshold.

Values are scikit-learn's; intervals are ours, for pictures come in groups (a photograph with those generated to match it, several pictures
of one caption), and a group is one observation. Scores that say nothing - none at all, or all alike - have no figures, only a problem.

References: DeLong, DeLong and Clarke-Pearson, Biometrics 44 (1988) (variance of AUROC, and of the difference of two on the same pictures);
Obuchowski, Biometrics 53 (1997) (the same for groups).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anyscene.errors import MissingExtraError, SpecError
from anyscene.scoring.question_bank import Bools, Floats, Ints
from anyscene.scoring.statistics import LEVEL, RESAMPLES, Estimate, Mean, bootstrap, normal_quantile, resamples, wilson

__all__ = [
    "NO_ESTIMATE",
    "Measured",
    "Scored",
    "auroc",
    "compare_auroc",
    "measure",
    "operating_rate",
    "problem_of",
]

NO_ESTIMATE = Estimate(None, None, None, 0)
MANY_REALS, STRICT, LOOSE = 1000, 0.01, 0.05
"""From so many real pictures on, recall is told at 1 % false alarms; below, at 5 %."""
ALIKE = 1e-9
FEW_GROUPS = 10


@dataclass(frozen=True, slots=True)
class Scored:
    """Pictures and the scores that a detector gave them.

    Attributes:
        score: ``(pictures,)`` higher where a picture looks generated; NaN where it could not be scored.
        generated: ``(pictures,)`` the truth.
        group: ``(pictures,)`` number of the group of each, from 0.
    """

    score: Floats
    generated: Bools
    group: Ints

    @classmethod
    def of(cls, scores: Sequence[float | None], generated: Sequence[bool], groups: Sequence[str]) -> Scored:
        """From scores with None where there is none, and groups by name.

        Raises:
            SpecError: they are not equally many.
        """
        if not len(scores) == len(generated) == len(groups):
            raise SpecError(
                f"{len(scores)} scores, {len(generated)} labels and {len(groups)} groups: there must be one each for each picture"
            )
        value = np.array([math.nan if one is None else one for one in scores], dtype=np.float64)
        value[~np.isfinite(value)] = math.nan
        _, number = np.unique(np.array(groups, dtype=np.str_), return_inverse=True)
        return cls(value, np.array(generated, dtype=np.bool_), number.astype(np.int64))

    def take(self, mask: Bools) -> Scored:
        """Some of the pictures."""
        return Scored(self.score[mask], self.generated[mask], self.group[mask])

    @property
    def known(self) -> Scored:
        """Those that have a score."""
        return self.take(~np.isnan(self.score))


@dataclass(frozen=True, slots=True)
class Measured:
    """How well a detector tells some generated pictures from some real ones.

    Attributes:
        auroc: area under the ROC curve: how often a generated picture has the higher score of the two; 0.5 is chance.
        ap: average precision; chance is ``share``.
        tpr: share of the generated pictures found where the share of false alarms is ``tpr_at`` at most.
        tpr_at: 0.01 or 0.05, by how many real pictures there are; None where they are too few for either.
        real_accuracy: share of the real pictures that are called real at the detector's threshold.
        fake_accuracy: share of the generated ones that are called generated.
        reals: real pictures.
        fakes: generated ones.
        unscored: of each kind that have no score; they are in no figure.
        problem: what is wrong with the scores, else empty.
    """

    auroc: Estimate
    ap: Estimate
    tpr: Estimate
    tpr_at: float | None
    real_accuracy: Estimate
    fake_accuracy: Estimate
    reals: int
    fakes: int
    unscored: tuple[int, int]
    problem: str = ""

    @property
    def share(self) -> float:
        """Of the pictures that are generated."""
        return self.fakes / max(1, self.reals + self.fakes)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "unscored": {"real": self.unscored[0], "generated": self.unscored[1]}, "share": self.share}


def operating_rate(reals: int) -> float | None:
    """The share of false alarms at which recall is told: 1 % from 1,000 real pictures on, else 5 %; None below 60, which show neither.

    A rate that nobody can tell from 0 says nothing: where none of n pictures is a false alarm, the true rate may be 3 / n.
    """
    if reals >= MANY_REALS:
        return STRICT
    return LOOSE if reals >= 3 / LOOSE else None


def problem_of(scores: Floats) -> str:
    """What is wrong with scores as such, or nothing: none at all, all alike, or some missing."""
    known = scores[~np.isnan(scores)]
    if not len(known):
        return "no picture has a score"
    if len(known) > 1 and known.max() - known.min() <= ALIKE:
        return f"all pictures have the same score, {known[0]:.6g}: the detector tells nothing apart"
    if len(known) < len(scores):
        return f"{len(scores) - len(known):,} of {len(scores):,} pictures have no score; the figures are of the others"
    return ""


def measure(scored: Scored, threshold: float | None, *, seed: int = 0, number: int = RESAMPLES, level: float = LEVEL) -> Measured:
    """The figures of a detector on some pictures.

    Args:
        scored: the pictures.
        threshold: above which a score means generated; None leaves out the accuracies.
        seed: of the resampling by group.
        number: of resamples.
        level: of the intervals.

    Raises:
        SpecError: there are no real pictures, or no generated ones.
        MissingExtraError: scikit-learn is not installed.
    """
    reals, fakes = int((~scored.generated).sum()), int(scored.generated.sum())
    if not reals or not fakes:
        raise SpecError(f"{reals} real and {fakes} generated pictures: there must be some of each to measure a detector")
    known, problem = scored.known, problem_of(scored.score)
    missing = np.isnan(scored.score)
    unscored = int((missing & ~scored.generated).sum()), int((missing & scored.generated).sum())
    kinds = len(np.unique(known.generated))
    if kinds < 2 or np.ptp(known.score) <= ALIKE:
        problem = "no real or no generated picture has a score" if kinds == 1 else problem
        return Measured(NO_ESTIMATE, NO_ESTIMATE, NO_ESTIMATE, None, NO_ESTIMATE, NO_ESTIMATE, reals, fakes, unscored, problem)
    rate = operating_rate(int((~known.generated).sum()))
    ap, tpr = _resampled(known, rate, seed, number, level)
    right = {}
    if threshold is not None:
        called = known.score > threshold
        right = {
            kind: _accuracy(known.take(mask), called[mask] == kind) for kind, mask in ((False, ~known.generated), (True, known.generated))
        }
    found = bootstrap({str(kind): [(1.0, mean)] for kind, mean in right.items()}, seed=seed, number=number, level=level)
    accuracies = [found.get(str(kind), NO_ESTIMATE) for kind in (False, True)]
    return Measured(auroc(known, level), ap, tpr, rate, accuracies[0], accuracies[1], reals, fakes, unscored, problem)


def _accuracy(scored: Scored, right: Bools) -> Mean:
    _, place = np.unique(scored.group, return_inverse=True)
    return Mean.over(place.astype(np.int64), right.astype(np.float64), int(place.max(initial=-1)) + 1)


# ---- AUROC ----------------------------------------------------------------------------------------------------------------------


def compare_auroc(a: Scored, b: Scored, level: float = LEVEL) -> Estimate:
    """By how much the second of two detectors has the higher AUROC, on the pictures that both have scores for.

    Args:
        a: pictures with the scores of the first.
        b: the same pictures with those of the second.
        level: of the interval.

    Returns:
        The difference with its interval and the number of groups; without a value where one of the two tells nothing apart.

    Raises:
        SpecError: they are not the same pictures.
    """
    if not np.array_equal(a.generated, b.generated) or not np.array_equal(a.group, b.group):
        raise SpecError("two detectors are compared on the same pictures, in the same order")
    both = ~(np.isnan(a.score) | np.isnan(b.score))
    one, other = a.take(both), b.take(both)
    if len(np.unique(one.generated)) < 2 or min(np.ptp(one.score), np.ptp(other.score)) <= ALIKE:
        return NO_ESTIMATE
    difference = _auc(other) - _auc(one)
    groups = len(np.unique(one.group))
    spread = math.sqrt(float(np.square(_influence(other) - _influence(one)).sum()))
    if spread <= 1e-12:  # they rank alike; so they may on other pictures up to chance
        high = wilson(0.0, groups, level)[1]
        return Estimate(difference, -high, high, groups)
    half = normal_quantile((1 + level) / 2) * spread
    return Estimate(difference, max(-1.0, difference - half), min(1.0, difference + half), groups)


def _auc(scored: Scored) -> float:
    return float(_sklearn().roc_auc_score(scored.generated, scored.score))


def auroc(scored: Scored, level: float = LEVEL) -> Estimate:
    """AUROC of scores without NaN. The interval is on the logit scale; Wilson's where the scores are never or always wrong."""
    value = _auc(scored)
    fewest = min(len(np.unique(scored.group[mask])) for mask in (scored.generated, ~scored.generated))
    spread = math.sqrt(float(np.square(_influence(scored)).sum()))
    if spread <= 1e-12 or not 0 < value < 1 or fewest < FEW_GROUPS:
        return Estimate(value, *wilson(value, fewest, level), fewest)
    middle, half = math.log(value / (1 - value)), normal_quantile((1 + level) / 2) * spread / (value * (1 - value))
    low, high = (1 / (1 + math.exp(-(middle + side))) for side in (-half, half))
    return Estimate(value, low, high, fewest)


def _influence(scored: Scored) -> Floats:
    """``(groups,)`` what each group adds to the AUROC, to first order; the sum of their squares is DeLong's variance."""
    fakes, reals = (np.sort(scored.score[mask]) for mask in (scored.generated, ~scored.generated))
    above = (np.searchsorted(reals, scored.score, "left") + np.searchsorted(reals, scored.score, "right")) / (2 * len(reals))
    below = 1 - (np.searchsorted(fakes, scored.score, "left") + np.searchsorted(fakes, scored.score, "right")) / (2 * len(fakes))
    place = np.where(scored.generated, above, below)
    found = np.zeros(int(scored.group.max()) + 1)
    for mask in (scored.generated, ~scored.generated):
        groups = len(np.unique(scored.group[mask]))
        own = (place[mask] - place[mask].mean()) / mask.sum() * math.sqrt(groups / max(1, groups - 1))
        found += np.bincount(scored.group[mask], own, len(found))
    return found


# ---- average precision, and recall at few false alarms ----------------------------------------------------------------------------


def _resampled(scored: Scored, rate: float | None, seed: int, number: int, level: float) -> tuple[Estimate, Estimate]:
    metrics = _sklearn()
    _, group = np.unique(scored.group, return_inverse=True)
    curve = _Curve(scored.score, scored.generated)
    drawn = [curve.figures(weights[:, group], rate) for weights in resamples(int(group.max()) + 1, number, seed)]
    precision, recall = (np.concatenate([one[place] for one in drawn]) for place in (0, 1))
    groups = len(np.unique(group[scored.generated]))
    value = float(metrics.average_precision_score(scored.generated, scored.score))
    ap = _percentiles(value, precision, groups, level)
    if rate is None:
        return ap, NO_ESTIMATE
    alarms, found, _ = metrics.roc_curve(scored.generated, scored.score, drop_intermediate=False)
    return ap, _percentiles(float(found[alarms <= rate + 1e-12].max()), recall, groups, level)


class _Curve:
    """The ROC and precision-recall curves of pictures that are drawn with different weights."""

    def __init__(self, score: Floats, generated: Bools) -> None:
        self._order = np.argsort(-score, kind="stable")
        ordered = score[self._order]
        self._ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))  # pictures with one score come together
        self._generated = generated[self._order]

    def figures(self, weights: NDArray[np.float32], rate: float | None) -> tuple[Floats, Floats]:
        """Average precision and recall at the rate, for each row of ``(resamples, pictures)``; NaN where one kind was not drawn."""
        weights = weights[:, self._order].astype(np.float64)
        hits = np.cumsum(weights * self._generated, axis=1)[:, self._ends]
        alarms = np.cumsum(weights * ~self._generated, axis=1)[:, self._ends]
        with np.errstate(invalid="ignore", divide="ignore"):
            recall = hits / hits[:, -1:]
            precision = np.where(hits + alarms > 0, hits / (hits + alarms), 0.0)
            ap = (np.diff(recall, axis=1, prepend=0.0) * precision).sum(axis=1)
            allowed = alarms / alarms[:, -1:] <= (rate or 0.0) + 1e-12
            found = np.where(np.isnan(recall[:, -1]) | ~(alarms[:, -1] > 0), np.nan, np.where(allowed, recall, 0.0).max(axis=1))
        return ap, found


def _percentiles(value: float, drawn: Floats, groups: int, level: float) -> Estimate:
    drawn = drawn[np.isfinite(drawn)]
    if groups < FEW_GROUPS or len(drawn) < 20 or np.ptp(drawn) <= 1e-12:
        return Estimate(value, *wilson(value, groups, level), groups)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2]).tolist()
    return Estimate(value, min(low, value), max(high, value), groups)


def _sklearn() -> Any:
    try:
        from sklearn import metrics
    except ImportError:
        raise MissingExtraError("Measuring a detector", "moderation") from None
    return metrics
