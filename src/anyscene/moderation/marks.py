"""Marks that are at one place in all pictures of a side: watermarks, logos, dates, the grid of a decoder's patches.

No number of one picture shows them. What the corners of pictures have in common does: each picture is held against the mean difference of
the sides in other pictures, of groups that are not its own. That is linear in the labels, so labels can be swapped by the thousand.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from anyscene.scoring.question_bank import Bools, Floats, Ints

__all__ = ["MOST", "Corners", "corners_of", "mark_scores"]

Corners = NDArray[np.float16]
SIDE, SMALL = 64, 32
"""Of the square that is looked at in each corner, in pixels, and what it is brought to."""
REACH = 2
"""Pixels to either side over which a mean is taken away: what is left is fine."""
CLIP = 24.0
"""Grey levels beyond which an edge counts no more."""
MOST = 3000
"""Pictures that are held against each other at most: time and memory grow with the square."""


def corners_of(luma: Floats) -> Corners:
    """``(4 * 32 * 32,)`` fine detail in the four corners, of length 1 together; zeros where a picture has none.

    Args:
        luma: ``(height, width)`` grey levels.
    """
    fine = np.clip(luma - _mean_around(luma), -CLIP, CLIP)
    high, wide = (min(SIDE, side) for side in fine.shape)
    parts = [fine[:high, :wide], fine[:high, -wide:], fine[-high:, :wide], fine[-high:, -wide:]]
    found = np.concatenate([_brought(part).ravel() for part in parts])
    length = float(np.linalg.norm(found))
    return (found / length if length > 1e-9 else np.zeros_like(found)).astype(np.float16)


def _mean_around(values: Floats) -> Floats:
    for axis in (0, 1):
        padded = np.pad(values, [(REACH, REACH) if axis == own else (0, 0) for own in (0, 1)], mode="edge")
        length = values.shape[axis]
        values = np.mean([padded.take(range(start, start + length), axis) for start in range(2 * REACH + 1)], axis=0)
    return values


def _brought(part: Floats) -> Floats:
    if part.shape == (SMALL, SMALL):
        return part
    image = Image.fromarray(part.astype(np.float32))
    return np.asarray(image.resize((SMALL, SMALL), Image.Resampling.BOX), dtype=np.float64)


def mark_scores(corners: Corners, labels: Bools, fold: Ints) -> Floats:
    """``(labelings, pictures)`` how much more each picture has in common with the generated ones of other folds than with the real ones.

    Args:
        corners: ``(pictures, numbers)``.
        labels: ``(labelings, pictures)`` which are generated.
        fold: ``(pictures,)`` pictures of one fold are never held against each other.
    """
    values = corners.astype(np.float32)
    common = values @ values.T
    common[fold[:, None] == fold[None, :]] = 0.0
    generated = labels.astype(np.float32)
    weights = generated / np.maximum(generated.sum(axis=1, keepdims=True), 1)
    weights -= (1 - generated) / np.maximum((1 - generated).sum(axis=1, keepdims=True), 1)
    return np.asarray(weights @ common, dtype=np.float64)
