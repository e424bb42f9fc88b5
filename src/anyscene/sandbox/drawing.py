"""From things to pixels: coverage by supersampling, patterns, light, backgrounds and frames.

``draw`` knows nothing of graphs: it takes what is in the picture (``Seen``), so that a judge can draw what it believes to see and
compare.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from anyscene.sandbox import looks
from anyscene.sandbox.looks import Seen, Thing

__all__ = ["Patch", "backdrop", "cover", "draw", "draw_solids", "paint_frame", "patch_colors"]

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]
FINE, COARSE = 4, 2
FINE_TO = 256
"""Samples a side in each pixel, for pictures up to this size and above."""
THICKNESS = 0.06
"""A solid is a plate this thick (fraction of the picture's side), cut along the outline."""
EDGE_ON = 9
"""Samples that a plate seen edge-on is wide, before its thickness is added: enough to meet every part of its outline."""
SIDE_LIGHT = 0.6
"""How much of its colour a solid's side keeps."""

Patch = tuple[int, int, Floats, Floats]
"""(top row, left column, ``(rows, columns)`` share of each pixel that is covered, the same by the pattern's second colour)."""


def cover(thing: Thing, size: int, sweep: float = 0.0) -> Patch | None:
    """How much of each pixel a thing covers, within the smallest patch that holds it; None where it lies outside the picture.

    Args:
        thing: a negative width mirrors it; no width at all is drawn as a thin line of its outline's height.
        size: of the picture, in pixels.
        sweep: it is smeared level over this length (fraction of the picture's side), half to each side.
    """
    samples = FINE if size <= FINE_TO else COARSE
    width = max(abs(thing.width), EDGE_ON / (samples * size))
    left, right = _span(thing.x, width + sweep, size)
    top, bottom = _span(thing.y, thing.height, size)
    if right <= left or bottom <= top:
        return None
    across = ((np.arange(left * samples, right * samples) + 0.5) / (samples * size) - thing.x) * (2 / width)
    u = (-across if thing.width < 0 else across)[None, :]
    v = (((np.arange(top * samples, bottom * samples) + 0.5) / (samples * size) - thing.y) * (2 / thing.height))[:, None]
    filled = looks.inside(thing.shape, u, v)
    if sweep:
        filled = _smeared(filled, round(sweep * samples * size / 2))
    share = _pooled(filled, samples)
    if thing.pattern == "plain":
        return top, left, share, np.zeros_like(share)
    return top, left, share, _pooled(filled & looks.marked(thing.pattern, u, v), samples)


def _span(center: float, length: float, size: int) -> tuple[int, int]:
    """First pixel and the one after the last that a length around a centre meets, within the picture."""
    return max(int(np.floor((center - length / 2) * size)), 0), min(int(np.ceil((center + length / 2) * size)), size)


def _smeared(filled: Bools, reach: int) -> Bools:
    """What lies within so many samples to the left or right of what is filled."""
    before = np.cumsum(np.pad(filled, ((0, 0), (reach + 1, reach))), axis=1, dtype=np.int32)
    return np.asarray(before[:, 2 * reach + 1 :] > before[:, : -2 * reach - 1])


def _pooled(samples: Bools, side: int) -> Floats:
    """Means of squares of samples."""
    rows, columns = samples.shape[0] // side, samples.shape[1] // side
    wide = np.add.reduceat(samples.astype(np.uint8), np.arange(0, columns * side, side), axis=1)
    return np.asarray(np.add.reduceat(wide, np.arange(0, rows * side, side), axis=0).astype(np.float32) / (side * side))


def patch_colors(thing: Thing, patch: Patch, size: int) -> Floats:
    """``(rows, columns, 3)`` light that a thing adds to each pixel of its patch: colour times coverage, 0 to 255."""
    top, _, share, second = patch
    base = np.array(looks.COLORS[thing.color], dtype=np.float32)
    if thing.pattern == "plain":
        colors = share[:, :, None] * base
    else:
        mark = np.array(looks.mark_color(thing.color, thing.pattern), dtype=np.float32)
        colors = (share - second)[:, :, None] * base + second[:, :, None] * mark
    if thing.material == "metal":
        rows = np.arange(top, top + share.shape[0])
        white, black = looks.shade("metal", ((rows + 0.5) / size - thing.y) * (2 / thing.height))
        keep = ((1 - white) * (1 - black)).astype(np.float32)[:, None, None]
        colors = colors * keep + share[:, :, None] * (white * 255).astype(np.float32)[:, None, None]
    return np.asarray(colors, dtype=np.float32)


def draw(seen: Seen, size: int) -> tuple[Floats, list[Patch | None]]:
    """Everything in a picture, things in their order.

    Returns:
        The ``(size, size, 3) float32`` picture, 0 to 255, and each thing's patch.
    """
    canvas = backdrop(seen.background, seen.background_pattern, size).copy()
    patches: list[Patch | None] = []
    for thing in seen.things:
        patch = cover(thing, size)
        if patch is not None:
            _lay(canvas, patch, patch_colors(thing, patch, size))
        patches.append(patch)
    paint_frame(canvas, seen.frame)
    return canvas, patches


def draw_solids(seen: Seen, size: int, turn: float) -> tuple[Floats, list[Bools]]:
    """Things as solids seen from the side, in their order, each cut out of a plate; ``turn`` in radians about the upright axis.

    Returns:
        The picture as ``draw`` gives it, and ``(size, size)`` masks of what is visible of each thing.
    """
    canvas = backdrop(seen.background, seen.background_pattern, size).copy()
    masks: list[Bools] = []
    lean = THICKNESS * float(np.sin(turn))
    if abs(lean) * size * FINE < 1:
        lean = 0.0  # no side is seen
    for thing in seen.things:
        mask = np.zeros((size, size), dtype=np.bool_)
        face = replace(thing, x=thing.x - (lean if thing.width >= 0 else -lean) / 2)
        sides = [(replace(thing, pattern="plain"), abs(lean), SIDE_LIGHT)] if lean else []
        for part, sweep, light in (*sides, (face, 0.0, 1.0)):
            patch = cover(part, size, sweep)
            if patch is not None:
                _lay(canvas, patch, patch_colors(part, patch, size) * light)
                top, left, share, _ = patch
                mask[top : top + share.shape[0], left : left + share.shape[1]] |= share >= 0.5
        masks = [old & ~mask for old in masks]
        masks.append(mask)
    paint_frame(canvas, seen.frame)
    return canvas, masks


def _lay(canvas: Floats, patch: Patch, colors: Floats) -> None:
    """Put a thing over what is there."""
    top, left, share, _ = patch
    under = canvas[top : top + share.shape[0], left : left + share.shape[1]]
    under *= (1 - share)[:, :, None]
    under += colors


@lru_cache(maxsize=64)
def backdrop(background: str, pattern: str, size: int) -> Floats:
    """The ``(size, size, 3)`` background, 0 to 255; not to be written to."""
    samples = FINE if size <= FINE_TO else COARSE
    at = (np.arange(size * samples) + 0.5) / (size * samples)
    share = _pooled(np.array(looks.background_marked(pattern, at[None, :], at[:, None])), samples)[:, :, None]
    plain = np.array(looks.BACKGROUNDS[background], dtype=np.float32)
    ink = np.array(looks.background_ink(background), dtype=np.float32)
    picture = (plain * (1 - share) + ink * share).astype(np.float32)
    picture.setflags(write=False)
    return picture


@lru_cache(maxsize=16)
def _frame_share(size: int) -> Floats:
    """``(size, size, 1)`` share of each pixel under a frame."""
    edges = np.arange(size + 1) / size
    kept = np.clip(edges, looks.FRAME_WIDTH, 1 - looks.FRAME_WIDTH)
    along = np.diff(kept) * size
    return np.asarray((1 - along[:, None] * along[None, :])[:, :, None], dtype=np.float32)


def paint_frame(canvas: Floats, frame: str) -> None:
    """Put a frame over a picture; nothing where ``frame`` is empty."""
    if frame:
        share = _frame_share(canvas.shape[0])
        canvas *= 1 - share
        canvas += share * np.array(looks.FRAMES[frame], dtype=np.float32)
