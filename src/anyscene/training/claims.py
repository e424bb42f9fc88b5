"""What a run may say of itself: one exam before and after, by one judge, and whether what else is known of that judge bears it out.

A judge errs. One that says yes to a share of what is not there, or misses a share of what is, sees only a part of every change: its gain is
the true one times *sensitivity + specificity - 1*. One that says yes more easily to the pictures after training than to those before sees a
gain where there is none. Both are looked for, and the gain is corrected as Rogan and Gladen (1978) correct a share, kind by kind:

- With true answers to some questions of both exams (``labels.parquet``), each exam by the errors that the judge made on its own pictures.
- Without, by foils, questions about what no caption asked for. They tell how often the judge says yes to what is not there, and nothing of
  what it misses, so the judge is taken to miss nothing and the corrected gain is the least that fits. Both exams are corrected by the same
  rate, unless the judge calls more foils true after training than before; then each by its own.

Nothing is claimed whose interval holds 0: not the raw gain, not the corrected one, not that of the second judge where there is one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from anyscene.evaluation import EvaluationRun, scores_of
from anyscene.scoring.comparison import compare_runs
from anyscene.scoring.question_bank import Bools, Floats, Ints
from anyscene.scoring.run import Scores
from anyscene.scoring.statistics import LEVEL, RESAMPLES, Estimate, Mean, bootstrap, resamples
from anyscene.scoring.tally import HEADLINE

__all__ = ["BETTER", "NOT_SHOWN", "WORSE", "Gain", "claim_of", "corrected_gain", "make_claim", "no_claim", "verdict_of"]

BETTER, WORSE, NOT_SHOWN = "better", "worse", "no difference shown"
SCORES = ("soft", "strict", "all_correct")
"""Of which a claim gives the differences."""
CORRECTED = "strict"
"""The score that can be corrected: a share of questions answered yes."""
LEAST_YOUDEN = 0.05
"""A judge whose sensitivity + specificity - 1 is smaller tells nothing that could be corrected."""
DOUBTFUL = 0.1
"""A judge that errs more often than this is doubtful, and the words of a claim say so."""
FEW = 10
"""On fewer scenes no corrected gain is given."""
MOST_LOST = 0.02
"""Share of resamples in which the gain cannot be corrected, at most."""


@dataclass(frozen=True, slots=True)
class Gain:
    """How much more of what was asked for is there after than before, as a judge without errors would see it.

    Attributes:
        value: the corrected gain, a fraction; None where it cannot be had, and ``why`` says why.
        low: of its interval.
        high: of its interval.
        source: ``labels`` or ``foils``.
        each: corrected each exam by its own errors; else both by the same.
        sensitivity: share of what is there that the judge confirms, before and after; None where it is not known.
        foils: share of what is not there that the judge calls true, before and after.
        rise: of that share, with its interval.
        by_kind: corrected kind by kind; else all questions together, as some kind has too little of what is not there.
        why: there is no value.
    """

    value: float | None
    low: float | None
    high: float | None
    source: str
    each: bool
    sensitivity: tuple[float, float] | None
    foils: tuple[float, float] | None
    rise: Estimate | None
    by_kind: bool = True
    why: str = ""

    @property
    def doubtful(self) -> bool:
        """Does the judge err so often that its gain alone says little?"""
        misses = self.sensitivity is not None and min(self.sensitivity) < 1 - DOUBTFUL
        return misses or (self.foils is not None and max(self.foils) > DOUBTFUL) or self.rose

    @property
    def rose(self) -> bool:
        """Does the judge call more of what is not there true than before?"""
        return self.rise is not None and self.rise.low is not None and self.rise.low > 0

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "score": CORRECTED,
            "difference": self.value,
            "low": self.low,
            "high": self.high,
            "claim": verdict_of(self.low, self.high),
            "source": self.source,
            "each_by_its_own": self.each,
            "by_kind": self.by_kind,
            "sensitivity": None if self.sensitivity is None else list(self.sensitivity),
            "foils_called_true": None if self.foils is None else list(self.foils),
            "foils_called_true_rise": None if self.rise is None else self.rise.to_dict(),
            "doubtful": self.doubtful,
            "why_not": self.why or None,
        }


def verdict_of(low: float | None, high: float | None) -> str:
    """What an interval of a difference allows to claim."""
    if low is None or high is None or low <= 0 <= high:
        return NOT_SHOWN
    return BETTER if low > 0 else WORSE


def make_claim(
    before: EvaluationRun,
    after: EvaluationRun,
    judge: str | None = None,
    *,
    second: str | None = None,
    score: str = HEADLINE,
    seed: int = 0,
) -> dict[str, Any]:
    """The claim of two exams on the same scenes.

    Args:
        before: the exam before, or that of the model that is compared with.
        after: the exam after.
        judge: whose answers count; by default the only one's.
        second: another judge, which chose nothing; it must bear the claim out.
        score: of which the claim is made, one of `MEDIA_SCORES`.
        seed: of resampling.

    Returns:
        As `claim_of`.

    Raises:
        SpecError: a judge did not answer, or the exams share no scene.
        RecordError: a file of answers is damaged.
    """
    first = scores_of(before, judge, seed=seed), scores_of(after, judge, seed=seed)
    other = None if second is None else (scores_of(before, second, seed=seed), scores_of(after, second, seed=seed))
    return claim_of(*first, second=other, score=score, seed=seed)


def no_claim(reasons: Sequence[str]) -> dict[str, Any]:
    """What stands in a claim's place where the figures say nothing."""
    return {"claim": None, "sentence": f"Nothing is claimed: {'. '.join(reasons)}.", "reasons": list(reasons)}


def claim_of(a: Scores, b: Scores, *, second: tuple[Scores, Scores] | None = None, score: str = HEADLINE, seed: int = 0) -> dict[str, Any]:
    """The claim of two scored exams on the same scenes; a pure function.

    Args:
        a: before.
        b: after.
        second: the same two by another judge.
        score: of which the claim is made.
        seed: of resampling.

    Returns:
        ``claim``: `BETTER`, `WORSE` or `NOT_SHOWN`; ``score``; ``judge``; ``scenes``; ``scores``: of each of `SCORES` and ``score`` the
        paired difference (``a``, ``b``, ``difference``, ``low``, ``high``, ``n``, ``p``, ...) and its own ``claim``; ``corrected``: see
        `Gain.to_dict`; ``second``: judge, ``scores`` likewise and, of the first judge held against it, ``sensitivity`` and
        ``specificity``; ``sentences``: the claim in words; ``sentence``: all of them. Fractions of one.
    """
    scores = _differences(a, b, score, seed)
    gain = corrected_gain(a, b, seed=seed)
    found: dict[str, Any] = {
        "claim": scores[score]["claim"],
        "score": score,
        "judge": a.summary["judge"]["name"],
        "scenes": scores[score]["n"],
        "scores": scores,
        "corrected": gain.to_dict(),
        "second": None,
    }
    if second is not None:
        found["second"] = {
            "judge": second[0].summary["judge"]["name"],
            "scores": _differences(*second, score, seed),
            **_agreement([(a, second[0]), (b, second[1])]),
        }
    borne_out = [gain.to_dict()["claim"]] if gain.value is not None else []
    borne_out += [found["second"]["scores"][score]["claim"]] if second is not None else []
    if any(one != found["claim"] for one in borne_out):
        found["claim"] = NOT_SHOWN
    found["sentences"] = _sentences(found, gain)
    found["sentence"] = " ".join(found["sentences"])
    return found


def _differences(a: Scores, b: Scores, score: str, seed: int) -> dict[str, dict[str, Any]]:
    compared = compare_runs(a, b, seed=seed).scores
    found = {name: compared[name].to_dict() for name in dict.fromkeys((score, *SCORES))}
    return {name: {**one, "claim": verdict_of(one["low"], one["high"])} for name, one in found.items()}


# ---- what a judge without errors would have seen -----------------------------------------------------------------------------------


def corrected_gain(a: Scores, b: Scores, *, seed: int = 0, level: float = LEVEL, number: int = RESAMPLES) -> Gain:
    """The gain in `CORRECTED` without the judge's errors, resampled by scene.

    Args:
        a: before.
        b: after, on the same scenes.
        seed: of the resamples.
        level: of the interval.
        number: of resamples.
    """
    exams = _paired_exams(a, b)
    labelled = all(bool((~np.isnan(one.scores.truth)).any()) for one in exams)
    source = "labels" if labelled else "foils"
    rise = _rise(exams, labelled, seed, level)
    each = labelled or (rise is not None and rise.low is not None and rise.low > 0)
    rates = [_said(one, labelled) for one in exams]
    known = all(there.n for there, _ in rates)
    sensitivity = (rates[0][0].value, rates[1][0].value) if labelled and known else None
    foils = (rates[0][1].value, rates[1][1].value) if rise is not None else None

    def without(why: str) -> Gain:
        return Gain(None, None, None, source, each, sensitivity, foils, rise, why=why)

    if rise is None:
        return without("no foil was asked, and no true answer is known")
    if len(exams[0].place) < FEW:
        return without(f"{len(exams[0].place)} scenes are too few")
    kinds = sorted({kind for one in exams for kind in one.kinds})
    table = np.concatenate([_columns(one, kinds, labelled) for one in exams], axis=1)
    drawn = list(resamples(len(table), number, seed))
    for by_kind in (True, False):  # together, where a kind has too little of what is not there
        sums = table if by_kind else table.reshape(len(table), 2, len(kinds), COLUMNS).sum(axis=2).reshape(len(table), -1)
        value = float(_gain(sums.sum(axis=0)[None], labelled, each, len(table))[0])
        values = np.concatenate([_gain(chunk @ sums, labelled, each, len(table)) for chunk in drawn])
        if np.isfinite(value) and np.isnan(values).mean() <= MOST_LOST:
            low, high = np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2]).tolist()
            return Gain(value, min(low, value), max(high, value), source, each, sensitivity, foils, rise, by_kind)
    return without("the judge says yes nearly as often to what is not there as to what is")


@dataclass(frozen=True, slots=True)
class _Exam:
    """One exam on the scenes that both have.

    Attributes:
        scores: of it.
        place: ``(scenes,)`` its records that both have, in one order.
        scene: ``(rows,)`` of each row the place among those scenes, -1 elsewhere.
        said: ``(rows,)`` 1 if the judge said yes, NaN where it did not answer or the question is no yes/no question.
    """

    scores: Scores
    place: Ints
    scene: Ints
    said: Floats

    @property
    def kind(self) -> Ints:
        rows = self.scores.rows
        return rows.bank.kind.index[rows.question]

    @property
    def kinds(self) -> list[str]:
        return list(self.scores.rows.bank.kind.words)

    def of_kind(self, name: str) -> Bools:
        words = self.scores.rows.bank.kind.words
        mask: Bools = self.kind == words.index(name) if name in words else np.zeros(len(self.kind), dtype=np.bool_)
        return mask


def _paired_exams(a: Scores, b: Scores) -> tuple[_Exam, _Exam]:
    places: list[dict[str, int]] = [
        {name: place for place, name in enumerate(one.record_ids) if not np.isnan(one.by_scene[CORRECTED][place])} for one in (a, b)
    ]
    shared = [name for name in places[0] if name in places[1]]
    found = []
    for one, place_of in zip((a, b), places, strict=True):
        rows = one.rows
        place = np.array([place_of[name] for name in shared], dtype=np.int64)
        number = np.full(rows.scenes, -1, dtype=np.int64)
        number[place] = np.arange(len(place))
        said = np.where(rows.yes_no, np.where(rows.gold_yes, rows.credit, 1 - rows.credit), np.nan)
        found.append(_Exam(one, place, number[rows.row_scene], said))
    return found[0], found[1]


def _there_and_absent(exam: _Exam, labelled: bool) -> tuple[Bools, Bools]:
    """Rows about what is there and about what is not: by true answers, or by foils alone."""
    rows, truth = exam.scores.rows, exam.scores.truth
    own = (exam.scene >= 0) & ~np.isnan(exam.said)
    if labelled:
        return own & (truth == 1), own & (truth == 0)
    return np.zeros(len(own), dtype=np.bool_), own & rows.is_foil


def _said(exam: _Exam, labelled: bool) -> tuple[Mean, Mean]:
    there, absent = _there_and_absent(exam, labelled)
    scenes = len(exam.place)
    return Mean.over(exam.scene[there], exam.said[there], scenes), Mean.over(exam.scene[absent], exam.said[absent], scenes)


def _rise(exams: Sequence[_Exam], labelled: bool, seed: int, level: float) -> Estimate | None:
    """Of the share of what is not there that the judge calls true; None where one of the exams knows of nothing that is not there."""
    before, after = (_said(one, labelled)[1] for one in exams)
    if not before.n or not after.n:
        return None
    return bootstrap({"rise": [(1.0, after), (-1.0, before)]}, seed=seed, level=level, bounds=(-1.0, 1.0))["rise"]


COLUMNS = 6
"""Of each kind: sum of yes and of all weights, of yes and of all that is there, of yes and of all that is not."""


def _columns(exam: _Exam, kinds: Sequence[str], labelled: bool) -> Floats:
    """``(scenes, kinds * 6)`` sums of each scene. The weights are those that questions have in `CORRECTED`, so its sum over kinds is it."""
    rows, scenes = exam.scores.rows, len(exam.place)
    asked = rows.faithful & (exam.scene >= 0) & ~np.isnan(rows.credit)
    of_media = np.bincount(rows.media[asked], minlength=len(rows.scene))
    scored = np.unique(rows.media[asked])
    media_of_scene = np.bincount(rows.scene[scored], minlength=rows.scenes)
    weight = np.zeros(len(rows))
    weight[asked] = 1 / of_media[rows.media[asked]] / media_of_scene[rows.row_scene[asked]]
    there, absent = _there_and_absent(exam, labelled)
    columns = []
    for kind in kinds:
        own = exam.of_kind(kind)
        for mask, values in ((asked & own, weight), (there & own, np.ones(len(rows))), (absent & own, np.ones(len(rows)))):
            for part in (values * np.nan_to_num(exam.said), values):
                columns.append(np.bincount(exam.scene[mask], part[mask], scenes))
    return np.stack(columns, axis=1).astype(np.float64)


def _gain(sums: Floats, labelled: bool, each: bool, scenes: int) -> Floats:
    """``(resamples,)`` the corrected gain from sums over scenes, NaN where it cannot be had."""
    exams = sums.astype(np.float64).reshape(len(sums), 2, -1, COLUMNS)
    both = exams if each else np.broadcast_to(exams.sum(axis=1, keepdims=True), exams.shape)
    with np.errstate(divide="ignore", invalid="ignore"):
        sensitivity = both[..., 2] / both[..., 3] if labelled else np.ones(both.shape[:-1])
        called = both[..., 4] / both[..., 5]
        if not labelled:
            called = np.where(both[..., 5] > 0, called, 0.0)  # a kind without foils stays as it is
        youden = sensitivity - called
        youden = np.where(youden >= LEAST_YOUDEN, youden, np.nan)
        true = np.where(exams[..., 1] > 0, (exams[..., 0] - called * exams[..., 1]) / youden, 0.0).sum(axis=2) / scenes
    gain: Floats = true[:, 1] - true[:, 0]
    return gain


def _agreement(pairs: Sequence[tuple[Scores, Scores]]) -> dict[str, float | None]:
    """The first judge held against the second: how often it confirms what the second finds, and denies what the second does not find."""
    said: list[Floats] = []
    true: list[Floats] = []
    for first, second in pairs:
        answers = []
        for one in (first, second):
            rows = one.rows
            keys = rows.media * len(rows.bank) + rows.question
            known = rows.yes_no & ~np.isnan(rows.credit)
            yes = np.where(rows.gold_yes, rows.credit, 1 - rows.credit)
            answers.append((keys[known], yes[known]))
        _, own, other = np.intersect1d(answers[0][0], answers[1][0], assume_unique=True, return_indices=True)
        said.append(answers[0][1][own])
        true.append(answers[1][1][other])
    mine, theirs = np.concatenate(said), np.concatenate(true)
    there, absent = theirs > 0.5, theirs < 0.5
    return {
        "sensitivity": float(mine[there].mean()) if there.any() else None,
        "specificity": float(1 - mine[absent].mean()) if absent.any() else None,
    }


# ---- words ---------------------------------------------------------------------------------------------------------------------------


def _sentences(claim: Mapping[str, Any], gain: Gain) -> list[str]:
    score, judge = claim["score"], claim["judge"]
    raw = claim["scores"][score]
    if raw["difference"] is None:
        return [f"{judge} could score no scene of both exams: nothing is claimed."]
    found = [
        f"{score}: {100 * raw['a']:.1f} % -> {100 * raw['b']:.1f} % by {judge} on {raw['n']:,} scenes, {_between(raw)}: {raw['claim']}."
    ]
    if gain.value is None:
        found.append(f"How far its errors bend this is not known: {gain.why}.")
    elif gain.doubtful or verdict_of(gain.low, gain.high) != raw["claim"]:
        found += _judge_words(claim, gain)
    if claim["second"] is not None:
        found.append(_second_words(claim))
    if claim["claim"] != raw["claim"]:
        found.append("One of these intervals holds 0, or points the other way, so nothing is claimed.")
    return found


def _judge_words(claim: Mapping[str, Any], gain: Gain) -> list[str]:
    corrected = claim["corrected"]
    raw = claim["scores"][CORRECTED]
    of = f"the {_points(raw['difference'])} in {CORRECTED}"
    before, after = gain.foils or (0.0, 0.0)
    if gain.source == "labels" and gain.sensitivity is not None:
        kept = sum(gain.sensitivity) / 2 - (before + after) / 2
        first = (
            f"Held against true answers, the judge confirms {_both(*gain.sensitivity)} of what is there and calls {_both(before, after)} "
            f"of what is not there true: of a true change it shows {100 * kept:.0f} %."
        )
    elif gain.rose and gain.rise is not None:
        rise = _between({**gain.rise.to_dict(), "difference": gain.rise.value})
        first = (
            f"The judge calls more foils true than before ({_both(before, after)}, {rise}): "
            "its yes comes more easily to these pictures, whether a thing is there or not."
        )
    else:
        shown = 100 * (1 - (before + after) / 2)
        first = (
            f"The judge calls {_both(before, after)} of the foils true, things that no caption asked for: "
            f"of a true change it shows about {shown:.0f} %, or less if it also misses what is there."
        )
    least = "at least " if gain.source == "foils" and not gain.each and (gain.value or 0) > 0 else ""
    return [first, f"So {of} stand for {least}{_between(corrected)}: {corrected['claim']}."]


def _second_words(claim: Mapping[str, Any]) -> str:
    second, score = claim["second"], claim["score"]
    other, raw = second["scores"][score], claim["scores"][score]
    if other["difference"] is None:
        return f"{second['judge']}, which chose nothing, could score no scene of both exams."
    told = f"{second['judge']}, which chose nothing, sees {_between(other)}: {other['claim']}."
    sensitivity, specificity = second["sensitivity"], second["specificity"]
    if sensitivity is None or specificity is None or min(sensitivity, specificity) >= 1 - DOUBTFUL:
        return told
    told += (
        f" Held against it, {claim['judge']} confirms {100 * sensitivity:.0f} % of what is there and calls {100 * (1 - specificity):.0f} % "
        "of what is not there true"
    )
    if raw["claim"] == other["claim"] == NOT_SHOWN:
        return f"{told}."
    expected = (sensitivity + specificity - 1) * other["difference"]
    return f"{told}; such a judge would show {_points(expected)} of it, and shows {_points(raw['difference'])}."


def _between(one: Mapping[str, Any]) -> str:
    if one["low"] is None or one["high"] is None:
        return f"{_points(one['difference'])} (no interval)"
    return f"{_points(one['difference'])} ({100 * one['low']:+.1f} to {100 * one['high']:+.1f})"


def _points(value: float) -> str:
    return f"{100 * value:+.1f} points"


def _both(before: float, after: float) -> str:
    first, then = f"{100 * before:.0f} %", f"{100 * after:.0f} %"
    return first if first == then else f"{first} (now {then})"
