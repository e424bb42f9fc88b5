"""Degradations keep the size; what is done at random depends on seed, step and place alone."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from anyscene.errors import SpecError
from anyscene.moderation.degrade import SWEEP, Augmentation, augment, check_degradation, degrade, fit


def noise(width: int = 40, height: int = 32, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def energy(image: Image.Image) -> float:
    return float(np.asarray(image, dtype=np.float64).std())


@pytest.mark.parametrize("name", SWEEP)
def test_a_degraded_picture_has_its_size_and_fewer_details(name: str) -> None:
    found = degrade(noise(), name)
    assert found.size == (40, 32) and found.mode == "RGB"
    assert 0 < energy(found) < energy(noise())


def test_no_degradation_changes_nothing() -> None:
    assert degrade(noise(), "").tobytes() == noise().tobytes()


def test_more_of_a_degradation_takes_more() -> None:
    for kind, values in (("jpeg", (95, 75, 50)), ("resize", (0.75, 0.5)), ("blur", (0.5, 1, 2))):
        lost = [np.abs(np.asarray(degrade(noise(), f"{kind}:{value}"), float) - np.asarray(noise(), float)).mean() for value in values]
        assert lost == sorted(lost)


@pytest.mark.parametrize("name", ["jpeg", "jpeg:0", "resize:2", "blur:x", "noise:1", "blur:nan"])
def test_a_wrong_degradation_is_refused(name: str) -> None:
    with pytest.raises(SpecError, match="it must be jpeg"):
        check_degradation(name)


def test_a_square_is_cut_out_and_only_small_pictures_are_scaled() -> None:
    image = noise()
    assert fit(image, 32).tobytes() == image.crop((4, 0, 36, 32)).tobytes()
    assert fit(image, 16, (0.0, 1.0)).tobytes() == image.crop((0, 16, 16, 32)).tobytes()
    assert fit(image, 64).size == (64, 64)
    assert fit(noise(200, 10), 32).size == (32, 32)


def test_augmentation_is_a_function_of_seed_step_and_place() -> None:
    image, how = noise(48, 48), Augmentation(resize=0.5, blur=0.5, jpeg=0.5)
    first = augment(image, 32, how, 1, 2, 3)
    assert first.size == (32, 32)
    assert augment(image, 32, how, 1, 2, 3).tobytes() == first.tobytes()
    for other in ((0, 2, 3), (1, 3, 3), (1, 2, 4)):
        assert augment(image, 32, how, *other).tobytes() != first.tobytes()


def test_what_is_done_does_not_depend_on_the_picture() -> None:
    ones, twos = Image.new("RGB", (32, 32), "white"), noise(32, 32)
    how = Augmentation(flip=0.5, crop=0, resize=0, blur=0, jpeg=0)
    flipped = [augment(twos, 32, how, 0, step, 0).tobytes() != twos.tobytes() for step in range(40)]
    assert 8 < sum(flipped) < 32
    again = Image.fromarray(np.asarray(ones) // 2 + np.asarray(twos) // 2)
    assert [augment(again, 32, how, 0, step, 0).tobytes() != again.tobytes() for step in range(40)] == flipped


def test_a_probability_out_of_range_is_refused() -> None:
    with pytest.raises(SpecError, match=r"augmentation\.blur"):
        Augmentation(blur=1.5)
