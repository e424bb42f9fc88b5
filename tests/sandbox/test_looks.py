from __future__ import annotations

import colorsys
from itertools import combinations

import numpy as np
import pytest

from anyscene.sandbox import load_sandbox_taxonomy, looks


def values(kind):
    taxonomy = load_sandbox_taxonomy()
    number = taxonomy.attribute_types.names.index(kind)
    return tuple(value for value, own in zip(taxonomy.attributes.values, taxonomy.attributes.type_index, strict=True) if own == number)


def scene_values(kind):
    taxonomy = load_sandbox_taxonomy()
    number = taxonomy.scene_attribute_types.names.index(kind)
    return tuple(v for v, own in zip(taxonomy.scene_attributes.values, taxonomy.scene_attributes.type_index, strict=True) if own == number)


def test_every_word_of_the_vocabulary_has_a_look_and_every_look_a_word():
    taxonomy = load_sandbox_taxonomy()
    assert taxonomy.objects.names == looks.SHAPES
    assert values("color") == tuple(looks.COLORS)
    assert values("pattern") == looks.PATTERNS
    assert set(values("material")) == set(looks.MATERIALS)
    assert values("size") == looks.SIZES
    assert scene_values("background") == tuple(looks.BACKGROUNDS)
    assert scene_values("background_pattern") == looks.BACKGROUND_PATTERNS
    assert scene_values("frame") == tuple(looks.FRAMES)
    assert scene_values("camera_movement") == looks.CAMERA_MOVEMENTS
    assert scene_values("transition") == looks.TRANSITIONS


def test_colors_are_those_that_the_vocabulary_states():
    attributes = load_sandbox_taxonomy().attributes
    stated = {value: color for value, color in zip(attributes.values, attributes.hex, strict=True) if color}
    assert stated == {name: "#{:02x}{:02x}{:02x}".format(*rgb) for name, rgb in looks.COLORS.items()}


def test_colors_are_far_apart_in_hue_and_backgrounds_have_none():
    hues = sorted(colorsys.rgb_to_hsv(*(level / 255 for level in rgb))[0] * 360 for rgb in looks.COLORS.values())
    gaps = [b - a for a, b in zip(hues, [*hues[1:], hues[0] + 360], strict=True)]
    assert min(gaps) > 20
    assert all(max(rgb) == min(rgb) for rgb in looks.BACKGROUNDS.values())


@pytest.mark.parametrize("shape", looks.SHAPES)
def test_every_outline_fills_its_box_and_stays_in_it(shape):
    grid = np.linspace(-1.2, 1.2, 481)
    filled = looks.inside(shape, grid[None, :], grid[:, None])
    rows, columns = grid[filled.any(axis=1)], grid[filled.any(axis=0)]
    assert rows.min() >= -1.03 and rows.max() <= 1.03
    assert columns.min() >= -1.03 and columns.max() <= 1.03
    assert rows.max() - rows.min() >= 1.7
    assert columns.max() - columns.min() >= 1.35
    assert 0.25 < filled.mean() * (2.4 / 2) ** 2 < 0.85


def test_no_two_outlines_are_alike():
    grid = np.linspace(-1, 1, 101)
    filled = {shape: looks.inside(shape, grid[None, :], grid[:, None]) for shape in looks.SHAPES}
    for one, other in combinations(looks.SHAPES, 2):
        union = (filled[one] | filled[other]).sum()
        assert (filled[one] & filled[other]).sum() / union < 0.87, (one, other)


def test_patterns_mark_part_of_a_thing_and_differ():
    grid = np.linspace(-0.99, 0.99, 100)
    marks = {pattern: looks.marked(pattern, grid[None, :], grid[:, None]) for pattern in looks.PATTERNS}
    assert not marks["plain"].any()
    assert all(0.2 < marks[pattern].mean() < 0.6 for pattern in looks.PATTERNS[1:])
    for one, other in combinations(looks.PATTERNS, 2):
        assert (marks[one] != marks[other]).mean() > 0.2


def test_the_renderer_keeps_clear_of_the_bounds_that_are_measured_by():
    assert looks.DRAWN_AHEAD > looks.AHEAD
    assert looks.DRAWN_NEXT_TO < looks.NEXT_TO
    assert looks.DRAWN_LARGER > looks.LARGER
    assert looks.SMALL_TO < looks.LARGE_FROM


@pytest.mark.parametrize(
    "call",
    [
        lambda: looks.inside("blob", np.zeros(1), np.zeros(1)),
        lambda: looks.marked("tartan", np.zeros(1), np.zeros(1)),
        lambda: looks.background_marked("tartan", np.zeros(1), np.zeros(1)),
    ],
)
def test_unknown_words_have_no_look(call):
    with pytest.raises(KeyError):
        call()
