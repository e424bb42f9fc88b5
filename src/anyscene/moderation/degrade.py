"""What happens to pictures on their way: re-encoding, resizing, blur; for tests of a detector, and at random for its training.

Nothing here knows whether a picture is real or generated: whatever is done is done to both alike.
"""

from __future__ import annotations

import hashlib
import io
import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from anyscene.errors import SpecError

__all__ = ["SWEEP", "Augmentation", "augment", "check_degradation", "degrade", "fit"]

SWEEP = ("jpeg:95", "jpeg:75", "jpeg:50", "resize:0.75", "resize:0.5", "blur:1")
"""What a detector is tested with unless something else is asked for."""
_RANGES = {"jpeg": (1.0, 100.0), "resize": (0.05, 1.0), "blur": (0.0, 20.0)}


def check_degradation(name: str) -> tuple[str, float]:
    """What a degradation is: ``jpeg:75`` (quality), ``resize:0.5`` (down to this share and back up), ``blur:1`` (radius in pixels).

    Raises:
        SpecError: there is no such degradation, or its number is out of range.
    """
    kind, _, text = name.partition(":")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if kind not in _RANGES or not _RANGES[kind][0] <= value <= _RANGES[kind][1]:
        raise SpecError(f"degradation {name!r}: it must be jpeg:QUALITY (1 to 100), resize:SHARE (0.05 to 1) or blur:RADIUS (0 to 20)")
    return kind, value


def degrade(image: Image.Image, name: str) -> Image.Image:
    """A picture of the same size, degraded; an empty name leaves it as it is.

    Raises:
        SpecError: there is no such degradation.
    """
    if not name:
        return image
    kind, value = check_degradation(name)
    if kind == "jpeg":
        return _jpeg(image, round(value))
    return _resized(image, value) if kind == "resize" else image.filter(ImageFilter.GaussianBlur(value))


def _jpeg(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    with Image.open(buffer) as opened:
        return opened.convert("RGB")


def _resized(image: Image.Image, share: float) -> Image.Image:
    small = max(1, round(image.width * share)), max(1, round(image.height * share))
    return image.resize(small, Image.Resampling.BICUBIC).resize(image.size, Image.Resampling.BICUBIC)


def fit(image: Image.Image, size: int, place: tuple[float, float] = (0.5, 0.5)) -> Image.Image:
    """A square of this side out of a picture, from the middle unless another place is given; nothing is scaled down.

    Traces of how a picture was made are fine; scaling it would wipe them out. Only a picture that is too small is scaled up, to fit.

    Args:
        image: the picture.
        size: of the square, in pixels.
        place: of the square: 0 is left and top, 1 right and bottom.
    """
    if min(image.size) < size:
        scale = size / min(image.size)
        image = image.resize((max(size, round(image.width * scale)), max(size, round(image.height * scale))), Image.Resampling.BICUBIC)
    left, top = (round((length - size) * share) for length, share in zip(image.size, place, strict=True))
    return image if image.size == (size, size) else image.crop((left, top, left + size, top + size))


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How pictures are changed at random in training. Each is the probability that a picture is.

    Attributes:
        flip: left and right are exchanged.
        crop: the square is taken at a random place, not from the middle.
        resize: scaled down to between half and all of its size, and back.
        blur: with a radius of up to 1.5 pixels.
        jpeg: re-encoded at a quality of 50 to 100.
    """

    flip: float = 0.5
    crop: float = 1.0
    resize: float = 0.1
    blur: float = 0.1
    jpeg: float = 0.3

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if not 0 <= getattr(self, name) <= 1:
                raise SpecError(f"augmentation.{name} = {getattr(self, name)}: it is a probability, from 0 to 1")


def augment(image: Image.Image, size: int, how: Augmentation, seed: int, step: int, place: int) -> Image.Image:
    """A square out of a picture, changed at random.

    Args:
        image: the picture.
        size: of the square.
        how: how often what is done.
        seed: of the training.
        step: its number; with the place in the batch it says what is drawn, whatever is at that place.
        place: in the batch.
    """
    digest = hashlib.sha256(f"augment/{seed}/{step}/{place}".encode()).digest()
    flip, crop, resize, blur, jpeg, *amounts = np.random.Generator(np.random.Philox(int.from_bytes(digest[:16], "big"))).random(10).tolist()
    if resize < how.resize:
        image = _resized(image, 0.5 + 0.5 * amounts[0])
    image = fit(image, size, (amounts[1], amounts[2]) if crop < how.crop else (0.5, 0.5))
    if flip < how.flip:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if blur < how.blur:
        image = image.filter(ImageFilter.GaussianBlur(1.5 * amounts[3]))
    return _jpeg(image, 50 + round(50 * amounts[4])) if jpeg < how.jpeg else image
