"""What a detector found in pictures, as evidence: boxes with names, scores and perhaps colours, one line of a file for each picture.

    {"item": "00012", "prompt": "a photo of a bench", "sample": 0, "width": 512, "height": 512, "detector": "facebook/mask2former-...",
     "boxes": [{"name": "bench", "score": 0.98, "box": [12.0, 40.5, 300.0, 480.0], "color": "green"}]}

A line may name its prompt; then it must be that of its item, so that boxes never go to another prompt of the same number. Coordinates
are pixels from the upper left corner: left, top, right, bottom. A picture that was looked at and holds nothing has an empty list; a picture
without a line is missing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anyscene.benchmarks.answer_files import chosen_model
from anyscene.benchmarks.benchmark import MAX_SAMPLES, Items, Note
from anyscene.benchmarks.reading import field, json_lines
from anyscene.errors import RecordError
from anyscene.runs import write_atomic

__all__ = ["Box", "Detections", "Seen", "best_first", "iou", "read_detections", "write_detections"]


@dataclass(frozen=True, slots=True)
class Box:
    """One thing that was detected.

    Attributes:
        name: of its class.
        score: of the detector, 0 to 1.
        left: in pixels.
        top: in pixels.
        right: in pixels.
        bottom: in pixels.
        color: of the thing, where it was looked for.
    """

    name: str
    score: float
    left: float
    top: float
    right: float
    bottom: float
    color: str | None = None

    @property
    def width(self) -> float:
        """In pixels."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """In pixels."""
        return self.bottom - self.top

    @property
    def centre(self) -> tuple[float, float]:
        """(x, y) in pixels."""
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2

    def scaled(self, factor: float) -> Box:
        """The box in a picture of another size."""
        return Box(self.name, self.score, self.left * factor, self.top * factor, self.right * factor, self.bottom * factor, self.color)


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of one picture.

    Attributes:
        boxes: what was detected, in the detector's order.
        verdict: whether the benchmark's own script called it right, where that is what was given.
        size: (width, height) in pixels, where it is known.
    """

    boxes: tuple[Box, ...]
    verdict: bool | None = None
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Detections:
    """What was detected in one model's pictures.

    Attributes:
        by_media: (record id, number of the sample) -> what was seen. A picture that was not looked at is not in it.
        model: whose pictures.
        judge: which detector.
        samples: pictures expected for each item.
        notes: what the reader repaired, dropped or did not know.
    """

    by_media: Mapping[tuple[str, int], Seen]
    model: str = ""
    judge: str = ""
    samples: int = 1
    notes: tuple[Note, ...] = ()


def iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes; 0 for boxes without an area."""
    wide = max(0.0, min(a.right, b.right) - max(a.left, b.left))
    high = max(0.0, min(a.bottom, b.bottom) - max(a.top, b.top))
    union = a.width * a.height + b.width * b.height - wide * high
    return wide * high / union if union > 0 else 0.0


def best_first(boxes: tuple[Box, ...]) -> dict[str, list[Box]]:
    """Boxes of each class, the surest first; of equal scores the one found last, as GenEval's script sorts them."""
    found: dict[str, list[Box]] = {}
    for box in sorted(boxes, key=lambda one: one.score)[::-1]:
        found.setdefault(box.name, []).append(box)
    return found


def read_detections(path: Path, items: Items, samples: int, model: str | None = None) -> Detections:
    """A file of detections, as the head of this module shows it.

    Args:
        path: the file.
        items: what it is about; an item is named by the benchmark's own id or by that of its record.
        samples: pictures that the benchmark asks for, for each item.
        model: whose pictures; lines that name another are passed over.

    Raises:
        RecordError: it cannot be read, or tells of one picture twice in different words; the message names the line.
        SpecError: no model is named, and the lines are about several.
    """
    own = {str(record["id"]): str(record["id"]) for record in items.records}
    own |= {str(items.extras[id]["item_id"]): id for id in own if "item_id" in items.extras.get(id, {})}
    prompts = {str(record["id"]): str(record["caption"]) for record in items.records}
    rows = json_lines(path)
    name = chosen_model(path, {_model(row) for _, row in rows}, model)
    by_media: dict[tuple[str, int], Seen] = {}
    detectors: dict[str, None] = {}
    unknown: list[str] = []
    repeated = 0
    for line, row in rows:
        where = f"{path}, line {line}"
        item = str(field(row, "item", str, where))
        if name != (_model(row) or name):
            continue
        sample = row.get("sample", 0)
        if isinstance(sample, bool) or not isinstance(sample, int) or not 0 <= sample < MAX_SAMPLES:
            raise RecordError(f"{where}: sample {json.dumps(sample)[:40]} is no whole number from 0 to {MAX_SAMPLES - 1:,}")
        seen = Seen(tuple(_box(one, where) for one in field(row, "boxes", list, where)), _verdict(row, where), _size(row, where))
        detectors.setdefault(str(row.get("detector", "")))
        if item not in own:
            unknown.append(f"line {line}")
            continue
        prompt = field(row, "prompt", str, where) if "prompt" in row else None
        if prompt is not None and " ".join(prompt.split()) != " ".join(prompts[own[item]].split()):
            raise RecordError(f"{where}: {item} is {prompt[:60]!r} there, and {prompts[own[item]][:60]!r} in the benchmark's file")
        key = (own[item], sample)
        if key in by_media:
            if by_media[key] != seen:
                raise RecordError(f"{where}: other boxes of sample {sample} of {item[:60]} than in a line before")
            repeated += 1
        by_media[key] = seen
    notes = [Note("lines about items that are not in the benchmark", len(unknown), tuple(unknown[:3]))] if unknown else []
    notes += [Note("lines that repeat another one", repeated)] if repeated else []
    most = max((sample for _, sample in by_media), default=0) + 1
    return Detections(by_media, name, ", ".join(filter(None, detectors)), max(samples, most), tuple(notes))


def write_detections(path: Path, detections: Detections, items: Items) -> None:
    """Writes detections as `read_detections` takes them.

    Raises:
        RunError: it cannot be written.
    """
    lines = []
    prompts = {str(record["id"]): str(record["caption"]) for record in items.records}
    for (id, sample), seen in detections.by_media.items():
        row: dict[str, Any] = {"item": items.extras[id].get("item_id", id), "prompt": prompts[id], "sample": sample}
        row |= {"model": detections.model} if detections.model else {}
        row |= {"detector": detections.judge} if detections.judge else {}
        row |= {"width": seen.size[0], "height": seen.size[1]} if seen.size else {}
        row |= {} if seen.verdict is None else {"correct": seen.verdict}
        row["boxes"] = [
            {"name": box.name, "score": box.score, "box": [box.left, box.top, box.right, box.bottom]}
            | ({"color": box.color} if box.color else {})
            for box in seen.boxes
        ]
        lines.append(json.dumps(row, ensure_ascii=False) + "\n")
    write_atomic(path, "".join(lines).encode())


def make_box(name: object, score: object, corners: object, color: object, where: str) -> Box:
    """A box from values that were read.

    Raises:
        RecordError: they are none of a box.
    """
    numbers = [score, *corners] if isinstance(corners, list) and len(corners) == 4 else []
    right = [one for one in numbers if isinstance(one, (int, float)) and not isinstance(one, bool) and math.isfinite(one)]
    if len(right) < 5 or not isinstance(name, str) or not name or not (color is None or isinstance(color, str)):
        raise RecordError(
            f"{where}: a box has a name, a score and four numbers (left, top, right, bottom); this is {str([name, score, corners])[:100]}"
        )
    value, left, top, far, low = map(float, right)
    if not 0 <= value <= 1 + 1e-6 or far < left or low < top:
        raise RecordError(f"{where}: a box of score {value:g} at {corners}; a score is 0 to 1, a box is left, top, right, bottom")
    return Box(name, value, left, top, far, low, color)


def _model(row: object) -> str:
    named = row.get("model", "") if isinstance(row, Mapping) else ""
    return named if isinstance(named, str) else json.dumps(named)


def _box(value: object, where: str) -> Box:
    if not isinstance(value, Mapping):
        raise RecordError(f"{where}: a box is an object with name, score and box, not {json.dumps(value)[:60]}")
    return make_box(value.get("name"), value.get("score"), value.get("box"), value.get("color"), where)


def _verdict(row: Mapping[str, Any], where: str) -> bool | None:
    if row.get("correct") is None:
        return None
    return bool(field(row, "correct", bool, where))


def _size(row: Mapping[str, Any], where: str) -> tuple[int, int] | None:
    if "width" not in row and "height" not in row:
        return None
    width, height = field(row, "width", int, where), field(row, "height", int, where)
    if width < 1 or height < 1:
        raise RecordError(f"{where}: a picture of {width} x {height} pixels")
    return width, height
