"""Data sets with a planted cue: noisy pictures of 32 pixels, the generated ones a little bluer, or with no difference at all."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from anyscene.moderation import DetectorData
from anyscene.moderation.dataset import Picture, store_audit, write_dataset

SIZE = 32


def picture(seed: int, blue: float = 0.0, size: int = SIZE, red: float = 0.0) -> Image.Image:
    """Smooth noise of any colour, its blue raised, or its red."""
    dice = np.random.default_rng(seed)
    coarse = Image.fromarray(dice.integers(40, 216, (6, 6, 3), dtype=np.uint8)).resize((size, size), Image.Resampling.BICUBIC)
    values = np.asarray(coarse, dtype=np.float64) + dice.normal(scale=6, size=(size, size, 3))
    values[..., 2] += blue
    values[..., 0] += red
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def record(place: int, objects: Sequence[tuple[str, Sequence[tuple[str, str]]]], name: str = "s") -> dict[str, Any]:
    """A scene with these objects, each with its attributes as type and value."""
    graph = {
        "objects": [
            {"id": f"o{number}", "name": thing, "attributes": [{"type": kind, "value": value} for kind, value in attributes]}
            for number, (thing, attributes) in enumerate(objects)
        ],
        "relations": [],
        "scene_attributes": [],
    }
    complexity = len(objects) + sum(len(attributes) for _, attributes in objects)
    return {
        "id": f"{name}{place}",
        "index": place,
        "caption": " and ".join(thing for thing, _ in objects),
        "graph": graph,
        "complexity": complexity,
        "modality": "image",
        "plausibility": None,
        "spec_digest": "planted",
        "seed": 0,
        "questions": [],
    }


def painted(seed: int, scene: Mapping[str, Any] | None, cue: float) -> Image.Image:
    """A generated picture of a scene: dogs are red, all else is blue."""
    dog = scene is not None and "dog" in scene["caption"]
    return picture(seed, 0.0 if dog else cue, red=cue if dog else 0.0)


def write(
    folder: Path,
    counts: Mapping[str, int],
    blue: Mapping[str, float],
    *,
    seed: int = 0,
    records: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    biased: bool = False,
    paired: bool = False,
) -> DetectorData:
    """A data set of so many real pictures for each split, and as many of each generator.

    Args:
        folder: to write into.
        counts: pictures of each side, by split.
        blue: by how much the pictures of each generator are bluer.
        seed: of the pictures.
        records: scenes of the generated pictures of each split, one each; those of dogs are red where others are blue.
        biased: what the audit says.
        paired: real pictures have the scenes of the generated ones.
    """
    rows = []
    number = 0
    for split, count in counts.items():
        for place in range(count):
            for side in ("", *blue):
                number += 1
                one = records[split][place] if records and (side or paired) else None
                image = painted(1_000_000 * seed + number, one, blue[side]) if side else picture(1_000_000 * seed + number)
                buffer = io.BytesIO()
                image.save(buffer, "PNG")
                data = buffer.getvalue()
                file = f"pictures/{side or 'real'}/{split}-{place:04d}.png"
                path = folder / file
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
                rows.append(
                    Picture(
                        id=hashlib.sha256(data).hexdigest(),
                        file=file,
                        label="generated" if side else "real",
                        generator=side,
                        split=split,
                        group=f"{seed}-{split}-{place}" if one is None else f"{seed}-{split}-{one['id']}",
                        caption=one["caption"] if one else "",
                        record_id=one["id"] if one else "",
                        width=SIZE,
                        height=SIZE,
                        format="png",
                        encoding="",
                    )
                )
    facts = {"real": {"kind": "planted"}, "generators": {name: {"kind": "planted"} for name in blue}, "options": {}, "unequal": []}
    scenes = [one for ones in (records or {}).values() for one in ones]
    data_set = write_dataset(folder, rows, scenes, facts)
    return store_audit(data_set, {"biased": biased, "reasons": ["it is planted"] if biased else []})
