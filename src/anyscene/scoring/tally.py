"""What the scores of a run are computed from, as sums over its scenes. The sums of two parts of a run add up to those of both.

So a run of any size is scored some scenes at a time, here or elsewhere, in the memory that those take. Which questions count may hang on
the whole run (`Basis`); whoever adds up parts sees in the sum whether they were counted alike, and counts again where not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from anyscene.scoring.calibration import guessed_means, reliability_sums, said_means
from anyscene.scoring.question_bank import Bools, Codes, Floats, Ints, QuestionBank
from anyscene.scoring.rows import ANSWERED, FAILED, MISSING, ROW_STATUSES, Rows, places_of
from anyscene.scoring.statistics import Mean

__all__ = [
    "BALANCED",
    "CORRECTED",
    "DIMENSIONS",
    "HEADLINE",
    "MEDIA_STATUSES",
    "NOISY",
    "SIDES",
    "Basis",
    "Key",
    "Tally",
    "add_up",
    "groups_of",
    "in_order",
    "shown_rows",
    "tally_rows",
]

HEADLINE = "soft"
"""The score that is shown first."""
DIMENSIONS = ("kind", "attribute_type", "relation_type", "complexity", "object_class", "form", "foil")
MEDIA_STATUSES = ("made", "failed", "refused", "missing")
NOISY = ("soft", "strict", "library", "all_correct")
"""Scores whose noise between seeds is told."""
LOW_MASS = 0.5
"""An answer whose labels together are less likely than this was hardly one."""
BALANCED = "balanced_accuracy"
SIDES = ("yes", "no")
CORRECTED = ("raw", "said", "there", "absent", "guess", "true", "seen")
"""What the corrections take: of `said_means` and `guessed_means`."""

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Basis:
    """What scores hang on that only the whole run tells.

    Attributes:
        forms: of questions that were answered at all; questions of others have no rows. Without any answer there are none, and all have.
        yes_no: faithfulness is measured on yes/no questions.
        labelled: there are true answers.
    """

    forms: frozenset[str]
    yes_no: bool
    labelled: bool


@dataclass(frozen=True, slots=True)
class Tally:
    """Sums over scenes.

    Attributes:
        scenes: how many.
        media: ``(statuses,)`` of ``MEDIA_STATUSES``, how many media the manifest names.
        statuses: ``(statuses,)`` of ``ROW_STATUSES``, how many rows there are.
        expected: how many rows there would be had all media been made.
        means: what is averaged, by key: ("scores", name), (dimension, group, score), ("quality", kind, side), ("corrected", kind, which);
            balanced accuracy has two, with "yes" and "no" at the end. In units where the run has many scenes.
        questions: rows of each (dimension, group).
        words: kinds and forms in the order in which the records name them.
        bins: of `reliability_sums`.
        labels: true answers to rows.
        mass: ``(3,)`` of label mass: how many answers have one, their sum, and how many are low.
        headline: ``(scenes,)`` the score that is shown first.
        by_media: ``(media,)`` for each of ``NOISY``.
        owner: ``(2, media)`` scene and sample of these.
        answered: forms of which there are answers.
        asked: whether a row asks by a yes/no question for what should be there.
    """

    scenes: int
    media: Ints
    statuses: Ints
    expected: int
    means: Mapping[Key, Mean]
    questions: Mapping[Key, int]
    words: Mapping[str, tuple[str, ...]]
    bins: Floats
    labels: int
    mass: Floats
    headline: Floats
    by_media: Mapping[str, Floats]
    owner: Ints
    answered: frozenset[str]
    asked: bool

    @property
    def basis(self) -> Basis:
        """What the scenes of this tally tell."""
        return Basis(self.answered, self.asked or not self.statuses.sum(), bool(self.labels))


def tally_rows(
    rows: Rows,
    by_media: Mapping[str, Floats],
    by_scene: Mapping[str, Floats],
    truth: Floats,
    *,
    samples: int,
    unit: Ints | None,
    units: int,
    forms: Collection[str] | None = None,
    labelled: bool | None = None,
) -> Tally:
    """The sums over the scenes of some rows.

    Args:
        rows: of these scenes.
        by_media: scores of each media (`media_scores`).
        by_scene: their means over the media of a scene (`scene_means`).
        truth: ``(rows,)`` true answers (`truth_of_rows`).
        samples: media expected for each scene.
        unit: ``(scenes,)`` the unit that each scene is resampled with (`units_of`); None where each is one, and there are no others.
        units: how many units there are.
        forms: of questions that were asked in the whole run, all if there are none; by default those that have rows here.
        labelled: whether there are true answers in the whole run; by default whether there are here.
    """
    labels = int((~np.isnan(truth)).sum())
    groups = groups_of(rows.bank, rows.question, rows.complexity[rows.row_scene])
    means = dict(_means(rows, groups, by_scene, truth, bool(labels) if labelled is None else labelled))
    known = rows.label_mass[~np.isnan(rows.label_mass) & (rows.status == ANSWERED)]
    return Tally(
        scenes=rows.scenes,
        media=np.array([rows.media_status.count(name) for name in MEDIA_STATUSES]),
        statuses=np.bincount(rows.status, minlength=len(ROW_STATUSES)),
        expected=_expected(rows, samples, forms),
        means=means if unit is None else {key: mean.grouped(unit, units) for key, mean in means.items()},
        questions={key: int(mask.sum()) for key, mask in groups.items()},
        words={"kind": rows.bank.kind.words, "form": rows.bank.form.words},
        bins=reliability_sums(rows.p_yes, truth),
        labels=labels,
        mass=np.array([len(known), known.sum(), (known < LOW_MASS).sum()]),
        headline=by_scene[HEADLINE],
        by_media={name: by_media[name] for name in NOISY},
        owner=np.stack([rows.scene, rows.sample]),
        answered=rows.answered,
        asked=bool((rows.yes_no & rows.gold_yes & ~rows.is_foil).any()),
    )


def add_up(tallies: Iterable[Tally]) -> Tally:
    """The sums of a whole run from those of its parts, in their order; each part is looked at once."""
    parts: list[Tally] = []
    sums: dict[Key, tuple[Floats, Floats, list[int]]] = {}
    for part in tallies:
        for key, mean in part.means.items():
            total, weight, speaking = sums.setdefault(key, (np.zeros(mean.scenes), np.zeros(mean.scenes), []))
            total[mean.place] += mean.total
            weight[mean.place] += mean.weight
            speaking.append(mean.n)
        parts.append(replace(part, means={}))  # the means are what is large
    starts = np.cumsum([0, *(part.scenes for part in parts)]).tolist()
    return Tally(
        scenes=starts[-1],
        media=np.sum([part.media for part in parts], axis=0),
        statuses=np.sum([part.statuses for part in parts], axis=0),
        expected=sum(part.expected for part in parts),
        means={
            key: Mean(len(total), np.flatnonzero(weight), total[weight > 0], weight[weight > 0], sum(speaking))
            for key, (total, weight, speaking) in sums.items()
        },
        questions=dict(sum((Counter(part.questions) for part in parts), Counter())),
        words={name: tuple(dict.fromkeys(word for part in parts for word in part.words[name])) for name in parts[0].words},
        bins=np.sum([part.bins for part in parts], axis=0),
        labels=sum(part.labels for part in parts),
        mass=np.sum([part.mass for part in parts], axis=0),
        headline=np.concatenate([part.headline for part in parts]),
        by_media={name: np.concatenate([part.by_media[name] for part in parts]) for name in NOISY},
        owner=np.concatenate([part.owner + np.array([[start], [0]]) for part, start in zip(parts, starts, strict=False)], axis=1),
        answered=frozenset().union(*(part.answered for part in parts)),
        asked=any(part.asked for part in parts),
    )


def groups_of(bank: QuestionBank, question: Ints, complexity: Ints) -> dict[tuple[str, str], Bools]:
    """For each (dimension, name) of the scores by group, which questions belong to it; in the order in which they are shown.

    Args:
        bank: all questions.
        question: positions in it.
        complexity: of the scene of each of these, -1 where it is not known.
    """
    columns = {name: getattr(bank, name).take(question) for name in DIMENSIONS if name != "complexity"}
    known = np.unique(complexity[complexity >= 0])
    columns["complexity"] = Codes(np.where(complexity >= 0, np.searchsorted(known, complexity), -1), tuple(map(str, known.tolist())))
    words = {"kind": bank.kind.words, "form": bank.form.words}
    found = {}
    for dimension in DIMENSIONS:
        column = columns[dimension]
        code_of = {column.words[code]: code for code in np.unique(column.index[column.index >= 0]).tolist()}
        for name in in_order(dimension, code_of, words):
            found[(dimension, name)] = column.index == code_of[name]
    return found


def in_order(dimension: str, names: Iterable[str], words: Mapping[str, Sequence[str]]) -> list[str]:
    """Names of groups as they are shown: kinds and forms as records name them (`words`), complexities by size, others by name."""
    if dimension == "complexity":
        return sorted(names, key=int)
    return sorted(names, key=words[dimension].index) if dimension in words else sorted(names)


def shown_rows(rows: Rows, dimension: str) -> Bools:
    """Rows that the scores of a group are means over: those that faithfulness is measured on, but all of a form, and all foils."""
    if dimension == "foil":
        return np.ones(len(rows), dtype=np.bool_)
    if dimension == "form":
        return ~rows.is_foil
    return rows.faithful


def _means(
    rows: Rows, groups: Mapping[tuple[str, str], Bools], by_scene: Mapping[str, Floats], truth: Floats, labelled: bool
) -> Iterator[tuple[Key, Mean]]:
    for name, values in by_scene.items():
        yield ("scores", name), Mean.of(values)
    yield from _balanced(("scores",), rows, np.arange(len(rows)))
    for (dimension, name), mask in groups.items():
        own = np.flatnonzero(mask)
        shown = own[shown_rows(rows, dimension)[own]]
        for score, values in (("soft", rows.value), ("strict", rows.credit)):
            yield (dimension, name, score), Mean.over(rows.row_scene[shown], values[shown], rows.scenes)
        yield from _balanced((dimension, name), rows, own)
    yield from _quality(rows, truth, labelled)
    if labelled:
        yield from _corrected(rows, truth)


def _balanced(key: Key, rows: Rows, own: Ints) -> Iterator[tuple[Key, Mean]]:
    """The share right where yes is right, and where no is right, over those of some rows that are yes/no questions."""
    own = own[rows.yes_no[own]]
    gold = rows.gold_yes[own]
    for side, mine in zip(SIDES, (own[gold], own[~gold]), strict=True):
        yield (*key, BALANCED, side), Mean.over(rows.row_scene[mine], rows.credit[mine], rows.scenes)


def _quality(rows: Rows, truth: Floats, labelled: bool) -> Iterator[tuple[Key, Mean]]:
    """Sensitivity and specificity of the judge by kind: from labels where there are any, else specificity from foils.

    Foils say "no" as long as the picture does not show what they ask for by accident, so without labels they tell the least that the
    specificity can be. Of sensitivity they say nothing.
    """
    yes_no, kind = rows.yes_no, rows.bank.kind.index[rows.question]
    said = np.where(rows.gold_yes, rows.credit, 1 - rows.credit)
    for code in np.unique(kind[yes_no]).tolist():
        own = yes_no & (kind == code)
        there, absent = (own & (truth == 1), own & (truth == 0)) if labelled else (np.zeros(len(own), dtype=np.bool_), own & rows.is_foil)
        for side, mask, right in (("sensitivity", there, said), ("specificity", absent, 1 - said)):
            yield ("quality", rows.bank.kind.words[code], side), Mean.over(rows.row_scene[mask], right[mask], rows.scenes)


def _corrected(rows: Rows, truth: Floats) -> Iterator[tuple[Key, Mean]]:
    """What the two corrections take of the yes/no questions that ask for what should be there, by kind."""
    asked, kind = rows.faithful & rows.yes_no, rows.bank.kind.index[rows.question]
    unheard = (rows.status == FAILED) | (rows.status == MISSING)
    said_yes = np.where(unheard, np.nan, np.where(rows.status == ANSWERED, rows.credit, 0.0))
    for code in np.unique(kind[asked]).tolist():
        own = asked & (kind == code)
        scene, true = rows.row_scene[own], truth[own]
        raw = Mean.over(scene, rows.credit[own], rows.scenes)
        said, guessed = said_means(scene, said_yes[own], true, rows.scenes), guessed_means(scene, rows.p_yes[own], true, rows.scenes)
        for which, mean in zip(CORRECTED, (raw, *said, *guessed), strict=True):
            yield ("corrected", rows.bank.kind.words[code], which), mean


def _expected(rows: Rows, samples: int, forms: Collection[str] | None) -> int:
    """How many rows there would be had every scene as many media as expected, and all been made."""
    form = rows.bank.form
    if forms is not None:
        kept = np.isin(form.index, places_of(form, forms))
    else:
        kept = np.isin(form.index, np.unique(form.index[rows.question])) if len(rows) else np.ones(len(form.index), dtype=np.bool_)
    of_scene = np.bincount(rows.bank.record[kept], minlength=rows.scenes)
    media_of_scene: Ints = np.maximum(np.bincount(rows.scene, minlength=rows.scenes), samples)
    return int((of_scene * media_of_scene).sum())
