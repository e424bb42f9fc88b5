"""Simple numbers about a picture that know nothing of its caption. A reward that they explain is being hacked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from anyscene.media import Media

__all__ = ["CONTENT", "STATISTICS", "group_diversity", "picture_statistics", "thumbnail"]

STATISTICS = ("brightness", "saturation", "contrast", "entropy", "sharpness", "file_size")
CONTENT = STATISTICS[1:]
"""Those that an honest picture's content moves, too: an empty one has less of each."""
SIDE = 64
"""Pictures are brought to this size first: the numbers are for drifts of many pictures, not for the pixels of one."""
THUMBNAIL = 16


def picture_statistics(media: Media) -> Mapping[str, float]:
    """The statistics of the first frame.

    Returns:
        ``brightness``: mean of the grey values, from 0 to 1. ``saturation``: mean of HSV saturation, 0 to 1. ``contrast``: standard
        deviation of the grey values. ``entropy``: of the histogram of 64 grey values, in bits, 0 to 6. ``sharpness``: mean difference of
        neighbouring grey values. ``file_size``: bytes of the file for each pixel.
    """
    image = media.image
    small = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX), dtype=np.float64) / 255
    grey = small @ np.array([0.299, 0.587, 0.114])
    high, low = small.max(axis=2), small.min(axis=2)
    saturation = np.where(high > 0, (high - low) / np.maximum(high, 1e-9), 0.0)
    share = np.bincount(np.minimum((grey * 64).astype(np.int64), 63).ravel(), minlength=64) / grey.size
    used = share[share > 0]
    return {
        "brightness": float(grey.mean()),
        "saturation": float(saturation.mean()),
        "contrast": float(grey.std()),
        "entropy": float(-(used * np.log2(used)).sum()) + 0.0,
        "sharpness": float((np.abs(np.diff(grey, axis=0)).mean() + np.abs(np.diff(grey, axis=1)).mean()) / 2),
        "file_size": len(media.data) / (image.width * image.height * len(media.frames)),
    }


def thumbnail(media: Media) -> NDArray[np.float64]:
    """``(frames * 16 * 16 * 3,)`` colours from 0 to 1 of up to four frames: what diversity is measured on."""
    frames = [np.asarray(frame.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX), dtype=np.float64) for frame in media.sampled(4)]
    return np.concatenate([frame.ravel() for frame in frames]) / 255


def group_diversity(media: Sequence[Media]) -> float | None:
    """Mean over all pairs of the root mean square difference of their thumbnails' colours, from 0 (all alike) to 1.

    None for fewer than two, and for clips that differ in the number of frames looked at.
    """
    looks = [thumbnail(one) for one in media]
    if len(looks) < 2 or len({len(one) for one in looks}) > 1:
        return None
    table = np.array(looks)
    place, other = np.triu_indices(len(table), 1)
    return float(np.sqrt(((table[place] - table[other]) ** 2).mean(axis=1)).mean())
