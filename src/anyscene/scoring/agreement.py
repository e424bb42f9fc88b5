"""Agreement: between judges, between people, and of scores with people.

References: Cohen, Educational and Psychological Measurement 20 (1960); Krippendorff, Content Analysis (2004), chapter 11; Knight, JASA 61
(1966) (tau-b in n log n); Deutsch, Foster and Freitag, Ties Matter (EMNLP 2023) (pairs with ties).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anyscene.errors import SpecError
from anyscene.scoring.question_bank import Floats, Ints

__all__ = [
    "Pairs",
    "TiedPairs",
    "agreement_share",
    "calibrate_ties",
    "cohen_kappa",
    "compare_pairs",
    "kendall_tau_b",
    "krippendorff_alpha",
    "midranks",
    "pearson",
    "spearman",
]


def _two(x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
    """Two series without the places where one is missing."""
    first, second = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 1:
        raise SpecError(f"two series of {first.shape} and {second.shape} values cannot be compared; they must be equally long")
    known = ~(np.isnan(first) | np.isnan(second))
    return first[known], second[known]


def pearson(x: ArrayLike, y: ArrayLike) -> float | None:
    """Linear correlation; NaN is left out. None where a series does not vary."""
    first, second = _two(x, y)
    if len(first) < 2:
        return None
    first, second = first - first.mean(), second - second.mean()
    scale = math.sqrt(float((first**2).sum()) * float((second**2).sum()))
    return float((first * second).sum()) / scale if scale > 1e-300 else None


def midranks(values: Floats) -> Floats:
    """Ranks from 1; equal values share the mean of theirs."""
    _, place, number = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(number)
    ranks: Floats = ((2 * last - number + 1) / 2)[place.ravel()]
    return ranks


def spearman(x: ArrayLike, y: ArrayLike) -> float | None:
    """Correlation of ranks, ties at their mean rank; NaN is left out. None where a series does not vary."""
    first, second = _two(x, y)
    return pearson(midranks(first), midranks(second))


def kendall_tau_b(x: ArrayLike, y: ArrayLike) -> float | None:
    """Kendall's tau-b, which allows for ties in both series; NaN is left out. None where a series does not vary."""
    first, second = _two(x, y)
    number = len(first)
    _, own = np.unique(first, return_inverse=True)
    _, other = np.unique(second, return_inverse=True)
    own, other = own.ravel(), other.ravel()
    pairs = number * (number - 1) // 2
    tied_first, tied_second = _tied(own), _tied(other)
    tied_both = _tied(np.unique(own * (number + 1) + other, return_inverse=True)[1].ravel())
    scale = math.sqrt((pairs - tied_first) * (pairs - tied_second))
    if scale == 0:
        return None
    discordant = _inversions(other[np.lexsort((other, own))])
    concordant = pairs - tied_first - tied_second + tied_both - discordant
    return (concordant - discordant) / scale


def _tied(codes: Ints) -> int:
    number = np.bincount(codes)
    return int((number * (number - 1) // 2).sum())


def _inversions(values: Ints) -> int:
    """Pairs that stand in the wrong order, counted block by block while merging."""
    number, width, found = len(values), 1, 0
    values = values.copy()
    top = int(values.max(initial=0)) + 1
    while width < number:
        block = np.arange(number) // (2 * width)
        right = (np.arange(number) // width) % 2 == 1
        key = block * top + values  # both halves of a block are sorted, and so are the blocks
        left = key[~right]
        # for each value of a right half, how many of its left half are larger
        end = np.searchsorted(left, (block[right] + 1) * top, side="left")
        found += int((end - np.searchsorted(left, key[right], side="right")).sum())
        values = np.sort(key, kind="stable") - block * top
        width *= 2
    return found


def agreement_share(a: ArrayLike, b: ArrayLike) -> float | None:
    """Share of equal verdicts; NaN is left out. None without any."""
    first, second = _two(a, b)
    return float((first == second).mean()) if len(first) else None


def cohen_kappa(a: ArrayLike, b: ArrayLike) -> float | None:
    """Agreement of two judges beyond chance; NaN is left out. None where both always say the same one thing, or nothing is left."""
    first, second = _two(a, b)
    if not len(first):
        return None
    words, codes = np.unique(np.concatenate([first, second]), return_inverse=True)
    one, two = np.split(codes.ravel(), 2)
    shares = [np.bincount(side, minlength=len(words)) / len(side) for side in (one, two)]
    observed, expected = float((one == two).mean()), float((shares[0] * shares[1]).sum())
    return (observed - expected) / (1 - expected) if expected < 1 - 1e-15 else None


def krippendorff_alpha(ratings: NDArray[np.float64], level: str = "nominal") -> float | None:
    """Krippendorff's alpha of several raters.

    Args:
        ratings: ``(raters, units)``, NaN where a rater did not rate.
        level: ``nominal`` (verdicts) or ``interval`` (grades).

    Returns:
        1 for perfect agreement, 0 for none beyond chance; None where no unit has two ratings, or all ratings are equal.

    Raises:
        SpecError: no such level.
    """
    if level not in ("nominal", "interval"):
        raise SpecError(f"level {level!r}: it must be nominal or interval")
    known = ~np.isnan(ratings)
    paired = known.sum(axis=0) >= 2
    ratings, known = ratings[:, paired], known[:, paired]
    if not known.any():
        return None
    words, codes = np.unique(ratings[known], return_inverse=True)
    unit = np.nonzero(known)[1]
    counts = np.zeros((ratings.shape[1], len(words)))
    np.add.at(counts, (unit, codes.ravel()), 1.0)
    raters = counts.sum(axis=1)
    gap = (words[:, None] != words[None, :]).astype(np.float64) if level == "nominal" else (words[:, None] - words[None, :]) ** 2
    within = (np.einsum("uv,vw,uw->u", counts, gap, counts) / (raters - 1)).sum()
    total = counts.sum(axis=0)
    across = float(total @ gap @ total) / (total.sum() - 1)
    return 1 - float(within) / across if across > 0 else None


@dataclass(frozen=True, slots=True)
class Pairs:
    """How a score orders pairs that people tell apart.

    Attributes:
        n: pairs.
        right: share that the score orders as people do.
        tied: share to which the score gives equal values: no signal for a reward or a choice of the best.
        wrong: share that it orders the other way.
    """

    n: int
    right: float
    tied: float
    wrong: float


def compare_pairs(group: Ints, people: Floats, score: Floats, least_gap: float = 0.0) -> Pairs | None:
    """Pairs of one group (pictures of one caption) whose human ratings differ by `least_gap` or more, and not by 0.

    Args:
        group: ``(media,)``.
        people: ``(media,)`` human ratings.
        score: ``(media,)``.
        least_gap: between the ratings of a pair.

    Returns:
        None where there is no such pair. NaN is left out.
    """
    known = ~(np.isnan(people) | np.isnan(score))
    order = np.argsort(group[known], kind="stable")
    group, people, score = group[known][order], people[known][order], score[known][order]
    n = right = tied = 0
    distance = 1
    while distance < len(group):  # neighbours first, then those two apart, until no group is so large
        same = group[distance:] == group[:-distance]
        if not same.any():
            break
        gap, own = people[distance:] - people[:-distance], score[distance:] - score[:-distance]
        told = same & (np.abs(gap) >= least_gap - 1e-12) & (gap != 0)
        n += int(told.sum())
        right += int((told & (gap * own > 0)).sum())
        tied += int((told & (own == 0)).sum())
        distance += 1
    return Pairs(n, right / n, tied / n, (n - right - tied) / n) if n else None


@dataclass(frozen=True, slots=True)
class TiedPairs:
    """How often a score orders pairs as people do, ties among them, where scores that lie close count as tied.

    Attributes:
        n: pairs.
        accuracy: share that are ordered, or tied, as by people.
        threshold: scores that differ by no more than this count as tied; the least that gives the highest accuracy.
    """

    n: int
    accuracy: float
    threshold: float


def calibrate_ties(people: ArrayLike, score: ArrayLike) -> TiedPairs | None:
    """Pairwise accuracy with tie calibration (Deutsch et al., 2023), over all pairs; NaN is left out.

    A score without ties is not punished for people's, and one that ties everything wins nothing. Memory grows with the square of the
    number of values: 1,600 take 50 MB.

    Args:
        people: ratings.
        score: of the same things.

    Returns:
        None where there are fewer than two.

    Raises:
        SpecError: the two are not equally long.
    """
    first, second = _two(people, score)
    if len(first) < 2:
        return None
    one, other = np.triu_indices(len(first), 1)
    told, gap = np.sign(first[one] - first[other]), second[one] - second[other]
    in_order = (told != 0) & (np.sign(gap) == told)
    gained = np.where(told == 0, 1, -in_order.astype(np.int64))  # once the pair counts as tied
    order = np.argsort(np.abs(gap), kind="stable")
    thresholds = np.abs(gap)[order]
    right = int(in_order.sum()) + np.cumsum(gained[order])
    last = np.append(thresholds[1:] > thresholds[:-1], True)
    thresholds, right = np.append(0.0, thresholds[last]), np.append(int(in_order.sum()), right[last])
    if thresholds[1] == 0:  # equal scores are tied whatever the threshold
        thresholds, right = thresholds[1:], right[1:]
    best = int(np.argmax(right))
    return TiedPairs(len(one), float(right[best]) / len(one), float(thresholds[best]))
