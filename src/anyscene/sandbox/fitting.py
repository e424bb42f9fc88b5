"""Which thing a blob is: every shape in every pattern and material is drawn over it and compared.

A drawn thing is linear in its colour: a pixel is ``ground * (1 - cover) + color * kept + 255 * white``, where the three maps depend on
shape, pattern, material and place alone. Their integrals over the unit box are tabulated once (summed-area tables), so that the mean over
any pixel of any box is a few look-ups, exact at every size. A guess of the place comes from the moments of the blob's chroma, which a
soft edge leaves alone; the colour is the least-squares one; the squared error that is left says how likely each guess is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from anyscene.sandbox import looks
from anyscene.sandbox.looks import Seen, Thing
from anyscene.sandbox.segmentation import Blob, Picture, picture_of, segment

__all__ = ["Fit", "Looked", "fit_blob", "see"]

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

CELLS = 80
"""Cells of the tables along a box; divisible by 5 and 2, but for the thirds of the checks that costs less than a level."""
LOOKS = tuple((shape, pattern, material) for shape in looks.SHAPES for pattern in looks.PATTERNS for material in looks.MATERIALS)
SHARP = 12.0
"""Blobs are reduced so that their box is about this many pixels wide at most."""
FINALISTS = 8
LEAST_ERROR = 5.0
"""Levels of a pixel that even a perfect guess may be off by."""
CORRELATED = 3.0
"""Neighbouring errors come together: so many pixels tell as much as one."""
COLOR_SPREAD = 26.0


@dataclass(frozen=True)
class Fit:
    """The best guess for a blob.

    Attributes:
        thing: with the chances of each property.
        there: how likely it is that the blob is a thing at all.
        error: root of the mean squared error of its pixels, in levels.
    """

    thing: Thing
    there: float
    error: float


# ---- tables ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Bank:
    """Summed-area tables of all looks, ``(looks * (CELLS + 1)^2, 3) float32`` of cover, kept colour and white; moments of kept colour."""

    tables: Floats
    center: Doubles
    spread: Doubles
    skew: Doubles


@lru_cache(maxsize=1)
def _bank() -> _Bank:
    fine = 4
    side = CELLS * fine
    at = (np.arange(side) + 0.5) / side * 2 - 1
    u, v = at[None, :], at[:, None]
    tables = np.zeros((len(LOOKS), CELLS + 1, CELLS + 1, 3), dtype=np.float64)
    center, spread, skew = (np.zeros((len(LOOKS), 2)) for _ in range(3))
    for number, (shape, pattern, material) in enumerate(LOOKS):
        filled = looks.inside(shape, u, v)
        mark = filled & looks.marked(pattern, u, v)
        light = looks.LIGHT_MARK if pattern == "dotted" else 0.0
        left = 1 - looks.LIGHT_MARK if pattern == "dotted" else looks.DARK_MARK
        white, black = looks.shade(material, v)
        keep = (1 - white) * (1 - black)
        kept = (filled & ~mark) * keep + mark * (left * keep)
        pale = filled * white + mark * (light * keep)
        for channel, values in enumerate((filled.astype(np.float64), kept, pale)):
            cells = values.reshape(CELLS, fine, CELLS, fine).mean(axis=(1, 3))
            tables[number, 1:, 1:, channel] = cells.cumsum(axis=0).cumsum(axis=1)
        total = kept.sum()
        for axis, (values, where) in enumerate(((kept.sum(axis=0), at), (kept.sum(axis=1), at))):
            middle = (values * where).sum() / total
            variance = (values * (where - middle) ** 2).sum() / total
            center[number, axis], spread[number, axis] = middle, variance
            skew[number, axis] = (values * (where - middle) ** 3).sum() / total / variance**1.5
    return _Bank(tables.reshape(-1, 3).astype(np.float32), center, spread, skew)


def _maps(which: Ints, boxes: Doubles, rows: int, columns: int) -> Floats:
    """Means over pixels of what looks are made of.

    Args:
        which: ``(guesses,)`` numbers of looks.
        boxes: ``(guesses, 3)``: centre x, centre y and half diameter of the box, in pixels.
        rows, columns: of the patch, whose pixels are 1 wide and begin at 0.

    Returns:
        ``(guesses, rows, columns, 3)``: cover, kept colour, white.
    """
    scale = CELLS / (2 * boxes[:, 2])
    right = np.clip((np.arange(columns + 1)[None] - boxes[:, 0, None]) * scale[:, None] + CELLS / 2, 0, CELLS - 1e-6)
    down = np.clip((np.arange(rows + 1)[None] - boxes[:, 1, None]) * scale[:, None] + CELLS / 2, 0, CELLS - 1e-6)
    column, row = right.astype(np.int64), down.astype(np.int64)
    fx, fy = (right - column).astype(np.float32)[:, None, :, None], (down - row).astype(np.float32)[:, :, None, None]
    at = (which[:, None] * (CELLS + 1) + row)[:, :, None] * (CELLS + 1) + column[:, None, :]
    tables = _bank().tables
    upper = tables[at] * (1 - fx) + tables[at + 1] * fx
    lower = tables[at + CELLS + 1] * (1 - fx) + tables[at + CELLS + 2] * fx
    summed = upper * (1 - fy) + lower * fy
    difference = summed[:, 1:] - summed[:, :-1]
    pixels = difference[:, :, 1:] - difference[:, :, :-1]
    return np.asarray(pixels / (scale * scale).astype(np.float32)[:, None, None, None], dtype=np.float32)


# ---- one blob ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Patch:
    """The pixels around a blob, reduced.

    Attributes:
        pixels: ``(rows, columns, 3)``.
        ground: the background under them.
        weight: ``(rows, columns)``: 0 for pixels of other things.
        left, top: first pixel in the picture.
        step: pixels of the picture in one of the patch.
    """

    pixels: Floats
    ground: Floats
    weight: Floats
    left: int
    top: int
    step: int


def fit_blob(picture: Picture, labels: Ints, blob: Blob) -> Fit | None:
    """The best guess for a blob; None where it is no more than a speck."""
    height, width = labels.shape
    top, left = max(blob.top - 2, 0), max(blob.left - 2, 0)
    bottom, right = min(blob.bottom + 2, height), min(blob.right + 2, width)
    window = (slice(top, bottom), slice(left, right))
    own = labels[window] == blob.label
    other = (labels[window] > 0) & ~own
    free = ~other & picture.inner[window] & (_near(own) | ~_near(other))
    power = (picture.chroma[window] @ blob.hue) * free
    moments = _moments(power)
    if moments is None:
        return None
    total, middle, spread, skew = moments
    bank = _bank()
    radius = np.sqrt(np.maximum(spread.sum(), 0.05) / bank.spread.sum(axis=1))
    ratio = np.log(np.maximum(spread[0], 0.02) / np.maximum(spread[1], 0.02)) - np.log(bank.spread[:, 0] / bank.spread[:, 1])
    unlike = np.abs(ratio) + np.abs(skew[0] - bank.skew[:, 0]) + np.abs(skew[1] - bank.skew[:, 1])
    del total
    guesses = np.argsort(unlike)[:KEPT]
    boxes = np.stack([middle[0] - bank.center[:, 0] * radius, middle[1] - bank.center[:, 1] * radius, radius], axis=1)[guesses]
    patch = _patch(picture, window, free, float(2 * np.median(radius)))
    boxes = boxes / patch.step
    errors, colors = _errors(patch, guesses, boxes)
    best = np.argsort(errors)[:FINALISTS]
    guesses, boxes, errors, colors = guesses[best], boxes[best], errors[best], colors[best]
    guesses, boxes, errors, colors = _refined(patch, guesses, boxes, errors, colors)
    return _conclusion(picture, patch, guesses, boxes, errors, colors)


KEPT = 40


def _near(mask: Bools) -> Bools:
    """The mask and its four neighbours."""
    near = mask.copy()
    near[:, 1:] |= mask[:, :-1]
    near[:, :-1] |= mask[:, 1:]
    near[1:] |= mask[:-1]
    near[:-1] |= mask[1:]
    return near


def _moments(power: Floats) -> tuple[float, Doubles, Doubles, Doubles] | None:
    """(total, centre, variance, skewness) of a map along x and y, in pixels from the patch's corner; None where it is too faint."""
    columns, rows = power.sum(axis=0, dtype=np.float64), power.sum(axis=1, dtype=np.float64)
    total = float(columns.sum())
    if total < 100.0:
        return None
    middle, spread, skew = np.zeros(2), np.zeros(2), np.zeros(2)
    for axis, along in enumerate((columns, rows)):
        at = np.arange(len(along)) + 0.5
        middle[axis] = along @ at / total
        away = at - middle[axis]
        variance = float(along @ (away * away)) / total
        spread[axis] = max(variance - 1 / 12, 0.02)
        skew[axis] = float(along @ away**3) / total / max(variance, 0.1) ** 1.5
    return total, middle, spread, skew


def _patch(picture: Picture, window: tuple[slice, slice], free: Bools, diameter: float) -> _Patch:
    """Cuts out and reduces."""
    top, left = window[0].start, window[1].start
    step = max(1, round(diameter / SHARP))
    pixels, ground, weight = picture.pixels[window], picture.ground[window], free.astype(np.float32)
    if step > 1:
        rows, columns = (-(-side // step) * step for side in weight.shape)
        pad = ((0, rows - weight.shape[0]), (0, columns - weight.shape[1]))
        weight = np.pad(weight, pad)
        parts = (rows // step, step, columns // step, step)
        share = weight.reshape(parts).sum(axis=(1, 3))
        held = np.maximum(share, 1.0)[..., None]
        spread = weight[..., None]
        pixels = (np.pad(pixels, (*pad, (0, 0))) * spread).reshape(*parts, 3).sum(axis=(1, 3)) / held
        ground = (np.pad(ground, (*pad, (0, 0))) * spread).reshape(*parts, 3).sum(axis=(1, 3)) / held
        weight = np.where(share >= step * step * 0.999, np.float32(1), np.float32(0))
    return _Patch(pixels, ground, weight, left, top, step)


def _errors(patch: _Patch, guesses: Ints, boxes: Doubles) -> tuple[Doubles, Doubles]:
    """(sum of squared errors, best colour) of each guess."""
    rows, columns = patch.weight.shape
    maps = _maps(guesses, boxes, rows, columns).reshape(len(guesses), rows * columns, 3)
    weight = patch.weight.reshape(-1)
    over = (patch.pixels - patch.ground).reshape(-1, 3) * weight[:, None]
    ground = patch.ground.reshape(-1, 3)
    cover, kept, white = (maps[:, :, channel] * weight for channel in range(3))
    rest = over[None] + cover[..., None] * ground[None] - 255 * white[..., None]
    power = np.maximum(np.einsum("gp,gp->g", kept, kept), 1e-3)
    color = np.clip(np.einsum("gp,gpc->gc", kept, rest) / power[:, None], -30.0, 285.0)
    rest -= kept[..., None] * color[:, None, :]
    return np.einsum("gpc,gpc->g", rest, rest).astype(np.float64), color.astype(np.float64)


def _refined(patch: _Patch, guesses: Ints, boxes: Doubles, errors: Doubles, colors: Doubles) -> tuple[Ints, Doubles, Doubles, Doubles]:
    """Moves and scales each box to where the error is least: the parabola through three places along each axis."""
    for width in (0.25, 0.1):
        trials = np.concatenate([np.zeros((1, 3)), np.eye(3), -np.eye(3)]) * width
        tried = (boxes[:, None] + trials[None]).reshape(-1, 3)
        tried[:, 2] = np.maximum(tried[:, 2], 0.8)
        found, _ = _errors(patch, np.repeat(guesses, 7), tried)
        found = found.reshape(-1, 7)
        here, up, down = found[:, :1], found[:, 1:4], found[:, 4:]
        bend = up + down - 2 * here
        move = np.where(bend > 1e-6, (down - up) / (2 * np.maximum(bend, 1e-6)), np.sign(down - up))
        moved = boxes + np.clip(move, -1.6, 1.6) * width
        moved[:, 2] = np.maximum(moved[:, 2], 0.8)
        new, tint = _errors(patch, guesses, moved)
        better = new < errors
        boxes = np.where(better[:, None], moved, boxes)
        colors = np.where(better[:, None], tint, colors)
        errors = np.where(better, new, errors)
    return guesses, boxes, errors, colors


@lru_cache(maxsize=1)
def _palette() -> Doubles:
    return np.array(list(looks.COLORS.values()), dtype=np.float64)


def _conclusion(picture: Picture, patch: _Patch, guesses: Ints, boxes: Doubles, errors: Doubles, colors: Doubles) -> Fit:
    """Probabilities from errors."""
    height, width = picture.inner.shape
    best = int(np.argmin(errors))
    pixels = max(float(patch.weight.sum()), 1.0)
    variance = max(errors[best] / (3 * pixels), LEAST_ERROR**2)
    weight = np.exp(-(errors - errors[best]) / (2 * variance * CORRELATED))
    weight /= weight.sum()
    chances: dict[str, dict[str, float]] = {"shape": {}, "pattern": {}, "material": {}}
    for guess, share in zip(guesses.tolist(), weight.tolist(), strict=True):
        for kind, value in zip(("shape", "pattern", "material"), LOOKS[guess], strict=True):
            chances[kind][value] = chances[kind].get(value, 0.0) + share
    away = ((_palette() - colors[best]) ** 2).sum(axis=1)
    near = np.exp(-(away - away.min()) / (2 * (COLOR_SPREAD**2 + variance)))
    chances["color"] = dict(zip(looks.COLORS, map(float, near / near.sum()), strict=True))
    over = (patch.pixels - patch.ground) * patch.weight[..., None]
    explained = 1 - errors[best] / max(float((over * over).sum()), 1e-6)
    diameter = 2 * boxes[best, 2] * patch.step
    there = _rise((explained - 0.55) / 0.07) * _rise((diameter / max(height, width) - 0.07) / 0.008)
    shape, pattern, material = LOOKS[int(guesses[best])]
    thing = Thing(
        shape=shape,
        color=max(chances["color"], key=chances["color"].__getitem__),
        pattern=pattern,
        material=material,
        x=float(patch.left + boxes[best, 0] * patch.step) / width,
        y=float(patch.top + boxes[best, 1] * patch.step) / height,
        width=float(diameter) / width,
        height=float(diameter) / height,
        chances=chances,
    )
    return Fit(thing, there, float(np.sqrt(errors[best] / (3 * pixels))))


def _rise(value: float) -> float:
    return float(1 / (1 + np.exp(-np.clip(value, -50, 50))))


@dataclass(frozen=True)
class Looked:
    """A picture, looked at.

    Attributes:
        picture: with the chances of background and frame.
        fits: of all blobs, those of most colour first.
        explained: share of all that has colour that lies in blobs that are things; 1 where nothing has colour.
    """

    picture: Picture
    fits: tuple[Fit, ...]
    explained: float

    @property
    def seen(self) -> Seen:
        """What is most likely in it."""
        chances = self.picture.chances
        first = {kind: max(values, key=values.__getitem__) for kind, values in chances.items()}
        things = tuple(fit.thing for fit in self.fits if fit.there >= 0.5)
        return Seen(things, first["background"], first["background_pattern"], first["frame"], chances=chances)


def see(image: NDArray[np.uint8] | Image.Image) -> Looked:
    """Looks at a picture of any size."""
    picture = picture_of(image)
    labels, blobs = segment(picture)
    fits = []
    explained = mass = 0.0
    for blob in blobs:
        fit = fit_blob(picture, labels, blob)
        mass += blob.mass
        if fit is not None:
            fits.append(fit)
            explained += blob.mass * fit.there
    return Looked(picture, tuple(fits), explained / mass if mass else 1.0)
