"""``sandbox:camera``: the renderer's pictures as a camera would have taken them, the sandbox's stand-in for photographs.

In the order in which light meets a camera: the scene is lit unevenly, the lens blurs it and darkens its corners, the sensor counts
photons (shot noise) and adds its own noise (read noise), and the white balance is a little off. All of it happens in linear light and
is a function of the caption and the seed alone, so a photograph can be taken again to the last bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib import import_module
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from anyscene.errors import SpecError
from anyscene.media import Media
from anyscene.models import Failure, Model
from anyscene.sandbox.painters import Painter, load_renderer
from anyscene.sandbox.renderer import MIN_SIZE
from anyscene.scene.keyed import key_of, mix

__all__ = ["Camera", "Optics", "Photographed", "load_camera", "photograph"]

VERSION = 1
"""Raised when the same caption and seed would give other pixels than before."""
Floats = NDArray[np.float32]
_STEP = np.uint64(0x9E3779B97F4A7C15)
_LEVELS = 1 << 14
"""Steps of linear light between which the way back to sRGB is looked up: finer than a step of 8 bits at its darkest."""


@dataclass(frozen=True, slots=True)
class Optics:
    """How far a camera departs from a perfect picture; 0 everywhere leaves every pixel as it is.

    Attributes:
        illumination: most by which one side of the scene is lit more, and the other less, as a fraction.
        blur: most standard deviation of the lens' blur, in pixels; a photograph has from half of it to all.
        vignette: most by which the corners are darker, as a fraction.
        shot: standard deviation of shot noise at white, as a fraction of white; it falls with the square root of the light.
        read: standard deviation of read noise, as a fraction of white, the same in the dark.
        balance: most by which red and blue are too strong or too weak against green, as a fraction.

    Raises:
        SpecError: a value is out of its range.
    """

    illumination: float = 0.2
    blur: float = 0.6
    vignette: float = 0.25
    shot: float = 0.02
    read: float = 0.004
    balance: float = 0.06

    def __post_init__(self) -> None:
        most = {"illumination": 0.9, "blur": 16.0, "vignette": 0.9, "shot": 1.0, "read": 1.0, "balance": 0.9}
        for name, end in most.items():
            if not 0.0 <= getattr(self, name) <= end:
                raise SpecError(f"camera, {name} = {getattr(self, name):g}: it must be from 0 to {end:g}")

    def times(self, strength: float) -> Optics:
        """Everything so many times as strong.

        Raises:
            SpecError: a value would be out of its range.
        """
        return Optics(**{name: value * strength for name, value in asdict(self).items()})


def load_camera(
    *,
    of: Literal["renderer", "diffusion", "autoregressive"] = "renderer",
    strength: Annotated[float, Field(ge=0, le=4)] = 1.0,
    illumination: float = 0.2,
    blur: float = 0.6,
    vignette: float = 0.25,
    shot: float = 0.02,
    read: float = 0.004,
    balance: float = 0.06,
    size: Annotated[int | None, Field(ge=MIN_SIZE, le=4096)] = None,
    modality: str = "image",
) -> Photographed:
    """``sandbox:camera``: pictures of ``sandbox:renderer``, or of a trained model of the sandbox, through a camera.

    Args:
        of: whose pictures: ``renderer``, ``diffusion`` or ``autoregressive``. Photographs of a model's pictures have the noise, the light
            and the lens of other photographs, so that a detector of them has to look at what is drawn.
        strength: everything below times this; 0 gives the pictures as they were.
        illumination: see ``Optics``.
        blur: see ``Optics``.
        vignette: see ``Optics``.
        shot: see ``Optics``.
        read: see ``Optics``.
        balance: see ``Optics``.
        size: side of the renderer's pictures, in pixels; 64 by default. Those of the models have 32.
        modality: ``image``, ``video`` (clips of 8 frames) or ``3d`` (8 views); models draw images.

    Raises:
        SpecError: an option is out of its range, or not for pictures of this origin.
        MissingExtraError: torch, transformers or diffusers is not installed; the renderer needs none of them.
    """
    optics = Optics(illumination, blur, vignette, shot, read, balance).times(strength)
    if of == "renderer":
        painter = replace(load_renderer(size=size or 64, modality=modality), name="sandbox:camera")
        return Camera(painter, optics, painter)
    if size is not None or modality != "image":
        raise SpecError(f"sandbox:camera of={of}: its pictures are images of 32 pixels; leave out size and modality")
    model: Model = getattr(import_module("anyscene.sandbox.trained"), f"load_{of}")()  # needs torch
    return Photographed(model, optics)


@dataclass(frozen=True)
class Photographed:
    """A model's pictures, photographed (``models.Model``).

    Attributes:
        model: draws what is photographed.
        optics: of the camera.
    """

    model: Model | Painter
    optics: Optics

    @property
    def name(self) -> str:
        """``sandbox:camera-of-diffusion``."""
        return f"sandbox:camera-of-{self.model.name.rpartition(':')[2]}"

    @property
    def revision(self) -> str:
        """The model's."""
        return self.model.revision

    @property
    def modality(self) -> str:
        """``image``, ``video`` or ``3d``."""
        return self.model.modality

    @property
    def settings(self) -> Mapping[str, object]:
        """All that its media depend on."""
        return {**self.model.settings, "optics": asdict(self.optics), "camera": VERSION}

    @property
    def batch_size(self) -> int:
        """How many captions the model likes at once."""
        return self.model.batch_size

    def generate(self, captions: Sequence[str], seeds: Sequence[int]) -> list[Media | Failure]:
        """One photograph, or why there is none, for each caption, in order."""
        drawn = self.model.generate(captions, seeds)
        return [
            one if isinstance(one, Failure) else self._taken(one, key_of("camera", seed, caption))
            for one, caption, seed in zip(drawn, captions, seeds, strict=True)
        ]

    def _taken(self, media: Media, key: int) -> Media:
        frames = [photograph(media.array(place), key, self.optics, frame=place) for place in range(len(media.frames))]
        return Media.of_frames(frames, media.modality, media.fps)


@dataclass(frozen=True)
class Camera(Photographed):
    """Photographs of a painter that knows what its pictures show (``KnowsTruth``).

    Attributes:
        painter: the model.
    """

    painter: Painter

    @property
    def name(self) -> str:
        """``sandbox:camera``."""
        return self.painter.name

    def details(self, caption: str, seed: int) -> Mapping[str, object]:
        """What the photograph shows, as the painter knows it. Raises as ``Painter.drawn`` does."""
        return self.painter.details(caption, seed)


def photograph(pixels: NDArray[np.uint8], key: int, optics: Optics | None = None, *, frame: int = 0) -> NDArray[np.uint8]:
    """One picture through a camera.

    Args:
        pixels: ``(height, width, 3) uint8`` RGB.
        key: of all draws; photographs of one key share light and lens, and differ in their noise by frame.
        optics: of the camera; by default the usual one.
        frame: number of the frame in a clip.

    Returns:
        ``(height, width, 3) uint8`` RGB.
    """
    optics = optics or Optics()
    light, lens, tint = (mix(np.arange(1, 4, dtype=np.uint64) * _STEP ^ np.uint64(key_of(part, key))) for part in ("light", "lens", "tint"))
    linear = np.asarray(_to_linear()[pixels])
    height, width = pixels.shape[:2]
    down = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    across = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    turn, amount = 2 * np.pi * _unit(light)[0], optics.illumination * _unit(light)[1]
    lit = 1 + amount * (np.cos(turn) * across + np.sin(turn) * down) / np.sqrt(2)
    seen = _blurred(linear * lit[..., None].astype(np.float32), optics.blur * (0.5 + 0.5 * float(_unit(lens)[0])))
    seen *= (1 - optics.vignette * _unit(lens)[1] * (across**2 + down**2) / 2)[..., None].astype(np.float32)
    if optics.shot or optics.read:
        deviation = np.sqrt(optics.shot**2 * np.maximum(seen, 0) + optics.read**2).astype(np.float32)
        seen += deviation * _normal(seen.size, key_of("sensor", key, frame)).reshape(seen.shape)
    red, blue = 1 + optics.balance * (2 * _unit(tint)[:2] - 1)
    seen *= np.array([red, 1, blue], dtype=np.float32)
    return np.asarray(_to_srgb()[np.rint(np.clip(seen, 0, 1) * (_LEVELS - 1)).astype(np.int64)])


def _unit(words: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Words as numbers from 0 to below 1."""
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _normal(count: int, key: int) -> Floats:
    """So many normal draws; each is a hash of the key and its place (Box and Muller 1958)."""
    half = (count + 1) // 2
    words = mix(np.arange(1, 2 * half + 1, dtype=np.uint64) * _STEP ^ np.uint64(key))
    first, second = _unit(words[:half]), _unit(words[half:])
    radius, turn = np.sqrt(-2 * np.log1p(-first)), 2 * np.pi * second
    return np.concatenate([radius * np.cos(turn), radius * np.sin(turn)])[:count].astype(np.float32)


def _blurred(picture: Floats, sigma: float) -> Floats:
    """A Gaussian blur, down and then across; the border is repeated."""
    reach = int(np.ceil(3 * sigma))
    if reach == 0:
        return picture
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    weights /= weights.sum()
    for axis in (0, 1):
        padded = np.pad(picture, [(reach, reach) if axis == own else (0, 0) for own in range(3)], mode="edge")
        length = picture.shape[axis]
        picture = np.zeros_like(picture)
        for start, weight in enumerate(weights):
            picture += np.float32(weight) * padded.take(range(start, start + length), axis)
    return picture


@cache
def _to_linear() -> Floats:
    """Linear light of each sRGB level (IEC 61966-2-1)."""
    level = np.arange(256) / 255
    return np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4).astype(np.float32)


@cache
def _to_srgb() -> NDArray[np.uint8]:
    """The sRGB levels of evenly spaced steps of linear light."""
    light = np.arange(_LEVELS) / (_LEVELS - 1)
    level = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.asarray(np.rint(level * 255).astype(np.uint8))
