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
STILL_SHARE = 0.5
"""A transition begins after so much of a clip."""
NONE = ""


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
    y, x = ((np.arange(height) + 0.5) / height)[:, None], ((np.arange(width) + 0.5) / width)[None, :]
    inner = first.inner & later.inner
    errors = {}
    for name in (NONE, *looks.CAMERA_MOVEMENTS):
        grow = {"zoom in": looks.ZOOM, "zoom out": 1 / looks.ZOOM}.get(name, 1.0) ** part
        slide = {"pan left": looks.PAN, "pan right": -looks.PAN}.get(name, 0.0) * part
        from_x, from_y = 0.5 + (x - 0.5 - slide) / grow, 0.5 + (y - 0.5) / grow
        there = (from_x >= 0) & (from_x < 1) & (from_y >= 0) & (from_y < 1) & inner
        wanted = _sampled(first.chroma, from_x, from_y)
        away = ((later.chroma - wanted) ** 2).sum(axis=2)
        errors[name] = float(away[there].sum()) / max(float((first.chroma**2).sum()), 1.0)
    return _shares(errors, 0.03)


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


def transition_chances(frames: Sequence[Image.Image]) -> dict[str, float]:
    """Probabilities of the transitions and of none.

    Args:
        frames: of the clip, two at least.
    """
    small = [np.asarray(frame.resize((32, 32), Image.Resampling.BOX).convert("RGB"), dtype=np.float32) for frame in frames]
    end = small[-1]
    errors: dict[str, float] = {NONE: 0.0}
    ends = {"black": float(looks.BACKGROUNDS["black"][0]), "white": float(looks.BACKGROUNDS["white"][0])}
    near = {name: float(np.mean(np.minimum(np.abs(end - level), 60.0))) for name, level in ends.items()}
    before = int((len(small) - 1) * STILL_SHARE)
    for name, level in ends.items():
        covered = near[name] / 60.0
        fade, wipe = _ways(small[before:], level)
        errors[f"fade to {name}"] = covered * 4 + fade
        errors[f"wipe to {name}"] = covered * 4 + wipe
    still = float(np.mean(np.minimum(np.abs(small[before] - end), 60.0))) / 60.0
    change = min(near.values()) / 60.0
    errors[NONE] = 0.4 if change < 0.08 and still > 0.02 else 0.0
    if change >= 0.08:
        errors = {key: value + (2.0 if key else 0.0) for key, value in errors.items()}
    return _shares(errors, 0.04)


def _ways(frames: Sequence[Floats], level: float) -> tuple[float, float]:
    """How badly a fade and a wipe to a level explain the frames between the first and the last of some, 0 to 1."""
    start, count = frames[0], len(frames)
    width = start.shape[1]
    across = np.arange(width)
    fade = wipe = 0.0
    between = range(1, count - 1)
    for number in between:
        frame = frames[number]
        steps = np.linspace(0, 1, 17)
        fade += min(float(np.mean(np.minimum(np.abs(start * (1 - s) + level * s - frame), 60.0))) for s in steps) / 60.0
        options = []
        for edge in range(0, width + 1, 2):
            wiped = np.where((across < edge)[None, :, None], np.float32(level), start)
            options.append(float(np.mean(np.minimum(np.abs(wiped - frame), 60.0))) / 60.0)
        wipe += min(options)
    if not len(between):
        return 0.0, 0.0
    return fade / len(between), wipe / len(between)
