"""VBench (Huang et al., CVPR 2024): 946 prompts for clips in sixteen dimensions; its total from the dimensions' scores.

The sixteen metrics (DINO, RAFT, GRiT, ViCLIP, ...) are not built again here: the released package measures, and its result files are read,
checked and brought to the total, with what is missing kept missing. The one rule whose fault changes what is measured, that of
``spatial_relationship``, is here on given boxes in both readings.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from pathlib import Path
from typing import Any

import numpy as np

from anyscene.benchmarks.benchmark import About, BenchmarkResult, Counts, Fault, Items, Note, Numbers, Replies, make_record, result_of
from anyscene.benchmarks.boxes import Box, iou
from anyscene.benchmarks.reading import field, json_value
from anyscene.errors import RecordError, SpecError
from anyscene.language.english import takes_an
from anyscene.scoring.statistics import Estimate, Mean, bootstrap

__all__ = [
    "DIMENSIONS",
    "QUALITY",
    "SEMANTIC",
    "VBENCH",
    "Dimension",
    "Measured",
    "VBench",
    "VideoScores",
    "spatial_frame_score",
    "spatial_score",
    "total_of",
]

ROWS = 946
SAMPLES = 5
FLICKER, FLICKER_SAMPLES = "temporal flickering", 25
IOU = 0.1
DEEPEST = 8
"""Of auxiliary_info; the release has three levels."""
PERCENT = "imaging quality"
"""The one dimension that some versions of the package give from 0 to 100."""


@dataclass(frozen=True, slots=True)
class Dimension:
    """How a dimension enters the total.

    Attributes:
        low: score that counts 0.
        high: score that counts 1.
        weight: in its group.
        group: ``quality`` or ``semantic``.
    """

    low: float
    high: float
    weight: float
    group: str

    def normalized(self, score: float) -> float:
        """The score between `low` and `high`, as a fraction."""
        return (score - self.low) / (self.high - self.low)


DIMENSIONS: Mapping[str, Dimension] = {
    "subject consistency": Dimension(0.1462, 1.0, 1.0, "quality"),
    "background consistency": Dimension(0.2615, 1.0, 1.0, "quality"),
    "temporal flickering": Dimension(0.6293, 1.0, 1.0, "quality"),
    "motion smoothness": Dimension(0.706, 0.9975, 1.0, "quality"),
    "dynamic degree": Dimension(0.0, 1.0, 0.5, "quality"),
    "aesthetic quality": Dimension(0.0, 1.0, 1.0, "quality"),
    "imaging quality": Dimension(0.0, 1.0, 1.0, "quality"),
    "object class": Dimension(0.0, 1.0, 1.0, "semantic"),
    "multiple objects": Dimension(0.0, 1.0, 1.0, "semantic"),
    "human action": Dimension(0.0, 1.0, 1.0, "semantic"),
    "color": Dimension(0.0, 1.0, 1.0, "semantic"),
    "spatial relationship": Dimension(0.0, 1.0, 1.0, "semantic"),
    "scene": Dimension(0.0, 0.8222, 1.0, "semantic"),
    "appearance style": Dimension(0.0009, 0.2855, 1.0, "semantic"),
    "temporal style": Dimension(0.0, 0.364, 1.0, "semantic"),
    "overall consistency": Dimension(0.0, 0.364, 1.0, "semantic"),
}
"""Bounds and weights of the released ``scripts/constant.py``."""
QUALITY = tuple(name for name, one in DIMENSIONS.items() if one.group == "quality")
SEMANTIC = tuple(name for name, one in DIMENSIONS.items() if one.group == "semantic")
SHARES = {"quality": 0.8, "semantic": 0.2}
"""Of the groups in the total: 4 to 1."""
_AXIS = {"on the left of": (0, -1), "on the right of": (0, 1), "on the top of": (1, -1), "on the bottom of": (1, 1)}
_VIDEO = re.compile(r"(.*\S)-(\d{1,3})\.\w{1,5}", re.DOTALL)

ABOUT = About(
    name="vbench",
    title="VBench (Huang et al.: VBench: Comprehensive Benchmark Suite for Video Generative Models, CVPR 2024)",
    licence="Apache-2.0",
    home="Vchitect/VBench",
    files="vbench/VBench_full_info.json",
    evidence=("scores",),
    stored="*_eval_results.json of the vbench package, or a folder of them",
    layouts=("vbench",),
    samples=SAMPLES,
    modality="video",
    official_judge="sixteen metrics of the vbench package (DINO, CLIP, AMT, RAFT, LAION, MUSIQ, GRiT, UMT, Tag2Text, ViCLIP)",
    judge_note="",
)


@dataclass(frozen=True)
class Measured:
    """A dimension's score as a result file tells it.

    Attributes:
        score: of the dimension.
        by_video: (record id, sample) -> the video's own, where the file has numbers for single videos.
        videos: listed in the file.
    """

    score: float
    by_video: Mapping[tuple[str, int], float] = dataclass_field(default_factory=dict)
    videos: int = 0


@dataclass(frozen=True)
class VideoScores:
    """Result files of the vbench package about one model.

    Attributes:
        by_dimension: what was measured, by the names of ``DIMENSIONS``.
        model: whose clips.
        judge: what measured.
        notes: what the reader did not know or found twice.
    """

    by_dimension: Mapping[str, Measured]
    model: str = ""
    judge: str = "vbench"
    notes: tuple[Note, ...] = ()


def total_of(scores: Mapping[str, float | None], compat: str = "official") -> dict[str, float | None]:
    """``total``, ``quality`` and ``semantic`` of raw scores.

    Args:
        scores: by dimension.
        compat: ``official`` counts a missing dimension as a score of 0, which is below 0 after normalising; ``fixed`` leaves what rests on
            a missing one missing.
    """
    found: dict[str, float | None] = {}
    for group, names in (("quality", QUALITY), ("semantic", SEMANTIC)):
        raw = [scores.get(name) for name in names]
        if compat == "fixed" and any(value is None for value in raw):
            found[group] = None
            continue
        parts = [DIMENSIONS[name].normalized(value or 0.0) * DIMENSIONS[name].weight for name, value in zip(names, raw, strict=True)]
        found[group] = math.fsum(parts) / math.fsum(DIMENSIONS[name].weight for name in names)
    quality, semantic = found["quality"], found["semantic"]
    known = quality is not None and semantic is not None
    found["total"] = SHARES["quality"] * quality + SHARES["semantic"] * semantic if known else None  # type: ignore[operator]
    return found


def spatial_score(relation: str, a: Box, b: Box, compat: str = "official") -> float:
    """How well box a lies from box b as the relation says: 1, or less where they overlap, or 0.

    The official rule asks only along which axis they lie apart: ``on the left of`` and ``on the right of`` give the same number.

    Args:
        relation: ``on the left of``, ``on the right of``, ``on the top of`` or ``on the bottom of``.
        a: of which the relation is told.
        b: to which.
        compat: ``official`` or ``fixed``.

    Raises:
        SpecError: another relation.
    """
    if relation not in _AXIS:
        raise SpecError(f"relation {relation!r}: it is one of {', '.join(_AXIS)}")
    axis, sign = _AXIS[relation]
    offset = [mine - other for mine, other in zip(a.centre, b.centre, strict=True)]
    if abs(offset[axis]) <= abs(offset[1 - axis]) or (compat == "fixed" and offset[axis] * sign <= 0):
        return 0.0
    overlap = iou(a, b)
    return 1.0 if overlap < IOU else IOU / overlap


def spatial_frame_score(boxes: Sequence[Box], first: str, second: str, relation: str, compat: str = "official") -> float:
    """The best score of any pair of boxes in a frame.

    Args:
        boxes: detected, in the detector's order.
        first: class of which the relation is told.
        second: class to which.
        relation: see `spatial_score`.
        compat: ``official`` pairs any two boxes of either class, two of the same one too; ``fixed`` one of each.
    """
    if compat == "official":
        own = [box for box in boxes if box.name in (first, second)]
        pairs = [(a, b) for at, a in enumerate(own) for b in own[at + 1 :]]
    else:
        pairs = [(a, b) for a in boxes if a.name == first for b in boxes if b.name == second and b is not a]
    return max((spatial_score(relation, a, b, compat) for a, b in pairs), default=0.0)


class VBench:
    """VBench."""

    about = ABOUT

    def import_items(self, path: Path) -> Items:
        """The prompts of ``VBench_full_info.json``; prompts that stand there twice, for other dimensions, are one item.

        Raises:
            RecordError: it cannot be read as one; the message names the entry.
        """
        value = json_value(path)
        if not isinstance(value, list) or not value:
            raise RecordError(f"{path}: a list of prompts is wanted")
        rows: dict[str, dict[str, Any]] = {}
        repeated: list[str] = []
        joined: list[str] = []
        kept = 0
        for at, row in enumerate(value, 1):
            clean = _checked(row, f"{path}, entry {at}")
            own = rows.setdefault(clean["prompt"], {"prompt": clean["prompt"], "dimension": [], "auxiliary": {}})
            if set(clean["dimension"]) <= set(own["dimension"]):
                if any(own["auxiliary"].get(name) != about for name, about in clean["auxiliary"].items()):
                    raise RecordError(f"{path}, entry {at}: {clean['prompt'][:60]!r} stands there already with other auxiliary_info")
                repeated.append(f"entry {at}")
                continue
            kept += 1
            if own["dimension"]:
                joined.append(f"entry {at}")
            own["dimension"] += [name for name in clean["dimension"] if name not in own["dimension"]]
            own["auxiliary"] |= clean["auxiliary"]
        records, extras = [], {}
        for index, row in enumerate(rows.values()):
            record, extra = _item(index, row)
            records.append(record)
            extras[record["id"]] = extra
        notes = [Note(f"entries are in the file; the release has {ROWS}", kept)] if kept != ROWS else []
        notes += [Note("entries that repeat another one, left out", len(repeated), tuple(repeated[:3]))] if repeated else []
        notes += [Note("prompts that stand twice, for other dimensions, joined", len(joined), tuple(joined[:3]))] if joined else []
        return Items(ABOUT.name, tuple(records), extras, tuple(notes))

    def read_evidence(self, path: Path, items: Items, *, model: str | None = None) -> VideoScores:
        """``*_eval_results.json`` of the package, one file or a folder of them.

        Raises:
            RecordError: they cannot be read, hold no dimension, or tell of one twice in different numbers.
        """
        files = sorted(one for one in path.rglob("*.json") if not one.name.startswith(".")) if path.is_dir() else [path]
        by_prompt = {record["caption"]: str(record["id"]) for record in items.records}
        found: dict[str, tuple[Path, Measured]] = {}
        strange: list[str] = []
        for file in files:
            value = json_value(file)
            if not isinstance(value, dict):
                if path.is_dir():
                    continue  # the prompts lie there too
                raise RecordError(f"{file}: an object that maps dimensions to [score, videos] is wanted")
            for key, one in value.items():
                name = key.replace("_", " ").strip().lower()
                if name not in DIMENSIONS:
                    strange.append(key[:40])
                    continue
                measured = _measured(name, one, by_prompt, f"{file}, {key}")
                if name in found and found[name][1] != measured:
                    raise RecordError(f"{file}, {key}: {measured.score:g}, but {found[name][1].score:g} in {found[name][0]}")
                found[name] = (file, measured)
        if not found:
            raise RecordError(f"{path}: no score of a dimension of VBench in it")
        notes = (Note("scores of what is no dimension of VBench, left out", len(strange), tuple(strange[:3])),) if strange else ()
        return VideoScores({name: one for name, (_, one) in found.items()}, model or "", "vbench", notes)

    def score(self, items: Items, evidence: VideoScores, *, seed: int = 0) -> BenchmarkResult:
        """Both readings.

        Args:
            items: from `import_items`.
            evidence: from `read_evidence`.
            seed: of the bootstrap over prompts.

        Raises:
            RecordError: there are no scores of dimensions: questions about the prompts give no number of VBench.
        """
        if isinstance(evidence, Replies) or not evidence.by_dimension:
            raise RecordError("VBench is scored from result files of the vbench package; answers to questions give no number of it")
        percent = {name for name, one in evidence.by_dimension.items() if name == PERCENT and one.score > 1}
        raw: dict[str, float | None] = {name: one.score for name, one in evidence.by_dimension.items()}
        mended = {name: value / 100 if name in percent and value is not None else value for name, value in raw.items()}
        means, uneven = _means(items, evidence, percent)
        official, fixed = total_of(raw), total_of(mended, "fixed")
        missing = [name for name in DIMENSIONS if name not in raw]
        held = {record["id"] for one in evidence.by_dimension.values() for record in items.records if _has(one, record["id"])}
        counts = _counts(items, evidence, len(held))
        effect = None if official["total"] is None else official["total"] - (total_of(mended)["total"] or 0.0)
        notes = []
        if missing:
            notes.append(Note("dimensions have no score, so there is no fixed total", len(missing), tuple(missing[:3])))
        if uneven:
            notes.append(
                Note("dimensions whose videos' numbers do not give their score: they get no interval", len(uneven), tuple(uneven[:3]))
            )
        listed = any(one.videos for one in evidence.by_dimension.values())
        if listed and counts.media_found < counts.media:
            notes.append(Note("clips are in no result file: the number is of a part of the benchmark", counts.media - counts.media_found))
        return result_of(
            ABOUT,
            items,
            evidence,
            _numbers("official", official, raw, {name: mean for name, mean in means.items() if name not in percent}, seed),
            _numbers("fixed", fixed, mended, means, seed),
            headline="total",
            unit="fraction",
            faults=[
                Fault(
                    "missing-dimensions-are-zero",
                    "A dimension without a result file enters with the raw score 0, which is below 0 after normalising.",
                    None if missing else 0.0,
                ),
                Fault(
                    "imaging-quality-in-percent",
                    "Versions of the package that give imaging quality from 0 to 100 put it into the total as it is.",
                    effect if PERCENT in percent else 0.0,
                ),
                Fault(
                    "left-is-right",
                    "spatial_relationship asks only along which axis two boxes lie apart, and pairs boxes of the same class.",
                    None,
                ),
                Fault(
                    "color-of-what-was-found",
                    "Clips in which no colour word was found for the object leave the denominator of color.",
                    None,
                ),
            ],
            counts=counts,
            notes=notes,
            judge_note="",
        )


def _has(one: Measured, id: str) -> bool:
    return any((id, sample) in one.by_video for sample in range(FLICKER_SAMPLES))


def _counts(items: Items, evidence: VideoScores, scored: int) -> Counts:
    """Clips expected and listed; those of flicker come in twenty-five of each prompt."""
    expected = {(record["id"], sample) for record in items.records for sample in range(items.extras[record["id"]].get("samples", SAMPLES))}
    seen = {key for one in evidence.by_dimension.values() for key in one.by_video}
    return Counts(
        items=len(items.records),
        items_scored=scored,
        media=len(expected),
        media_found=len(seen & expected),
        unknown=len(seen - expected),
    )


def _means(items: Items, evidence: VideoScores, percent: set[str]) -> tuple[dict[str, Mean], list[str]]:
    """Dimensions as means over clips, for their intervals; and those whose clips give another number."""
    place = {record["id"]: at for at, record in enumerate(items.records)}
    found: dict[str, Mean] = {}
    uneven = []
    for name, one in evidence.by_dimension.items():
        if not one.by_video:
            continue
        owner = np.array([place[id] for id, _ in one.by_video], dtype=np.int64)
        values = np.array(list(one.by_video.values()), dtype=np.float64)
        score = one.score / 100 if name in percent else one.score
        if name == PERCENT and values.mean() > 1:
            values = values / 100
        if abs(values.mean() - score) <= 1e-3 * max(abs(score), 0.1) and len(values) == one.videos:
            found[name] = Mean.over(owner, values, len(place))
        else:
            uneven.append(name)
    return found, uneven


def _numbers(
    compat: str, totals: Mapping[str, float | None], raw: Mapping[str, float | None], means: Mapping[str, Mean], seed: int
) -> Numbers:
    """Totals and dimensions; with intervals where single clips are known."""
    shifts = {"total": 0.0, "quality": 0.0, "semantic": 0.0}
    terms: dict[str, list[tuple[float, Mean]]] = {name: [] for name in shifts}
    weight = {group: math.fsum(one.weight for one in DIMENSIONS.values() if one.group == group) for group in SHARES}
    complete = {group: all(name in means for name, one in DIMENSIONS.items() if one.group == group) for group in SHARES}
    for name, mean in means.items():
        one = DIMENSIONS[name]
        factor = one.weight / weight[one.group] / (one.high - one.low)
        for key, share in ((one.group, 1.0), ("total", SHARES[one.group])):
            terms[key].append((factor * share, mean))
            shifts[key] -= factor * share * one.low
    ready = {name: own for name, own in terms.items() if (all(complete.values()) if name == "total" else complete[name])}
    every = {**ready, **{f"dimension\0{name}": [(1.0, mean)] for name, mean in means.items()}}
    found = bootstrap(every, seed=seed) if every else {}

    def known(key: str, value: float | None, shift: float = 0.0) -> Estimate:
        one = found.get(key)
        if value is None or one is None or one.low is None or one.high is None:
            return Estimate(value, None, None, one.n if one and value is not None else 0)
        return Estimate(value, one.low + shift, one.high + shift, one.n)

    groups = {name: known(name, totals[name], shifts[name]) for name in shifts}
    by = {name: known(f"dimension\0{name}", raw.get(name)) for name in DIMENSIONS if raw.get(name) is not None}
    scaled = {name: _normalized(one, DIMENSIONS[name]) for name, one in by.items()}
    return Numbers(compat, groups["total"], groups, {"dimension": by, "normalized": scaled})


def _normalized(one: Estimate, of: Dimension) -> Estimate:
    value, low, high = (None if end is None else of.normalized(end) for end in (one.value, one.low, one.high))
    return Estimate(value, low, high, one.n)


def _measured(name: str, one: object, by_prompt: Mapping[str, str], where: str) -> Measured:
    """``[score, [{"video_path", "video_results"}, ...]]``, or a number alone."""
    score = one[0] if isinstance(one, list) and one else one
    if isinstance(score, bool) or not isinstance(score, (int, float)):
        raise RecordError(f"{where}: [score, videos] is wanted, not {json.dumps(one)[:60]}")
    most = 100.0 if name == PERCENT else 1.0
    if not -1 <= score <= most + 1e-6:
        raise RecordError(f"{where}: a score of {score:g}; it is at most {most:g}")
    listed = one[1] if isinstance(one, list) and len(one) > 1 and isinstance(one[1], list) else []
    by_video: dict[tuple[str, int], float] = {}
    for at, video in enumerate(listed, 1):
        place = f"{where}, video {at}"
        path = field(video, "video_path", str, place)
        match = _VIDEO.fullmatch(re.split(r"[/\\]", path)[-1])
        id = by_prompt.get(" ".join(match[1].split())) if match else None
        result = video.get("video_results")
        if match is None or id is None or not isinstance(result, (int, float)) or not math.isfinite(result):
            continue
        key = (id, int(match[2]))
        if by_video.setdefault(key, float(result)) != float(result):
            raise RecordError(f"{place}: another score of {path[-60:]} than before")
    return Measured(float(score), by_video, len(listed))


def _checked(row: object, where: str) -> dict[str, Any]:
    """An entry of the file, with everything that is relied on looked at."""
    prompt = " ".join(field(row, "prompt_en", str, where).split())
    names = field(row, "dimension", list, where)
    if not prompt or not names:
        raise RecordError(f"{where}: an empty {'dimension' if prompt else 'prompt_en'}")
    dimensions = [name.replace("_", " ") if isinstance(name, str) else str(name) for name in names]
    if strange := [name for name in dimensions if name not in DIMENSIONS]:
        raise RecordError(f"{where}: dimension {strange[0][:40]!r} is none of VBench's")
    assert isinstance(row, Mapping)
    auxiliary = field(row, "auxiliary_info", dict, where) if "auxiliary_info" in row else {}
    if _depth(auxiliary) > DEEPEST:
        raise RecordError(f"{where}: auxiliary_info is nested too deeply")
    return {"prompt": prompt, "dimension": dimensions, "auxiliary": dict(auxiliary)}


def _depth(value: Any) -> int:
    """How deep JSON values are nested, counted no further than matters."""
    level, layer = 0, [value]
    while layer and level <= DEEPEST:
        layer = [inner for one in layer if isinstance(one, dict | list) for inner in (one.values() if isinstance(one, dict) else one)]
        level += 1
    return level


def _item(index: int, row: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A prompt as a record, with questions where the benchmark says what must be seen."""
    questions = [
        {"id": f"q{at}", "kind": kind, "form": "yes_no", "text": text, "answer": "yes"}
        for at, (kind, text) in enumerate(_questions(row["prompt"], row["dimension"], row["auxiliary"]), 1)
    ]
    item = f"vbench-{index:04d}"
    record = make_record(ABOUT.name, item, index, row["prompt"], questions, complexity=len(questions), modality="video")
    return record, {
        "item_id": item,
        "dimensions": list(row["dimension"]),
        "category": row["dimension"][0].replace(" ", "_"),
        "auxiliary_info": row["auxiliary"],
        **({"samples": FLICKER_SAMPLES} if FLICKER in row["dimension"] else {}),
    }


def _questions(prompt: str, dimensions: Sequence[str], auxiliary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(kind, text) of what can be asked with yes or no."""

    def there(name: str) -> tuple[str, str]:
        many = name in ("skis", "scissors")
        return "existence", f"{'Are there any' if many else 'Is there an' if takes_an(name) else 'Is there a'} {name} in the video?"

    def of(name: str, key: str) -> str:
        inner: Any = auxiliary.get(name)
        while isinstance(inner, Mapping) and key in inner:
            inner = inner[key]
        return inner if isinstance(inner, str) else ""

    found = []
    for name in (of("object_class", "object"), *of("multiple_objects", "object").split(" and ")):
        if name:
            found.append(there(name))
    if color := of("color", "color"):
        thing = re.sub(rf"^(?:an? )?{re.escape(color)} ", "", prompt)
        found += [there(thing), ("attribute", f"{'Are' if thing in ('skis', 'scissors') else 'Is'} the {thing} {color}?")]
    place: Any = auxiliary.get("spatial_relationship")
    place = place.get("spatial_relationship", place) if isinstance(place, Mapping) else None
    if isinstance(place, Mapping) and all(isinstance(place.get(key), str) for key in ("object_a", "object_b", "relationship")):
        first, second = place["object_a"], place["object_b"]
        found += [there(first), there(second), ("relation", f"Is the {first} {place['relationship']} the {second}?")]
    scene: Any = auxiliary.get("scene")
    while isinstance(scene, Mapping):
        scene = scene.get("scene")
    if isinstance(scene, str) and scene:
        found.append(("scene_attribute", f"Is this the setting of the video: {scene}?"))
    if style := of("appearance_style", "appearance_style"):
        found.append(("scene_attribute", f"Is this the style of the video: {style}?"))
    if "human action" in dimensions and (match := re.fullmatch(r"A person is (.+?)\.?", prompt)):
        found.append(("motion", f"Is a person {match[1]} in the video?"))
    return list(dict.fromkeys(found))


VBENCH = VBench()
