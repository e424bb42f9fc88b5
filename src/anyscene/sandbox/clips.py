"""What happens in a clip: how the camera moves and how the clip ends, from its frames alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from anyscene.sandbox import looks
from anyscene.sandbox.segmentation import Picture, picture_of

__all__ = ["movement_chances", "transition_chances"]

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
STILL_SHARE = 0.5
"""A transition begins after so much of a clip."""
NONE = ""
SMALL = 32
"""Side to which frames are reduced where only their light matters."""
FAR = 60.0
"""Differences of more levels than this are all the same."""
SURE = 0.05
"""Difference of errors that leaves room for doubt."""


def _shares(errors: dict[str, float], scale: float) -> dict[str, float]:
    """Probabilities from mean squared errors."""
    least = min(errors.values())
    weight = {name: float(np.exp(-(error - least) / (2 * scale))) for name, error in errors.items()}
    total = sum(weight.values())
    return {name: value / total for name, value in weight.items()}


def movement_chances(frames: Sequence[Image.Image], first: Picture) -> dict[str, float]:
    """Probabilities of the camera movements and of none.

    Each movement is undone on the last frame before any transition can begin, and on one between: the right one gives back the first.

    Args:
        frames: of the clip, two at least.
        first: the first frame, read.
    """
    last = int((len(frames) - 1) * STILL_SHARE)
    part = last / (len(frames) - 1)
    if last == 0:  # two or three frames: only the end shows any movement
        last, part = len(frames) - 1, 1.0
    later = picture_of(frames[last])
    height, width = first.inner.shape
    inner = first.inner & later.inner
    errors = {}
    for name in (NONE, *looks.CAMERA_MOVEMENTS):
        from_x, from_y = _origin(name, part, height, width)
        there = (from_x >= 0) & (from_x < 1) & (from_y >= 0) & (from_y < 1) & inner
        wanted = _sampled(first.chroma, from_x, from_y)
        away = ((later.chroma - wanted) ** 2).sum(axis=2)
        errors[name] = float(away[there].sum()) / max(float((first.chroma**2).sum()), 1.0)
    return _shares(errors, 0.03)


def _origin(movement: str, part: float, height: int, width: int) -> tuple[Doubles, Doubles]:
    """``(height, width)`` where each pixel's content was so much of a clip before, as fractions of the picture."""
    y, x = ((np.arange(height) + 0.5) / height)[:, None], ((np.arange(width) + 0.5) / width)[None, :]
    grow = {"zoom in": looks.ZOOM, "zoom out": 1 / looks.ZOOM}.get(movement, 1.0) ** part
    slide = {"pan left": looks.PAN, "pan right": -looks.PAN}.get(movement, 0.0) * part
    from_x, from_y = np.broadcast_arrays(0.5 + (x - 0.5 - slide) / grow, 0.5 + (y - 0.5) / grow)
    return from_x, from_y


def _sampled(values: Floats, x: NDArray[np.float64], y: NDArray[np.float64]) -> Floats:
    """Values at fractions of the picture, between pixels in proportion."""
    height, width = values.shape[:2]
    at_x, at_y = np.clip(x * width - 0.5, 0, width - 1.001), np.clip(y * height - 0.5, 0, height - 1.001)
    column, row = at_x.astype(np.int64), at_y.astype(np.int64)
    fx, fy = (at_x - column).astype(np.float32)[..., None], (at_y - row).astype(np.float32)[..., None]
    upper = values[row, column] * (1 - fx) + values[row, np.minimum(column + 1, width - 1)] * fx
    below = np.minimum(row + 1, height - 1)
    lower = values[below, column] * (1 - fx) + values[below, np.minimum(column + 1, width - 1)] * fx
    return np.asarray(upper * (1 - fy) + lower * fy, dtype=np.float32)


def transition_chances(frames: Sequence[Image.Image], movement: str = NONE) -> dict[str, float]:
    """Probabilities of the transitions and of none.

    Args:
        frames: of the clip, two at least.
        movement: of the camera, one of ``CAMERA_MOVEMENTS`` or empty: what moves on while the picture changes.
    """
    small = [np.asarray(frame.resize((SMALL, SMALL), Image.Resampling.BOX).convert("RGB"), dtype=np.float32) for frame in frames]
    before = int((len(small) - 1) * STILL_SHARE)
    start = small[before]
    errors: dict[str, float] = {}
    unchanged = []
    for name in ("black", "white"):
        level = np.float32(looks.BACKGROUNDS[name][0])
        content = max(float(np.minimum(np.abs(start - level), FAR).mean()), 0.5)
        ended = float(np.minimum(np.abs(small[-1] - level), FAR).mean()) / content
        unchanged.append(ended)
        fade, wipe = _ways(small, before, movement, level)
        errors[f"fade to {name}"] = 2 * ended + fade / content
        errors[f"wipe to {name}"] = 2 * ended + wipe / content
    errors[NONE] = 1.0 if min(unchanged) < 0.25 else 0.0
    if not errors[NONE]:
        errors = {name: error + 1.0 if name else error for name, error in errors.items()}
    return _shares(errors, SURE)


def _ways(frames: Sequence[Floats], before: int, movement: str, level: np.float32) -> tuple[float, float]:
    """How badly a fade and a wipe explain the frames between the last unchanged one and the end, in levels; zero without any."""
    fade = wipe = 0.0
    last = len(frames) - 1
    changing = range(before + 1, last)
    across = (np.arange(SMALL) / SMALL)[None, :, None]
    for number in changing:
        moved = _sampled(frames[before], *_origin(movement, (number - before) / last, SMALL, SMALL))
        share = max(0.0, 2 * number / last - 1)
        shares = np.clip(share + np.linspace(-0.12, 0.12, 5), 0, 1).astype(np.float32)
        fade += min(float(np.minimum(np.abs(moved * (1 - s) + level * s - frames[number]), FAR).mean()) for s in shares)
        wipe += min(float(np.minimum(np.abs(np.where(across < s, level, moved) - frames[number]), FAR).mean()) for s in shares)
    return fade / max(len(changing), 1), wipe / max(len(changing), 1)
