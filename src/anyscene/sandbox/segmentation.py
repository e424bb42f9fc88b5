"""From a picture to its parts: frame, background with its pattern, and one blob for each thing.

Things are saturated and backgrounds grey, so everything begins with *chroma*: the part of a pixel's colour that is not grey, a vector in
a plane whose angle is the hue. Light, shade, and a fringe that blends into grey change its length but not its angle; and over grey its
length is proportional to how much of the pixel a thing covers. Neighbouring pixels of about one hue are one blob.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from anyscene.sandbox import looks

__all__ = ["Blob", "Picture", "chroma_of", "divide", "join", "picture_of", "segment", "touching"]

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

LARGEST = 128
"""Longer sides are reduced to at most this many pixels."""
SMALLEST_CHROMA = 16.0
"""Length of the chroma from which a pixel may belong to a thing; the palest colours of the palette have about 150."""
HUE_STEP = 0.88
"""Cosine of the largest hue difference of neighbours within a thing (28 degrees)."""
FRAME_SPREAD = 0.30
"""Standard deviation of a frame's colour, relative to its chroma."""
LEVEL_SPREAD = 12.0
"""Standard deviation of a background's level."""
MAX_BLOBS = 48
LEAST_PEAK = 45.0
"""A blob must somewhere have a chroma of this length."""
LEAST_SIDE = 0.06
"""A blob is at least this long, as a fraction of the picture's side; the smallest thing is about 0.1."""


@dataclass(frozen=True)
class Picture:
    """A picture ready to be measured.

    Attributes:
        pixels: ``(height, width, 3) float32``, 0 to 255.
        chroma: ``(height, width, 2) float32``, with that of the background taken away.
        ground: ``(height, width, 3) float32``: the background without anything before it, its pattern included.
        inner: ``(height, width) bool``: pixels that no frame covers.
        noise: standard deviation of the background's levels around ``ground``.
        settled: share of the pixels taken for background that are near one level, 0 where there are hardly any.
        frame: ``(2,) float32`` chroma of the frame, or None.
        chances: of ``background``, ``background_pattern`` and ``frame`` (the empty name is no frame).
    """

    pixels: Floats
    chroma: Floats
    ground: Floats
    inner: Bools
    noise: float
    settled: float
    frame: Floats | None = None
    chances: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Blob:
    """Neighbouring pixels of one hue.

    Attributes:
        label: its number among the picture's labels.
        top, left, bottom, right: box of its pixels; the last two are one beyond.
        mass: sum of the chroma's length over its pixels.
        size: number of its pixels.
        hue: ``(2,) float32`` unit vector, the direction of its chroma.
        peak: length of the chroma where it is strongest.
    """

    label: int
    top: int
    left: int
    bottom: int
    right: int
    mass: float
    size: int
    hue: Floats
    peak: float


def chroma_of(pixels: Floats) -> Floats:
    """``(..., 2)`` chroma of ``(..., 3)`` levels: zero for grey, angle is hue, linear."""
    red, green, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    return np.stack([red - (green + blue) * np.float32(0.5), (green - blue) * np.float32(0.8660254)], axis=-1)


def picture_of(image: NDArray[np.uint8] | Image.Image) -> Picture:
    """Reads frame and background of a picture of any size."""
    pixels = _reduced(image)
    height, width = pixels.shape[:2]
    chroma = chroma_of(pixels)
    frame = _frame_chances(chroma)
    inner = np.ones((height, width), dtype=np.bool_)
    if frame[""] < 0.5:
        rows, columns = (int(np.ceil(looks.FRAME_WIDTH * side - 0.01)) for side in (height, width))
        inner[:rows] = inner[height - rows :] = False
        inner[:, :columns] = inner[:, width - columns :] = False
    return _grounded(pixels, chroma, inner, frame)


def _reduced(image: NDArray[np.uint8] | Image.Image) -> Floats:
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    longest = max(picture.size)
    if longest > LARGEST:
        scale = LARGEST / longest
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        picture = picture.resize(size, Image.Resampling.BOX)
    return np.asarray(picture.convert("RGB"), dtype=np.float32)


# ---- frame and background -------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _frame_chromas() -> tuple[tuple[str, ...], Floats]:
    return tuple(looks.FRAMES), chroma_of(np.array(list(looks.FRAMES.values()), dtype=np.float32))


def _frame_chances(chroma: Floats) -> dict[str, float]:
    """Probabilities of frames and of none, from the outermost pixels: the four sides must agree."""
    names, colors = _frame_chromas()
    sides = np.stack([np.median(side, axis=0) for side in (chroma[0], chroma[-1], chroma[:, 0], chroma[:, -1])])
    candidates = np.concatenate([colors, np.zeros((1, 2), dtype=np.float32)])
    scale = np.append(np.linalg.norm(colors, axis=1), np.linalg.norm(colors, axis=1).mean()) * FRAME_SPREAD
    away = np.linalg.norm(sides[None] - candidates[:, None], axis=2) / scale[:, None]
    weight = -0.5 * np.sum(np.minimum(away, 6.0) ** 2, axis=1)
    chances = _softmax(weight)
    return dict(zip((*names, ""), map(float, chances), strict=True))


def _softmax(weight: NDArray[np.floating]) -> NDArray[np.float64]:
    power = np.exp(np.asarray(weight, dtype=np.float64) - float(np.max(weight)))
    return np.asarray(power / power.sum(), dtype=np.float64)


@lru_cache(maxsize=16)
def _ground_patterns(height: int, width: int) -> Floats:
    """``(patterns, height, width)``: share of each pixel that has the pattern's ink, without the plain one."""
    fine = 8
    y = ((np.arange(height * fine) + 0.5) / (height * fine))[:, None]
    x = ((np.arange(width * fine) + 0.5) / (width * fine))[None, :]
    names = [name for name in looks.BACKGROUND_PATTERNS if name != "plain"]
    maps = np.stack([looks.background_marked(name, x, y) for name in names]).astype(np.float32)
    return np.asarray(maps.reshape(len(names), height, fine, width, fine).mean(axis=(2, 4)), dtype=np.float32)


def _grounded(pixels: Floats, chroma: Floats, inner: Bools, frame: Mapping[str, float]) -> Picture:
    """Fits the background: its level and its pattern, from the pixels that have no hue and stand away from those that have one."""
    height, width = inner.shape
    strength = np.hypot(chroma[..., 0], chroma[..., 1], dtype=np.float32)
    bare = inner & ~_grown((strength > 2 * SMALLEST_CHROMA) & inner)
    settled = 1.0
    if bare.sum() < 0.04 * bare.size:
        settled = 0.0
        limit = np.quantile(strength[inner], 0.1) if inner.any() else 0.0
        bare = inner & (strength <= limit)
    values = pixels[bare]
    grey = values.mean(axis=1)
    maps = _ground_patterns(height, width)
    names = [name for name in looks.BACKGROUND_PATTERNS if name != "plain"]
    ink = maps[:, bare]
    middle = float(np.median(grey)) if len(grey) else 128.0
    rest = grey - middle
    if len(grey):  # what lies far from both levels of a pattern is no background
        near = np.abs(rest) <= 2 * looks.INK_STEP
        settled *= float(near.mean())
        values, grey, ink = values[near], grey[near], ink[:, near]
    level, step = _lines(grey, ink)
    dark = np.append(level, grey.mean() if len(grey) else middle) < 2 * looks.INK_STEP
    wanted = np.where(dark, looks.INK_STEP, -looks.INK_STEP)[: len(names)].astype(np.float64)
    step = np.where(dark[: len(names)], np.clip(step, 0.5 * wanted, 1.5 * wanted), np.clip(step, 1.5 * wanted, 0.5 * wanted))
    level = grey.mean() - step * ink.mean(axis=1) if len(grey) else np.full(len(names), middle)
    error = np.append(
        [np.mean((grey - base - slope * own) ** 2) if len(grey) else 0.0 for base, slope, own in zip(level, step, ink, strict=True)],
        grey.var() if len(grey) else 0.0,
    )
    noise = float(max(error.min(), 4.0))
    independent = max(len(grey) / 8, 1.0)
    pattern = _softmax(-error * independent / (2 * noise))
    best = int(np.argmax(pattern))
    base = float(level[best]) if best < len(names) else float(grey.mean() if len(grey) else middle)
    tint = values.mean(axis=0) - grey.mean() if len(grey) else np.zeros(3, dtype=np.float32)
    ground = np.full((height, width), base, dtype=np.float32)
    if best < len(names):
        ground += np.float32(step[best]) * maps[best]
    full = ground[..., None] + tint.astype(np.float32)
    backgrounds = np.array([color[0] for color in looks.BACKGROUNDS.values()], dtype=np.float64)
    chances = {
        "background": dict(zip(looks.BACKGROUNDS, map(float, _softmax(-0.5 * ((base - backgrounds) / LEVEL_SPREAD) ** 2)), strict=True)),
        "background_pattern": dict(zip((*names, "plain"), map(float, pattern), strict=True)),
        "frame": dict(frame),
    }
    centred = np.where(inner[..., None], chroma - chroma_of(tint.astype(np.float32)), np.float32(0))
    around = None if inner.all() else np.asarray(np.median(chroma[~inner], axis=0), dtype=np.float32)
    return Picture(pixels, centred, full, inner, float(np.sqrt(error.min())), settled, around, chances)


def _lines(grey: Floats, ink: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Least squares of grey = level + step * ink, for each pattern: (levels, steps)."""
    if not len(grey):
        return np.zeros(len(ink)), np.zeros(len(ink))
    centred = ink - ink.mean(axis=1, keepdims=True)
    spread = np.maximum((centred * centred).mean(axis=1), 1e-6).astype(np.float64)
    step = (centred * (grey - grey.mean())).mean(axis=1) / spread
    return grey.mean() - step * ink.mean(axis=1), step


# ---- blobs --------------------------------------------------------------------------------------------------------------------------


def _grown(mask: Bools) -> Bools:
    """The mask and the pixels around it, corners included."""
    wide = mask.copy()
    wide[:, 1:] |= mask[:, :-1]
    wide[:, :-1] |= mask[:, 1:]
    tall = wide.copy()
    tall[1:] |= wide[:-1]
    tall[:-1] |= wide[1:]
    return tall


def _smooth(values: Floats) -> Floats:
    """Each pixel averaged with its neighbours, 1 2 1 along both axes."""
    padded = np.pad(values, ((1, 1), (1, 1), (0, 0)), mode="edge")
    rows = padded[:-2] + 2 * padded[1:-1] + padded[2:]
    return np.asarray((rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:]) / np.float32(16), dtype=np.float32)


def segment(picture: Picture) -> tuple[Ints, list[Blob]]:
    """Blobs of a picture.

    Returns:
        ``(height, width)`` labels (0 for none), and the blobs, those of most mass first.
    """
    chroma = picture.chroma
    grain = _chroma_noise(chroma)
    if grain > 6.0:
        chroma = _smooth(chroma)
        grain *= 0.4
    strength = np.hypot(chroma[..., 0], chroma[..., 1], dtype=np.float32)
    colored = (strength > max(SMALLEST_CHROMA, 4.5 * grain)) & picture.inner & ~_bled(picture, chroma, strength)
    unit = np.asarray(chroma / np.maximum(strength, 1e-3)[..., None], dtype=np.float32)
    labels = _components(colored, unit)
    blobs = _blobs(labels, chroma, strength)
    kept = np.zeros(int(labels.max(initial=0)) + 1, dtype=np.int64)
    kept[[blob.label for blob in blobs]] = [blob.label for blob in blobs]
    labels = kept[labels]
    fringes = _fringes(labels, blobs)
    return labels, [blob for blob in blobs if blob.label not in fringes]


def _fringes(labels: Ints, blobs: list[Blob]) -> set[int]:
    """Labels of blobs that are but the seam of two others, where their colours run into each other."""
    if len(blobs) < 3:
        return set()
    around = np.stack([_shifted(labels, down, right) for down, right in ((1, 0), (-1, 0), (0, 1), (0, -1))])
    meets = ((around > 0) & (around != labels) & (labels > 0)).any(axis=0)
    size, seam = np.bincount(labels.ravel()), np.bincount(labels[meets], minlength=int(labels.max()) + 1)
    return {blob.label for blob in blobs[1:] if seam[blob.label] > 0.7 * size[blob.label]}


def _shifted(labels: Ints, down: int, right: int) -> Ints:
    """Labels moved by a pixel; 0 comes in."""
    padded = np.pad(labels, 1)
    height, width = labels.shape
    return padded[1 - down : 1 - down + height, 1 - right : 1 - right + width]


def _bled(picture: Picture, chroma: Floats, strength: Floats) -> Bools:
    """Pixels beside a frame that have no more than a tinge of its colour."""
    if picture.frame is None:
        return np.zeros(strength.shape, dtype=np.bool_)
    outside = picture.frame
    length = max(float(np.hypot(*outside)), 1.0)
    edge = picture.inner & _grown(_grown(~picture.inner))
    return np.asarray(edge & (strength < 0.6 * length) & (chroma @ (outside / np.float32(length)) > 0.85 * strength))


def _chroma_noise(chroma: Floats) -> float:
    """Standard deviation of the grain of the chroma, from differences of neighbours; most neighbours lie within one thing."""
    if min(chroma.shape[:2]) < 2:
        return 0.0
    steps = np.abs(chroma[:, 1:] - chroma[:, :-1])
    return float(np.median(steps)) / 0.6745 / float(np.sqrt(2))


def _components(colored: Bools, unit: Floats) -> Ints:
    """Labels of pixels that hang together: neighbours, both coloured, of about one hue. Runs along rows are joined across rows."""
    height, width = colored.shape
    level = colored[:, 1:] & colored[:, :-1] & (np.einsum("ijk,ijk->ij", unit[:, 1:], unit[:, :-1]) > HUE_STEP)
    upright = colored[1:] & colored[:-1] & (np.einsum("ijk,ijk->ij", unit[1:], unit[:-1]) > HUE_STEP)
    begins = np.ones((height, width), dtype=np.int64)
    begins[:, 1:] = ~level
    run = np.cumsum(begins.ravel()).reshape(height, width) - 1
    count = int(run[-1, -1]) + 1
    pairs = np.unique(run[:-1][upright] * count + run[1:][upright])
    parent = list(range(count))
    for first, second in zip((pairs // count).tolist(), (pairs % count).tolist(), strict=True):
        while parent[first] != first:
            parent[first] = first = parent[parent[first]]
        while parent[second] != second:
            parent[second] = second = parent[parent[second]]
        if first != second:
            parent[max(first, second)] = min(first, second)
    roots = np.array(parent, dtype=np.int64)
    while not np.array_equal(roots, roots[roots]):
        roots = roots[roots]
    root = np.where(colored, roots[run], -1)
    found, place = np.unique(root, return_inverse=True)
    return np.asarray(place.reshape(height, width) + (0 if found[0] < 0 else 1), dtype=np.int64)


def _blobs(labels: Ints, chroma: Floats, strength: Floats) -> list[Blob]:
    """The blobs behind the labels; specks are left out."""
    rows, columns = np.nonzero(labels)
    if not len(rows):
        return []
    own = labels[rows, columns]
    count = int(own.max()) + 1
    size = np.bincount(own, minlength=count)
    power = strength[rows, columns].astype(np.float64)
    mass = np.bincount(own, power, count)
    across, down = (np.bincount(own, chroma[rows, columns, axis].astype(np.float64), count) for axis in (0, 1))
    peak = np.zeros(count)
    np.maximum.at(peak, own, power)
    first_row, last_row = np.full(count, labels.shape[0]), np.full(count, -1)
    first_column, last_column = np.full(count, labels.shape[1]), np.full(count, -1)
    np.minimum.at(first_row, own, rows)
    np.maximum.at(last_row, own, rows)
    np.minimum.at(first_column, own, columns)
    np.maximum.at(last_column, own, columns)
    blobs = []
    for label in np.argsort(-mass, kind="stable")[: 4 * MAX_BLOBS].tolist():
        if not size[label]:
            break
        longest = max(last_row[label] - first_row[label] + 1, last_column[label] - first_column[label] + 1)
        if peak[label] < LEAST_PEAK or longest < LEAST_SIDE * max(labels.shape):
            continue
        length = float(np.hypot(across[label], down[label])) or 1.0
        hue = np.array([across[label] / length, down[label] / length], dtype=np.float32)
        box = (int(first_row[label]), int(first_column[label]), int(last_row[label]) + 1, int(last_column[label]) + 1)
        blobs.append(Blob(label, *box, float(mass[label]), int(size[label]), hue, float(peak[label])))
    return blobs[:MAX_BLOBS]


def divide(picture: Picture, labels: Ints, blob: Blob, depth: int) -> tuple[Ints, list[Blob]] | None:
    """The parts of a blob that hang together only by its faint or thin pixels.

    Args:
        picture: that the blob is in.
        labels: of the picture.
        blob: of the labels.
        depth: 0 and 1 leave out pixels fainter than a half and three quarters of the peak; 2 and more take off one and more layers of
            pixels.

    Returns:
        Labels in which the parts have numbers of their own, and the parts; None where it does not fall apart.
    """
    own = labels == blob.label
    strength = np.hypot(picture.chroma[..., 0], picture.chroma[..., 1], dtype=np.float32)
    core = own & (strength > (0.5 + 0.25 * depth) * blob.peak) if depth < 2 else own
    for _ in range(depth - 1):
        core = core & ~_beside(~core)
    unit = np.asarray(picture.chroma / np.maximum(strength, 1e-3)[..., None], dtype=np.float32)
    parts = _components(core, unit)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    kept = [label for label in np.flatnonzero(sizes >= max(2.0, 0.2 * sizes.max())).tolist() if label]
    if not 2 <= len(kept) <= 6:
        return None
    number = np.zeros(len(sizes), dtype=np.int64)
    first = int(labels.max()) + 1
    number[kept] = np.arange(first, first + len(kept))
    seeds = number[parts]
    left = own & (seeds == 0)
    while left.any():
        spread = _from_neighbours(seeds)
        reached = left & (spread > 0)
        if not reached.any():
            break
        seeds[reached] = spread[reached]
        left &= ~reached
    relabelled = np.where(own, seeds, labels)
    found = _blobs(np.where(own, seeds, 0), picture.chroma, strength)
    return relabelled, [part for part in found if part.label >= first]


def touching(labels: Ints) -> list[tuple[int, int]]:
    """Pairs of labels that lie side by side somewhere, sorted."""
    pairs: set[tuple[int, int]] = set()
    for one, other in ((labels[:, 1:], labels[:, :-1]), (labels[1:], labels[:-1])):
        meet = (one != other) & (one > 0) & (other > 0)
        low, high = np.minimum(one[meet], other[meet]), np.maximum(one[meet], other[meet])
        pairs.update(zip(low.tolist(), high.tolist(), strict=True))
    return sorted(pairs)


def join(picture: Picture, labels: Ints, one: Blob, other: Blob) -> tuple[Ints, Blob]:
    """Two blobs as one: labels in which both have the first one's number, and the new blob."""
    joined = np.where(labels == other.label, one.label, labels)
    strength = np.hypot(picture.chroma[..., 0], picture.chroma[..., 1], dtype=np.float32)
    return joined, _blobs(np.where(joined == one.label, joined, 0), picture.chroma, strength)[0]


def _beside(mask: Bools) -> Bools:
    """The mask and its four neighbours; what lies outside the picture is in it."""
    padded = np.pad(mask, 1, constant_values=True)
    return np.asarray(mask | padded[2:, 1:-1] | padded[:-2, 1:-1] | padded[1:-1, 2:] | padded[1:-1, :-2])


def _from_neighbours(labels: Ints) -> Ints:
    """For each pixel the largest label among its four neighbours."""
    padded = np.pad(labels, 1)
    upright = np.maximum(padded[2:, 1:-1], padded[:-2, 1:-1])
    return np.asarray(np.maximum(upright, np.maximum(padded[1:-1, 2:], padded[1:-1, :-2])))
