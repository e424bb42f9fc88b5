from __future__ import annotations

import itertools

import numpy as np
import pytest

from anyscene.sandbox import looks
from anyscene.sandbox.drawing import draw
from anyscene.sandbox.fitting import see
from anyscene.sandbox.looks import Seen, Thing

KINDS = ("shape", "color", "pattern", "material")


def picture(things, size=64, **whole):
    canvas, _ = draw(Seen(tuple(things), **whole), size)
    return np.clip(canvas + 0.5, 0, 255).astype(np.uint8)


def thing(shape="circle", color="red", pattern="plain", material="paper", x=0.5, y=0.5, width=0.25):
    return Thing(shape, color, pattern, material, x, y, width, width)


def one(seen):
    assert len(seen.things) == 1, seen
    return seen.things[0]


@pytest.mark.parametrize("shape", looks.SHAPES)
def test_every_shape_in_every_color_pattern_and_material_is_told(shape):
    backgrounds = itertools.cycle(looks.BACKGROUNDS)
    for number, (color, pattern, material) in enumerate(itertools.product(looks.COLORS, looks.PATTERNS, looks.MATERIALS)):
        drawn = thing(shape, color, pattern, material, x=0.41 + number % 5 * 0.031, y=0.52 + number % 7 * 0.013)
        found = one(see(picture([drawn], 64, background=next(backgrounds))).seen)
        assert all(getattr(found, kind) == getattr(drawn, kind) for kind in KINDS), (drawn, found)


@pytest.mark.parametrize("size", [24, 32, 48, 64, 96, 128, 200, 512])
def test_place_and_size_are_measured_at_any_size_of_the_picture(size):
    for shape in looks.SHAPES:
        drawn = thing(shape, "green", x=0.37, y=0.61, width=0.31)
        found = one(see(picture([drawn], size, background="white")).seen)
        assert found.shape == shape
        assert max(abs(found.x - drawn.x), abs(found.y - drawn.y)) < 0.25 / min(size, 128)
        assert abs(found.width / drawn.width - 1) < 0.03


@pytest.mark.parametrize("shape", looks.SHAPES)
def test_the_smallest_things_of_small_pictures_are_told(shape):
    right = 0
    for number in range(16):
        drawn = thing(shape, "blue", x=0.3 + number * 0.017, y=0.6 - number * 0.011, width=0.14)
        right += one(see(picture([drawn], 32, background="light grey")).seen).shape == shape
    assert right >= 15


@pytest.mark.parametrize("gap", [0.032, 0.05])
def test_things_of_one_color_side_by_side_stay_apart(gap):
    for first, second in itertools.product(("square", "circle", "star"), repeat=2):
        pair = [thing(first, "pink", x=0.38 - gap / 2, width=0.24), thing(second, "pink", x=0.62 + gap / 2, width=0.24)]
        found = see(picture(pair, 32, background="dark grey")).seen
        assert sorted(one.shape for one in found.things) == sorted((first, second))


def test_things_that_touch_are_taken_apart():
    for first, second, color in itertools.product(("square", "circle", "heart"), ("circle", "diamond"), ("blue", "red")):
        pair = [thing(first, "red", x=0.35, width=0.29), thing(second, color, x=0.642, width=0.3)]
        found = see(picture(pair, 64, background="black")).seen
        assert sorted((one.shape, one.color) for one in found.things) == sorted([(first, "red"), (second, color)])


def test_chances_add_up_and_are_graded_where_a_picture_is_bad():
    clean = picture([thing("star", "orange", x=0.5, width=0.16)], 32, background="white")
    sure = see(clean).fits[0]
    draws = np.random.default_rng(4)
    unsure = [see(np.clip(clean + draws.normal(0, 45, clean.shape), 0, 255).astype(np.uint8)).fits for _ in range(8)]
    worst = [max(fits[0].thing.chances["shape"].values()) for fits in unsure if fits]
    for fit in [sure, *(fits[0] for fits in unsure if fits)]:
        for values in fit.thing.chances.values():
            assert sum(values.values()) == pytest.approx(1.0)
    assert sure.thing.chances["shape"]["star"] > 0.99
    assert len(worst) >= 4
    assert np.mean(worst) < 0.9


@pytest.mark.parametrize("shift", [(18, -12, 8), (-20, 14, -10)])
def test_colors_that_are_a_little_off_keep_their_name(shift):
    for color in looks.COLORS:
        shown = picture([thing("heart", color)], 64, background="white").astype(int) + np.array(shift)
        assert one(see(np.clip(shown, 0, 255).astype(np.uint8)).seen).color == color


def test_noise_is_explained_by_nothing():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    assert see(noise).explained < 0.2
    assert see(picture([thing()], 64)).explained > 0.9


@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 300, 3), (300, 2, 3), (24, 60, 3)])
def test_pictures_of_any_form_are_looked_at(shape):
    for level in (0, 130, 255):
        assert see(np.full(shape, level, dtype=np.uint8)).seen.things == ()
