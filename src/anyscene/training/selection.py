"""From scores to what is learnt from: the best of each scene's pictures, pairs of the best and the worst, or weights.

Scenes are *groups* of pictures of one caption, and scores are compared within them. Three rules hold for all ways to choose:

- What has no score is left out. It is never taken for a 0.
- A group that cannot be compared teaches nothing about what is better: all its scores are alike, or only one is known. It gives nothing,
  unless ``ties = "first"`` says that the threshold alone is to decide.
- What is chosen depends on the candidates and the seed alone, never on their order.

Every candidate that is not chosen is counted under one of `REASONS`, so that counts add up.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field

from anyscene.errors import SpecError
from anyscene.evaluation import EvaluationRun
from anyscene.scene.keyed import key_of, mix
from anyscene.scoring.rows import score_rows
from anyscene.scoring.scores import MEDIA_SCORES, media_scores
from anyscene.training.config import Section
from anyscene.training.policies import TIE

__all__ = ["REASONS", "Candidate", "Pair", "Selection", "candidates_of", "pairs", "select", "unselected", "weights"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

REASONS = ("unmade", "unscored", "below_threshold", "tied", "below_margin", "not_best", "unbalanced", "over_budget")
"""Why a candidate was not chosen, in the order in which reasons are looked at; the first that holds is counted."""
ADVANTAGE_CLIP = 5.0
"""Standard deviations at which ``nft`` weights end (arXiv 2509.16117)."""


class Selection(Section):
    """Which pictures are learnt from.

    Attributes:
        score: one of `MEDIA_SCORES`.
        threshold: pictures with a lower score are not learnt from.
        margin: by how much a picture's score must lie above the mean of its group.
        top_k: pictures of a group, at most.
        ties: what a group gives whose scores are all alike, or that has only one score: nothing, or its first pictures above the threshold.
        balance: ``complexity`` takes the same share of the candidates of every complexity, as far as they pass. Pictures of easy scenes
            pass more often, and a model that is fed with them forgets the others. Complexities of which nothing passes are left out.
        budget: pictures (pairs with ``dpo``) in all; every group gives its best before any gives a second. None is all that pass.
        weighting: of ``weighted`` fine-tuning: ``softmax`` of the scores within the group, or ``nft``, which rises evenly with them.
        temperature: of ``softmax``, in units of the score.
    """

    score: Literal["soft", "strict", "library", "in_place", "fixpoint", "paper", "all_correct", "soft_arithmetic", "soft_geometric"] = (
        "soft"
    )
    threshold: float = Field(default=0.5, allow_inf_nan=False)
    margin: float = Field(default=0.02, ge=0, allow_inf_nan=False)
    top_k: int = Field(default=1, ge=1)
    ties: Literal["none", "first"] = "none"
    balance: Literal["none", "complexity"] = "none"
    budget: int | None = Field(default=None, ge=1)
    weighting: Literal["softmax", "nft"] = "softmax"
    temperature: float = Field(default=0.1, gt=0, allow_inf_nan=False)

    def refuse_unused(self, method: str) -> None:
        """What was set and would have no effect is an error.

        Args:
            method: ``sft``, ``weighted``, ``dpo`` or ``nft``.

        Raises:
            SpecError: it names the key.
        """
        unused = {
            "sft": ("weighting", "temperature"),
            "weighted": ("margin", "top_k"),
            "dpo": ("top_k", "ties", "weighting", "temperature"),
            "nft": ("threshold", "margin", "top_k", "ties", "weighting", "temperature"),
        }
        keys = [*unused[method], *(["temperature"] if self.weighting == "nft" else [])]
        found = [f"selection.{key}" for key in dict.fromkeys(keys) if key in self.model_fields_set]
        if found:
            raise SpecError(f"{', '.join(found)}: it has no effect on {method}; leave it out")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A picture, clip or 3D object that may be learnt from.

    Attributes:
        scene: id of its record; candidates of one scene are a group.
        caption: of the scene.
        sample: number among those of its scene.
        path: its file; None where it could not be made.
        score: None where it could not be judged.
        complexity: of the scene; None where it is not known.
    """

    scene: str
    caption: str
    sample: int
    path: Path | None
    score: float | None
    complexity: int | None = None


@dataclass(frozen=True, slots=True)
class Pair:
    """Two pictures of one scene, for preference learning."""

    chosen: Candidate
    rejected: Candidate


def candidates_of(run: EvaluationRun, judge: str | None = None, score: str = "soft") -> list[Candidate]:
    """The media of an evaluation with their scores from the answer store. No judge is called.

    Args:
        run: the evaluation.
        judge: whose answers; by default the only one's.
        score: one of `MEDIA_SCORES`.

    Raises:
        SpecError: no judge has answered, several have and none is named, or there is no such score.
        RecordError: a file of answers is damaged.
    """
    if score not in MEDIA_SCORES:
        raise SpecError(f"score {score!r}: it must be one of {', '.join(MEDIA_SCORES)}")
    answers, _ = run.answers(judge)
    media = run.media.table()
    rows = score_rows(run.scenes, media, answers)
    values = media_scores(rows)[score]
    folder = run.media.path
    files = dict(zip(zip(media["record_id"].to_pylist(), media["sample"].to_pylist(), strict=True), media["file"].to_pylist(), strict=True))
    ids, captions = run.scenes["id"].to_pylist(), run.scenes["caption"].to_pylist()
    complexity = [None if one < 0 else one for one in rows.complexity.tolist()]
    found = []
    for scene, sample, status, value in zip(rows.scene.tolist(), rows.sample.tolist(), rows.media_status, values.tolist(), strict=True):
        path = folder / files[ids[scene], sample] if status == "made" else None
        known = None if math.isnan(value) else value
        found.append(Candidate(ids[scene], captions[scene], sample, path, known, complexity[scene]))
    return found


def select(candidates: Sequence[Candidate], how: Selection, seed: int = 0) -> tuple[list[Candidate], dict[str, int]]:
    """The best of each group.

    Args:
        candidates: of any number of scenes.
        how: threshold, margin, and how many.
        seed: decides which scenes fill a budget.

    Returns:
        Those chosen, by scene and sample; and counts: ``candidates``, ``groups``, ``chosen``, each of `REASONS`, and ``short``, by how much
        a budget could not be filled.

    Raises:
        SpecError: two candidates are one sample of one scene, or complexities are to be balanced and not known.
    """
    table = _table(candidates)
    reason = _reasons(table, how, how.margin, how.top_k)
    _cut(table, reason, how, seed)
    return [candidates[place] for place in table.place[reason < 0]], _counts(table, reason, how)


def pairs(candidates: Sequence[Candidate], how: Selection, seed: int = 0) -> tuple[list[Pair], dict[str, int]]:
    """The best picture of each group beside the worst. The best passes as in `select` with ``top_k`` 1; groups that tie give no pair.

    Arguments, counts and errors as `select`; ``chosen`` counts pairs.
    """
    table, how = _table(candidates), how.model_copy(update={"ties": "none"})
    reason = _reasons(table, how, how.margin, 1)
    _cut(table, reason, how, seed)
    known = np.flatnonzero(table.known)
    worst = known[np.lexsort((table.sample[known], table.level[known], table.group[known]))]
    worst_of = np.full(table.groups, -1, dtype=np.int64)
    worst_of[table.group[worst][::-1]] = worst[::-1]  # of one group the first is written last
    best = np.flatnonzero(reason < 0)
    places = zip(table.place[best].tolist(), table.place[worst_of[table.group[best]]].tolist(), strict=True)
    return [Pair(candidates[one], candidates[other]) for one, other in places], _counts(table, reason, how)


def weights(candidates: Sequence[Candidate], how: Selection, seed: int = 0) -> tuple[list[tuple[Candidate, float]], dict[str, int]]:
    """Every picture above the threshold with a weight that rises with its score.

    ``softmax``: ``n exp(s / T) / sum(exp(s / T))`` over the n scored pictures of the group. ``nft``: ``2 r`` with
    ``r = 1/2 + clip((s - mean) / deviation, ±5) / 10``, the mean of the group and the deviation of all scores (DiffusionNFT, arXiv
    2509.16117). Both have mean 1 in every group before anything falls under the threshold, so no scene counts for more than another. In a
    group that ties, where ``ties = "first"`` admits it, all weigh 1.

    Arguments, counts and errors as `select`; margin and ``top_k`` play no part.
    """
    table = _table(candidates)
    reason = _reasons(table, how, -math.inf, len(candidates))
    _cut(table, reason, how, seed)
    if how.weighting == "softmax":
        high = np.full(table.groups, -np.inf)
        np.maximum.at(high, table.group[table.known], table.score[table.known])
        with np.errstate(under="ignore"):
            raw = np.where(table.known, np.exp((table.score - high[table.group]) / how.temperature), 0.0)
        found = raw * _by_group(table, np.ones(len(raw))) / np.maximum(_by_group(table, raw), 1e-300)
    else:
        spread = float(table.score[table.known].std()) if table.known.any() else 0.0
        clipped = np.clip((table.score - table.mean) / max(spread, TIE), -ADVANTAGE_CLIP, ADVANTAGE_CLIP)
        found = 1 + clipped / ADVANTAGE_CLIP
    found = np.where(table.tied, 1.0, found)
    kept = np.flatnonzero(reason < 0)
    chosen = zip(table.place[kept].tolist(), found[kept].tolist(), strict=True)
    return [(candidates[place], weight) for place, weight in chosen], _counts(table, reason, how)


def unselected(candidates: Sequence[Candidate], n: int, seed: int = 0, scenes: Collection[str] | None = None) -> list[Candidate]:
    """So many pictures drawn without looking at scores: what selection is to be compared with.

    Every scene gives one before any gives a second.

    Args:
        candidates: the same ones that were selected from.
        n: how many; as many as were selected.
        seed: of the draw.
        scenes: only of these; with the scenes of what was selected, only the choice among a scene's pictures is left to differ.

    Raises:
        SpecError: fewer were made.
    """
    table = _table(candidates)
    kept = table.made.copy()
    if scenes is not None:
        wanted = set(scenes)
        kept &= np.array([name in wanted for name in table.names], dtype=np.bool_)[table.group]
    own = np.flatnonzero(kept)
    if not 0 <= n <= len(own):
        raise SpecError(f"{n} unselected pictures: {len(own)} were made; ask for at most as many, or make more")
    of_scene = _hashes(table, "unselected", seed)
    drawn = mix(of_scene[table.group[own]] ^ mix(table.sample[own].astype(np.uint64) + np.uint64(1)))
    order = own[np.lexsort((drawn, table.group[own]))]
    turn = _rank(table.group[order])
    first = order[np.lexsort((table.group[order], of_scene[table.group[order]], turn))][:n]
    return [candidates[place] for place in table.place[np.sort(first)]]


# ---- columns -------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Table:
    """Candidates as columns, by scene and sample.

    Attributes:
        place: of each in the sequence that was given.
        group: number of its scene.
        names: of the scenes, ascending.
        sample: its number.
        made: is there a file?
        score: NaN where not known.
        known: made and scored.
        level: the score in steps of `TIE`; what is between two steps is rounding.
        mean: of the known scores of the group, NaN where there is none.
        tied: in a group that cannot be compared.
        complexity: -1 where not known.
    """

    place: Ints
    group: Ints
    names: Sequence[str]
    sample: Ints
    made: Bools
    score: Floats
    known: Bools
    level: Floats
    mean: Floats
    tied: Bools
    complexity: Ints

    @property
    def groups(self) -> int:
        return len(self.names)


def _table(candidates: Sequence[Candidate]) -> _Table:
    coded = pa.array([one.scene for one in candidates], pa.string()).dictionary_encode()
    order = np.asarray(pc.sort_indices(coded.dictionary)).astype(np.int64)
    names = coded.dictionary.take(pa.array(order)).to_pylist()
    group = np.argsort(order)[np.asarray(coded.indices).astype(np.int64)] if len(order) else np.zeros(0, dtype=np.int64)
    sample = np.array([one.sample for one in candidates], dtype=np.int64)
    place = np.lexsort((sample, group))
    group, sample = group[place], sample[place]
    twice = np.flatnonzero((np.diff(group) == 0) & (np.diff(sample) == 0))
    if len(twice):
        raise SpecError(f"sample {sample[twice[0]]} of scene {names[group[twice[0]]]} stands among the candidates twice")
    score = np.array([math.nan if one.score is None else one.score for one in candidates], dtype=np.float64)[place]
    made = np.array([one.path is not None for one in candidates], dtype=np.bool_)[place]
    known = made & np.isfinite(score)
    complexity = np.array([-1 if one.complexity is None else one.complexity for one in candidates], dtype=np.int64)[place]
    number = np.bincount(group[known], minlength=len(names))
    with np.errstate(invalid="ignore"):
        mean = (np.bincount(group[known], score[known], len(names)) / number)[group] if len(names) else np.zeros(0)
        squares = np.bincount(group[known], (score - mean)[known] ** 2, len(names)) if len(names) else np.zeros(0)
        tied = ~(np.sqrt(squares / number) >= TIE)
    return _Table(place, group, names, sample, made, score, known, np.rint(score / TIE), mean, tied[group], complexity)


def _reasons(table: _Table, how: Selection, margin: float, top_k: int) -> Ints:
    """``(candidates,)`` the reason why each is not chosen, as a place in `REASONS`; -1 where there is none."""
    loose = table.tied if how.ties == "first" else np.zeros(len(table.tied), dtype=np.bool_)
    with np.errstate(invalid="ignore"):
        tests = {
            "unmade": ~table.made,
            "unscored": ~table.known,
            "below_threshold": ~(table.score >= how.threshold),
            "tied": table.tied & ~loose,
            "below_margin": ~(table.score - table.mean >= margin - TIE) & ~loose,
        }
    reason = np.full(len(table.place), -1, dtype=np.int64)
    for name, holds in tests.items():
        reason[holds & (reason < 0)] = REASONS.index(name)
    passed = np.flatnonzero(reason < 0)
    ranked = passed[np.lexsort((table.sample[passed], -table.level[passed], table.group[passed]))]
    reason[ranked[_rank(table.group[ranked]) >= top_k]] = REASONS.index("not_best")
    return reason


def _cut(table: _Table, reason: Ints, how: Selection, seed: int) -> None:
    """Gives those that are too many for the budget, or for an equal share of every complexity, their reason."""
    passed = np.flatnonzero(reason < 0)
    if not len(passed) or (how.balance == "none" and (how.budget is None or len(passed) <= how.budget)):
        return
    ranked = passed[np.lexsort((table.sample[passed], -table.level[passed], table.group[passed]))]
    turn = _rank(table.group[ranked])
    group = table.group[ranked]
    order = ranked[np.lexsort((group, _hashes(table, "selection", seed)[group], turn))]
    if how.balance == "none":
        reason[order[how.budget :]] = REASONS.index("over_budget")
        return
    if (table.complexity < 0).any():
        nameless = table.names[table.group[int(np.flatnonzero(table.complexity < 0)[0])]]
        raise SpecError(f"selection.balance = complexity: the complexity of scene {nameless} is not known; take balance = none")
    quotas = _quotas(table.complexity, table.complexity[order], how.budget)
    for complexity, quota in quotas.items():
        own = order[table.complexity[order] == complexity]
        reason[own[quota:]] = REASONS.index("unbalanced")


def _quotas(all_: Ints, passed: Ints, budget: int | None) -> dict[int, int]:
    """How many are taken of each complexity of which something passes: the same share of its candidates.

    Without a budget, the share is the largest that all can give. With one, it is the budget's share of the candidates; what a complexity
    cannot give of it is not made up by others.
    """
    kinds, given = np.unique(passed, return_counts=True)
    there = np.array([int((all_ == kind).sum()) for kind in kinds], dtype=np.int64)
    if budget is None:
        scarce = int(np.argmin(given / there))
        quota = given[scarce] * there // there[scarce]
    else:
        quota = budget * there // there.sum()
        rest = budget * there % there.sum()
        most = np.argsort(-rest, kind="stable")[: budget - int(quota.sum())]
        quota[most] += 1
    return dict(zip(kinds.tolist(), np.minimum(quota, given).tolist(), strict=True))


def _counts(table: _Table, reason: Ints, how: Selection) -> dict[str, int]:
    chosen = int((reason < 0).sum())
    number = np.bincount(reason[reason >= 0], minlength=len(REASONS)).tolist()
    short = 0 if how.budget is None else how.budget - chosen
    reasons = dict(zip(REASONS, number, strict=True))
    return {"candidates": len(reason), "groups": table.groups, "chosen": chosen, **reasons, "short": short}


def _rank(group: Ints) -> Ints:
    """The place of each within its group, where those of a group stand together."""
    start = np.flatnonzero(np.append(True, np.diff(group) != 0)) if len(group) else np.zeros(0, dtype=np.int64)
    ranks: Ints = np.arange(len(group)) - np.repeat(start, np.diff(np.append(start, len(group))))
    return ranks


def _by_group(table: _Table, values: Floats) -> Floats:
    """``(candidates,)`` sum of the known of each one's group."""
    sums = np.bincount(table.group[table.known], values[table.known], table.groups)
    return np.asarray(sums[table.group], dtype=np.float64)


def _hashes(table: _Table, purpose: str, seed: int) -> NDArray[np.uint64]:
    """``(groups,)`` a keyed hash of each scene's id."""
    return np.array([key_of(purpose, seed, name) for name in table.names], dtype=np.uint64)
