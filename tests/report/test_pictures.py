"""Pictures as data URIs: bounded, and small ones byte for byte."""

from __future__ import annotations

import base64
import io
import random

import pytest
from PIL import Image
from report_run import png

from anyscene.errors import MediaError
from anyscene.media import Media
from anyscene.report.pictures import MAX_BYTES, MAX_SIDE, Embedded, embedded_picture


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.frombytes("RGB", (width, height), random.Random(seed).randbytes(3 * width * height))


def opened(uri: str) -> tuple[bytes, Image.Image]:
    data = base64.b64decode(uri.partition(",")[2])
    image = Image.open(io.BytesIO(data))
    assert uri.startswith(f"data:image/{(image.format or '').lower()};base64,")
    return data, image


def embedded(data: bytes, modality: str = "image") -> Embedded:
    return embedded_picture(data, modality, "x.png")


def test_a_small_png_is_embedded_as_it_is_and_magnified_crisply() -> None:
    data = png([noise(32, 32)])
    found = embedded(data)
    assert opened(found.uri)[0] == data
    assert (found.crisp, found.still, found.frames, found.width, found.height) == (True, None, 1, 32, 32)


def test_a_photograph_is_made_smaller_and_keeps_its_shape() -> None:
    buffer = io.BytesIO()
    noise(1600, 800).save(buffer, "JPEG", quality=95)
    found = embedded(buffer.getvalue())
    data, image = opened(found.uri)
    assert image.size == (MAX_SIDE, MAX_SIDE // 2)
    assert len(data) <= MAX_BYTES
    assert (found.width, found.height, found.crisp) == (1600, 800, False)


def test_a_flat_picture_stays_without_loss() -> None:
    flat = Image.new("RGB", (2000, 2000), "#123456")
    _, image = opened(embedded(png([flat])).uri)
    assert image.format == "PNG" and image.convert("RGB").getpixel((9, 9)) == (0x12, 0x34, 0x56)


def test_a_small_clip_is_embedded_as_it_is_with_its_first_frame_as_a_still() -> None:
    frames = [noise(24, 24, seed) for seed in range(4)]
    data = Media.of_frames(frames, "video", 8).data
    found = embedded(data, "video")
    assert opened(found.uri)[0] == data and found.frames == 4
    assert found.still
    still = opened(found.still)[1]
    assert getattr(still, "n_frames", 1) == 1 and still.convert("RGB").tobytes() == frames[0].tobytes()


@pytest.mark.parametrize("webp", [True, False])
def test_a_large_clip_becomes_a_small_one_that_still_moves(monkeypatch: pytest.MonkeyPatch, webp: bool) -> None:
    monkeypatch.setattr("anyscene.report.pictures.features.check", lambda name: webp)
    shapes = [Image.new("RGB", (640, 480), (10 * k, 80, 120)) for k in range(20)]
    for place, image in enumerate(shapes):
        image.paste(noise(60, 60, place), (20 * place, 100))
    found = embedded(Media.of_frames(shapes, "3d").data, "3d")
    data, image = opened(found.uri)
    assert image.format == ("WEBP" if webp else "PNG")
    assert 1 < getattr(image, "n_frames", 1) <= 12 and max(image.size) <= 256
    assert len(data) <= 2 * MAX_BYTES
    assert found.frames == 20


def test_an_animated_file_shown_as_a_picture_is_its_first_frame() -> None:
    frames = [noise(24, 24, seed) for seed in range(3)]
    found = embedded(png(frames))
    assert (found.frames, found.still) == (1, None)
    assert opened(found.uri)[1].convert("RGB").tobytes() == frames[0].tobytes()


def test_what_is_no_picture_is_named() -> None:
    with pytest.raises(MediaError, match=r"x\.png"):
        embedded(b"nothing")
