import io

import numpy as np
import pytest
from PIL import Image

from anyscene.errors import MediaError
from anyscene.media import MAX_PIXELS, Media, read_media


def gradient(size=16, shift=0):
    return (np.add.outer(np.arange(size), np.arange(size))[..., None] * np.array([3, 5, 7]) + shift).astype(np.uint8)


def test_a_picture_reads_back_with_the_same_pixels_and_digest(tmp_path):
    media = Media.of_image(gradient())
    (tmp_path / "a.png").write_bytes(media.data)
    again = read_media(tmp_path / "a.png")
    assert np.array_equal(again.array(), gradient())
    assert again.sha256 == media.sha256
    assert again.suffix == ".png"


@pytest.mark.parametrize("modality", ["video", "3d"])
def test_frames_read_back_in_order_with_every_pixel(modality):
    frames = [gradient(shift=20 * i) for i in range(6)]
    media = Media.of_frames(frames, modality, fps=4)
    again = read_media(media.data, modality)
    assert len(again.frames) == 6
    assert all(np.array_equal(again.array(i), frame) for i, frame in enumerate(frames))
    assert again.fps == pytest.approx(4)


def test_equal_frames_stay_as_many_frames_as_they_were():
    assert len(read_media(Media.of_frames([gradient()] * 5, "video").data, "video").frames) == 5


def test_an_animated_file_read_as_an_image_gives_its_first_frame():
    frames = [gradient(shift=20 * i) for i in range(3)]
    assert np.array_equal(read_media(Media.of_frames(frames, "video").data).array(), frames[0])


def test_sampled_frames_are_the_centres_of_equal_parts():
    media = Media.of_frames([gradient(shift=i) for i in range(8)], "video")
    assert [int(np.asarray(frame)[0, 0, 0]) for frame in media.sampled(4)] == [1, 3, 5, 7]
    assert len(media.sampled(20)) == 8


def test_transparent_pixels_are_white():
    buffer = io.BytesIO()
    Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(buffer, "PNG")
    assert read_media(buffer.getvalue()).array()[0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize("mode", ["L", "P", "1", "CMYK", "I;16", "F", "LA"])
def test_every_kind_of_picture_comes_out_as_rgb(mode):
    buffer = io.BytesIO()
    Image.new("L", (8, 6), 255).convert(mode).save(buffer, "TIFF")
    media = read_media(buffer.getvalue())
    assert media.image.mode == "RGB"
    assert media.image.size == (8, 6)


def test_the_same_picture_gives_the_same_bytes():
    assert Media.of_image(gradient()).data == Media.of_image(Image.fromarray(gradient())).data


@pytest.mark.parametrize(
    "data",
    [b"", b"not a picture", Media.of_image(gradient()).data[:60], b"\x89PNG\r\n\x1a\n" + bytes(50)],
    ids=["empty", "text", "cut", "header only"],
)
def test_what_is_no_picture_is_one_clear_line(data, tmp_path):
    (tmp_path / "x.png").write_bytes(data)
    with pytest.raises(MediaError, match=r"x\.png") as error:
        read_media(tmp_path / "x.png")
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(MediaError, match=r"none\.png: no such file"):
        read_media(tmp_path / "none.png")


def test_a_bomb_is_refused_before_it_is_unpacked():
    side = int(MAX_PIXELS**0.5) + 1000
    buffer = io.BytesIO()
    Image.new("1", (side, side)).save(buffer, "PNG")
    with pytest.raises(MediaError, match=r"pixels|too large"):
        read_media(buffer.getvalue())


@pytest.mark.parametrize(
    ("frames", "modality"), [([], "video"), ([gradient()] * 2, "image"), ([gradient(8), gradient(9)], "video"), ([gradient()], "smell")]
)
def test_frames_that_make_no_media_are_refused(frames, modality):
    with pytest.raises(MediaError):
        Media.of_frames(frames, modality)
