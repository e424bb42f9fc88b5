"""Photographs that ship with scikit-image and scikit-learn, as tiles: real ones as a camera wrote them, "generated" ones of the same content.

Tiles are of photographs made smaller first, so that nothing of their own past is left. A generated tile is a real one mirrored: whatever
tells the two apart is in the files, not in what they show.
"""

from __future__ import annotations

import io
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

SIDE = 96
SOURCES = {
    "skimage": ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "retina.jpg", "motorcycle_left.png", "hubble_deep_field.jpg"),
    "sklearn": ("china.jpg", "flower.jpg"),
}
CAMERAS = (86, 90, 92, 95)
TOGETHER = 3
"""Tiles that are one source image to the tests: nine photographs alone would be too few groups."""


@cache
def tiles(side: int = SIDE, smaller: float = 1.5) -> tuple[tuple[str, NDArray[np.uint8]], ...]:
    """Group and pixels of each tile in which there is something."""
    skimage, sklearn = pytest.importorskip("skimage"), pytest.importorskip("sklearn")
    folders = {"skimage": Path(skimage.__file__).parent / "data", "sklearn": Path(sklearn.__file__).parent / "datasets" / "images"}
    found: list[tuple[str, NDArray[np.uint8]]] = []
    for package, names in SOURCES.items():
        for name in names:
            with Image.open(folders[package] / name) as opened:
                image = opened.convert("RGB")
            image = image.resize((int(image.width / smaller), int(image.height / smaller)), Image.Resampling.LANCZOS)
            pixels = np.asarray(image)
            for top in range(0, pixels.shape[0] - side + 1, side):
                for left in range(0, pixels.shape[1] - side + 1, side):
                    tile = pixels[top : top + side, left : left + side]
                    if tile.std() > 6:
                        found.append((f"{name}-{len(found) // TOGETHER}", tile))
    return tuple(found)


def noisy(tile: NDArray[np.uint8], seed: int) -> Image.Image:
    """A tile as another exposure of the same would show it."""
    noise = np.random.default_rng(seed).normal(scale=1.5, size=tile.shape)
    return Image.fromarray(np.clip(np.rint(tile + noise), 0, 255).astype(np.uint8))


def pairs(n: int, seed: int = 0) -> list[tuple[str, Image.Image, Image.Image]]:
    """Group, real and generated picture."""
    known = tiles()
    order = np.random.default_rng(seed).permutation(len(known))[:n]
    return [
        (
            known[place][0],
            noisy(known[place][1], 2 * number + 10_000 * seed),
            noisy(known[place][1][:, ::-1], 2 * number + 1 + 10_000 * seed),
        )
        for number, place in enumerate(order)
    ]


def saved(image: Image.Image, format: str = "JPEG", **options: Any) -> bytes:
    """The bytes of a file."""
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def photographed(image: Image.Image, group: str) -> bytes:
    """A photograph's file: each source has a camera with tables of its own."""
    quality = CAMERAS[sum(map(ord, group)) % len(CAMERAS)]
    return saved(image, quality=quality, subsampling=0 if quality >= 95 else 2, comment=b"a camera")


def write_folder(folder: Path, files: dict[str, bytes], rows: list[dict[str, Any]]) -> Path:
    """A folder of pictures with what is said of them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def write_sides(root: Path, n: int, seed: int = 0) -> tuple[Path, Path]:
    """A folder of photographs in JPEG, and one of generated pictures in PNG, as they come from cameras and models."""
    found = pairs(n, seed)
    rows = [{"file_name": f"{place:04d}", "group": group, "text": f"picture {place}"} for place, (group, _, _) in enumerate(found)]
    real = {f"{place:04d}.jpg": photographed(image, group) for place, (group, image, _) in enumerate(found)}
    fake = {f"{place:04d}.png": saved(image, "PNG") for place, (_, _, image) in enumerate(found)}
    return (
        write_folder(root / "real", real, [{**row, "file_name": f"{row['file_name']}.jpg"} for row in rows]),
        write_folder(root / "fake", fake, [{**row, "file_name": f"{row['file_name']}.png"} for row in rows]),
    )
