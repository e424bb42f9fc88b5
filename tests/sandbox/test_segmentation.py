from __future__ import annotations

import itertools

import numpy as np
import pytest

from anyscene.sandbox import looks
from anyscene.sandbox.drawing import draw
from anyscene.sandbox.looks import Seen, Thing
from anyscene.sandbox.segmentation import chroma_of, divide, picture_of, segment

THINGS = (
    Thing("circle", "red", "striped", "paper", 0.25, 0.3, 0.25, 0.25),
    Thing("ring", "turquoise", "plain", "metal", 0.7, 0.25, 0.25, 0.25),
    Thing("star", "yellow", "dotted", "paper", 0.5, 0.75, 0.3, 0.3),
)


def picture(things, size=64, **whole):
    canvas, _ = draw(Seen(tuple(things), **whole), size)
    return np.clip(canvas + 0.5, 0, 255).astype(np.uint8)


def likeliest(chances):
    return max(chances, key=chances.__getitem__)


def test_chroma_is_zero_for_grey_and_keeps_its_angle_in_light_and_shade():
    assert np.allclose(chroma_of(np.full((2, 3), 77, dtype=np.float32)), 0, atol=1e-4)
    color = np.array(looks.COLORS["purple"], dtype=np.float32)
    plain, pale, dark = chroma_of(color), chroma_of(0.5 * color + 127), chroma_of(0.4 * color)
    assert np.allclose(pale, 0.5 * plain, atol=1e-3)
    assert np.allclose(dark, 0.4 * plain, atol=1e-3)


@pytest.mark.parametrize("size", [32, 64, 128, 300])
def test_every_background_pattern_and_frame_is_read(size):
    for background, pattern, frame in itertools.product(looks.BACKGROUNDS, looks.BACKGROUND_PATTERNS, ("", *looks.FRAMES)):
        shown = picture_of(picture(THINGS, size, background=background, background_pattern=pattern, frame=frame))
        found = {kind: likeliest(shown.chances[kind]) for kind in shown.chances}
        assert found == {"background": background, "background_pattern": pattern, "frame": frame}


def test_a_patterned_thing_is_one_blob():
    labels, blobs = segment(picture_of(picture(THINGS)))
    assert len(blobs) == 3
    assert labels.shape == (64, 64)
    middles = sorted(((b.left + b.right) / 128, (b.top + b.bottom) / 128) for b in blobs)
    assert np.allclose(middles, sorted((one.x, one.y) for one in THINGS), atol=0.03)


def test_things_of_other_colors_that_touch_are_two_blobs():
    pair = (Thing("square", "red", "plain", "paper", 0.35, 0.5, 0.3, 0.3), Thing("square", "blue", "plain", "paper", 0.61, 0.5, 0.3, 0.3))
    _, blobs = segment(picture_of(picture(pair)))
    assert len(blobs) == 2


def test_a_blob_that_is_held_together_by_a_thin_part_falls_in_two():
    pair = [Thing("circle", "red", "plain", "paper", x, 0.5, 0.3, 0.3) for x in (0.35, 0.648)]
    shown = picture_of(picture(pair))
    labels, blobs = segment(shown)
    assert len(blobs) == 1
    divided = [found for depth in range(6) if (found := divide(shown, labels, blobs[0], depth)) is not None]
    assert divided
    relabelled, parts = divided[0]
    assert len(parts) == 2
    assert sum(part.size for part in parts) == blobs[0].size
    assert {part.label for part in parts} <= set(np.unique(relabelled).tolist())


def test_specks_are_no_blobs():
    shown = picture(THINGS).copy()
    shown[2:4, 2:4] = looks.COLORS["green"]
    _, blobs = segment(picture_of(shown))
    assert len(blobs) == 3


def test_an_unsettled_background_says_so():
    ramp = np.repeat(np.linspace(0, 255, 64)[None, :, None], 64, axis=0).repeat(3, axis=2).astype(np.uint8)
    assert picture_of(ramp).settled < 0.6
    assert picture_of(picture(THINGS, background_pattern="checkered")).settled > 0.95
