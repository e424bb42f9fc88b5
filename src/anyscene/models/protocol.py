"""What a text-to-vision model is to Anyscene: captions and seeds in, media out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from anyscene.media import Media

__all__ = ["Failure", "Finds", "KnowsTruth", "Model"]


@dataclass(frozen=True, slots=True)
class Failure:
    """No media, and why. It is reported and tried again by the next run; it never counts as a wrong picture.

    Attributes:
        status: ``failed`` (an error), ``refused`` (by the model's own rules) or ``missing`` (no such file).
        reason: one line.
    """

    status: str
    reason: str


@runtime_checkable
class Model(Protocol):
    """A text-to-image, text-to-video or text-to-3D model.

    A media depends on its caption, its seed, the model and its settings, and on nothing else: not on its neighbours in a batch.

    Attributes:
        name: how it was asked for: ``diffusers:stabilityai/sdxl-turbo``.
        revision: of the weights, where it is known; else empty.
        modality: ``image``, ``video`` or ``3d``.
        settings: what else its media depend on (steps, guidance, size, versions), as plain JSON values.
        batch_size: how many captions it likes to be given at once.
    """

    name: str
    revision: str
    modality: str
    settings: Mapping[str, object]
    batch_size: int

    def generate(self, captions: Sequence[str], seeds: Sequence[int]) -> list[Media | Failure]:
        """One media, or the reason why there is none, for each caption, in order.

        Raises:
            ModelError: nothing can be made at all (no key, no such weights, no device); the run stops.
        """
        ...


@runtime_checkable
class Finds(Protocol):
    """A model whose media exist already, found by the scene they belong to (models.folder)."""

    def find(self, record_id: str, index: int, caption: str, sample: int) -> Path | Failure:
        """The file of a scene's picture number ``sample``."""
        ...


@runtime_checkable
class KnowsTruth(Protocol):
    """A model of which it is known what its media really show (sandbox painters)."""

    def details(self, caption: str, seed: int) -> Mapping[str, object]:
        """What the media of a caption and a seed really shows, as plain JSON values; ``truth`` is the graph drawn, as in a record."""
        ...
