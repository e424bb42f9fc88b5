"""Both sides go the same way: the same cut, the same factor, the same tables, and nothing but pixels in the files."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from anyscene.errors import MediaError, SpecError
from anyscene.moderation.encoding import GRID, Encoding, decode, encode, plan_cut, quality_tables, read_head, take


def picture(width: int = 64, height: int = 48, seed: int = 0) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def file_of(image: Image.Image, format: str = "JPEG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("quality", [35, 75, 92, 100])
def test_a_file_is_written_with_the_very_tables_of_another(quality: int, subsampling: int) -> None:
    data = file_of(picture(), quality=quality, subsampling=subsampling)
    head = read_head(data, "a")
    again = read_head(encode(picture(seed=1), head.encoding), "b")
    assert again.encoding == head.encoding
    assert head.encoding.subsampling == subsampling
    assert len(head.encoding.digest) == 12


def test_encoding_again_with_its_own_tables_hardly_changes_a_photograph() -> None:
    data = file_of(picture(), quality=80, subsampling=0)
    once = decode(data, "a").image
    twice = decode(encode(once, read_head(data, "a").encoding), "b").image
    change = np.abs(np.asarray(once, dtype=int) - np.asarray(twice, dtype=int))
    assert change.mean() < 0.5


def test_a_cut_on_the_grid_keeps_the_blocks_where_they_were() -> None:
    data = file_of(picture(256, 256), quality=60, subsampling=0)
    whole = decode(data, "a").image
    cut = plan_cut([whole.size, (100, 80)], "key")
    part = take(whole, cut, "key")
    again = decode(encode(part, read_head(data, "a").encoding), "b").image
    inside = np.asarray(part, dtype=int)[:80, :96] - np.asarray(again, dtype=int)[:80, :96]  # whole blocks
    assert np.abs(inside).mean() < 0.5
    off = whole.crop((3, 5, 103, 85))
    moved = decode(encode(off, read_head(data, "a").encoding), "c").image
    assert np.abs(np.asarray(off, dtype=int) - np.asarray(moved, dtype=int)).mean() > 2 * np.abs(inside).mean()


def test_metadata_of_all_kinds_are_seen_and_never_written() -> None:
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = file_of(picture(), exif=exif, icc_profile=profile, comment=b"hello", progressive=True)
    head = read_head(data, "a")
    assert set(head.traces) == {"exif", "icc", "comment", "progressive"}
    for encoding in (head.encoding, Encoding()):
        found = encode(decode(data, "a").image, encoding)
        assert read_head(found, "b").traces == ()
        assert b"Exif" not in found and b"ICC_PROFILE" not in found and b"hello" not in found


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_a_turned_picture_is_shown_upright_with_the_size_that_its_head_says(turn: int, format: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    data = file_of(picture(70, 50), format, exif=exif)
    head, shown = read_head(data, "a"), decode(data, "a").image
    assert shown.size == (head.width, head.height)
    whole = (64, 48) if format == "JPEG" and turn > 1 else (70, 50)
    assert shown.size == (whole if turn < 5 else whole[::-1])
    assert ("turned" in head.traces) is (turn > 1)


def test_tables_turn_with_the_picture() -> None:
    tables = quality_tables(50)
    assert tables.turned().tables[0][1] == tables.tables[0][8]
    assert tables.turned().turned() == tables


def swapped_profile() -> bytes:
    """A profile in which red is blue, of another name than sRGB."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    tags = {bytes(data[at : at + 4]): at for at in range(132, 132 + 12 * int.from_bytes(data[128:132], "big"), 12)}
    red, blue = (slice(tags[name] + 4, tags[name] + 12) for name in (b"rXYZ", b"bXYZ"))
    data[red], data[blue] = data[blue], data[red]
    return bytes(data).replace("sRGB".encode("utf-16-be"), "ours".encode("utf-16-be"))


def test_colours_of_another_profile_are_brought_to_srgb() -> None:
    found = decode(file_of(Image.new("RGB", (20, 20), (250, 10, 20)), "PNG", icc_profile=swapped_profile()), "a")
    assert found.converted
    red, green, blue = found.image.getpixel((5, 5))  # type: ignore[misc]
    assert abs(red - 20) <= 3 and abs(green - 10) <= 3 and abs(blue - 250) <= 3


@pytest.mark.parametrize(
    "profile",
    [
        b"no profile",
        ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes(),
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
    ],
    ids=["damaged", "not of RGB", "sRGB"],
)
def test_colours_of_a_profile_that_changes_nothing_or_cannot_be_used_stay(profile: bytes) -> None:
    found = decode(file_of(Image.new("RGB", (20, 20), (250, 10, 20)), "PNG", icc_profile=profile), "a")
    assert not found.converted
    assert found.image.getpixel((5, 5)) == (250, 10, 20)


def test_grey_transparent_and_deep_pictures_become_plain_ones() -> None:
    deep = Image.fromarray(np.full((20, 30), 40_000, dtype=np.uint16))
    found = decode(file_of(deep, "PNG"), "a").image
    assert found.mode == "L"
    assert np.asarray(found).max() == np.asarray(found).min() == 40_000 // 256
    clear = Image.new("RGBA", (20, 20), (255, 0, 0, 0))
    assert decode(file_of(clear, "PNG"), "a").image.getpixel((3, 3)) == (255, 255, 255)
    assert "transparent" in read_head(file_of(clear, "PNG"), "a").traces
    assert decode(file_of(picture().convert("L")), "a").image.mode == "L"
    assert decode(file_of(picture().convert("CMYK")), "a").image.mode == "RGB"


@pytest.mark.parametrize("data", [b"", b"text", file_of(picture())[:300], file_of(picture(), "PNG")[:60]])
def test_what_cannot_be_read_is_named(data: bytes) -> None:
    with pytest.raises(MediaError, match=r"broken\.jpg"):
        decode(data, "broken.jpg")


def test_a_bomb_is_not_decoded() -> None:
    with pytest.raises(MediaError, match="too large"):
        read_head(file_of(Image.new("1", (9000, 9000)), "PNG"), "bomb.png")


def test_every_picture_of_a_pair_gives_one_window_and_one_factor() -> None:
    sizes = [(640, 427), (512, 512), (300, 1000)]
    cut = plan_cut(sizes, "key", scale=(1.5, 3.0))
    assert cut.window[0] <= 300 and cut.window[1] <= 427
    assert 1.5 <= cut.factor <= 3.01
    assert {take(Image.new("RGB", size), cut, str(size)).size for size in sizes} == {cut.size}
    assert plan_cut(sizes, "key", scale=(1.5, 3.0)) == cut
    assert plan_cut(sizes, "key", largest=64).size == (64, 64)
    assert plan_cut(sizes, "key").size == plan_cut(sizes, "key").window == (300, 427)
    assert len({plan_cut(sizes, str(one), scale=(1, 2)).factor for one in range(20)}) > 10


def test_nothing_is_ever_made_larger() -> None:
    with pytest.raises(SpecError, match="never larger"):
        plan_cut([(10, 10)], "key", scale=(0.5, 1.0))


def test_pictures_are_cut_at_many_places_all_on_the_grid() -> None:
    across = np.tile(np.arange(256, dtype=np.uint8), (256, 1))
    image = Image.fromarray(np.stack([across, across.T, across], axis=2))
    cut = plan_cut([(256, 256), (100, 100)], "key")
    corners = {take(image, cut, str(one)).getpixel((0, 0))[:2] for one in range(60)}  # type: ignore[index]
    assert len(corners) > 20
    assert all(x % GRID == 0 and y % GRID == 0 for x, y in corners)


def test_whatever_is_wrong_with_a_file_it_is_named() -> None:
    """Decoders raise errors of many kinds at damaged files; each is told as what it is, a picture that cannot be read."""
    dice = np.random.default_rng(0)
    wholes = [file_of(picture(), format) for format in ("JPEG", "PNG", "TIFF", "GIF", "WEBP", "BMP")]
    named = 0
    for place in range(600):
        data = bytearray(wholes[place % len(wholes)])
        for _ in range(1 + place % 4):
            data[int(dice.integers(min(len(data), 200)))] = int(dice.integers(256))
        try:
            decode(bytes(data[: int(dice.integers(1, len(data)))] if place % 3 == 0 else data), "odd.png")
        except MediaError as error:
            named += "odd.png: " in str(error)
    assert named > 300


def test_a_drawing_program_is_not_run_for_a_file_that_is_called_a_picture() -> None:
    with pytest.raises(MediaError, match=r"a\.png: no picture"):
        read_head(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\n", "a.png")
