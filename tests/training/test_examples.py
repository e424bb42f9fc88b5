from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from anyscene.errors import MediaError, RecordError, RunError, SpecError
from anyscene.media import Media
from anyscene.training.examples import Batches, Example, Grid, Size, buckets, fit, read_examples, read_size, write_examples


def picture(path: Path, shade: int = 0, size: tuple[int, int] = (8, 6)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (shade, 0, 0)).save(path)
    return path


def named(count: int) -> list[Example]:
    return [Example(f"s{at}", f"caption {at}", Path(f"{at}.png")) for at in range(count)]


# ---- files ----------------------------------------------------------------------------------------------------------------------


def test_what_is_written_is_read_again_and_the_folder_may_move(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    one = picture(folder / "media/a.png", 1)
    other, worse = picture(folder / "media/b.png", 2), picture(folder / "media/c.png", 3)
    examples = [Example("s1", 'a "red" ball – großer', one, 0.25), Example("s2", "a box", other, rejected=worse)]
    path = folder / "rounds/1/examples.jsonl"
    write_examples(path, examples)
    assert [json.loads(line)["file"] for line in path.read_text("utf-8").splitlines()] == ["../../media/a.png", "../../media/b.png"]
    assert [one.path.resolve() for one in read_examples(path)] == [one, other]
    folder.rename(tmp_path / "moved")
    found = read_examples(tmp_path / "moved/rounds/1/examples.jsonl")
    assert [(one.scene, one.caption, one.weight) for one in found] == [(one.scene, one.caption, one.weight) for one in examples]
    assert found[0].rejected is None
    assert found[1].rejected is not None
    assert found[1].rejected.resolve() == tmp_path / "moved/media/c.png"


def test_no_examples_are_a_file_without_lines(tmp_path: Path) -> None:
    write_examples(tmp_path / "none.jsonl", [])
    assert read_examples(tmp_path / "none.jsonl") == []


@pytest.mark.parametrize("which", ["a.png", "b.png"])
def test_a_picture_that_has_changed_is_found(which: str, tmp_path: Path) -> None:
    path = tmp_path / "examples.jsonl"
    write_examples(path, [Example("s", "c", picture(tmp_path / "a.png"), rejected=picture(tmp_path / "b.png"))])
    picture(tmp_path / which, 9)
    with pytest.raises(RecordError, match=rf"line 1: .*{which} is another file than it was"):
        read_examples(path)
    assert len(read_examples(path, verify=False)) == 1
    (tmp_path / which).unlink()
    with pytest.raises(RecordError, match=rf"{which}: the picture of an example cannot be read"):
        read_examples(path)


WEIGHED = '{"scene": "s", "caption": "c", "file": "a.png", "sha256": "0", "weight": VALUE}'


@pytest.mark.parametrize(
    "line", ["{", "[]", '{"scene": "s"}', *(WEIGHED.replace("VALUE", value) for value in ('"x"', "NaN", "-1", "null"))]
)
def test_a_damaged_line_is_named_by_file_and_number(line: str, tmp_path: Path) -> None:
    path = tmp_path / "examples.jsonl"
    write_examples(path, [Example("s", "c", picture(tmp_path / "a.png"))])
    with path.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(RecordError, match=r"examples\.jsonl, line 2: no example"):
        read_examples(path)
    with pytest.raises(RecordError, match=r"gone\.jsonl: the examples cannot be read \(No such file"):
        read_examples(tmp_path / "gone.jsonl")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"examples\.jsonl: the examples cannot be written"):
        write_examples(tmp_path / "file/examples.jsonl", [])


# ---- sizes ----------------------------------------------------------------------------------------------------------------------


def test_sizes_are_read_from_the_heads_of_files(tmp_path: Path) -> None:
    assert read_size(picture(tmp_path / "a.png", size=(20, 10))) == Size(10, 20)
    clip = Media.of_frames([np.full((4, 6, 3), shade, np.uint8) for shade in range(5)], "video")
    (tmp_path / "clip.png").write_bytes(clip.data)
    assert read_size(tmp_path / "clip.png", "video") == Size(4, 6, 5)
    assert read_size(tmp_path / "clip.png") == Size(4, 6)
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(MediaError, match=r"text\.png: cannot be read as a picture"):
        read_size(tmp_path / "text.png")
    with pytest.raises(MediaError, match="no such file"):
        read_size(tmp_path / "gone.png")


def test_pictures_of_the_models_own_size_stay_as_they_are() -> None:
    target = Size(480, 832)
    assert buckets([target, Size(960, 1664)], target, Grid(16)) == [target, target]
    assert buckets([Size(32, 32)], Size(32, 32), Grid(8)) == [Size(32, 32)]


def test_the_bucket_is_the_nearest_shape_of_about_the_targets_area() -> None:
    square, wide, tall, widest = buckets([Size(700, 700), Size(600, 800), Size(1600, 1200), Size(100, 1000)], Size(1024, 1024), Grid(16))
    assert square == Size(1024, 1024)
    assert wide == Size(896, 1152)
    assert tall == Size(1152, 896)
    assert widest == Size(704, 1408)


@given(
    st.lists(st.builds(Size, st.integers(1, 3000), st.integers(1, 3000), st.integers(1, 200)), min_size=1, max_size=20),
    st.sampled_from([(8, 1), (16, 4), (32, 8)]),
    st.integers(2, 40),
    st.integers(2, 40),
    st.integers(0, 10),
)
def test_buckets_are_on_the_grid_no_larger_than_the_target_and_few(
    sizes: list[Size], steps: tuple[int, int], height: int, width: int, frames: int
) -> None:
    grid = Grid(*steps)
    target = Size(height * grid.pixels, width * grid.pixels, 1 + frames * grid.frames)
    found = buckets(sizes, target, grid)
    for size, one in zip(sizes, found, strict=True):
        grid.check(one, "a test")
        assert one.height * one.width <= target.height * target.width
        assert one.frames <= min(size.frames, target.frames)
    assert buckets(sizes[::-1], target, grid) == found[::-1]
    every = [Size(round(100 * 1.01**at), 100) for at in range(-150, 150)]
    assert len(set(buckets(every, target, grid))) <= 40


def test_a_target_off_the_grid_is_refused() -> None:
    with pytest.raises(SpecError, match="fine-tuning with 30 x 32 pixels: height and width must be multiples of 8"):
        buckets([], Size(30, 32), Grid(8))
    with pytest.raises(SpecError, match="with 6 frames: it takes 1 more than a multiple of 4, such as 5"):
        buckets([], Size(32, 32, 6), Grid(8, 4))


def test_a_picture_is_cut_around_its_centre_and_not_distorted() -> None:
    pixels = np.zeros((40, 120, 3), np.uint8)
    pixels[:, 40:80] = 255  # a white square in the middle of a black bar
    (found,) = fit(Media.of_image(pixels), Size(20, 20))
    assert found.size == (20, 20)
    assert np.asarray(found).min() > 230
    (found,) = fit(Media.of_image(pixels), Size(20, 40))
    shown = np.asarray(found)[10, :, 0] > 127
    assert list(np.flatnonzero(shown)) == list(range(10, 30))  # as wide as it is high
    (found,) = fit(Media.of_image(np.swapaxes(pixels, 0, 1).copy()), Size(40, 20))
    assert list(np.flatnonzero(np.asarray(found)[:, 10, 0] > 127)) == list(range(10, 30))


def test_what_fits_is_taken_as_it_is_and_clips_from_their_start() -> None:
    clip = Media.of_frames([np.full((8, 8, 3), shade, np.uint8) for shade in range(7)], "video")
    found = fit(clip, Size(8, 8, 5))
    assert found == clip.frames[:5]
    with pytest.raises(MediaError, match="a clip of 7 frames where 9 are learnt from"):
        fit(clip, Size(8, 8, 9))


# ---- batches --------------------------------------------------------------------------------------------------------------------


def test_within_an_epoch_every_example_comes_once() -> None:
    examples = named(10)
    batches = Batches(examples, [Size(8, 8)] * 10, 4, seed=0)
    taken = [one for update in range(10) for one in batches.at(update).examples]
    for epoch in range(4):
        assert sorted(one.scene for one in taken[10 * epoch : 10 * epoch + 10]) == sorted(one.scene for one in examples)
    assert taken[:10] != taken[10:20]
    assert {len(batches.at(update).examples) for update in range(10)} == {4}


def test_a_batch_is_the_same_whatever_was_asked_for_before() -> None:
    sizes = [Size(8, 8), Size(8, 16), Size(16, 8)] * 7
    straight, late = (Batches(named(21), sizes, 4, seed=3) for _ in range(2))
    found = [straight.at(update) for update in range(50)]
    assert late.at(49) == found[49]
    assert [late.at(update) for update in reversed(range(50))] == found[::-1]
    assert [Batches(named(21), sizes, 4, seed=4).at(update).examples for update in range(5)] != [one.examples for one in found[:5]]


def test_a_batch_has_one_size_and_buckets_come_as_often_as_they_are_large() -> None:
    sizes = [Size(8, 8)] * 30 + [Size(8, 16)] * 9 + [Size(16, 8)] * 1
    examples = named(40)
    of = {one.scene: size for one, size in zip(examples, sizes, strict=True)}
    batches = Batches(examples, sizes, 4, seed=0)
    for update in range(100):
        batch = batches.at(update)
        assert {of[one.scene] for one in batch.examples} == {batch.size}
    times = Counter(one.scene for update in range(100) for one in batches.at(update).examples)
    assert min(times.values()) >= 8
    assert max(times.values()) <= 12
    assert len(times) == 40
    shares = Counter(batches.at(update).size for update in range(40))
    assert shares == {Size(8, 8): 30, Size(8, 16): 9, Size(16, 8): 1}


def test_a_batch_may_be_larger_than_its_bucket() -> None:
    batch = Batches(named(3), [Size(8, 8)] * 3, 7, seed=0).at(0)
    assert sorted(Counter(one.scene for one in batch.examples).values()) == [2, 2, 3]


def test_nothing_to_learn_from_is_refused() -> None:
    with pytest.raises(SpecError, match="no examples"):
        Batches([], [], 4, seed=0)
