"""All scores of a run, as they stand in ``scores.json``."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from anyscene.errors import SpecError
from anyscene.scoring.calibration import calibration_error, prediction_powered, reliability_bins, rogan_gladen, simultaneous_level
from anyscene.scoring.labels import truth_of_rows
from anyscene.scoring.question_bank import Codes, Floats, Ints
from anyscene.scoring.rows import ROW_STATUSES, Rows, score_rows
from anyscene.scoring.scores import MEDIA_SCORES, media_scores, scene_means
from anyscene.scoring.statistics import LEVEL, RESAMPLES, UNITS, Estimate, Terms, bootstrap, noise_floor, scenes_needed, units_of
from anyscene.scoring.tally import (
    BALANCED,
    CORRECTED,
    DIMENSIONS,
    HEADLINE,
    MEDIA_STATUSES,
    NOISY,
    SIDES,
    Key,
    Tally,
    in_order,
    tally_rows,
)

__all__ = ["Scores", "as_strings", "rows_table", "score_run", "summary_of", "tally_part"]

WIDTHS = (0.01, 0.02, 0.05)
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
        return as_strings(rows_table(self.rows, pa.array(self.record_ids, pa.string()), self.truth))


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
    rows = score_rows(records, media, answers, relation_types=relation_types, object_classes=object_classes, forms=forms)
    samples = samples if samples is not None else int(rows.sample.max(initial=-1)) + 1
    tally, by_media, by_scene, truth = tally_part(rows, labels, samples=samples, unit=units_of(rows.scenes, seed), units=UNITS)
    summary = summary_of(
        tally, model=model, judge=judge, samples=samples, labels_source=labels_source, seed=seed, resamples=resamples, level=level
    )
    return Scores(rows, by_media, by_scene, tuple(records["id"].to_pylist()), truth, summary)


def tally_part(
    rows: Rows,
    labels: pa.Table | None,
    *,
    samples: int,
    unit: Ints | None,
    units: int,
    forms: Collection[str] | None = None,
    labelled: bool | None = None,
) -> tuple[Tally, Mapping[str, Floats], Mapping[str, Floats], Floats]:
    """(sums, scores by media, scores by scene, true answers) of some rows; arguments as `tally_rows` and `truth_of_rows`."""
    by_media = media_scores(rows)
    by_scene = {name: scene_means(rows, values) for name, values in by_media.items()}
    truth = truth_of_rows(rows, labels)
    tally = tally_rows(rows, by_media, by_scene, truth, samples=samples, unit=unit, units=units, forms=forms, labelled=labelled)
    return tally, by_media, by_scene, truth


def summary_of(
    tally: Tally,
    *,
    model: str,
    judge: Mapping[str, Any] | str,
    samples: int,
    labels_source: str = "labels",
    seed: int = 0,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> dict[str, Any]:
    """What ``scores.json`` holds, from the sums of a whole run. Arguments as `score_run`.

    Raises:
        SpecError: an argument is not possible.
    """
    if labels_source not in LABEL_SOURCES:
        raise SpecError(f"labels from {labels_source!r}: it must be one of {', '.join(LABEL_SOURCES)}")
    if not 0 < level < 1:
        raise SpecError(f"intervals of level {level:g}: it must be between 0 and 1")
    groups = {dimension: in_order(dimension, (n for d, n in tally.questions if d == dimension), tally.words) for dimension in DIMENSIONS}
    qualities = [kind for kind in tally.words["kind"] if ("quality", kind, "sensitivity") in tally.means]
    wanted: dict[Key, Terms] = {("scores", name): [(1.0, tally.means["scores", name])] for name in MEDIA_SCORES}
    balanced = [("scores",), *((dimension, name) for dimension, names in groups.items() for name in names)]
    for key in balanced:
        if key != ("scores",):
            wanted |= {(*key, score): [(1.0, tally.means[(*key, score)])] for score in ("soft", "strict")}
        wanted[(*key, BALANCED)] = [(0.5, tally.means[(*key, BALANCED, side)]) for side in SIDES]
    for kind in qualities:
        wanted |= {("quality", kind, side): [(1.0, tally.means["quality", kind, side])] for side in ("sensitivity", "specificity")}
    found = bootstrap({"\0".join(key): terms for key, terms in wanted.items()}, seed=seed, number=resamples, level=level)

    def estimate(*key: str) -> dict[str, Any] | None:
        one = found["\0".join(key)]
        return one.to_dict() if one.value is not None else None

    bins = reliability_bins(tally.bins)
    return {
        "model": model,
        "judge": _judge(judge),
        "scenes": tally.scenes,
        "samples": samples,
        "level": level,
        "resampling_seed": seed,
        "media": _media_counts(tally, samples),
        "questions": _question_counts(tally),
        "basis": "yes_no" if tally.basis.yes_no else "all",
        "headline": HEADLINE,
        "scores": {name: found["scores\0" + name].to_dict() for name in (*MEDIA_SCORES, BALANCED)},
        "by": {
            dimension: {
                name: {score: estimate(dimension, name, score) for score in ("soft", "strict", BALANCED)}
                | {"questions": tally.questions[dimension, name]}
                for name in names
            }
            for dimension, names in groups.items()
        },
        "judge_quality": {
            "source": labels_source if tally.labels else "foils",
            "by_kind": {kind: {side: estimate("quality", kind, side) for side in ("sensitivity", "specificity")} for kind in qualities},
            "labels": tally.labels,
            "reliability": [asdict(one) for one in bins],
            "calibration_error": calibration_error(bins),
        },
        "corrected": _corrected(tally, level, seed, resamples),
        "noise_floor": _noise(tally, samples, level),
        "scenes_needed": {f"{width:g}": scenes_needed(tally.headline, width, level) for width in WIDTHS},
        "label_mass": _label_mass(tally),
    }


def rows_table(rows: Rows, record_ids: pa.Array, truth: Floats) -> pa.Table:
    """A row for each question about each media: what ``scores.parquet`` holds once `as_strings` has been over it.

    Args:
        rows: of these records.
        record_ids: of the records.
        truth: ``(rows,)`` true answers (`truth_of_rows`).
    """
    bank, question, scene = rows.bank, rows.question, rows.row_scene

    def real(values: Floats) -> pa.Array:
        return pa.array(values, pa.float64(), mask=np.isnan(values))

    return pa.table(
        {
            "record_id": pa.DictionaryArray.from_arrays(pa.array(scene.astype(np.int32)), record_ids),
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
            "label": real(truth),
        }
    )


def as_strings(table: pa.Table) -> pa.Table:
    """The table with strings where it has dictionaries of them."""
    return table.cast(pa.schema([(one.name, pa.string() if pa.types.is_dictionary(one.type) else one.type) for one in table.schema]))


def _corrected(tally: Tally, level: float, seed: int, resamples: int) -> dict[str, Any]:
    """Raw and corrected share of true "yes" among the yes/no questions that ask for what should be there, by kind."""
    kinds = [kind for kind in tally.words["kind"] if ("corrected", kind, "true") in tally.means]
    means = {kind: {which: tally.means["corrected", kind, which] for which in CORRECTED} for kind in kinds}
    means = {kind: own for kind, own in means.items() if own["true"].n}
    each = simultaneous_level(level, len(means))
    raw = bootstrap({kind: [(1.0, own["raw"])] for kind, own in means.items()}, seed=seed, number=resamples, level=each)
    found = {}
    for kind, own in means.items():
        both: dict[str, Estimate | None] = {
            "raw": raw[kind],
            "rogan_gladen": rogan_gladen(own["said"], own["there"], own["absent"], each),
            "prediction_powered": prediction_powered(own["guess"], own["true"], own["seen"], each),
        }
        found[kind] = {key: None if one is None else one.to_dict() for key, one in both.items()}
    return found


def _noise(tally: Tally, samples: int, level: float) -> dict[str, Any] | None:
    floors = {name: noise_floor(tally.owner[0], tally.owner[1], tally.by_media[name], level) for name in NOISY}
    known = {name: one for name, one in floors.items() if one is not None}
    return {"samples": samples, **known} if known else None


def _media_counts(tally: Tally, samples: int) -> dict[str, int]:
    """What became of the media; those that the manifest does not name are missing."""
    counts = dict(zip(MEDIA_STATUSES, tally.media.tolist(), strict=True))
    named = sum(counts.values())
    expected = max(tally.scenes * samples, named)
    counts["missing"] += expected - named
    return {"expected": expected, **counts}


def _question_counts(tally: Tally) -> dict[str, int]:
    """What became of the questions; those about media that were not made are missing."""
    found = {"expected": tally.expected} | dict(zip(ROW_STATUSES, tally.statuses.tolist(), strict=True))
    found["missing"] += tally.expected - sum(tally.statuses.tolist())
    return found


def _label_mass(tally: Tally) -> dict[str, float] | None:
    number, total, low = tally.mass.tolist()
    return {"mean": total / number, "low_share": low / number} if number else None


def _judge(judge: Mapping[str, Any] | str) -> dict[str, str]:
    facts = {"name": judge} if isinstance(judge, str) else judge
    return {name: str(facts.get(name) or "") for name in ("name", "revision", "template")}
