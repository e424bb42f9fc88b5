"""What the words of the sandbox look like: colours, outlines, patterns, sizes and what each relation means in a picture.

The renderer draws by these constants and the pixel judge measures by them; they are all that the two share. Lengths are fractions of
the picture's side, x runs to the right and y down, and the *diameter* of a thing is the side of the square box that its outline is
drawn in; its centre is that box's centre.

**Relations** hold for every member of a group ("the three circles are above the square": each of them is).

- ``A to the left of B``: every centre of A is left of every centre of B by at least ``AHEAD``; nothing is said of height.
- ``A above B``: the same, upwards.
- ``A to the upper left of B``: both of these.
- ``A next to B``: the nearest two boxes of A and B are at most ``NEXT_TO`` apart in x and in y.
- ``A larger than B``: every diameter of A is at least ``LARGER`` times every diameter of B.

"What is A above?" may be true of several things. The one that is meant is the nearest (centre to centre; for ``next to`` by the space
between boxes; for ``larger than`` the largest of the smaller ones), and layouts are chosen so that it is the graph's own wherever that
can be had.

The renderer keeps clear of these bounds (``DRAWN_AHEAD``, ``DRAWN_NEXT_TO``, ``DRAWN_LARGER``), so that a picture can be measured with
an error. Words that would contradict each other are left out of the vocabulary on purpose: with one word for each direction, the
relations of any scene without a circle of relations hold together (there is no ``to the right of`` beside ``to the left of``), and
what has a size word (``SIGNS``) is never compared in size (``FIGURES`` are).

**Ordinals.** Things of one noun are numbered from left to right: all of the first (or of the first group) are left of all of the
second, by ``AHEAD``. Only where the scene's own relations say otherwise ("a second star is to the left of the first star": about one
scene in a hundred) the relations win, and the numbering of that noun cannot be told from the picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "AHEAD",
    "BACKGROUNDS",
    "BACKGROUND_PATTERNS",
    "CAMERA_MOVEMENTS",
    "COLORS",
    "DRAWN_AHEAD",
    "DRAWN_LARGER",
    "DRAWN_NEXT_TO",
    "FIGURES",
    "FRAMES",
    "FRAME_WIDTH",
    "LARGER",
    "LARGE_FROM",
    "MATERIALS",
    "NEXT_TO",
    "PAN",
    "PATTERNS",
    "SHAPES",
    "SIGNS",
    "SIZES",
    "SMALL_TO",
    "TRANSITIONS",
    "ZOOM",
    "Seen",
    "Thing",
    "background_ink",
    "background_marked",
    "inside",
    "mark_color",
    "marked",
    "shade",
]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Rgb = tuple[int, int, int]

# ---- colours ------------------------------------------------------------------------------------------------------------------

COLORS: Mapping[str, Rgb] = {
    "red": (224, 32, 32),
    "orange": (255, 140, 26),
    "yellow": (245, 220, 20),
    "green": (35, 168, 60),
    "turquoise": (20, 200, 200),
    "blue": (35, 80, 230),
    "purple": (140, 45, 200),
    "pink": (255, 105, 190),
}
"""Colours of things: far apart in hue and all saturated, so that light and shade leave the hue."""
BACKGROUNDS: Mapping[str, Rgb] = {
    "white": (250, 250, 250),
    "light grey": (192, 192, 192),
    "dark grey": (108, 108, 108),
    "black": (22, 22, 22),
}
"""Colours of backgrounds: no hue at all, so that nothing is the colour of what it lies on."""
INK_STEP = 26
"""How much a background's pattern differs from it: darker, or lighter on black."""
FRAMES: Mapping[str, Rgb] = {f"{name} frame": COLORS[name] for name in ("red", "yellow", "green", "blue")}
FRAME_WIDTH = 0.05
"""A frame covers this much at every side."""


def background_ink(background: str) -> Rgb:
    """The second colour of a patterned background."""
    level = BACKGROUNDS[background][0]
    level = level + INK_STEP if level < INK_STEP * 2 else level - INK_STEP
    return (level, level, level)


# ---- outlines -----------------------------------------------------------------------------------------------------------------

SHAPES = ("circle", "ring", "square", "diamond", "triangle", "cross", "star", "heart", "crescent", "arrow", "hourglass")
FIGURES = SHAPES[:5]
"""What is compared in size (``larger than``) and has no size word."""
SIGNS = SHAPES[5:]
"""What is called small or large."""
RING_HOLE = 0.55
STAR_INNER = 0.45


def inside(shape: str, u: Floats, v: Floats) -> Bools:
    """Which points lie in a shape.

    Args:
        shape: one of ``SHAPES``.
        u: to the right, -1 to 1 across the box.
        v: down, -1 to 1 across the box; of a shape that broadcasts with ``u``.
    """
    if shape == "circle":
        return u * u + v * v <= 1.0
    if shape == "ring":
        square = u * u + v * v
        return (square <= 1.0) & (square >= RING_HOLE * RING_HOLE)
    if shape == "square":
        return np.maximum(np.abs(u), np.abs(v)) <= 0.88
    if shape == "diamond":
        return np.abs(u) + np.abs(v) <= 1.0
    if shape == "triangle":
        return (np.abs(u) <= (v + 0.92) / 1.8) & (v <= 0.88)
    if shape == "cross":
        a, b = np.abs(u), np.abs(v)
        return (np.minimum(a, b) <= 0.32) & (np.maximum(a, b) <= 0.96)
    if shape == "star":
        return _in_star(u, v)
    if shape == "heart":
        x, y = u * 1.16, 0.14 - v * 1.16
        ball = x * x + y * y - 1.0
        return np.asarray(ball * ball * ball - x * x * y * y * y <= 0.0)
    if shape == "crescent":
        return (u * u + v * v <= 1.0) & ((u - 0.5) ** 2 + v * v >= 0.78**2)
    if shape == "arrow":
        return ((np.abs(v) <= 0.28) & (u >= -0.98) & (u <= 0.1)) | ((u > 0.0) & (np.abs(v) <= (0.98 - u) * 0.9))
    if shape == "hourglass":
        return (np.abs(u) <= np.abs(v) * 0.8 + 0.1) & (np.abs(v) <= 0.94)
    raise KeyError(shape)


def _in_star(u: Floats, v: Floats) -> Bools:
    """Five points, one up: the point's angle is folded into one half of a point, where the outline is one straight line."""
    u, v = np.broadcast_arrays(u, v - 0.09)
    turn = 2 * np.pi / 5
    angle = np.abs((np.arctan2(u, -v) + turn / 2) % turn - turn / 2)
    radius = np.hypot(u, v)
    x, y = radius * np.cos(angle), radius * np.sin(angle)  # along the axis of the point, and away from it
    tip, notch = (1.02, 0.0), (STAR_INNER * np.cos(turn / 2), STAR_INNER * np.sin(turn / 2))
    return np.asarray((notch[0] - tip[0]) * (y - tip[1]) - (notch[1] - tip[1]) * (x - tip[0]) >= 0.0)


# ---- patterns and materials ---------------------------------------------------------------------------------------------------

PATTERNS = ("plain", "striped", "dotted", "checkered")
MATERIALS = ("paper", "metal")
"""Paper is flat; metal is lit from above. What has neither word is drawn flat, what has no pattern word is drawn plain."""
DARK_MARK, LIGHT_MARK = 0.4, 0.72
METAL_TOP, METAL_BOTTOM = 0.5, 0.5


def marked(pattern: str, u: Floats, v: Floats) -> Bools:
    """Which points of a thing have the pattern's second colour; ``u`` and ``v`` as in ``inside``.

    Stripes are five upright bands, the second and fourth marked; checks are three by three, the corners and the centre marked; dots
    are three by three.
    """
    if pattern == "plain":
        return np.zeros(np.broadcast_shapes(np.shape(u), np.shape(v)), dtype=np.bool_)
    if pattern == "striped":
        return np.broadcast_to((np.abs(u) >= 0.2) & (np.abs(u) < 0.6), np.broadcast_shapes(np.shape(u), np.shape(v)))
    if pattern == "checkered":
        return np.asarray((np.abs(u) < 1 / 3) == (np.abs(v) < 1 / 3))
    if pattern == "dotted":
        return ((u + 0.31) % 0.62 - 0.31) ** 2 + ((v + 0.31) % 0.62 - 0.31) ** 2 <= 0.2**2
    raise KeyError(pattern)


def mark_color(color: str, pattern: str) -> Rgb:
    """The pattern's second colour: dark for stripes and checks, light for dots."""
    red, green, blue = COLORS[color]
    if pattern == "dotted":
        return (_lighter(red), _lighter(green), _lighter(blue))
    return (round(red * DARK_MARK), round(green * DARK_MARK), round(blue * DARK_MARK))


def _lighter(level: int) -> int:
    return round(level + (255 - level) * LIGHT_MARK)


def shade(material: str, v: Floats) -> tuple[Floats, Floats]:
    """Light of a material at height ``v`` (-1 top, 1 bottom): (share of white added, share of black added)."""
    if material != "metal":
        return np.zeros_like(v), np.zeros_like(v)
    return np.clip(-v, 0, 1) * METAL_TOP, np.clip(v, 0, 1) * METAL_BOTTOM


BACKGROUND_PATTERNS = ("plain", "lined", "dotted", "checkered")
BACKGROUND_PERIODS = 8
"""Lines, dots and pairs of checks across the picture."""


def background_marked(pattern: str, x: Floats, y: Floats) -> Bools:
    """Which points of the background have its ink; ``x`` and ``y`` from 0 to 1 across the picture. Lines are level."""
    shape = np.broadcast_shapes(np.shape(x), np.shape(y))
    if pattern == "plain":
        return np.zeros(shape, dtype=np.bool_)
    across, down = x * BACKGROUND_PERIODS % 1.0, y * BACKGROUND_PERIODS % 1.0
    if pattern == "lined":
        return np.broadcast_to(down < 0.5, shape)
    if pattern == "checkered":
        return np.asarray((across < 0.5) == (down < 0.5))
    if pattern == "dotted":
        return (np.abs(across - 0.25) <= 0.25) & (np.abs(down - 0.25) <= 0.25)
    raise KeyError(pattern)


# ---- sizes and relations --------------------------------------------------------------------------------------------------------

SIZES = ("small", "large")
SMALL_TO, LARGE_FROM = 0.152, 0.186
"""A small thing's diameter is at most the first, a large one's at least the second; halfway between is the border."""
AHEAD, DRAWN_AHEAD = 0.03, 0.05
"""How far centres must be apart for ``to the left of`` and ``above``; and how far they are drawn apart at least."""
NEXT_TO, DRAWN_NEXT_TO = 0.17, 0.151
"""How far the nearest boxes may be apart for ``next to``; and how far they are drawn apart at most."""
LARGER, DRAWN_LARGER = 1.08, 1.15
"""Ratio of diameters for ``larger than``; and the smallest that is drawn."""

# ---- clips ----------------------------------------------------------------------------------------------------------------------

CAMERA_MOVEMENTS = ("zoom in", "zoom out", "pan left", "pan right")
"""From the first frame, which is the still picture, to the last: ``ZOOM`` times larger, or as much smaller; or all things move by
``PAN`` (to the right where the camera pans left). A frame (``FRAMES``) and the background's pattern stay where they are."""
ZOOM, PAN = 1.35, 0.3
TRANSITIONS = ("fade to black", "fade to white", "wipe to black", "wipe to white")
"""Begins after the first half of the clip and is complete in the last frame: all pixels turn, or they are covered from the left."""


# ---- what is in a picture -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Thing:
    """One drawn thing. The renderer states it, the judge measures it.

    Attributes:
        shape: one of ``SHAPES``.
        color: one of ``COLORS``.
        pattern: one of ``PATTERNS``.
        material: one of ``MATERIALS``.
        x: centre, fraction of the picture's width.
        y: centre, fraction of its height, downwards.
        width: diameter, fraction of the width.
        height: diameter, fraction of the height; in a still picture the same as ``width``.
        depth: away from the viewer, for 3D; 0 in the plane of the picture.
        owner: id of the object of the graph; only the renderer knows it.
        chances: property name (``shape``, ``color``, ...) to the probabilities of its values; a property that is missing is certain.
    """

    shape: str
    color: str
    pattern: str
    material: str
    x: float
    y: float
    width: float
    height: float
    depth: float = 0.0
    owner: str = ""
    chances: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Seen:
    """All that a picture or clip shows.

    Attributes:
        things: in any order.
        background: one of ``BACKGROUNDS``.
        background_pattern: one of ``BACKGROUND_PATTERNS``.
        frame: one of ``FRAMES``, or empty.
        camera_movement: one of ``CAMERA_MOVEMENTS``, or empty.
        transition: one of ``TRANSITIONS``, or empty.
        chances: as in ``Thing``, for ``background``, ``background_pattern``, ``frame``, ``camera_movement``, ``transition``.
    """

    things: tuple[Thing, ...]
    background: str = "white"
    background_pattern: str = "plain"
    frame: str = ""
    camera_movement: str = ""
    transition: str = ""
    chances: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
