"""Pictures inside the page: as data URIs, small enough that two dozen of them make one file that can be mailed."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

from PIL import Image, features

from anyscene.media import Media, read_media

__all__ = ["CRISP_BELOW", "MAX_SIDE", "Embedded", "embedded_picture"]

MAX_SIDE = 512
"""Longer side of an embedded picture, in pixels."""
CLIP_SIDE = 256
CLIP_FRAMES = 12
MAX_BYTES = 90_000
"""Of one embedded file, before base64."""
CRISP_BELOW = 200
"""Pictures with shorter sides are magnified with their pixels visible, not blurred."""
_MIME = {".png": "image/png", ".jpg": "image/jpeg", ".webp": "image/webp"}


@dataclass(frozen=True, slots=True)
class Embedded:
    """A picture as data URIs.

    Attributes:
        uri: of the picture, or of the moving picture.
        still: of the first frame of a moving picture, for print and for readers who want no motion; else None.
        width: of the picture as it was made, in pixels.
        height: likewise.
        frames: how many it has.
        crisp: whether it is so small that it should be magnified without smoothing.
    """

    uri: str
    still: str | None
    width: int
    height: int
    frames: int
    crisp: bool


def embedded_picture(data: bytes, modality: str, name: str) -> Embedded:
    """The file's picture, at most `MAX_SIDE` pixels wide and high; a clip or 3D views as a moving picture.

    Raises:
        MediaError: the bytes are no picture; the message names it.
    """
    media = read_media(data, modality, name)
    width, height = media.image.size
    crisp = max(width, height) < CRISP_BELOW
    if len(media.frames) == 1:
        return Embedded(_still(media), None, width, height, 1, crisp)
    first = Media.of_image(media.image)
    return Embedded(_moving(media), _still(first), width, height, len(media.frames), crisp)


def _still(media: Media) -> str:
    """The file itself where it is a small PNG of one frame; else a smaller copy, without loss where that fits."""
    image = media.image
    if max(image.size) <= MAX_SIDE and media.suffix == ".png" and len(media.data) <= MAX_BYTES and len(media.frames) == 1:
        return _uri(media.data, ".png")
    image = _within(image, MAX_SIDE)
    png = _encoded(image, "PNG", optimize=True)
    if len(png) <= MAX_BYTES:
        return _uri(png, ".png")
    for quality in (88, 78, 64, 48):
        jpeg = _encoded(image, "JPEG", quality=quality, optimize=True, progressive=True)
        if len(jpeg) <= MAX_BYTES:
            break
    return _uri(jpeg, ".jpg")


def _moving(media: Media) -> str:
    """The file itself where it is a small animated PNG; else fewer and smaller frames, as animated WebP where Pillow can write it."""
    if media.suffix == ".png" and len(media.data) <= MAX_BYTES and max(media.image.size) <= MAX_SIDE:
        return _uri(media.data, ".png")
    with_webp = bool(features.check("webp"))
    suffix = ".webp" if with_webp else ".png"
    length_ms = 1000 * len(media.frames) / (media.fps or 8)
    encoded = b""
    for frames, side, quality in ((CLIP_FRAMES, CLIP_SIDE, 75), (CLIP_FRAMES, 192, 60), (8, 160, 50), (6, 112, 40)):
        images = [_within(frame, side) for frame in media.sampled(frames)]
        timing = {"save_all": True, "append_images": images[1:], "duration": max(20, round(length_ms / len(images))), "loop": 0}
        if with_webp:
            encoded = _encoded(images[0], "WEBP", quality=quality, **timing)
        else:
            encoded = _encoded(images[0], "PNG", optimize=True, **timing)
        if len(encoded) <= MAX_BYTES:
            break
    return _uri(encoded, suffix)


def _within(image: Image.Image, side: int) -> Image.Image:
    if max(image.size) <= side:
        return image
    scale = side / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.LANCZOS)


def _encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _uri(data: bytes, suffix: str) -> str:
    return f"data:{_MIME[suffix]};base64,{base64.b64encode(data).decode('ascii')}"
