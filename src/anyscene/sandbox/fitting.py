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
from anyscene.sandbox.segmentation import Blob, Picture, chroma_of, divide, join, picture_of, segment, touching

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
FIRST, KEPT = 7, 24
"""Looks that are drawn over a blob, those whose moments are most like its; more where the first ones do not settle it."""
FINALISTS = 6
"""Of these so many at most are moved to fit better."""
GOOD_ERROR, CLOSE = 5.0, 3.0
"""Those are moved whose squared error is within this factor of the best one's, or of so many levels."""
BLURS = (0.0, 0.3, 0.6)
"""Variances of soft edges that are tried where sharp ones fit badly, in pixels of the patch."""
FORM_WEIGHT = np.array([1.0, 0.3, 1.0, 0.3, 1.0, 1.0, 1.0, 1.0])
DEPTHS = 6
"""So many ways to take a blob apart are tried."""
PIECE, ALLOWED = 0.5, 0.04
"""A blob of at most so much of another's mass may be a piece of it, if together they are explained no worse than by this."""
LEAST_DIAMETER = 0.084
"""The smallest thing's diameter is about 0.1 of the side."""
WHOLE = 0.93
"""A blob of which less is explained may be several things."""
STRONG = 60.0
"""Length of a chroma that only things and frames have."""
LEAST_MASS = 100.0
"""Chroma of fewer levels than this, all pixels together, is no thing."""
LEAST_ERROR = 5.0
"""Levels of a pixel that even a perfect guess may be off by."""
CORRELATED = 6.0
"""Errors of neighbouring pixels and of the three colours come together: so many tell as much as one; more where nothing fits well."""
OTHER = 0.002
"""Chance that a blob is something that was not tried, or no shape at all; it grows as the square of the error."""
COLOR_SPREAD = 26.0


@dataclass(frozen=True)
class Fit:
    """The best guess for a blob.

    Attributes:
        thing: with the chances of each property.
        there: how likely it is that the blob is a thing at all.
        error: root of the mean squared error of its pixels, in levels.
        explained: share of what differs from the background that the guess explains.
    """

    thing: Thing
    there: float
    error: float
    explained: float


# ---- tables ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Bank:
    """Tables of all looks.

    Attributes:
        tables: ``(looks * (CELLS + 1)^2, 3)``: summed areas of cover, kept colour and white.
        center: ``(looks, 2)``: mean of the kept colour along x and y, in half diameters from the middle of the box.
        spread: ``(looks, 2)``: its variances.
        form: ``(looks, 8)``: its moments of third and fourth order, free of place and size.
    """

    tables: Floats
    center: Doubles
    spread: Doubles
    form: Doubles


@lru_cache(maxsize=1)
def _bank() -> _Bank:
    fine = 4
    side = CELLS * fine
    at = (np.arange(side) + 0.5) / side * 2 - 1
    u, v = at[None, :], at[:, None]
    tables = np.zeros((len(LOOKS), CELLS + 1, CELLS + 1, 3), dtype=np.float64)
    moments = []
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
        moments.append(_moments(kept, 2 / side, -1.0))
    center, spread, form = (np.array([one[place] for one in moments]) for place in range(3))
    return _Bank(tables.reshape(-1, 3).astype(np.float32), center, spread, form)


def _moments(power: NDArray[np.floating], step: float = 1.0, origin: float = 0.0) -> tuple[Doubles, Doubles, Doubles]:
    """Moments of a map whose entries are ``step`` wide, the first beginning at ``origin``.

    Returns:
        Centre, variance (each along x and y; what the width of an entry adds is taken away), and the form: skewness, tailedness and mixed
        moments, in standard deviations.
    """
    rows, columns = power.shape
    x, y = (origin + (np.arange(count) + 0.5) * step for count in (columns, rows))
    along_x, along_y = power.sum(axis=0, dtype=np.float64), power.sum(axis=1, dtype=np.float64)
    total = max(float(along_x.sum()), 1e-6)
    center = np.array([along_x @ x, along_y @ y]) / total
    x, y = x - center[0], y - center[1]
    spread = np.maximum(np.array([along_x @ (x * x), along_y @ (y * y)]) / total, 1e-3 * step * step)
    x, y = x / np.sqrt(spread[0]), y / np.sqrt(spread[1])
    powers_x, powers_y = np.stack([x, x * x, x**3, x**4]), np.stack([y, y * y, y**3, y**4])
    mixed = powers_y[:2] @ power @ powers_x[:2].T / total
    form = np.concatenate([powers_x[2:] @ along_x, powers_y[2:] @ along_y]) / total
    return center, np.maximum(spread - step * step / 12, 0.02 * step * step), np.concatenate([form, mixed.ravel()])


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
    power = np.maximum((picture.chroma[window] @ blob.hue) * (free & _around(own)), 0)
    if float(power.sum()) < LEAST_MASS:
        return None
    bank = _bank()
    center, spread, form = _moments(power)
    radius = np.sqrt(np.maximum(spread.sum(), 0.05) / bank.spread.sum(axis=1))
    flat = np.log(spread[0] / spread[1]) - np.log(bank.spread[:, 0] / bank.spread[:, 1])
    unlike = flat * flat + (FORM_WEIGHT * (form - bank.form) ** 2).sum(axis=1)
    order = np.argsort(unlike)
    patch = _patch(picture, window, free, float(2 * np.median(radius)))

    def drawn(guesses: Ints) -> tuple[Ints, Doubles, Doubles, Doubles]:
        boxes = np.concatenate([center - bank.center[guesses] * radius[guesses, None], radius[guesses, None]], axis=1) / patch.step
        return guesses, boxes, *_errors(patch, guesses, boxes)

    guesses, boxes, errors, colors = drawn(order[:FIRST])
    if not _settled(errors, patch):
        more = drawn(order[FIRST:KEPT])
        guesses, boxes, errors, colors = (np.concatenate(pair) for pair in zip((guesses, boxes, errors, colors), more, strict=True))
    near = _close(errors, patch)
    if len(near) > 1:
        blur = 0.0
        if errors[near[0]] > 3 * float(patch.weight.sum()) * GOOD_ERROR**2:
            blur = min(BLURS, key=lambda one: float(_errors(patch, guesses[near[:3]], boxes[near[:3]], one)[0].min()))
            errors, colors = _errors(patch, guesses, boxes, blur)
            near = _close(errors, patch)
        boxes[near], errors[near], colors[near] = _refined(patch, guesses[near], boxes[near], errors[near], colors[near], blur)
    return _conclusion(picture, patch, guesses, boxes, errors, colors)


def _settled(errors: Doubles, patch: _Patch) -> bool:
    """Does one guess fit well, and no other nearly as well?"""
    least, second = np.partition(errors, 1)[:2]
    return bool(least <= 3 * float(patch.weight.sum()) * GOOD_ERROR**2 and second > 2 * CLOSE * least)


def _close(errors: Doubles, patch: _Patch) -> Ints:
    """Guesses that a better place may make the best; the best alone where it fits well and no other comes near."""
    order = np.argsort(errors)[:FINALISTS]
    least = errors[order[0]]
    allowed = max(3 * float(patch.weight.sum()) * GOOD_ERROR**2, least) * CLOSE
    return np.asarray(order[errors[order] <= allowed], dtype=np.int64)


def _around(mask: Bools) -> Bools:
    """The mask and its eight neighbours."""
    return _near(_near(mask)) if mask.all() else _near(mask) | _near(_near(mask))


def _near(mask: Bools) -> Bools:
    """The mask and its four neighbours."""
    near = mask.copy()
    near[:, 1:] |= mask[:, :-1]
    near[:, :-1] |= mask[:, 1:]
    near[1:] |= mask[:-1]
    near[:-1] |= mask[1:]
    return near


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


def _softened(maps: Floats, blur: float) -> Floats:
    """Maps with soft edges: pixels mixed with their neighbours, which adds ``blur`` (at most 0.6) to the variance along both axes."""
    side = np.float32(blur / 2)
    for axis in (1, 2):
        padded = np.pad(maps, [(1, 1) if place == axis else (0, 0) for place in range(4)], mode="edge")
        before, after = (padded[:, :-2], padded[:, 2:]) if axis == 1 else (padded[:, :, :-2], padded[:, :, 2:])
        maps = maps * (1 - 2 * side) + (before + after) * side
    return maps


def _left(patch: _Patch, guesses: Ints, boxes: Doubles, blur: float = 0.0) -> tuple[Floats, Doubles]:
    """(``(guesses, pixels * 3)`` what guesses leave unexplained, ``(guesses, 3)`` their best colours)."""
    rows, columns = patch.weight.shape
    drawn = _maps(guesses, boxes, rows, columns)
    maps = (_softened(drawn, blur) if blur else drawn).reshape(len(guesses), rows * columns, 3)
    weight = patch.weight.reshape(-1)
    over = (patch.pixels - patch.ground).reshape(-1, 3) * weight[:, None]
    ground = patch.ground.reshape(-1, 3)
    cover, kept, white = (maps[:, :, channel] * weight for channel in range(3))
    rest = over[None] + cover[..., None] * ground[None] - 255 * white[..., None]
    power = np.maximum(np.einsum("gp,gp->g", kept, kept), 1e-3)
    color = np.clip(np.einsum("gp,gpc->gc", kept, rest) / power[:, None], -30.0, 285.0)
    rest -= kept[..., None] * color[:, None, :]
    return rest.reshape(len(guesses), -1), color.astype(np.float64)


def _errors(patch: _Patch, guesses: Ints, boxes: Doubles, blur: float = 0.0) -> tuple[Doubles, Doubles]:
    """(sum of squared errors, best colour) of each guess."""
    rest, color = _left(patch, guesses, boxes, blur)
    return np.einsum("gp,gp->g", rest, rest).astype(np.float64), color


def _refined(
    patch: _Patch, guesses: Ints, boxes: Doubles, errors: Doubles, colors: Doubles, blur: float
) -> tuple[Doubles, Doubles, Doubles]:
    """Moves and scales each box to where its error is least (Gauss-Newton)."""
    for step in (0.2, 0.1):
        tried = (boxes[:, None] + np.concatenate([np.zeros((1, 3)), np.eye(3)])[None] * step).reshape(-1, 3)
        rest, _ = _left(patch, np.repeat(guesses, 4), tried, blur)
        rest = rest.reshape(len(guesses), 4, -1)
        slope = (rest[:, 1:] - rest[:, :1]) / np.float32(step)
        normal = np.einsum("gip,gjp->gij", slope, slope).astype(np.float64)
        pull = np.einsum("gip,gp->gi", slope, rest[:, 0]).astype(np.float64)
        normal += np.eye(3) * (1e-3 * np.trace(normal, axis1=1, axis2=2)[:, None, None] + 1e-6)
        moved = boxes - np.clip(np.linalg.solve(normal, pull[..., None])[..., 0], -1.0, 1.0)
        moved[:, 2] = np.maximum(moved[:, 2], 0.8)
        new, tint = _errors(patch, guesses, moved, blur)
        better = new < errors
        boxes = np.where(better[:, None], moved, boxes)
        colors = np.where(better[:, None], tint, colors)
        errors = np.where(better, new, errors)
    return boxes, errors, colors


@lru_cache(maxsize=1)
def _palette() -> Doubles:
    return np.array(list(looks.COLORS.values()), dtype=np.float64)


def _conclusion(picture: Picture, patch: _Patch, guesses: Ints, boxes: Doubles, errors: Doubles, colors: Doubles) -> Fit:
    """Probabilities from errors."""
    height, width = picture.inner.shape
    best = int(np.argmin(errors))
    pixels = max(float(patch.weight.sum()), 1.0)
    variance = max(errors[best] / (3 * pixels), LEAST_ERROR**2)
    together = CORRELATED * variance / LEAST_ERROR**2
    weight = np.exp(-(errors - errors[best]) / (2 * variance * together))
    other = OTHER * min(variance / LEAST_ERROR**2, 10.0)
    weight *= (1 - other) / weight.sum()
    chances: dict[str, dict[str, float]] = {
        kind: dict.fromkeys(values, other / len(values))
        for kind, values in (("shape", looks.SHAPES), ("pattern", looks.PATTERNS), ("material", looks.MATERIALS))
    }
    for guess, share in zip(guesses.tolist(), weight.tolist(), strict=True):
        for kind, value in zip(("shape", "pattern", "material"), LOOKS[guess], strict=True):
            chances[kind][value] += share
    away = ((_palette() - colors[best]) ** 2).sum(axis=1)
    near = np.exp(-(away - away.min()) / (2 * (COLOR_SPREAD**2 + variance)))
    chances["color"] = dict(zip(looks.COLORS, map(float, near / near.sum()), strict=True))
    over = (patch.pixels - patch.ground) * patch.weight[..., None]
    explained = 1 - errors[best] / max(float((over * over).sum()), 1e-6)
    diameter = 2 * boxes[best, 2] * patch.step
    side = diameter / max(height, width)
    strong = float(np.linalg.norm(chroma_of(colors[best].astype(np.float32))))
    there = (
        _rise((explained - 0.55) / 0.07) * _rise((side - LEAST_DIAMETER) / 0.005) * _rise((0.8 - side) / 0.03) * _rise((strong - 60) / 8)
    )
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
    return Fit(thing, there, float(np.sqrt(errors[best] / (3 * pixels))), float(explained))


def _rise(value: float) -> float:
    return float(1 / (1 + np.exp(-np.clip(value, -50, 50))))


@dataclass(frozen=True)
class Looked:
    """A picture, looked at.

    Attributes:
        picture: with the chances of background and frame.
        fits: of all blobs, those of most colour first.
        explained: share of all strong colour that lies in blobs that are things; 1 where there is none.
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
    found: list[tuple[Blob, Fit]] = []
    there = np.zeros(int(labels.max(initial=0)) + 1)
    for blob in blobs:
        parts = _parts(picture, labels, blob)
        found += parts
        there[blob.label] = sum(part.mass * fit.there for part, fit in parts) / blob.mass
    fits = [fit for _, fit in _joined(picture, labels, found)]
    strength = np.hypot(picture.chroma[..., 0], picture.chroma[..., 1])
    strength[strength < STRONG] = 0
    total = float(strength.sum())
    explained = float((strength * there[labels]).sum()) / total if total > LEAST_MASS else 1.0
    return Looked(picture, tuple(fits), min(explained, 1.0))


def _joined(picture: Picture, labels: Ints, found: list[tuple[Blob, Fit]]) -> list[tuple[Blob, Fit]]:
    """Blobs with their fits, where a blob of another hue that touches a larger one and is better seen as a piece of it is put to it."""
    by_label = {blob.label: (blob, fit) for blob, fit in found}
    result = list(found)
    for first, second in touching(labels):
        if first not in by_label or second not in by_label:
            continue
        pair = sorted((by_label[first], by_label[second]), key=lambda one: -one[0].mass)
        (large, one), (small, other) = pair
        if small.mass > PIECE * large.mass:
            continue
        joined, blob = join(picture, labels, large, small)
        fit = fit_blob(picture, joined, blob)
        apart = (large.mass * one.explained + small.mass * other.explained) / (large.mass + small.mass)
        if fit is not None and fit.explained > apart - ALLOWED - ALLOWED * (1 - other.there):
            result = [kept for kept in result if kept[0].label not in (first, second)] + [(blob, fit)]
            del by_label[first], by_label[second]
    return result


def _parts(picture: Picture, labels: Ints, blob: Blob) -> list[tuple[Blob, Fit]]:
    """The fit of a blob; or those of its parts, where it is things that touch and they fit better one by one."""
    fit = fit_blob(picture, labels, blob)
    whole = [] if fit is None else [(blob, fit)]
    if fit is None or fit.explained >= WHOLE:
        return whole
    best, worth = whole, fit.explained
    for depth in range(DEPTHS):
        divided = divide(picture, labels, blob, depth)
        if divided is None:
            continue
        relabelled, parts = divided
        found = [(part, one) for part in parts if (one := fit_blob(picture, relabelled, part)) is not None]
        mean = sum(part.mass * one.explained for part, one in found) / blob.mass
        if len(found) > 1 and mean > worth + 0.02:
            best, worth = found, mean
    return best
