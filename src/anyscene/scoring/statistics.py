"""Error bars: a bootstrap over scenes, intervals, paired comparison, noise between seeds, and how many scenes are enough.

Scenes are the unit that is drawn: media and questions of one scene are alike and come together. Resample *b* is a function of (seed, *b*,
number of scenes) alone, made by a counter-based generator, so chunks, workers and numpy's own samplers do not matter.

References: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 14 (BCa); Hesterberg, The American Statistician 69
(2015), section 4 (widening for small samples); Wilson, JASA 22 (1927); Phipson and Smyth, SAGMB 9 (2010) (permutation p-values).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from anyscene.errors import SpecError
from anyscene.scene.keyed import mix
from anyscene.scoring.question_bank import Floats, Ints

Floats32 = NDArray[np.float32]

__all__ = [
    "LEVEL",
    "MANY_SCENES",
    "RESAMPLES",
    "UNITS",
    "Difference",
    "Estimate",
    "Mean",
    "Terms",
    "adjust_bh",
    "adjust_holm",
    "bootstrap",
    "clopper_pearson",
    "compare_paired",
    "noise_floor",
    "normal_quantile",
    "resamples",
    "scenes_needed",
    "t_quantile",
    "units_of",
    "wilson",
]

LEVEL = 0.95
"""Of all intervals unless another one is asked for."""
METHODS = ("bca", "percentile")
MANY_SCENES = 20_000
"""More scenes are resampled in units."""
MANY_DEGREES = 300
FEW_SCENES = 10
"""Of fewer scenes, resampling shows too little of the spread."""
UNITS = 8192
"""Into which more scenes than ``MANY_SCENES`` are put for resampling."""
RESAMPLES = 2000
FLIPS = 10_000
CELLS = 8_000_000
"""Cells of the matrix of resamples and units that are held at a time (float32)."""
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its interval, in the unit of the value.

    Attributes:
        value: None where nothing could be measured.
        low: lower end.
        high: upper end.
        n: how many scenes it rests on.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int

    def to_dict(self) -> dict[str, float | int | None]:
        """As it stands in ``scores.json``."""
        return asdict(self)


NOTHING = Estimate(None, None, None, 0)


@dataclass(frozen=True, slots=True)
class Mean:
    """What is estimated: the sum of ``total`` over scenes, divided by the sum of ``weight``.

    Attributes:
        scenes: how many scenes there are.
        place: ``(n,)`` those that say something about it, ascending.
        total: ``(n,)``.
        weight: ``(n,)`` above 0.
        speaking: how many scenes say something about it, where `grouped` has put several into one; None where `place` tells.
    """

    scenes: int
    place: Ints
    total: Floats
    weight: Floats
    speaking: int | None = None

    @classmethod
    def of(cls, values: Floats) -> Mean:
        """The mean of one value a scene; NaN where a scene has none."""
        place = np.flatnonzero(~np.isnan(values))
        return cls(len(values), place, values[place], np.ones(len(place)))

    @classmethod
    def over(cls, scene: Ints, values: Floats, scenes: int) -> Mean:
        """The mean over questions, each in a scene; NaN is left out."""
        known = ~np.isnan(values)
        weight = np.bincount(scene[known], minlength=scenes)
        place = np.flatnonzero(weight)
        return cls(
            scenes, place, np.bincount(scene[known], values[known], scenes)[place].astype(np.float64), weight[place].astype(np.float64)
        )

    @property
    def n(self) -> int:
        """How many scenes say something about it."""
        return len(self.place) if self.speaking is None else self.speaking

    def grouped(self, unit: Ints, units: int) -> Mean:
        """The same mean of units in place of scenes: the sums of those in each.

        Args:
            unit: ``(scenes,)`` where each scene goes (`units_of`).
            units: how many units there are.
        """
        own = unit[self.place]
        weight = np.bincount(own, self.weight, units)
        place = np.flatnonzero(weight)
        total = np.bincount(own, self.total, units)
        return Mean(units, place, total[place].astype(np.float64), weight[place].astype(np.float64), self.n)

    @property
    def value(self) -> float:
        """The mean; NaN where no scene says anything."""
        return float(self.total.sum() / self.weight.sum()) if len(self.place) else math.nan

    def influence(self) -> Floats:
        """``(scenes,)`` what each scene adds to the mean, to first order; their sum is 0."""
        found = np.zeros(self.scenes)
        if len(self.place):
            found[self.place] = (self.total - self.value * self.weight) / self.weight.sum()
        return found


def normal_quantile(p: float) -> float:
    """Quantile of the standard normal distribution."""
    return _NORMAL.inv_cdf(p)


@lru_cache(maxsize=1024)
def t_quantile(p: float, df: float) -> float:
    """Quantile of Student's t distribution, to nine digits: by bisection, for many degrees of freedom by its expansion about the normal."""
    if p < 0.5:
        return -t_quantile(1 - p, df)
    if df >= MANY_DEGREES:
        z = normal_quantile(p)
        terms = (
            (z**3 + z) / 4,
            (5 * z**5 + 16 * z**3 + 3 * z) / 96,
            (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
            (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
        )
        return z + sum(term / df**power for power, term in enumerate(terms, 1))
    low, high = 0.0, 2.0
    while _t_cdf(high, df) < p:
        high *= 2
    while high - low > 1e-11 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if _t_cdf(middle, df) < p else (low, middle)
    return (low + high) / 2


def _t_cdf(t: float, df: float) -> float:
    return 1 - 0.5 * _incomplete_beta(df / (df + t * t), df / 2, 0.5)


def _incomplete_beta(x: float, a: float, b: float) -> float:
    """Regularized incomplete beta function, by its continued fraction (Lentz's method)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - _incomplete_beta(1 - x, b, a)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)) / a
    tiny = 1e-300
    c, d = 1.0, 1 / max(1 - (a + b) * x / (a + 1), tiny)
    result = d
    for m in range(1, 500):
        for numerator in (m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)), -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))):
            d = 1 / (1 + numerator * d or tiny)
            c = 1 + numerator / c or tiny
            result *= c * d
        if abs(c * d - 1) < 1e-14:
            break
    return front * result


def wilson(value: float, n: float, level: float = LEVEL) -> tuple[float, float]:
    """Wilson's interval. For any mean of `n` independent values between 0 and 1 it is wide enough, for none varies more than 0 and 1."""
    z2 = normal_quantile((1 + level) / 2) ** 2
    centre = (value + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * value * (1 - value) / n + z2 * z2 / (4 * n * n)) / (1 + z2 / n)
    return max(0.0, min(centre - half, value)), min(1.0, max(centre + half, value))


def clopper_pearson(successes: int, n: int, level: float = LEVEL) -> tuple[float, float]:
    """The exact interval of a share (Clopper and Pearson, Biometrika 26 (1934)): it holds it at least this often, whatever the share is.

    Raises:
        SpecError: there are no trials, or fewer than successes.
    """
    if not 0 <= successes <= n or n < 1:
        raise SpecError(f"{successes} of {n}: there must be at least one trial, and no more successes than trials")

    def quantile(p: float, a: int, b: int) -> float:
        low, high = 0.0, 1.0
        while high - low > 1e-12:
            middle = (low + high) / 2
            low, high = (middle, high) if _incomplete_beta(middle, a, b) < p else (low, middle)
        return (low + high) / 2

    tail = (1 - level) / 2
    below = quantile(tail, successes, n - successes + 1) if successes else 0.0
    return below, quantile(1 - tail, successes + 1, n - successes) if successes < n else 1.0


def resamples(units: int, number: int, seed: int) -> Iterator[Floats32]:
    """How often each unit is drawn in each resample: chunks of ``(resamples, units) float32``."""
    step = max(1, min(number, CELLS // max(units, 1)))
    for first in range(0, number, step):
        chunk = np.empty((min(step, number - first), units), dtype=np.float32)
        for row in range(len(chunk)):
            raw = np.random.Philox(key=np.array([seed & (2**64 - 1), first + row], dtype=np.uint64)).random_raw((units + 1) // 2)
            drawn = (raw.view(np.uint32)[:units].astype(np.uint64) * np.uint64(units)) >> np.uint64(32)
            chunk[row] = np.bincount(drawn.astype(np.int64), minlength=units)
        yield chunk


def units_of(scenes: int, seed: int) -> Ints | None:
    """``(scenes,)`` the unit, of ``UNITS``, that each of more scenes than ``MANY_SCENES`` is drawn with; None where each scene is one.

    Scenes are put into units of equal size at random. Sums over units vary as sums over scenes do, so the intervals are the same on
    average; with thousands of units the chance of the grouping is smaller than that of the resampling.
    """
    if scenes <= MANY_SCENES:
        return None
    order = np.argsort(mix(np.arange(1, scenes + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) ^ np.uint64(seed & (2**64 - 1))))
    unit = np.empty(scenes, dtype=np.int64)
    unit[order] = np.arange(scenes) % UNITS
    return unit


def _in_units(place: Ints, values: Floats, scenes: int, unit: Ints | None) -> Floats:
    """``(units,)`` sums of the values of scenes."""
    found: Floats = np.bincount(place if unit is None else unit[place], values, scenes if unit is None else UNITS).astype(np.float64)
    return found


def _summable(values: Floats) -> Floats:
    """The values to so few digits that any sum of as many of them, each taken any number of times, is exact.

    So it is the same in every order, and what a resample gives does not hang on how a library for matrices shares the work among threads.
    At least 30 binary digits stay behind the point where a million answers are resampled.
    """
    largest = float(np.abs(values).max(initial=0.0)) * max(len(values), 1)
    if not largest:
        return values
    scale = 2.0 ** (52 - math.frexp(largest)[1])
    rounded: Floats = np.rint(values * scale) / scale
    return rounded


Terms = Sequence[tuple[float, Mean]]
"""A sum of means with coefficients: one mean, half of each of two for balanced accuracy, +1 and -1 for a difference."""


def bootstrap(
    wanted: Mapping[str, Terms],
    *,
    seed: int = 0,
    number: int = RESAMPLES,
    level: float = LEVEL,
    method: str = "bca",
    bounds: tuple[float, float] | None = (0.0, 1.0),
) -> dict[str, Estimate]:
    """Estimates with bootstrap intervals, clustered by scene.

    Args:
        wanted: for each name a sum of means. All are of the same scenes.
        seed: of the resamples.
        number: of resamples.
        level: of the intervals.
        method: ``bca`` (bias-corrected and accelerated) or ``percentile``; both widened for small samples by Student's t.
        bounds: of the values. Where there are few scenes, or all agree, resampling shows too little of the spread: values between 0 and 1
            then get Wilson's interval with scenes as trials, others Student's (none, for a single scene).

    Returns:
        An estimate for each name; without a value where one of its means has no scene.

    Raises:
        SpecError: there is no such method.
    """
    if method not in METHODS:
        raise SpecError(f"interval method {method!r}: it must be one of {', '.join(METHODS)}")
    known = {name: terms for name, terms in wanted.items() if terms and all(mean.n for _, mean in terms)}
    columns: dict[int, Mean] = {id(mean): mean for terms in known.values() for _, mean in terms}
    place = {key: row for row, key in enumerate(columns)}
    ratios = _resampled_ratios(list(columns.values()), number, seed)
    found = dict.fromkeys(wanted, NOTHING)
    for name, terms in known.items():
        value = float(sum(factor * mean.value for factor, mean in terms))
        drawn = np.sum([factor * ratios[place[id(mean)]] for factor, mean in terms], axis=0)
        influence = sum((factor * mean.influence() for factor, mean in terms), start=np.zeros(terms[0][1].scenes))
        found[name] = _interval(value, drawn, influence, min(mean.n for _, mean in terms), level, method, bounds)
    return found


def _resampled_ratios(columns: Sequence[Mean], number: int, seed: int) -> Floats:
    """``(columns, resamples)`` every mean in every resample, NaN where its weight is 0."""
    ratios = np.empty((len(columns), number))
    scenes = columns[0].scenes if columns else 0
    unit = units_of(scenes, seed)
    sums: dict[bytes, int] = {}  # place of each column of the matrix; many means have the same weights
    kept: list[Floats] = []
    places: list[int] = []
    for place, values in ((mean.place, values) for mean in columns for values in (mean.total, mean.weight)):
        column = _summable(_in_units(place, values, scenes, unit))
        places.append(sums.setdefault(column.tobytes(), len(kept)))
        if places[-1] == len(kept):
            kept.append(column)
    if not kept:
        return ratios
    matrix = np.stack(kept, axis=1)
    total, weight = places[::2], places[1::2]
    first = 0
    for weights in resamples(len(matrix), number, seed):
        drawn = weights.astype(np.float64) @ matrix
        with np.errstate(invalid="ignore", divide="ignore"):
            ratios[:, first : first + len(weights)] = (drawn[:, total] / drawn[:, weight]).T
        first += len(weights)
    return ratios


def _interval(
    value: float, drawn: Floats, influence: Floats, n: int, level: float, method: str, bounds: tuple[float, float] | None
) -> Estimate:
    drawn = np.sort(drawn[np.isfinite(drawn)])
    spread = float((influence**2).sum())
    if n < FEW_SCENES or spread <= 1e-18 or len(drawn) < 20:
        if bounds == (0.0, 1.0):
            return Estimate(value, *wilson(min(max(value, 0.0), 1.0), n, level), n)
        if n < 2:
            return Estimate(value, None, None, n)
        half = t_quantile((1 + level) / 2, n - 1) * math.sqrt(spread * n / (n - 1))
        return Estimate(value, *_within(value - half, value + half, bounds), n)
    z = math.sqrt(n / (n - 1)) * t_quantile((1 + level) / 2, n - 1)
    shift, acceleration = 0.0, 0.0
    if method == "bca":
        slack = 1e-6 * max(abs(value), 1e-6)  # rounded sums: what equals the value but for that counts half
        below = (np.searchsorted(drawn, value - slack) + np.searchsorted(drawn, value + slack, side="right")) / 2
        shift = normal_quantile(min(max(below / len(drawn), 0.5 / len(drawn)), 1 - 0.5 / len(drawn)))
        acceleration = float((influence**3).sum() / (6 * spread**1.5))
    moved = [shift + (shift + side) / max(1e-3, 1 - acceleration * (shift + side)) for side in (-z, z)]
    low, high = np.quantile(drawn, [_NORMAL.cdf(one) for one in moved]).tolist()
    return Estimate(value, *_within(min(low, value), max(high, value), bounds), n)


def _within(low: float, high: float, bounds: tuple[float, float] | None) -> tuple[float, float]:
    return (low, high) if bounds is None else (max(low, bounds[0]), min(high, bounds[1]))


@dataclass(frozen=True, slots=True)
class Difference:
    """How much better the second of two runs is on the same scenes.

    Attributes:
        a: value of the first run.
        b: value of the second.
        difference: b - a, None where no scene has both.
        low: lower end of its interval.
        high: upper end.
        n: scenes that have both.
        effect_size: mean of the scenes' differences in units of their standard deviation (Cohen's d for pairs).
        p: two-sided, from flipping the signs of the scenes' differences.
        p_adjusted: after Holm's correction for all differences that are listed together.
    """

    a: float | None
    b: float | None
    difference: float | None
    low: float | None
    high: float | None
    n: int
    effect_size: float | None
    p: float | None
    p_adjusted: float | None = None

    def to_dict(self) -> dict[str, float | int | None]:
        """As JSON."""
        return asdict(self)


def compare_paired(
    pairs: Mapping[str, tuple[Mean, Mean]], *, seed: int = 0, number: int = RESAMPLES, level: float = LEVEL, flips: int = FLIPS
) -> dict[str, Difference]:
    """Differences of pairs of means over the same scenes with the same weights.

    Args:
        pairs: for each name the mean of the first run and that of the second.
        seed: of resamples and flips.
        number: of resamples.
        level: of the intervals.
        flips: of the permutation test.

    Raises:
        SpecError: a pair differs in its weights: the scenes are not paired.
    """
    for name, (a, b) in pairs.items():
        if a.scenes != b.scenes or not np.array_equal(a.place, b.place) or not np.array_equal(a.weight, b.weight):
            raise SpecError(f"{name}: the two runs are not compared on the same scenes and questions")
    gaps = {name: Mean(a.scenes, a.place, b.total - a.total, a.weight) for name, (a, b) in pairs.items()}
    intervals = bootstrap({name: [(1.0, gap)] for name, gap in gaps.items()}, seed=seed, number=number, level=level, bounds=(-1.0, 1.0))
    p_values = _sign_flips(list(gaps.values()), seed, flips)
    found = {}
    for (name, gap), p in zip(gaps.items(), p_values, strict=True):
        one, (a, b) = intervals[name], pairs[name]
        if one.value is None:
            found[name] = Difference(None, None, None, None, None, 0, None, None)
            continue
        own = gap.total / gap.weight
        deviation = float(own.std(ddof=1)) if len(own) > 1 else 0.0
        effect = float(own.mean()) / deviation if deviation > 0 else None
        found[name] = Difference(a.value, b.value, one.value, one.low, one.high, one.n, effect, p if one.n > 1 else None)
    return found


def _sign_flips(gaps: Sequence[Mean], seed: int, flips: int) -> list[float]:
    """Two-sided p-values of the sums of the scenes' differences: the share of sign patterns that give a sum as far from 0."""
    if not gaps:
        return []
    scenes = gaps[0].scenes
    unit = units_of(scenes, seed)
    matrix = np.stack([_in_units(gap.place, gap.total, scenes, unit) for gap in gaps], axis=1)
    scale = np.maximum(np.abs(matrix).max(axis=0, initial=0.0), 1e-300)
    matrix = (matrix / scale).astype(np.float32)
    observed = np.abs(matrix.sum(axis=0, dtype=np.float64))
    reached = np.zeros(len(gaps))
    units = len(matrix)
    step = max(1, min(flips, CELLS // max(units, 1)))
    width = (units + 63) // 64
    for first in range(0, flips, step):
        rows = min(step, flips - first)
        raw = np.random.Philox(key=np.array([(seed ^ 0x5F1195) & (2**64 - 1), first], dtype=np.uint64)).random_raw(rows * width)
        bits = np.unpackbits(raw.view(np.uint8).reshape(rows, width * 8), axis=1, count=units)
        sums = 2 * (bits.astype(np.float32) @ matrix).astype(np.float64) - matrix.sum(axis=0, dtype=np.float64)
        reached += (np.abs(sums) >= observed - 1e-4 * np.maximum(1.0, observed) * (observed > 0)).sum(axis=0)
    return [float(one) for one in (reached + 1) / (flips + 1)]


def adjust_holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down correction: with the results below 0.05, the chance of any false one is at most 0.05. None stays None."""
    known = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    found: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, place) in enumerate(known):
        highest = max(highest, min(1.0, p * (len(known) - rank)))
        found[place] = highest
    return found


def adjust_bh(p_values: Sequence[float | None]) -> list[float | None]:
    """Benjamini and Hochberg's correction: of the results below 0.05, at most 0.05 are expected to be false. None stays None."""
    known = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    found: list[float | None] = [None] * len(p_values)
    lowest = 1.0
    for rank in range(len(known), 0, -1):
        p, place = known[rank - 1]
        lowest = min(lowest, p * len(known) / rank)
        found[place] = lowest
    return found


def noise_floor(scene: Ints, sample: Ints, values: Floats, level: float = LEVEL) -> dict[str, float | int] | None:
    """How much of a score is luck of the seeds, from several media a scene (one-way variance components, unbalanced).

    Args:
        scene: ``(media,)``.
        sample: ``(media,)`` number among the media of its scene.
        values: ``(media,)`` scores, NaN where missing.
        level: of ``half_width``.

    Returns:
        ``half_width``: two runs of one model over these scenes that differ in their seeds alone lie this far apart at most, at the level;
        ``seed_sd``: standard deviation of the run's mean over seeds; ``seed_sd_observed``: that of the means of sample 0, 1, ..., scaled
        to as many samples; ``within_scene_sd`` and ``between_scene_sd`` of a media's score; ``scenes`` that have several media. None
        where no scene has.
    """
    known = ~np.isnan(values)
    scene, sample, values = scene[known], sample[known], values[known]
    if not len(values):
        return None
    _, owner = np.unique(scene, return_inverse=True)
    number = np.bincount(owner)
    if not (number > 1).any():
        return None
    means = np.bincount(owner, values) / number
    within = float(((values - means[owner]) ** 2).sum() / (number - 1).sum())
    groups, total = len(number), len(values)
    typical = (total - float((number**2).sum()) / total) / (groups - 1) if groups > 1 else 1.0
    across = float((number * (means - values.mean()) ** 2).sum() / (groups - 1)) if groups > 1 else 0.0
    seed_sd = math.sqrt(within * float((1 / number).sum())) / groups
    found: dict[str, float | int] = {
        "half_width": normal_quantile((1 + level) / 2) * math.sqrt(2) * seed_sd,
        "seed_sd": seed_sd,
        "within_scene_sd": math.sqrt(within),
        "between_scene_sd": math.sqrt(max(0.0, (across - within) / typical)),
        "scenes": int((number > 1).sum()),
    }
    full = number[owner] == number.max()  # scenes that have all samples
    samples = np.unique(sample[full])
    if (number == number.max()).all() and len(samples) == number.max():
        by_sample = np.bincount(np.searchsorted(samples, sample), values) / groups
        found["seed_sd_observed"] = float(by_sample.std(ddof=1)) / math.sqrt(len(samples))
    return found


def scenes_needed(values: Floats, half_width: float, level: float = LEVEL) -> int | None:
    """How many scenes give an interval of plus or minus `half_width`, if they vary as these do (one value a scene). None below 2 scenes.

    Raises:
        SpecError: the half-width is not above 0.
    """
    if not half_width > 0:
        raise SpecError(f"a half-width of {half_width:g}: it must be above 0")
    known = values[~np.isnan(values)]
    if len(known) < 2:
        return None
    return max(1, math.ceil((normal_quantile((1 + level) / 2) * float(known.std(ddof=1)) / half_width) ** 2 - 1e-9))
