"""How far a judge can be trusted, and what a model would score with a judge that makes no errors.

The true answers to some questions (*labels*) tell, for each kind of question, how often the judge confirms what is there (sensitivity)
and denies what is not (specificity). Two corrections follow, both for the share of questions whose true answer is "yes":

- **Rogan-Gladen** (American Journal of Epidemiology 107, 1978) solves *said yes = true * sensitivity + (1 - true) * (1 - specificity)*.
  Its interval is that of Lang and Reiczigel (Preventive Veterinary Medicine 113, 2014), which stays honest when no error was seen at
  all. Questions of one scene are alike, so numbers of questions are first divided by their design effect.
- **Prediction-powered inference** (PPI++; Angelopoulos, Duchi and Zrnic, 2023) takes the mean of the judge's probabilities and adds its
  mean error on the labelled questions, each weighted as the data ask for. It needs no assumption on the judge's errors: only that the
  labelled media are a random part of all. Its variance is that of scenes; two imagined errors, one each way, keep it honest where the
  judge made none (Bonett and Price, British Journal of Mathematical and Statistical Psychology 65, 2012).

A judge that cannot tell has not said yes. Both corrections count that as one more way of erring, so answers that are missing because
a picture is hard to judge do not bias them. Failed calls and questions never asked say nothing about the picture and are left out of
Rogan-Gladen; prediction-powered inference takes them as a probability of one half.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from anyscene.scoring.question_bank import Bools, Floats, Ints
from anyscene.scoring.statistics import LEVEL, Estimate, Mean, normal_quantile, t_quantile

__all__ = [
    "Bin",
    "calibration_error",
    "effective_size",
    "guessed_means",
    "prediction_powered",
    "reliability_bins",
    "reliability_sums",
    "rogan_gladen",
    "said_means",
    "simultaneous_level",
]

BINS = 10
LEAST_YOUDEN = 0.05
"""A judge whose sensitivity + specificity - 1 is smaller tells nothing that could be corrected."""


def simultaneous_level(level: float, number: int) -> float:
    """The level of each of several intervals that together cover at `level` (Šidák)."""
    return float(level ** (1 / max(1, number)))


def effective_size(mean: Mean) -> float:
    """How many independent questions tell as much as these, which come in scenes: their number divided by the design effect.

    At most the number of questions. Where all answers agree the design effect cannot be seen, and each scene counts as one.
    """
    number = float(mean.weight.sum())
    if not number:
        return 0.0
    units = len(mean.place)
    simple = mean.value * (1 - mean.value) / number
    if simple < 1e-12 or units < 2:
        return float(mean.n)
    clustered = float((mean.influence() ** 2).sum()) * units / (units - 1)
    return number * min(1.0, simple / clustered) if clustered > 0 else number


def said_means(scene: Ints, said_yes: Floats, truth: Floats, scenes: int) -> tuple[Mean, Mean, Mean]:
    """How often a judge said yes: everywhere, where the truth is yes, and where it is no; what `rogan_gladen` takes.

    Args:
        scene: ``(questions,)``.
        said_yes: ``(questions,)`` 1 if the judge said yes, 0 if it did not, NaN if it was never heard.
        truth: ``(questions,)`` 1 or 0 where labelled, NaN elsewhere.
        scenes: how many scenes there are.
    """
    there, absent = truth == 1, truth == 0
    return (
        Mean.over(scene, said_yes, scenes),
        Mean.over(scene[there], said_yes[there], scenes),
        Mean.over(scene[absent], said_yes[absent], scenes),
    )


def rogan_gladen(said: Mean, there: Mean, absent: Mean, level: float = LEVEL) -> Estimate | None:
    """Share of true "yes" from what the judge said everywhere and its errors where the truth is known.

    Args:
        said: what the judge said, of all questions that it was heard on.
        there: of those whose truth is "yes".
        absent: of those whose truth is "no".
        level: of the interval.

    Returns:
        None where no label is "yes", none is "no", or the judge tells them apart no better than chance.
    """
    if not there.n or not absent.n:
        return None
    rate, sensitivity, specificity = said.value, there.value, 1 - absent.value
    if sensitivity + specificity - 1 < LEAST_YOUDEN:
        return None
    value = min(1.0, max(0.0, (rate + specificity - 1) / (sensitivity + specificity - 1)))
    sizes = effective_size(said), effective_size(there), effective_size(absent)
    low, high = lang_reiczigel(rate, sensitivity, specificity, *sizes, level)
    return Estimate(value, min(low, value), max(high, value), said.n)


def lang_reiczigel(
    rate: float, sensitivity: float, specificity: float, size: float, size_there: float, size_absent: float, level: float = LEVEL
) -> tuple[float, float]:
    """Interval of a corrected share (Lang and Reiczigel 2014, section 2).

    Args:
        rate: share of positive answers among `size` questions.
        sensitivity: seen among `size_there` questions whose truth is "yes".
        specificity: seen among `size_absent` questions whose truth is "no".
        size: number of independent questions; likewise the other two.
        size_there: see `sensitivity`.
        size_absent: see `specificity`.
        level: of the interval.
    """
    z2 = normal_quantile((1 + level) / 2) ** 2
    n, n_there, n_absent = size + z2, size_there + 2, size_absent + 2
    p = (size * rate + z2 / 2) / n
    se = (size_there * sensitivity + 1) / n_there
    sp = (size_absent * specificity + 1) / n_absent
    youden = se + sp - 1
    if youden <= 0:
        return 0.0, 1.0
    share = (p + sp - 1) / youden
    se_part, sp_part = se * (1 - se) / n_there, sp * (1 - sp) / n_absent
    centre = share + 2 * z2 * (share * se_part - (1 - share) * sp_part)
    half = math.sqrt(z2 * (p * (1 - p) / n + share**2 * se_part + (1 - share) ** 2 * sp_part)) / youden
    return max(0.0, min(1.0, centre - half)), min(1.0, max(0.0, centre + half))


def guessed_means(scene: Ints, p_yes: Floats, truth: Floats, scenes: int) -> tuple[Mean, Mean, Mean]:
    """The judge's probabilities everywhere, the truth where it is known, and the probabilities there; what `prediction_powered` takes.

    Args:
        scene: ``(questions,)``.
        p_yes: ``(questions,)`` NaN where missing.
        truth: ``(questions,)`` 1 or 0 where labelled, NaN elsewhere.
        scenes: how many scenes there are.
    """
    guess = np.where(np.isnan(p_yes), 0.5, p_yes)
    labelled = ~np.isnan(truth)
    return (
        Mean.over(scene, guess, scenes),
        Mean.over(scene[labelled], truth[labelled], scenes),
        Mean.over(scene[labelled], guess[labelled], scenes),
    )


def prediction_powered(guess: Mean, true: Mean, seen: Mean, level: float = LEVEL) -> Estimate | None:
    """Share of true "yes" from the judge's probabilities everywhere and its mean error where the truth is known.

    Args:
        guess: the probability of "yes", one half where it is missing, of all questions.
        true: the true answers, of the labelled questions.
        seen: the probability of "yes" of the labelled questions.
        level: of the interval.

    Returns:
        None with labels in fewer than two scenes.
    """
    if true.n < 2:
        return None
    known, gained = true.influence(), guess.influence() - seen.influence()
    power = float((gained**2).sum())
    weight = min(1.0, max(0.0, -float((known * gained).sum()) / power)) if power > 1e-18 else 0.0
    value = true.value + weight * (guess.value - seen.value)
    size = effective_size(true)
    variance = float(((known + weight * gained) ** 2).sum()) * true.n / (true.n - 1) + 2 / (size + 2) ** 2
    half = t_quantile((1 + level) / 2, true.n - 1) * math.sqrt(variance)
    value = min(1.0, max(0.0, value))
    return Estimate(value, max(0.0, value - half), min(1.0, value + half), guess.n)


@dataclass(frozen=True, slots=True)
class Bin:
    """Answers whose probability of "yes" lies in ``[low, high)``, the last bin closed.

    Attributes:
        low: of the bin.
        high: of the bin.
        mean_p: mean probability of "yes" that the judge gave; None in an empty bin.
        share_right: share whose true answer is "yes"; equal to `mean_p` for a well calibrated judge.
        n: answers in the bin.
    """

    low: float
    high: float
    mean_p: float | None
    share_right: float | None
    n: int


def reliability_sums(p_yes: Floats, truth: Floats, number: int = BINS) -> Floats:
    """``(3, bins)`` of the labelled answers in each bin: their number, the sum of their probabilities, and how often "yes" is true.

    Args:
        p_yes: ``(questions,)`` NaN where missing.
        truth: ``(questions,)`` NaN where not labelled.
        number: of bins.
    """
    known: Bools = ~(np.isnan(p_yes) | np.isnan(truth))
    p, true = p_yes[known], truth[known]
    place = np.minimum((p * number).astype(np.int64), number - 1)
    return np.stack([np.bincount(place, weights, number) for weights in (np.ones(len(p)), p, true)])


def reliability_bins(sums: Floats) -> list[Bin]:
    """The reliability curve of the judge's probabilities on labelled yes/no questions, from `reliability_sums`; empty without any."""
    if not sums[0].any():
        return []
    number = sums.shape[1]
    return [
        Bin(i / number, (i + 1) / number, p / n if n else None, yes / n if n else None, int(n))
        for i, (n, p, yes) in enumerate(sums.T.tolist())
    ]


def calibration_error(bins: Sequence[Bin]) -> float | None:
    """Expected calibration error: mean distance of probability and share over the answers; None without any."""
    known = [(one.n, abs(one.mean_p - one.share_right)) for one in bins if one.mean_p is not None and one.share_right is not None]
    total = sum(n for n, _ in known)
    return sum(n * gap for n, gap in known) / total if total else None
