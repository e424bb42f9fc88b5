"""Media: one picture, the frames of one clip, or views all around one 3D object.

A media value holds the bytes of its file beside its frames, so that its SHA-256 is the same in memory and on the disk. Clips and 3D
views are animated PNG files: lossless, one file each, and every browser plays them.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from anyscene.errors import MediaError

__all__ = ["MAX_PIXELS", "MEDIA_SUFFIXES", "MODALITIES", "Media", "read_media"]

MODALITIES = ("image", "video", "3d")
MAX_PIXELS = 64_000_000
"""Of one frame; and of all frames of one file together, eight times that."""
MAX_FRAMES = 4096
MEDIA_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".apng")
PNG_LEVEL = 1
"""zlib's fastest: files a fifth larger, written four times as fast."""


@dataclass(frozen=True)
class Media:
    """A picture (one frame), a clip (frames in time) or a 3D object (views around it).

    Attributes:
        frames: RGB pictures of one size.
        data: the bytes of the file that holds them.
        modality: ``image``, ``video`` or ``3d``.
        suffix: of the file, with its dot.
        fps: frames a second; None where it has no meaning.
    """

    frames: tuple[Image.Image, ...]
    data: bytes
    modality: str = "image"
    suffix: str = ".png"
    fps: float | None = None

    @classmethod
    def of_image(cls, image: Image.Image | NDArray[np.uint8]) -> Media:
        """A picture from a PIL image or a ``(height, width, 3) uint8`` array."""
        return cls.of_frames([image])

    @classmethod
    def of_frames(cls, frames: Sequence[Image.Image | NDArray[np.uint8]], modality: str = "image", fps: float | None = None) -> Media:
        """A clip or views from frames of one size.

        Raises:
            MediaError: there are no frames, they differ in size, or a picture has more than one.
        """
        if modality not in MODALITIES:
            raise MediaError(f"modality {modality!r}: it must be one of {', '.join(MODALITIES)}")
        pictures = tuple(_rgb(frame if isinstance(frame, Image.Image) else Image.fromarray(frame)) for frame in frames)
        if not pictures or (modality == "image" and len(pictures) > 1):
            raise MediaError(
                f"{len(pictures)} frames for modality {modality!r}: an image has one, a clip and a 3D object have at least one"
            )
        if len({picture.size for picture in pictures}) > 1:
            raise MediaError(f"frames of {len({picture.size for picture in pictures})} sizes; all frames of one media have one size")
        buffer = io.BytesIO()
        if len(pictures) == 1:
            pictures[0].save(buffer, "PNG", compress_level=PNG_LEVEL)
        else:
            duration_ms = round(1000 / (fps or 8))
            blend = [place % 2 for place in range(len(pictures))]  # opaque frames look the same either way; Pillow would join equal ones
            pictures[0].save(
                buffer,
                "PNG",
                save_all=True,
                append_images=pictures[1:],
                duration=duration_ms,
                loop=0,
                blend=blend,
                compress_level=PNG_LEVEL,
            )
        return cls(pictures, buffer.getvalue(), modality, ".png", fps)

    @cached_property
    def sha256(self) -> str:
        """Digest of the file's bytes, in hexadecimal."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def image(self) -> Image.Image:
        """The first frame."""
        return self.frames[0]

    def array(self, frame: int = 0) -> NDArray[np.uint8]:
        """``(height, width, 3) uint8 RGB`` of one frame."""
        return np.asarray(self.frames[frame], dtype=np.uint8)

    def sampled(self, most: int) -> tuple[Image.Image, ...]:
        """At most so many frames, those at the centres of equal parts of the whole (as the paper's code takes them)."""
        count = len(self.frames)
        return self.frames if count <= most else tuple(self.frames[int((i + 0.5) * count / most)] for i in range(most))


def read_media(source: Path | bytes, modality: str = "image", name: str | None = None) -> Media:
    """Reads a file, or the bytes of one. An animated file asked for as an image gives its first frame.

    Raises:
        MediaError: it is missing, no picture, truncated, or has more pixels or frames than are taken.
    """
    what = name or (str(source) if isinstance(source, Path) else "the media")
    try:
        data = source.read_bytes() if isinstance(source, Path) else source
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data)) as opened:
                _check_size(opened, modality, what)
                count = 1 if modality == "image" else getattr(opened, "n_frames", 1)
                frames = []
                for place in range(count):
                    opened.seek(place)
                    frames.append(_rgb(opened))
                suffix = "." + (opened.format or "png").lower().replace("jpeg", "jpg")
                duration_ms = opened.info.get("duration")
    except FileNotFoundError:
        raise MediaError(f"{what}: no such file") from None
    except (UnidentifiedImageError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise MediaError(
            f"{what}: {'too large a picture' if 'ecompression' in type(error).__name__ else 'no picture that can be read'}"
        ) from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise MediaError(f"{what}: cannot be read as a picture ({error})") from None
    fps = 1000 / float(duration_ms) if duration_ms and len(frames) > 1 else None
    return Media(tuple(frames), data, modality, suffix, fps)


def _check_size(opened: Image.Image, modality: str, what: str) -> None:
    pixels, count = opened.width * opened.height, getattr(opened, "n_frames", 1) if modality != "image" else 1
    if pixels > MAX_PIXELS or count > MAX_FRAMES or pixels * count > 8 * MAX_PIXELS:
        raise MediaError(f"{what}: {opened.width} x {opened.height} pixels, {count} frames; at most {MAX_PIXELS:,} pixels are taken")


def _rgb(image: Image.Image) -> Image.Image:
    """The picture as RGB, on white where it is transparent; always a copy that needs no file."""
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        over = image.convert("RGBA")
        ground = Image.new("RGBA", over.size, (255, 255, 255, 255))
        return Image.alpha_composite(ground, over).convert("RGB")
    return image.convert("RGB") if image.mode != "RGB" else image.copy()
