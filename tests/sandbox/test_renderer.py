from __future__ import annotations

import numpy as np
import pytest

from anyscene.errors import SpecError
from anyscene.language import parse
from anyscene.sandbox import load_sandbox_taxonomy, looks
from anyscene.sandbox.layout import UnsatisfiableSceneError
from anyscene.sandbox.renderer import describe, render, render_clip, render_seen, render_views
from anyscene.scene.graph import Attribute, SceneGraph


def scene(caption):
    return parse(caption, load_sandbox_taxonomy())


STILL = "A red circle is to the left of a blue striped square. The scene is shown on a white background."


@pytest.mark.parametrize("size", [16, 32, 64, 129, 300])
def test_pictures_have_any_size_and_the_colors_asked_for(size):
    drawn = render(scene("There is a large red heart. The scene is shown on a black background, inside a green frame."), 2, size)
    assert drawn.image.shape == (size, size, 3) and drawn.image.dtype == np.uint8
    middle = drawn.image[drawn.masks[0]].reshape(-1, 3)
    assert np.median(middle, axis=0) == pytest.approx(looks.COLORS["red"], abs=3)
    assert drawn.image[0, 0] == pytest.approx(looks.COLORS["green"], abs=60 if size < 32 else 3)


def test_masks_and_boxes_are_where_the_things_are(sandbox_records):
    for record in sandbox_records(60, seed=2):
        drawn = render(SceneGraph.from_dict(record["graph"]), 1, 128)
        assert len(drawn.masks) == len(drawn.boxes) == len(drawn.seen.things)
        assert drawn.masks.sum(axis=0).max() == 1
        for mask, (left, top, right, bottom), thing in zip(drawn.masks, drawn.boxes, drawn.seen.things, strict=True):
            rows, columns = np.nonzero(mask)
            assert left - 0.5 <= columns.min() + 0.5 and columns.max() + 0.5 <= right + 0.5
            assert top - 0.5 <= rows.min() + 0.5 and rows.max() + 0.5 <= bottom + 0.5
            if thing.pattern == "plain" and thing.material == "paper":
                assert np.median(drawn.image[mask], axis=0) == pytest.approx(looks.COLORS[thing.color], abs=1)


def test_edges_are_soft():
    drawn = render(scene("There is a red circle. The scene is shown on a white background."), 0, 64)
    greens = np.unique(drawn.image[:, :, 1])
    assert len(greens) > 6


def test_pixels_depend_on_graph_seed_and_size_alone():
    graph = scene(STILL)
    assert np.array_equal(render(graph, 3, 48).image, render(graph, 3, 48).image)
    assert len({render(graph, seed, 48).image.tobytes() for seed in range(10)}) == 10


def test_patterns_and_metal_can_be_seen():
    def levels(words):
        drawn = render(scene(f"There is a {words} square. The scene is shown on a white background."), 1, 128)
        return drawn.image[drawn.masks[0]].astype(int), drawn

    striped, _ = levels("blue striped")
    dark = np.array(looks.mark_color("blue", "striped"))
    assert 0.3 < (np.abs(striped - dark).max(axis=1) < 12).mean() < 0.55
    metal, drawn = levels("blue metal")
    rows = np.nonzero(drawn.masks[0])[0]
    assert metal[rows < np.median(rows)].mean() > metal[rows > np.median(rows)].mean() + 50


def test_what_the_graph_leaves_open_differs_from_seed_to_seed():
    graph = scene("There is a heart.")
    seen = [describe(graph, seed) for seed in range(200)]
    assert {one.things[0].color for one in seen} == set(looks.COLORS)
    assert {one.background for one in seen} == set(looks.BACKGROUNDS)
    assert {(one.things[0].pattern, one.frame, one.background_pattern) for one in seen} == {("plain", "", "plain")}


def test_the_first_frame_and_the_front_view_are_the_picture(sandbox_records):
    for record in sandbox_records(20, seed=3, scene_attributes=(1, 2), modality="video"):
        graph = SceneGraph.from_dict(record["graph"])
        picture = render(graph, 1, 64).image
        assert np.array_equal(render_clip(graph, 1, 64)[0].image, picture)
        assert np.array_equal(render_views(graph, 1, 64, 3)[0].image, picture)


@pytest.mark.parametrize(
    ("movement", "wider", "moved"),
    [("zooming in", 1.35, 0), ("zooming out", 1 / 1.35, 0), ("panning left", 1, 0.3), ("panning right", 1, -0.3)],
)
def test_cameras_move_as_they_are_told(movement, wider, moved):
    frames = render_clip(scene(f"There is a red circle. The scene is shown with the camera {movement}."), 0, 64, 5)
    before, after = frames[0].seen.things[0], frames[-1].seen.things[0]
    assert after.width / before.width == pytest.approx(wider)
    assert (after.x - 0.5) - (before.x - 0.5) * wider == pytest.approx(moved)
    assert not np.array_equal(frames[0].image, frames[1].image)


@pytest.mark.parametrize(
    ("change", "level"), [("fade to black", 22), ("fade to white", 250), ("wipe to black", 22), ("wipe to white", 250)]
)
def test_clips_end_as_they_are_told(change, level):
    frames = render_clip(scene(f"There is a red circle. The scene is shown with a {change} at the end."), 0, 64, 8)
    assert len(frames) == 8
    assert np.array_equal(frames[0].image, frames[3].image)
    assert (frames[-1].image == level).all()
    half = frames[5].image.astype(int) - frames[0].image
    assert half[:, 0].any() and (half[:, -1].any() == change.startswith("fade"))


def test_views_turn_the_things_and_hide_some_behind_others():
    graph = SceneGraph.of_words(["star", "ring", "circle", "arrow"], [(Attribute("count", "four"),)] * 4, [], [])
    views = render_views(graph, 0, 96, 8)
    assert len(views) == 8
    side, back = views[2].seen.things, views[4].seen.things
    for front, thing, behind in zip(views[0].seen.things, side, back, strict=True):
        assert thing.width == pytest.approx(0, abs=1e-9)
        assert thing.x - 0.5 == pytest.approx(front.depth)
        assert behind.x - 0.5 == pytest.approx(0.5 - front.x)
    assert all(view.masks.sum(axis=0).max() == 1 for view in views)
    assert views[0].masks.sum() > 1.2 * views[2].masks.sum() > 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda graph: render(graph, size=15), "a picture of 15 pixels a side: it needs at least 16"),
        (lambda graph: render_clip(graph, frames=1), "a clip of 1 frames: it needs at least 2"),
        (lambda graph: render_views(graph, views=0), "0 views: at least one is needed"),
        (lambda graph: render_seen(describe(graph), modality="sound"), "modality 'sound'"),
    ],
)
def test_impossible_sizes_and_numbers_are_refused(call, message):
    with pytest.raises(SpecError, match=message):
        call(scene(STILL))


@pytest.mark.parametrize(
    ("name", "attribute", "message"),
    [
        ("dog", (), "the shape 'dog' is not one of the sandbox"),
        ("star", (Attribute("color", "beige"),), "the color 'beige' is not one of the sandbox; it has red"),
    ],
)
def test_words_of_other_vocabularies_are_refused(name, attribute, message):
    with pytest.raises(UnsatisfiableSceneError, match=message):
        render(SceneGraph.of_words([name], [attribute], [], []))
