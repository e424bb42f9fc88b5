"""Two or more runs on the scenes that they share: differences with intervals, effect sizes and p-values, for every score and skill."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from anyscene.errors import SpecError
from anyscene.scoring.question_bank import Bools, Codes, Floats, Ints
from anyscene.scoring.run import Scores
from anyscene.scoring.scores import MEDIA_SCORES, mean_by
from anyscene.scoring.statistics import LEVEL, RESAMPLES, Difference, Mean, adjust_holm, compare_paired
from anyscene.scoring.tally import DIMENSIONS, HEADLINE, groups_of, shown_rows

__all__ = ["Comparison", "compare_runs", "rank_runs"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Run b against run a; a positive difference means that b is better.

    Attributes:
        models: names of a and b.
        judges: of a and b; differences between judges are no differences between models.
        scenes: how many scenes are in both, in a, and in b.
        level: of the intervals.
        scores: the difference of each score, over the scenes where both have it.
        by: for each dimension and name the difference of the mean probability of right answers, over the questions that both runs answered.
            P-values are adjusted for all that are listed.
    """

    models: tuple[str, str]
    judges: tuple[Mapping[str, str], Mapping[str, str]]
    scenes: tuple[int, int, int]
    level: float
    scores: Mapping[str, Difference]
    by: Mapping[str, Mapping[str, Difference]]

    def to_dict(self) -> dict[str, Any]:
        """As JSON; fractions of one, null where something is missing."""
        return {
            "models": list(self.models),
            "judges": [dict(judge) for judge in self.judges],
            "same_judge": self.judges[0] == self.judges[1],
            "scenes": dict(zip(("common", "a", "b"), self.scenes, strict=True)),
            "level": self.level,
            "headline": HEADLINE,
            "scores": {name: one.to_dict() for name, one in self.scores.items()},
            "by": {dimension: {name: one.to_dict() for name, one in group.items()} for dimension, group in self.by.items()},
        }


def compare_runs(a: Scores, b: Scores, *, seed: int = 0, resamples: int = RESAMPLES, level: float = LEVEL) -> Comparison:
    """Compares run b with run a on the scenes that both have.

    Args:
        a: scores of the first run.
        b: scores of the second.
        seed: of resamples and sign flips.
        resamples: of the bootstrap.
        level: of the intervals.

    Raises:
        SpecError: the runs share no scene.
    """
    in_a, in_b = _common_scenes([a, b])
    overall = {name: _paired(a.by_scene[name][in_a], b.by_scene[name][in_b]) for name in MEDIA_SCORES}
    skills = _skill_pairs(a, b, in_a, in_b)
    pairs = {f"scores\0{name}": pair for name, pair in overall.items()} | {"\0".join(key): pair for key, pair in skills.items()}
    found = compare_paired(pairs, seed=seed, number=resamples, level=level)
    scores = _adjusted({name: found[f"scores\0{name}"] for name in MEDIA_SCORES})
    listed = _adjusted({"\0".join(key): found["\0".join(key)] for key in skills})
    by: dict[str, dict[str, Difference]] = {dimension: {} for dimension in DIMENSIONS}
    for dimension, name in skills:
        by[dimension][name] = listed[f"{dimension}\0{name}"]
    return Comparison(
        models=(str(a.summary["model"]), str(b.summary["model"])),
        judges=(a.summary["judge"], b.summary["judge"]),
        scenes=(len(in_a), a.rows.scenes, b.rows.scenes),
        level=level,
        scores=scores,
        by=by,
    )


def rank_runs(runs: Sequence[Scores], score: str = HEADLINE, *, seed: int = 0, level: float = LEVEL) -> dict[str, Any]:
    """All pairs of several runs on the scenes that all of them have.

    Returns:
        ``scenes``, ``runs`` (model and mean, best first) and ``pairs`` (places of two runs in the order given, and their difference, with
        p-values adjusted for all pairs).

    Raises:
        SpecError: there are fewer than two runs, they share no scene, or there is no such score.
    """
    if len(runs) < 2:
        raise SpecError(f"{len(runs)} runs cannot be compared; give at least two")
    if score not in MEDIA_SCORES:
        raise SpecError(f"score {score!r}: it must be one of {', '.join(MEDIA_SCORES)}")
    values = np.stack([run.by_scene[score][rows] for run, rows in zip(runs, _common_scenes(runs), strict=True)])
    values = values[:, ~np.isnan(values).any(axis=0)]
    names = {f"{i} {j}": (i, j) for i, j in combinations(range(len(runs)), 2)}
    found = compare_paired({name: _paired(values[i], values[j]) for name, (i, j) in names.items()}, seed=seed, level=level)
    found = _adjusted(found)
    means = [float(one.mean()) if len(one) else None for one in values]
    order = sorted(range(len(runs)), key=lambda run: -(means[run] or 0.0))
    return {
        "score": score,
        "scenes": values.shape[1],
        "runs": [{"run": run, "model": runs[run].summary["model"], "value": means[run]} for run in order],
        "pairs": [{"a": i, "b": j, **{k: v for k, v in found[name].to_dict().items() if k not in "ab"}} for name, (i, j) in names.items()],
    }


def _common_scenes(runs: Sequence[Scores]) -> list[Ints]:
    """For each run the positions of the scenes that all have, in the order of the first."""
    shared = set(runs[0].record_ids).intersection(*(run.record_ids for run in runs[1:]))
    if not shared:
        raise SpecError("the runs share no scene; only runs of the same scenes can be compared")
    ids = [record_id for record_id in runs[0].record_ids if record_id in shared]
    found = []
    for run in runs:
        place_of = {record_id: place for place, record_id in enumerate(run.record_ids)}
        found.append(np.array([place_of[record_id] for record_id in ids], dtype=np.int64))
    return found


def _paired(a: Floats, b: Floats) -> tuple[Mean, Mean]:
    """Two means over the scenes where both have a value."""
    lost = np.isnan(a) | np.isnan(b)
    return Mean.of(np.where(lost, np.nan, a)), Mean.of(np.where(lost, np.nan, b))


def _skill_pairs(a: Scores, b: Scores, in_a: Ints, in_b: Ints) -> dict[tuple[str, str], tuple[Mean, Mean]]:
    """For each dimension and name the means of both runs over the questions that both answered, as sums over common scenes."""
    question_a, question_b, scene = _common_questions(a, b, in_a, in_b)
    bank = a.rows.bank
    groups = groups_of(bank, question_a, a.rows.complexity[bank.record[question_a]])
    found = {}
    of_dimension: dict[str, tuple[Floats, Floats, Bools]] = {}
    for (dimension, name), mask in groups.items():
        if dimension not in of_dimension:
            own, other = _by_question(a, dimension)[question_a], _by_question(b, dimension)[question_b]
            of_dimension[dimension] = own, other, ~(np.isnan(own) | np.isnan(other))
        own, other, known = of_dimension[dimension]
        used = mask & known
        if used.any():
            found[(dimension, name)] = (
                Mean.over(scene[used], own[used], len(in_a)),
                Mean.over(scene[used], other[used], len(in_a)),
            )
    return found


def _by_question(run: Scores, dimension: str) -> Floats:
    """``(questions,)`` mean value over the media of a scene of the questions that scores of this dimension take; NaN elsewhere."""
    rows = run.rows
    return mean_by(rows.question, np.where(shown_rows(rows, dimension), rows.value, np.nan), len(rows.bank))


def _common_questions(a: Scores, b: Scores, in_a: Ints, in_b: Ints) -> tuple[Ints, Ints, Ints]:
    """(question in a, the same question in b, common scene) of the questions that both banks hold under one id with one wording."""
    ids, keys = a.rows.bank.id, a.rows.bank.key
    scenes = [np.full(run.rows.scenes, -1, dtype=np.int64) for run in (a, b)]
    scenes[0][in_a], scenes[1][in_b] = np.arange(len(in_a)), np.arange(len(in_b))
    scene_a, scene_b = scenes[0][a.rows.bank.record], scenes[1][b.rows.bank.record]
    id_b, key_b = _recoded(b.rows.bank.id, ids), _recoded(b.rows.bank.key, keys)
    own, other = np.flatnonzero(scene_a >= 0), np.flatnonzero((scene_b >= 0) & (id_b >= 0))
    width = len(ids.words) + 1
    own_code, other_code = scene_a[own] * width + ids.index[own], scene_b[other] * width + id_b[other]
    _, place_a, place_b = np.intersect1d(own_code, other_code, assume_unique=True, return_indices=True)
    question_a, question_b = own[place_a], other[place_b]
    same = keys.index[question_a] == key_b[question_b]
    return question_a[same], question_b[same], scene_a[question_a[same]]


def _recoded(column: Codes, to: Codes) -> Ints:
    """The column in the codes of another; -1 for words that the other lacks."""
    place_of = {word: place for place, word in enumerate(to.words)}
    found: Ints = np.array([place_of.get(word, -1) for word in column.words] + [-1], dtype=np.int64)[column.index]
    return found


def _adjusted(found: Mapping[str, Difference]) -> dict[str, Difference]:
    adjusted = adjust_holm([one.p for one in found.values()])
    return {name: replace(one, p_adjusted=p) for (name, one), p in zip(found.items(), adjusted, strict=True)}
