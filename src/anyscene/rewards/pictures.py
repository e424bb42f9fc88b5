"""Pictures as trainers hand them over (PIL, arrays, tensors of any device) as `Media`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from anyscene.errors import MediaError, SpecError
from anyscene.media import Media

__all__ = ["batch_of", "media_of"]

_SLACK = 1e-2
"""By how much a float picture may leave [0, 1]: half precision and resampling overshoot a little."""


def media_of(picture: Any) -> Media | None:
    """A picture, whatever a trainer has it as.

    Args:
        picture: a `Media`, a PIL image, an array or a tensor (of torch or whatever has ``detach`` and ``cpu``); None stays None.
            Arrays are ``(height, width, channels)``, tensors ``(channels, height, width)``; each may be the other way where only
            that makes sense. With an axis of time before, it is a clip. ``uint8`` from 0 to 255, or floats from 0 to 1, rounded.

    Raises:
        MediaError: it is none of these, or its numbers are no colours.
    """
    if picture is None or isinstance(picture, Media):
        return picture
    if isinstance(picture, Image.Image):
        return Media.of_image(picture)
    channels_first = hasattr(picture, "detach")
    array = _as_array(picture)
    if array.ndim == 2:
        array = array[..., None]
        channels_first = False
    if array.ndim not in (3, 4):
        raise MediaError(f"a picture of shape {array.shape}: it must be (height, width, 3), (3, height, width), or have time before that")
    pixels = _colours(_channels_last(array, channels_first))
    return Media.of_image(pixels) if pixels.ndim == 3 else Media.of_frames(list(pixels), "video")


def batch_of(pictures: Any) -> list[Any]:
    """The pictures of a batch: a list as it is, an array or tensor cut along its first axis.

    Raises:
        SpecError: it is one picture, not a batch of them.
    """
    if isinstance(pictures, Sequence) and not isinstance(pictures, (str, bytes)):
        return list(pictures)
    shape: tuple[int, ...] = tuple(getattr(pictures, "shape", ()))
    if len(shape) < 4:
        raise SpecError(f"pictures of shape {shape}: a batch has an axis for its pictures before those of each picture")
    return [pictures[place] for place in range(shape[0])]


def _as_array(picture: Any) -> NDArray[Any]:
    if isinstance(picture, np.ndarray):
        return picture
    if hasattr(picture, "detach") and hasattr(picture, "cpu"):
        tensor = picture.detach().cpu()
        if tensor.is_floating_point():
            tensor = tensor.float()  # numpy knows no bfloat16
        array: NDArray[Any] = tensor.numpy()
        return array
    raise MediaError(f"a {type(picture).__name__} is no picture: give a Media, a PIL image, an array or a tensor")


def _channels_last(array: NDArray[Any], channels_first: bool) -> NDArray[Any]:
    first, last = array.shape[-3] in (1, 3, 4), array.shape[-1] in (1, 3, 4)
    if not (first or last):
        raise MediaError(f"a picture of shape {array.shape} has no axis of 1, 3 or 4 channels")
    if (channels_first and first) or not last:
        array = np.moveaxis(array, -3, -1)
    return np.repeat(array, 3, axis=-1) if array.shape[-1] == 1 else array


def _colours(array: NDArray[Any]) -> NDArray[np.uint8]:
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if not np.issubdtype(array.dtype, np.floating):
        raise MediaError(f"a picture of {array.dtype}: colours are uint8 from 0 to 255, or floats from 0 to 1")
    low, high = (float(array.min()), float(array.max())) if array.size else (0.0, 0.0)
    if not (low >= -_SLACK and high <= 1 + _SLACK):  # also true of NaN
        raise MediaError(f"a picture of floats from {low:g} to {high:g}: they must be from 0 to 1 (from -1 to 1, take x / 2 + 0.5)")
    return np.ascontiguousarray(np.rint(np.clip(array.astype(np.float64), 0, 1) * 255).astype(np.uint8))
