"""Pictures of every shape that trainers have become the same media."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from anyscene.errors import MediaError, SpecError
from anyscene.media import Media
from anyscene.rewards.picture_statistics import picture_statistics, thumbnail
from anyscene.rewards.pictures import batch_of, media_of

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)


class Tensor:
    """What a tensor looks like from outside."""

    def __init__(self, array):
        self.array, self.shape = array, array.shape

    def detach(self):
        return self

    def cpu(self):
        return self

    def is_floating_point(self):
        return np.issubdtype(self.array.dtype, np.floating)

    def float(self):
        return Tensor(self.array.astype(np.float32))

    def numpy(self):
        return self.array

    def __getitem__(self, place):
        return Tensor(self.array[place])


@pytest.mark.parametrize(
    "picture",
    [
        Media.of_image(PIXELS),
        Image.fromarray(PIXELS),
        PIXELS,
        np.moveaxis(PIXELS, -1, 0),
        PIXELS.astype(np.float32) / 255,
        Tensor(np.moveaxis(PIXELS, -1, 0)),
        Tensor(np.moveaxis(PIXELS, -1, 0).astype(np.float16) / 255),
        Tensor(PIXELS),
    ],
    ids=["media", "pil", "hwc", "chw", "float hwc", "tensor chw", "half tensor", "tensor hwc"],
)
def test_every_shape_gives_the_same_pixels(picture):
    assert (media_of(picture).array() == PIXELS).all()


def test_square_pictures_of_three_pixels_are_read_by_their_kind():
    cube = RNG.integers(0, 256, (3, 3, 3), dtype=np.uint8)
    assert (media_of(cube).array() == cube).all()
    assert (media_of(Tensor(cube)).array() == np.moveaxis(cube, 0, -1)).all()


def test_grey_pictures_and_clips():
    assert (media_of(PIXELS[..., 0]).array() == PIXELS[..., :1]).all()
    clip = media_of(np.stack([PIXELS, PIXELS[::-1]]))
    assert clip.modality == "video" and len(clip.frames) == 2
    frames = media_of(Tensor(np.moveaxis(np.stack([PIXELS] * 4), -1, 1)))  # (time, channels, height, width)
    assert len(frames.frames) == 4 and (frames.array(3) == PIXELS).all()


def test_floats_are_rounded_as_trainers_do_and_may_overshoot_a_little():
    assert media_of(np.full((2, 2, 3), 0.5, dtype=np.float32)).array()[0, 0, 0] == 128
    assert media_of(np.full((2, 2, 3), 1.004)).array()[0, 0, 0] == 255


@pytest.mark.parametrize(
    "wrong",
    [
        np.full((4, 4, 3), -1.0),
        np.full((4, 4, 3), 255.0),
        np.full((4, 4, 3), np.nan),
        np.zeros((4, 4, 3), dtype=np.int64),
        np.zeros((5, 5, 7), dtype=np.uint8),
        np.zeros(4, dtype=np.uint8),
        "picture.png",
    ],
    ids=["from -1", "to 255", "nan", "int64", "no channels", "one axis", "text"],
)
def test_what_is_no_picture_is_refused(wrong):
    with pytest.raises(MediaError):
        media_of(wrong)


def test_none_stays_none():
    assert media_of(None) is None


def test_batches_are_cut_along_their_first_axis():
    assert len(batch_of(np.zeros((5, 4, 4, 3), dtype=np.uint8))) == 5
    assert len(batch_of(Tensor(np.zeros((2, 3, 4, 4))))) == 2
    assert batch_of((1, None)) == [1, None]
    with pytest.raises(SpecError, match="axis"):
        batch_of(np.zeros((4, 4, 3), dtype=np.uint8))


def test_statistics_of_plain_pictures_are_what_they_should_be():
    white, red = Media.of_image(np.full((8, 8, 3), 255, dtype=np.uint8)), Media.of_image(np.full((8, 8, 3), (255, 0, 0), dtype=np.uint8))
    assert picture_statistics(white)["brightness"] == pytest.approx(1.0)
    assert picture_statistics(white)["saturation"] == 0.0
    assert picture_statistics(white)["entropy"] == 0.0
    assert picture_statistics(red)["saturation"] == 1.0
    assert picture_statistics(red)["brightness"] == pytest.approx(0.299)
    half = np.zeros((64, 64, 3), dtype=np.uint8)
    half[:, 32:] = 255
    found = picture_statistics(Media.of_image(half))
    assert found["contrast"] == pytest.approx(0.5) and found["entropy"] == pytest.approx(1.0)
    assert found["sharpness"] == pytest.approx(1 / 63 / 2)
    assert thumbnail(white).shape == (16 * 16 * 3,) and (thumbnail(white) == 1).all()
