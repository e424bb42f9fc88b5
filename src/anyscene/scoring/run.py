"""All scores of a run, as they stand in ``scores.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from anyscene.errors import SpecError
from anyscene.scoring.calibration import (
    calibration_error,
    prediction_powered,
    reliability_bins,
    rogan_gladen,
    simultaneous_level,
)
from anyscene.scoring.labels import truth_of_rows
from anyscene.scoring.question_bank import Bools, Codes, Floats, Ints, QuestionBank
from anyscene.scoring.rows import ANSWERED, FAILED, MISSING, ROW_STATUSES, Rows, score_rows
from anyscene.scoring.scores import MEDIA_SCORES, media_scores, scene_means
from anyscene.scoring.statistics import (
    LEVEL,
    RESAMPLES,
    Estimate,
    Mean,
    Terms,
    bootstrap,
    noise_floor,
    scenes_needed,
)

__all__ = ["DIMENSIONS", "HEADLINE", "Scores", "groups_of", "score_run", "shown_rows"]

HEADLINE = "soft"
"""The score that is shown first."""
DIMENSIONS = ("kind", "attribute_type", "relation_type", "complexity", "object_class", "form", "foil")
WIDTHS = (0.01, 0.02, 0.05)
LOW_MASS = 0.5
"""An answer whose labels together are less likely than this was hardly one."""
LABEL_SOURCES = ("labels", "truth")


@dataclass(frozen=True)
class Scores:
    """The scores of a run.

    Attributes:
        rows: what every question contributed.
        by_media: ``(media,)`` scores for each name of ``MEDIA_SCORES``, NaN where missing.
        by_scene: ``(records,)`` means over the media of a scene, likewise.
        record_ids: of the records.
        truth: ``(rows,)`` labels, see `truth_of_rows`.
        summary: what ``scores.json`` holds.
    """

    rows: Rows
    by_media: Mapping[str, Floats]
    by_scene: Mapping[str, Floats]
    record_ids: tuple[str, ...]
    truth: Floats
    summary: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """The scores as JSON; fractions of one, null where something is missing."""
        return dict(self.summary)

    def rows_table(self) -> pa.Table:
        """A row for each question about each media: what ``scores.parquet`` holds."""
        rows, bank = self.rows, self.rows.bank
        question = rows.question
        ids = pa.array(self.record_ids, pa.string())

        def real(values: Floats) -> pa.Array:
            return pa.array(values, pa.float64(), mask=np.isnan(values))

        scene = rows.row_scene
        columns = {
            "record_id": pa.DictionaryArray.from_arrays(pa.array(scene.astype(np.int32)), ids),
            "sample": pa.array(rows.sample[rows.media].astype(np.int32)),
            "media_sha256": pa.DictionaryArray.from_arrays(pa.array(rows.media.astype(np.int32)), rows.sha256),
            "question_id": bank.id.take(question).text(),
            "question_key": bank.key.take(question).text(),
            "kind": bank.kind.take(question).text(),
            "form": bank.form.take(question).text(),
            "foil": bank.foil.take(question).text(),
            "attribute_type": bank.attribute_type.take(question).text(),
            "relation_type": bank.relation_type.take(question).text(),
            "object_class": bank.object_class.take(question).text(),
            "complexity": pa.array(rows.complexity[scene].astype(np.int32), mask=rows.complexity[scene] < 0),
            "gold": bank.gold.take(question).text(),
            "status": Codes(rows.status, ROW_STATUSES).text(),
            "value": real(rows.value),
            "credit": real(rows.credit),
            "label": real(self.truth),
        }
        return pa.table(
            {name: column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column for name, column in columns.items()}
        )


def score_run(
    records: pa.Table,
    media: pa.Table,
    answers: pa.Table,
    *,
    model: str,
    judge: Mapping[str, Any] | str,
    labels: pa.Table | None = None,
    labels_source: str = "labels",
    relation_types: Mapping[str, str] | None = None,
    object_classes: Mapping[str, str] | None = None,
    forms: Sequence[str] | None = None,
    samples: int | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Scores:
    """Scores a run from its stored answers; a pure function of its arguments.

    Args:
        records: the scenes.
        media: the manifest.
        answers: of one judge.
        model: its name.
        judge: its name, or a mapping with ``name``, ``revision`` and ``template``.
        labels: true answers (``media_sha256``, ``question_key``, ``answer``), for the quality of the judge and corrected scores. They must
            be a random part of the media, or all.
        labels_source: ``labels`` (people's) or ``truth`` (a sandbox painter's).
        relation_types: type of each predicate.
        object_classes: class of each object's name.
        forms: of the questions that were asked; by default those of which there is an answer.
        samples: media expected for each scene; by default as many as the manifest has.
        seed: of the resampling.
        resamples: how many.
        level: of all intervals. Those of the corrected scores hold for all kinds together.

    Raises:
        RecordError: a table is not what it should be.
        SpecError: an argument is not possible.
    """
    if labels_source not in LABEL_SOURCES:
        raise SpecError(f"labels from {labels_source!r}: it must be one of {', '.join(LABEL_SOURCES)}")
    if not 0 < level < 1:
        raise SpecError(f"intervals of level {level:g}: it must be between 0 and 1")
    rows = score_rows(records, media, answers, relation_types=relation_types, object_classes=object_classes, forms=forms)
    by_media = media_scores(rows)
    by_scene = {name: scene_means(rows, values) for name, values in by_media.items()}
    truth = truth_of_rows(rows, labels)
    samples = samples if samples is not None else int(rows.sample.max(initial=-1)) + 1
    wanted: dict[tuple[str, ...], Terms] = {("scores", name): [(1.0, Mean.of(values))] for name, values in by_scene.items()}
    wanted[("scores", "balanced_accuracy")] = _balanced(rows, np.arange(len(rows)))
    groups = groups_of(rows.bank, rows.question, rows.complexity[rows.row_scene])
    for (dimension, name), mask in groups.items():
        own = np.flatnonzero(mask)
        shown = own[shown_rows(rows, dimension)[own]]
        wanted[(dimension, name, "soft")] = [(1.0, Mean.over(rows.row_scene[shown], rows.value[shown], rows.scenes))]
        wanted[(dimension, name, "strict")] = [(1.0, Mean.over(rows.row_scene[shown], rows.credit[shown], rows.scenes))]
        wanted[(dimension, name, "balanced_accuracy")] = _balanced(rows, own)
    quality = _quality_terms(rows, truth)
    wanted |= {("quality", *key): terms for key, terms in quality.items()}
    found = bootstrap({"\0".join(key): terms for key, terms in wanted.items()}, seed=seed, number=resamples, level=level)

    def estimate(*key: str) -> dict[str, Any] | None:
        one = found.get("\0".join(key))
        return one.to_dict() if one is not None and one.value is not None else None

    by: dict[str, dict[str, Any]] = {dimension: {} for dimension in DIMENSIONS}
    for (dimension, name), mask in groups.items():
        by[dimension][name] = {score: estimate(dimension, name, score) for score in ("soft", "strict", "balanced_accuracy")}
        by[dimension][name]["questions"] = int(mask.sum())
    bins = reliability_bins(rows.p_yes, truth)
    labelled = bool((~np.isnan(truth)).any())
    summary = {
        "model": model,
        "judge": _judge(judge),
        "scenes": rows.scenes,
        "samples": samples,
        "level": level,
        "resampling_seed": seed,
        "media": _media_counts(rows, samples),
        "questions": _question_counts(rows, samples),
        "basis": rows.basis,
        "headline": HEADLINE,
        "scores": {name: found["scores\0" + name].to_dict() for name in (*MEDIA_SCORES, "balanced_accuracy")},
        "by": by,
        "judge_quality": {
            "source": labels_source if labelled else "foils",
            "by_kind": {
                kind: {side: estimate("quality", kind, side) for side in ("sensitivity", "specificity")}
                for kind in dict.fromkeys(kind for kind, _ in quality)
            },
            "labels": int((~np.isnan(truth)).sum()),
            "reliability": [asdict(one) for one in bins],
            "calibration_error": calibration_error(bins),
        },
        "corrected": _corrected(rows, truth, level, seed, resamples) if labelled else {},
        "noise_floor": _noise(rows, by_media, samples, level),
        "scenes_needed": {f"{width:g}": scenes_needed(by_scene[HEADLINE], width, level) for width in WIDTHS},
        "label_mass": _label_mass(rows),
    }
    return Scores(rows, by_media, by_scene, tuple(records["id"].to_pylist()), truth, summary)


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
    found = {}
    for dimension in DIMENSIONS:
        column = columns[dimension]
        present = np.unique(column.index[column.index >= 0]).tolist()
        order = present if dimension in ("kind", "form", "complexity") else sorted(present, key=column.words.__getitem__)
        for code in order:
            found[(dimension, column.words[code])] = column.index == code
    return found


def shown_rows(rows: Rows, dimension: str) -> Bools:
    """Rows that the scores of a group are means over: those that faithfulness is measured on, but all of a form, and all foils."""
    if dimension == "foil":
        return np.ones(len(rows), dtype=np.bool_)
    if dimension == "form":
        return ~rows.is_foil
    return rows.faithful


def _balanced(rows: Rows, own: Ints) -> Terms:
    """Half the share right where yes is right, half where no is right, over those of some rows that are yes/no questions."""
    own = own[rows.yes_no[own]]
    gold = rows.gold_yes[own]
    sides = (own[gold], own[~gold])
    return [(0.5, Mean.over(rows.row_scene[side], rows.credit[side], rows.scenes)) for side in sides]


def _quality_terms(rows: Rows, truth: Floats) -> dict[tuple[str, str], Terms]:
    """Sensitivity and specificity of the judge by kind: from labels where there are any, else specificity from foils.

    Foils say "no" as long as the picture does not show what they ask for by accident, so without labels they tell the least that the
    specificity can be. Of sensitivity they say nothing.
    """
    found: dict[tuple[str, str], Terms] = {}
    yes_no = rows.yes_no
    kind = rows.bank.kind.index[rows.question]
    labelled = bool((~np.isnan(truth)).any())
    said = np.where(rows.gold_yes, rows.credit, 1 - rows.credit)
    foils = rows.is_foil
    for code in np.unique(kind[yes_no]).tolist():
        own = yes_no & (kind == code)
        there, absent = (own & (truth == 1), own & (truth == 0)) if labelled else (np.zeros(len(own), dtype=np.bool_), own & foils)
        name = rows.bank.kind.words[code]
        for side, mask, right in (("sensitivity", there, said), ("specificity", absent, 1 - said)):
            found[(name, side)] = [(1.0, Mean.over(rows.row_scene[mask], right[mask], rows.scenes))]
    return found


def _corrected(rows: Rows, truth: Floats, level: float, seed: int, resamples: int) -> dict[str, Any]:
    """Raw and corrected share of true "yes" among the yes/no questions that ask for what should be there, by kind."""
    if rows.basis != "yes_no":
        return {}
    asked = rows.faithful
    kind = rows.bank.kind.index[rows.question]
    codes = np.unique(kind[asked & ~np.isnan(truth)]).tolist()
    each = simultaneous_level(level, len(codes))
    masks = {rows.bank.kind.words[code]: asked & (kind == code) for code in codes}
    raw = bootstrap(
        {name: [(1.0, Mean.over(rows.row_scene[mask], rows.credit[mask], rows.scenes))] for name, mask in masks.items()},
        seed=seed,
        number=resamples,
        level=each,
    )
    unheard = (rows.status == FAILED) | (rows.status == MISSING)
    said_yes = np.where(unheard, np.nan, np.where(rows.status == ANSWERED, rows.credit, 0.0))
    found = {}
    for name, mask in masks.items():
        scene, true = rows.row_scene[mask], truth[mask]
        both: dict[str, Estimate | None] = {
            "raw": raw[name],
            "rogan_gladen": rogan_gladen(scene, said_yes[mask], true, each),
            "prediction_powered": prediction_powered(scene, rows.p_yes[mask], true, each),
        }
        found[name] = {key: None if one is None else one.to_dict() for key, one in both.items()}
    return found


def _noise(rows: Rows, by_media: Mapping[str, Floats], samples: int, level: float) -> dict[str, Any] | None:
    floors = {name: noise_floor(rows.scene, rows.sample, by_media[name], level) for name in ("soft", "strict", "library", "all_correct")}
    known = {name: one for name, one in floors.items() if one is not None}
    return {"samples": samples, **known} if known else None


def _media_counts(rows: Rows, samples: int) -> dict[str, int]:
    """What became of the media; those that the manifest does not name are missing."""
    counts = {name: rows.media_status.count(name) for name in ("made", "failed", "refused", "missing")}
    expected = max(rows.scenes * samples, len(rows.media_status))
    counts["missing"] += expected - len(rows.media_status)
    return {"expected": expected, **counts}


def _question_counts(rows: Rows, samples: int) -> dict[str, int]:
    """What became of the questions; those about media that were not made are missing."""
    counts = np.bincount(rows.status, minlength=len(ROW_STATUSES))
    kept = (
        np.isin(rows.bank.form.index, np.unique(rows.bank.form.index[rows.question]))
        if len(rows)
        else np.ones(len(rows.bank), dtype=np.bool_)
    )
    of_scene = np.bincount(rows.bank.record[kept], minlength=rows.scenes)
    media_of_scene: Ints = np.maximum(np.bincount(rows.scene, minlength=rows.scenes), samples)
    expected = int((of_scene * media_of_scene).sum())
    found = {"expected": expected} | {name: int(counts[place]) for place, name in enumerate(ROW_STATUSES)}
    found["missing"] += expected - len(rows)
    return found


def _label_mass(rows: Rows) -> dict[str, float] | None:
    known = rows.label_mass[~np.isnan(rows.label_mass) & (rows.status == ANSWERED)]
    return {"mean": float(known.mean()), "low_share": float((known < LOW_MASS).mean())} if len(known) else None


def _judge(judge: Mapping[str, Any] | str) -> dict[str, str]:
    facts = {"name": judge} if isinstance(judge, str) else judge
    return {name: str(facts.get(name) or "") for name in ("name", "revision", "template")}
