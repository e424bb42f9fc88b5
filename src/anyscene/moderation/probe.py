"""The audit of a data set: could a detector tell its sides apart without looking at what they show?

Every hand feature is held against the label, each generator by itself. How far chance goes is measured, not assumed: labels are swapped
within groups, and the largest AUROC of any feature is noted each time. A feature separates where its AUROC is above 0.6 **and** above
what chance reaches in 95 of 100 such draws, so a small clean set passes, and a planted shortcut does not.

A data set is refused where a feature of the file or of the past separates, or where a logistic regression of all of these does so on
groups that it was not fitted on. What pictures look like is reported, and refuses nothing: there generators may truly differ.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anyscene.errors import Interrupted, MediaError, MissingExtraError, SpecError
from anyscene.moderation.dataset import DetectorData, store_audit
from anyscene.moderation.hand_features import FEATURES, MARK, Value, features_and_corners, hand_features
from anyscene.moderation.marks import MOST, Corners, mark_scores
from anyscene.moderation.metrics import Scored, auroc
from anyscene.moderation.sources import open_source
from anyscene.runs import progress, say
from anyscene.scene.keyed import key_of
from anyscene.scoring.agreement import midranks
from anyscene.scoring.question_bank import Bools, Floats, Ints
from anyscene.scoring.statistics import Estimate

__all__ = ["ALLOWED", "Audit", "Finding", "GeneratorAudit", "Probed", "audit", "audit_sources", "hand_features", "probe"]

ALLOWED = 0.6
"""AUROC that a shortcut may have."""
SURE = 0.95
SWAPS = 999
FEW_GROUPS = 8
"""Fewer groups can be swapped in so few ways that nothing is shown either way."""
KINDS = {"file": "of the files", "past": "of their past", "looks": "of their looks"}
FOLDS = 5
RARE = 0.02
"""Share of the pictures that a word must have to be a feature of its own."""
STRICT_LEVEL = 0.99
"""Of the regression's interval that decides; the one reported is of 95 %."""


@dataclass(frozen=True, slots=True)
class Probed:
    """The features of a picture, and where it belongs.

    Attributes:
        features: by name.
        generator: empty for a real picture.
        group: what belongs together.
        corners: what `marks` looks at; None looks for none.
    """

    features: Mapping[str, Value]
    generator: str
    group: str
    corners: Corners | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """What one feature says.

    Attributes:
        feature: its name.
        kind: ``file``, ``past`` or ``looks``.
        words: what it is.
        auroc: how well it alone tells the sides apart, in the better direction; with an interval of 95 % over groups.
        how: in which way, in words.
        separates: is that more than is allowed, and more than chance?
        cure: what would make both sides alike.
    """

    feature: str
    kind: str
    words: str
    auroc: Estimate
    how: str
    separates: bool
    cure: str


@dataclass(frozen=True, slots=True)
class GeneratorAudit:
    """One generator's pictures against the real ones.

    Attributes:
        generator: its name.
        reals: real pictures.
        fakes: generated ones.
        groups: groups of either.
        chance: the AUROC that the best shortcut feature reaches by chance in 5 of 100 draws.
        shortcuts: AUROC of a logistic regression of all file and past features, on groups that it was not fitted on.
        everything: the same with looks; a detector should be better than that.
        findings: of all features, the best first.
        problem: why nothing can be said; else empty.
    """

    generator: str
    reals: int
    fakes: int
    groups: int
    chance: float
    shortcuts: Estimate
    everything: Estimate
    findings: tuple[Finding, ...]
    joint: bool
    problem: str = ""

    @property
    def separating(self) -> tuple[Finding, ...]:
        """Shortcuts that separate."""
        return tuple(one for one in self.findings if one.separates and one.kind != "looks")

    @property
    def biased(self) -> bool:
        """Is there a shortcut, or too little to rule it out?"""
        return bool(self.separating or self.joint or self.problem)

    def reasons(self) -> list[str]:
        """Why it is refused, a line each."""
        if self.problem:
            return [f"{self.generator}: {self.problem}"]
        found = [
            f"{self.generator}: {one.words} ({one.feature}) tells the sides apart, AUROC {_said(one.auroc)}: {one.how}. Cure: {one.cure}"
            for one in self.separating
        ]
        if self.joint and not found:
            best = ", ".join(one.words for one in self.findings if one.kind != "looks")
            found.append(
                f"{self.generator}: all shortcuts together tell the sides apart, AUROC {_said(self.shortcuts)}, "
                f"though none does alone; the strongest are {', '.join(best.split(', ')[:3])}"
            )
        return found


@dataclass(frozen=True, slots=True)
class Audit:
    """What an audit found.

    Attributes:
        generators: each against the real pictures.
        allowed: the AUROC that a shortcut may have.
    """

    generators: tuple[GeneratorAudit, ...]
    allowed: float = ALLOWED

    @property
    def biased(self) -> bool:
        """Is there a shortcut to any generator?"""
        return any(one.biased for one in self.generators)

    def reasons(self) -> list[str]:
        """Why it is refused, a line each."""
        return [line for one in self.generators for line in one.reasons()]

    def looks(self) -> list[str]:
        """What differs in what the pictures show, a line each."""
        return [
            f"{side.generator}: {one.words} ({one.feature}) differs, AUROC {_said(one.auroc)}: {one.how}"
            for side in self.generators
            for one in side.findings
            if one.separates and one.kind == "looks"
        ]

    def text(self) -> str:
        """All of it, for people."""
        lines = []
        for side in self.generators:
            lines.append(f"{side.generator}: {side.fakes:,} pictures against {side.reals:,} real ones, {side.groups:,} groups")
            lines.append(f"  all shortcuts together: AUROC {_said(side.shortcuts)}; with looks: {_said(side.everything)}")
            lines.append(f"  in a set of this size chance alone reaches {side.chance:.2f} at the best shortcut; {self.allowed} is allowed")
            for kind, title in KINDS.items():
                own = [one for one in side.findings if one.kind == kind]
                lines.append(
                    f"  {title}: {'; '.join(f'{one.feature} {_said(one.auroc)}' for one in own[:3]) or 'the same in all pictures'}"
                )
        lines += [*(f"shortcut: {line}" for line in self.reasons()), *(f"different: {line}" for line in self.looks())]
        lines.append("refused: a detector could learn shortcuts instead of pictures" if self.biased else "passed: no shortcut was found")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """As it stands in ``dataset.json``."""
        sides = [{**asdict(one), "findings": [asdict(f) for f in one.findings], "biased": one.biased} for one in self.generators]
        return {"biased": self.biased, "allowed": self.allowed, "reasons": self.reasons(), "looks": self.looks(), "generators": sides}


def _said(one: Estimate) -> str:
    return f"{one.value:.2f} ({one.low:.2f} to {one.high:.2f})"


def audit(data: DetectorData, *, seed: int = 0, quiet: bool = False) -> tuple[DetectorData, Audit]:
    """Audits a data set and keeps what was found in its manifest.

    Args:
        data: the data set.
        seed: of swaps and folds.
        quiet: show no progress.

    Raises:
        RecordError: a file is missing or damaged.
        MissingExtraError: scikit-learn is not installed.
        Interrupted: stopped by Ctrl-C.
    """
    probed = []
    try:
        with progress(len(data.pictures), "pictures", quiet=quiet) as advance:
            for one in data.pictures:
                features, corners = features_and_corners(data.data(one), str(data.path(one)))
                probed.append(Probed(features, one.generator, one.group, corners))
                advance(1)
    except KeyboardInterrupt:
        raise Interrupted("stopped; nothing was written") from None
    found = probe(probed, seed=seed)
    return store_audit(data, found.to_dict()), found


def audit_sources(
    real: str | Path,
    generated: Mapping[str, str | Path],
    *,
    n: int | None = None,
    group_by: str = "file",
    seed: int = 0,
    quiet: bool = False,
) -> Audit:
    """Audits pictures as they are, before a data set is built from them. Nothing is written.

    Args:
        real: where the real pictures are, as for `build_dataset`.
        generated: where each generator's pictures are.
        n: most pictures of each, drawn by their names; None is all.
        group_by: what is one source image where nothing else says so.
        seed: of draw, swaps and folds.
        quiet: show no progress.

    Raises:
        SpecError: a source has no pictures.
        RecordError: metadata of a source cannot be read.
        MissingExtraError: scikit-learn is not installed.
        Interrupted: stopped by Ctrl-C.
    """
    probed: list[Probed] = []
    try:
        for name, path in {"": real, **generated}.items():
            pictures = sorted(open_source(path, group_by=group_by).pictures, key=lambda one: key_of("audit", seed, one.key))[:n]
            with progress(len(pictures), name or "real pictures", quiet=quiet) as advance:
                for one in pictures:
                    advance(1)
                    try:
                        features, corners = features_and_corners(one.read(), one.key)
                    except (MediaError, OSError) as error:
                        say(f"{error}; it is left out", quiet=quiet)
                        continue
                    probed.append(Probed(features, name, one.record_id or one.group, corners))
    except KeyboardInterrupt:
        raise Interrupted("stopped; nothing was written") from None
    return probe(probed, seed=seed)


def probe(pictures: Sequence[Probed], *, seed: int = 0) -> Audit:
    """Audits pictures by their features.

    Raises:
        SpecError: there are no real pictures, or no generated ones.
        MissingExtraError: scikit-learn is not installed.
    """
    generators = sorted({one.generator for one in pictures} - {""})
    real = [one for one in pictures if not one.generator]
    if not real or not generators:
        raise SpecError(f"{len(real)} real pictures and {len(generators)} generators: an audit needs some of each")
    level = 1 - (1 - SURE) / len(generators)
    return Audit(tuple(_against([*real, *(one for one in pictures if one.generator == name)], name, level, seed) for name in generators))


def _against(pictures: Sequence[Probed], generator: str, level: float, seed: int) -> GeneratorAudit:
    generated = np.array([one.generator != "" for one in pictures])
    names, group = np.unique([one.group for one in pictures], return_inverse=True)
    sides = _Sides(generated, group.astype(np.int64), seed)
    columns = [column for name in FEATURES for column in _columns(name, [one.features[name] for one in pictures])]
    shortcut = np.array([FEATURES[one.feature].kind != "looks" for one in columns], dtype=np.bool_)
    values = np.array([column.values for column in columns]).reshape(len(columns), len(pictures))
    areas, drawn = sides.areas(values)
    mark = _Mark.of(sides, [one.corners for one in pictures])
    limits = {kind: _quantile(drawn[shortcut == kind].max(axis=0), level) if kind in shortcut else 0.5 for kind in (True, False)}
    if mark is not None:
        limits[False] = max(limits[False], _quantile(mark.drawn, level))
    problem = ""
    if min(sides.count(False), sides.count(True)) < FEW_GROUPS:
        problem = (
            f"{sides.count(False)} groups of real and {sides.count(True)} of generated pictures are too few to tell a shortcut from chance"
        )
    findings = []
    for name, feature in FEATURES.items():
        own = [place for place, column in enumerate(columns) if column.feature == name]
        best = max(own, key=lambda place: abs(areas[place] - 0.5), default=None)
        if best is None:
            continue
        area = 0.5 + abs(areas[best] - 0.5)
        separates = bool(not problem and area > max(ALLOWED, limits[feature.kind != "looks"]))
        turned = values[best] if areas[best] >= 0.5 else -values[best]
        estimate = auroc(Scored(turned, generated, sides.group))
        findings.append(
            Finding(name, feature.kind, feature.words, estimate, columns[best].how(float(areas[best])), separates, feature.cure)
        )
    if mark is not None:
        findings.append(mark.finding(max(ALLOWED, limits[False]), not problem))
    findings.sort(key=lambda one: -(one.auroc.value or 0.0))
    shortcuts = sides.regression(values[shortcut])
    everything = sides.regression(values)
    strict = auroc(shortcuts, STRICT_LEVEL)
    joint = not problem and (strict.value or 0.0) > ALLOWED and (strict.low or 0.0) > 0.5
    real, fake = int((~generated).sum()), int(generated.sum())
    return GeneratorAudit(
        generator,
        real,
        fake,
        len(names),
        limits[True],
        auroc(shortcuts),
        auroc(everything),
        tuple(findings),
        joint,
        problem,
    )


# ---- columns --------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Column:
    """Numbers of all pictures that may tell the sides apart."""

    feature: str
    values: Floats
    more: str
    less: str

    def how(self, area: float) -> str:
        return self.more if area >= 0.5 else self.less


def _columns(name: str, values: Sequence[Value]) -> Iterable[_Column]:
    """A number stands for itself and for its distance from the middle; of words, each that is not rare has a column."""
    if isinstance(values[0], str):
        counts = Counter(values)
        frequent = [word for word, number in sorted(counts.items(), key=str) if number >= max(2, RARE * len(values))]
        for word in frequent if len(counts) > 1 else ():
            shown = word or "none"
            column = np.array([value == word for value in values], dtype=np.float64)
            yield _Column(
                name, column, f"{shown} is more frequent among generated pictures", f"{shown} is less frequent among generated pictures"
            )
        return
    numbers = np.array(values, dtype=np.float64)
    if np.ptp(numbers) <= 1e-12:
        return
    yield _Column(name, numbers, "higher in generated pictures", "lower in generated pictures")
    away = np.abs(numbers - np.median(numbers))
    if len(np.unique(numbers)) > 2 and FEATURES[name].kind != "past":  # a past moves a number; its spread depends on what is shown
        yield _Column(name, away, "further from the middle in generated pictures", "closer to the middle in generated pictures")


class _Sides:
    """Labels and groups of some pictures."""

    def __init__(self, generated: Bools, group: Ints, seed: int) -> None:
        self.generated, self.group, self._seed = generated, group, seed

    @cached_property
    def fold(self) -> Ints:
        """``(pictures,)`` in which of the folds each is; a group is in one."""
        number = int(self.group.max()) + 1
        rank = np.array([key_of("fold", self._seed, one) for one in range(number)], dtype=np.uint64).argsort().argsort()
        return np.asarray(rank % FOLDS, dtype=np.int64)[self.group]

    def count(self, generated: bool) -> int:
        """Groups on a side."""
        return len(np.unique(self.group[self.generated == generated]))

    def areas(self, values: Floats) -> tuple[Floats, Floats]:
        """AUROC of each column, ``(columns,)``; and with labels swapped, ``(columns, swaps)`` in the better direction."""
        if not len(values):
            return np.zeros(0), np.full((0, SWAPS), 0.5)
        ranks = np.array([midranks(row) for row in values])
        labels = np.concatenate([self.generated[None], self.swapped]).astype(np.float64)
        fakes = labels.sum(axis=1)
        found = (ranks @ labels.T - fakes * (fakes + 1) / 2) / (fakes * (labels.shape[1] - fakes))
        return found[:, 0], 0.5 + np.abs(found[:, 1:] - 0.5)

    @cached_property
    def swapped(self) -> Bools:
        """``(swaps, pictures)`` labels: of groups with both, all are turned or none; groups with one are dealt anew among themselves."""
        draw = np.random.default_rng(key_of("swap", self._seed) % 2**63)
        groups = int(self.group.max()) + 1
        real, fake = (np.bincount(self.group[self.generated == side], minlength=groups) > 0 for side in (False, True))
        mixed: Bools = np.logical_and(real, fake)
        single = np.flatnonzero(real ^ fake)
        found = np.empty((SWAPS, len(self.group)), dtype=np.bool_)
        for row in range(SWAPS):
            turn = draw.random(groups) < 0.5
            label = np.zeros(groups, dtype=np.bool_)
            label[single] = draw.permutation(fake[single])
            found[row] = np.where(mixed[self.group], self.generated ^ turn[self.group], label[self.group])
        return found

    def regression(self, values: Floats) -> Scored:
        """Scores of a logistic regression on the columns, of each group by one that was fitted on others."""
        try:
            from sklearn.linear_model import LogisticRegression
        except ImportError:
            raise MissingExtraError("An audit", "moderation") from None
        scores = np.zeros(len(self.group))
        for number in range(FOLDS):
            seen, asked = self.fold != number, self.fold == number
            if not asked.any() or len(np.unique(self.generated[seen])) < 2 or not len(values):
                continue
            middle, spread = values[:, seen].mean(axis=1), values[:, seen].std(axis=1)
            scaled = np.clip((values.T - middle) / np.where(spread > 1e-9, spread, 1.0), -5, 5)
            model = LogisticRegression(C=0.1, max_iter=1000, class_weight="balanced").fit(scaled[seen], self.generated[seen])
            scores[asked] = model.decision_function(scaled[asked])
        return Scored(scores, self.generated, self.group)


@dataclass(frozen=True)
class _Mark:
    """How well what the corners have in common tells the sides apart, and how well it does with labels swapped."""

    scored: Scored
    drawn: Floats

    @classmethod
    def of(cls, sides: _Sides, corners: Sequence[Corners | None]) -> _Mark | None:
        """None where nobody looked at the corners, or one side is missing among the pictures that are held against each other."""
        known = [one for one in corners if one is not None]
        if len(known) < len(corners):
            return None
        places = np.flatnonzero(np.cumsum(np.bincount(sides.group))[sides.group] <= MOST) if len(known) > MOST else np.arange(len(known))
        labels = np.concatenate([sides.generated[None], sides.swapped])[:, places]
        if min(labels.sum(axis=1).min(), (~labels).sum(axis=1).min()) < 1:
            return None
        scores = mark_scores(np.stack([known[place] for place in places]), labels, sides.fold[places])
        areas = np.array([_area(row, own) for row, own in zip(scores, labels, strict=True)])
        return cls(Scored(scores[0], labels[0], sides.group[places]), areas[1:])

    def finding(self, most: float, enough: bool) -> Finding:
        estimate = auroc(self.scored)
        how = "pictures of each side have more in common with others of their side"
        return Finding("mark", MARK.kind, MARK.words, estimate, how, enough and (estimate.value or 0.0) > most, MARK.cure)


def _area(scores: Floats, labels: Bools) -> float:
    fakes = int(labels.sum())
    return float((midranks(scores)[labels].sum() - fakes * (fakes + 1) / 2) / (fakes * (len(labels) - fakes)))


def _quantile(drawn: NDArray[np.float64], level: float) -> float:
    return float(np.sort(drawn)[min(len(drawn) - 1, math.ceil(level * (len(drawn) + 1)) - 1)]) if len(drawn) else 0.5
