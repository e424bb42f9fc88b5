"""A media file that nobody has looked at yet: it is passed on without being decoded."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from PIL import Image

from anyscene.media.media import Media, read_media

__all__ = ["UnreadMedia"]


class UnreadMedia(Media):
    """A media of which only the file's bytes are known; its frames are read when they are first asked for.

    Args:
        data: the bytes of the file.
        modality: ``image``, ``video`` or ``3d``.
        suffix: of the file, with its dot.
        fps: frames a second, where known.
    """

    def __init__(self, data: bytes, modality: str = "image", suffix: str = ".png", fps: float | None = None) -> None:
        self.__dict__.update(data=data, modality=modality, suffix=suffix, fps=fps)

    def _read(self) -> tuple[Image.Image, ...]:
        """RGB pictures of one size.

        Raises:
            MediaError: the bytes are those of no picture.
        """
        return read_media(self.data, self.modality).frames

    if not TYPE_CHECKING:  # to a type checker it is the attribute that every media has
        frames = cached_property(_read)
