"""The scores of a media, each a function of the answers about it.

Which questions count. *Faithfulness* is measured on the yes/no questions whose right answer is "yes": each says one thing that the
caption asked for, so their share of "yes" is the share of the scene that is in the picture (DSG; the paper, section 4). Foils, whose right
answer is "no", would reward an empty picture: they enter balanced accuracy and the quality of the judge only. The two soft means take
questions of every form, as Soft-TIFA does, whose counts are asked openly. Where a run asked no yes/no question at all, faithfulness is
measured on its other questions.

What is missing stays missing. A score averages over what was answered. Under a dependency rule a question is missing when one that it
depends on is; leaving out only those that are not already wrong would bias the score downwards. All-correct needs every answer. A media
with nothing left has no score, and is no zero.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from anyscene.scoring.question_bank import Bools, Floats, Ints
from anyscene.scoring.rows import Rows

__all__ = [
    "MEDIA_SCORES",
    "fixpoint",
    "in_place",
    "library",
    "mean_by",
    "media_scores",
    "scene_means",
]

MEDIA_SCORES = ("soft", "strict", "library", "in_place", "fixpoint", "paper", "all_correct", "soft_arithmetic", "soft_geometric")
"""Names of `media_scores`, in the order in which they are shown."""


def library(credit: Floats, child: Ints, parent: Ints) -> Floats:
    """DSG's published rule (``calc_vqa_score``): a question counts 0 if one that it directly depends on was itself answered wrong.

    Args:
        credit: ``(rows,)`` of each answer, NaN where missing.
        child: ``(edges,)`` rows.
        parent: ``(edges,)`` the rows that they depend on.

    Returns:
        ``(rows,)`` credit after the rule, NaN where the answer or a parent's is missing.
    """
    result = credit.copy()
    result[child[credit[parent] == 0]] = 0.0
    result[child[np.isnan(credit[parent])]] = np.nan
    result[np.isnan(credit)] = np.nan
    return result


def in_place(credit: Floats, child: Ints, parent: Ints) -> Floats:
    """DSG's notebook and DPG-Bench: as `library`, but one pass that overwrites, so zeros pass on to questions that stand later.

    A parent that stands later counts with its own answer, one that stands earlier with what became of it. Arguments as `library`.
    """
    back = parent < child
    result = library(credit, child[~back], parent[~back])
    return _spread(result, child[back], parent[back])


def fixpoint(credit: Floats, child: Ints, parent: Ints) -> Floats:
    """A question counts 0 if any that it depends on, directly or through others, is answered wrong; order and cycles do not matter.

    In a cycle, where each question depends on itself through the others, all count if all are answered right. Arguments as `library`.
    """
    return _spread(credit.copy(), child, parent)


def _spread(result: Floats, child: Ints, parent: Ints) -> Floats:
    """Passes first what is missing and then zeros from parents to children until nothing changes; overwrites and gives `result`."""
    for lost in (np.isnan, _is_zero):
        while True:
            reached = child[lost(result[parent]) & ~lost(result[child]) & ~np.isnan(result[child])]
            if not len(reached):
                break
            result[reached] = np.nan if lost is np.isnan else 0.0
    return result


def _is_zero(values: Floats) -> Bools:
    zero: Bools = values == 0
    return zero


def mean_by(owner: Ints, values: Floats, size: int) -> Floats:
    """``(size,)`` mean of the values of each owner, NaN left out; NaN where nothing is left."""
    known = ~np.isnan(values)
    total = np.bincount(owner[known], values[known], size)
    number = np.bincount(owner[known], minlength=size)
    with np.errstate(invalid="ignore"):
        means: Floats = total / number
    return means


def media_scores(rows: Rows) -> Mapping[str, Floats]:
    """Scores of each media.

    - ``soft``: mean probability of the right answer, over the faithfulness questions.
    - ``strict``: mean credit (share answered right).
    - ``library``, ``in_place``, ``fixpoint``: mean credit under the dependency rule of that name.
    - ``paper``: mean of ``library`` and ``strict``, as the paper's released scorer.
    - ``all_correct``: 1 if every faithfulness question is answered right, else 0 (ConceptMix).
    - ``soft_arithmetic``, ``soft_geometric``: means of the probabilities of the right answers to all questions that are no foils
      (Soft-TIFA of GenEval 2).

    Returns:
        For each name of ``MEDIA_SCORES`` a ``(media,)`` array, NaN where missing.
    """
    number = len(rows.scene)
    faithful = rows.faithful
    child, parent = rows.edges()
    asks = faithful[child]
    child, parent = child[asks], parent[asks]
    own = rows.media[faithful]

    def mean(values: Floats) -> Floats:
        return mean_by(own, values[faithful], number)

    rules: dict[str, Callable[[Floats, Ints, Ints], Floats]] = {"library": library, "in_place": in_place, "fixpoint": fixpoint}
    found = {"soft": mean(rows.value), "strict": mean(rows.credit)}
    found |= {name: mean(rule(rows.credit, child, parent)) for name, rule in rules.items()}
    found["paper"] = (found["library"] + found["strict"]) / 2
    found["all_correct"] = _all_correct(own, rows.credit[faithful], number)
    plain = ~rows.is_foil & ~(rows.yes_no & ~rows.gold_yes)
    found["soft_arithmetic"] = mean_by(rows.media[plain], rows.value[plain], number)
    with np.errstate(divide="ignore"):
        logs = np.log(rows.value[plain])
    found["soft_geometric"] = np.exp(mean_by(rows.media[plain], logs, number))
    return {name: found[name] for name in MEDIA_SCORES}


def _all_correct(owner: Ints, credit: Floats, size: int) -> Floats:
    asked = np.bincount(owner, minlength=size)
    lost = np.bincount(owner, np.isnan(credit), size)
    right = np.bincount(owner, credit == 1, size)
    return np.where((asked > 0) & (lost == 0), (right == asked).astype(np.float64), np.nan)


def scene_means(rows: Rows, values: Floats) -> Floats:
    """``(records,)`` mean over the media of each scene, NaN where none has a score."""
    return mean_by(rows.scene, values, rows.scenes)
