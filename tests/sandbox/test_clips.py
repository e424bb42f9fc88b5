from __future__ import annotations

import itertools

import pytest
from PIL import Image

from anyscene.sandbox import looks
from anyscene.sandbox.clips import movement_chances, transition_chances
from anyscene.sandbox.renderer import render_clip
from anyscene.sandbox.segmentation import picture_of
from anyscene.scene.graph import Object, SceneAttribute, SceneGraph


def clip(movement="", transition="", background="white", seed=0, **options):
    whole = (("background", background), ("camera_movement", movement), ("transition", transition))
    graph = SceneGraph((Object("o0", "star"), Object("o1", "ring")), (), tuple(SceneAttribute(*one) for one in whole if one[1]))
    return [Image.fromarray(frame.image) for frame in render_clip(graph, seed, **options)]


def likeliest(chances):
    assert sum(chances.values()) == pytest.approx(1)
    return max(chances, key=chances.__getitem__)


@pytest.mark.parametrize("background", looks.BACKGROUNDS)
def test_every_movement_with_every_ending_is_seen(background):
    endings = ("", *looks.TRANSITIONS)
    for seed, (movement, transition) in enumerate(itertools.product(("", *looks.CAMERA_MOVEMENTS), endings)):
        frames = clip(movement, transition, background, seed)
        assert likeliest(movement_chances(frames, picture_of(frames[0]))) == movement
        assert likeliest(transition_chances(frames, movement)) == transition, movement


@pytest.mark.parametrize(("size", "frames"), [(32, 8), (128, 16), (48, 5), (64, 25)])
def test_clips_of_other_sizes_and_lengths_are_seen(size, frames):
    for movement, transition in zip(looks.CAMERA_MOVEMENTS, looks.TRANSITIONS, strict=True):
        shown = clip(movement, transition, seed=3, size=size, frames=frames)
        assert likeliest(movement_chances(shown, picture_of(shown[0]))) == movement
        assert likeliest(transition_chances(shown, movement)) == transition


def test_a_clip_of_two_frames_shows_its_movement():
    shown = clip("zoom in", seed=5, frames=2)
    assert likeliest(movement_chances(shown, picture_of(shown[0]))) == "zoom in"
    assert likeliest(transition_chances(shown, "zoom in")) == ""
