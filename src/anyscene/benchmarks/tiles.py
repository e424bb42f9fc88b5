"""Four pictures in one file: where the tiles of a 2x2 grid lie, with and without the padding of ``torchvision.utils.save_image``.

DPG-Bench wants the grid without padding and cuts it at multiples of the resolution. Files of ``save_image(nrow=2)`` have 2 pixels around
and between the tiles, so the official cuts take a strip of padding and lose as much picture. Padding is never told from one file alone: a
dark picture has dark edges too. All files of one size decide together.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from anyscene.errors import MediaError

__all__ = ["PADDING", "looks_padded", "padded_together", "tile_boxes"]

PADDING = 2
"""Pixels that torchvision puts around and between tiles."""
TOLERANCE = 48
"""Levels of 255 by which JPEG moves most of a padding of one colour, next to pictures of strong ones."""
MOST = 0.9
EVEN_SIDE = 16
"""Tiles have sides that are multiples of 8, as models make them: a grid of a multiple of 16 has no padding."""
Crop = tuple[int, int, int, int]


def tile_boxes(width: int, height: int, padded: bool, compat: str = "fixed") -> tuple[Crop, Crop, Crop, Crop]:
    """(left, top, right, bottom) in pixels of the four tiles: upper row first, each from left to right.

    Args:
        width: of the grid.
        height: of the grid.
        padded: are there 2 pixels around and between the tiles?
        compat: ``fixed`` cuts out the tiles; ``official`` cuts at multiples of the tile's side, padding or not.

    Raises:
        MediaError: the size is none of a grid of four equal pictures.
    """
    seams = 3 * PADDING if padded else 0
    if (width - seams) % 2 or (height - seams) % 2 or min(width, height) - seams < 2:
        raise MediaError(f"{width} x {height} pixels are no grid of 2 x 2 equal pictures{' with padding' if padded else ''}")
    wide, high = (width - seams) // 2, (height - seams) // 2
    edge = PADDING if padded and compat == "fixed" else 0
    first, second = edge, 2 * edge
    boxes = [(x, y, x + wide, y + high) for y in (first, second + high) for x in (first, second + wide)]
    return boxes[0], boxes[1], boxes[2], boxes[3]


def looks_padded(image: Image.Image) -> bool:
    """Are the lines where padding would be all of one colour, and not the whole picture?"""
    width, height = image.size
    if (width - 3 * PADDING) % 2 or (height - 3 * PADDING) % 2 or min(width, height) <= 3 * PADDING:
        return False
    if not (width % EVEN_SIDE or height % EVEN_SIDE):
        return False
    pixels = np.asarray(image.convert("RGB"), dtype=np.int16)
    wide, high = (width - 3 * PADDING) // 2, (height - 3 * PADDING) // 2
    columns = [place + step for place in (0, PADDING + wide, width - PADDING) for step in range(PADDING)]
    rows = [place + step for place in (0, PADDING + high, height - PADDING) for step in range(PADDING)]
    lines = np.concatenate([pixels[:, columns].reshape(-1, 3), pixels[rows].reshape(-1, 3)])
    middle = np.median(lines, axis=0)
    off = np.abs(lines - middle).max(axis=1)
    return bool(np.quantile(off, MOST) <= TOLERANCE) and bool(np.abs(pixels - middle).max() > TOLERANCE)


def padded_together(files: Iterable[Path], most: int = 16) -> dict[tuple[int, int], bool]:
    """For each size of the grids whether they are padded: only where every one that was looked at may be.

    Args:
        files: grids; those that cannot be read are passed over.
        most: files of one size that are looked at.
    """
    seen: dict[tuple[int, int], list[bool]] = {}
    for file in files:
        try:
            with Image.open(file) as image:
                own = seen.setdefault(image.size, [])
                if len(own) < most and all(own):
                    own.append(looks_padded(image))
        except (OSError, SyntaxError, ValueError, UnidentifiedImageError, Image.DecompressionBombError):
            continue
    return {size: bool(own) and all(own) for size, own in seen.items()}
