"""Output folders of other benchmarks: whose each file is, what is missing, left over, twice or damaged; and into a run."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from anyscene.benchmarks.benchmark import Items, make_record
from anyscene.benchmarks.layouts import LAYOUTS, Layout, LayoutModel, place_media, read_layout
from anyscene.benchmarks.tiles import PADDING, looks_padded, padded_together, tile_boxes
from anyscene.errors import MediaError, ModelError, RecordError, SpecError
from anyscene.media import MediaFolder
from anyscene.models import Failure, Model
from anyscene.models.painting import media_seed, paint
from anyscene.models.protocol import Finds

SIDE = 24
COLORS = ((200, 30, 30), (30, 200, 30), (30, 30, 200), (200, 200, 30))


def items(benchmark: str, *names: tuple[str, str], modality: str = "image", **extra: Any) -> Items:
    """Of (item id, prompt)."""
    records = [make_record(benchmark, id, at, prompt, modality=modality) for at, (id, prompt) in enumerate(names)]
    return Items(benchmark, tuple(records), {record["id"]: {"item_id": names[at][0], **extra} for at, record in enumerate(records)})


def picture(path: Path, color: tuple[int, int, int] = COLORS[0], size: tuple[int, int] = (SIDE, SIDE)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(path)
    return path


def grid(path: Path, *, padded: bool, side: int = SIDE, seed: int = 0, ground: int = 0) -> Path:
    """Four noisy tiles of four colours; with torchvision's padding or without."""
    gap = PADDING if padded else 0
    size = 2 * side + 3 * gap
    whole = np.full((size, size, 3), ground, dtype=np.uint8)
    rng = np.random.default_rng(seed)
    for at, color in enumerate(COLORS):
        top, left = gap + at // 2 * (side + gap), gap + at % 2 * (side + gap)
        noise = rng.integers(-20, 20, (side, side, 3))
        whole[top : top + side, left : left + side] = np.clip(np.array(color) + noise, 0, 255)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(whole).save(path, quality=95)
    return path


DPG = items("dpg", ("whoops_1", "a long prompt"), ("12", "another long prompt"))
GENEVAL = items("geneval", ("00000", "a photo of a bench"), ("00001", "a photo of a cow"))


def of(layout: Layout) -> dict[tuple[str, int], str]:
    return {key: unit.path.relative_to(layout.root).as_posix() for key, unit in layout.units.items()}


# ---- tiles ------------------------------------------------------------------------------------------------------------------


def test_where_tiles_lie() -> None:
    assert tile_boxes(2048, 2048, False) == ((0, 0, 1024, 1024), (1024, 0, 2048, 1024), (0, 1024, 1024, 2048), (1024, 1024, 2048, 2048))
    assert tile_boxes(2054, 2054, True) == ((2, 2, 1026, 1026), (1028, 2, 2052, 1026), (2, 1028, 1026, 2052), (1028, 1028, 2052, 2052))
    assert tile_boxes(2054, 2054, True, "official") == tile_boxes(2048, 2048, False)
    assert tile_boxes(10, 20, False)[3] == (5, 10, 10, 20)


@pytest.mark.parametrize(("size", "padded"), [((7, 8), False), ((1, 1), False), ((7, 7), True), ((6, 6), True)])
def test_no_grid_is_refused(size: tuple[int, int], padded: bool) -> None:
    with pytest.raises(MediaError, match="are no grid"):
        tile_boxes(*size, padded)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("ground", [0, 255])
def test_padding_is_seen(tmp_path: Path, suffix: str, ground: int) -> None:
    path = grid(tmp_path / f"a.{suffix}", padded=True, ground=ground)
    with Image.open(path) as padded, Image.open(grid(tmp_path / f"b.{suffix}", padded=False, side=27)) as plain:
        assert looks_padded(padded) and not looks_padded(plain)
    assert not looks_padded(Image.new("RGB", (54, 54)))  # all of one colour says nothing


def test_files_of_one_size_decide_together(tmp_path: Path) -> None:
    dark = np.zeros((54, 54, 3), dtype=np.uint8)
    dark[20:24, 20:24] = 200  # dark edges everywhere, as if it were padded
    Image.fromarray(dark).save(tmp_path / "dark.png")
    grid(tmp_path / "plain.png", padded=False, side=27)
    grid(tmp_path / "padded.png", padded=True, side=30)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    assert padded_together([tmp_path / "dark.png"]) == {(54, 54): True}
    assert padded_together(sorted(tmp_path.iterdir())) == {(54, 54): False, (66, 66): True}


@pytest.mark.parametrize("padded", [False, True])
def test_grids_are_cut_into_their_tiles(tmp_path: Path, padded: bool) -> None:
    for name in ("whoops_1", "12"):
        grid(tmp_path / f"{name}.png", padded=padded)
    found = read_layout(tmp_path, DPG, samples=4)
    assert found.name == "dpg" and found.complete and found.expected == 8
    assert bool(found.notes) == padded and (not padded or "2-pixel padding" in found.line())
    model = LayoutModel(found)
    for (record, sample), unit in found.units.items():
        mean = model.media_of(unit).array().reshape(-1, 3).mean(axis=0)
        assert np.abs(mean - COLORS[sample]).max() < 4, (record, sample)
        assert model.media_of(unit).image.size == (SIDE, SIDE)


def test_official_cuts_go_through_the_padding(tmp_path: Path) -> None:
    grid(tmp_path / "12.png", padded=True)
    found = read_layout(tmp_path, DPG, samples=4, compat="official")
    last = LayoutModel(found).media_of(found.units["12", 3]).array()
    assert found.units["12", 3].crop == (SIDE, SIDE, 2 * SIDE, 2 * SIDE) and (last[:4, :4].mean(axis=2) < 150).any()
    assert "padding and all" in found.line()


def test_one_picture_an_item_is_no_grid(tmp_path: Path) -> None:
    picture(tmp_path / "12.png")
    found = read_layout(tmp_path, DPG, layout="dpg", samples=1)
    assert found.units["12", 0].crop is None and found.missing == ("whoops_1, sample 0",)


def test_a_picture_that_is_no_grid_belongs_to_nothing(tmp_path: Path) -> None:
    picture(tmp_path / "12.png", size=(25, 25))
    grid(tmp_path / "whoops_1.png", padded=False)
    found = read_layout(tmp_path, DPG, samples=4)
    assert found.extra == ("12.png",) and len(found.units) == 4


# ---- other layouts ----------------------------------------------------------------------------------------------------------


def geneval(root: Path, number: str, prompt: str | None, samples: int, first: int = 0) -> None:
    for sample in range(samples):
        picture(root / number / "samples" / f"{sample + first:04d}.png", COLORS[sample])
    if prompt is not None:
        (root / number / "metadata.jsonl").write_text(json.dumps({"prompt": prompt, "tag": "x"}))


def test_numbered_folders(tmp_path: Path) -> None:
    geneval(tmp_path, "00000", "a photo of a bench", 4)
    geneval(tmp_path, "00001", "a photo of a cow", 3)
    picture(tmp_path / "00001" / "grid.png")
    picture(tmp_path / "notes" / "samples" / "0000.png")
    found = read_layout(tmp_path, GENEVAL)
    assert found.name == "geneval" and of(found)["00001", 2] == "00001/samples/0002.png"
    assert found.missing == ("00001, sample 3",) and not found.notes and not found.complete


def test_the_prompt_in_the_metadata_counts_and_not_the_number(tmp_path: Path) -> None:
    geneval(tmp_path, "00000", "a photo of a cow", 1)
    geneval(tmp_path, "00001", "a photo of a bench", 1)
    geneval(tmp_path, "00007", "a photo of a ship", 1)
    found = read_layout(tmp_path, GENEVAL, samples=1)
    assert of(found) == {("00000", 0): "00001/samples/0000.png", ("00001", 0): "00000/samples/0000.png"}
    assert any("2 folders have another number" in note.line() for note in found.notes)
    assert found.extra == ("00007/samples/0000.png",)


def test_folders_without_metadata_go_by_their_number_and_that_is_said(tmp_path: Path) -> None:
    geneval(tmp_path, "00001", None, 2, first=1)
    found = read_layout(tmp_path, GENEVAL, samples=2)
    assert set(of(found)) == {("00001", 0), ("00001", 1)}
    assert any("without metadata.jsonl" in note.line() for note in found.notes)
    (tmp_path / "00001" / "metadata.jsonl").write_text("{}")
    with pytest.raises(RecordError, match="lacks the field 'prompt'"):
        read_layout(tmp_path, GENEVAL)


COMP = items("t2i-compbench", ("color-0000", "a red cup and a blue bowl"), ("color-0001", "a green cup"), category="color")


def test_prompts_with_numbers(tmp_path: Path) -> None:
    for number in range(2):
        picture(tmp_path / "samples" / f"a red cup and a blue bowl_{number:06d}.png")
        picture(tmp_path / "samples" / f"a green cup_{number + 2:06d}.png")
    picture(tmp_path / "samples" / "a yellow cup_000004.png")
    found = read_layout(tmp_path, COMP, samples=2)
    assert found.name == "t2i-compbench" and found.complete and found.extra == ("samples/a yellow cup_000004.png",)
    assert of(found)["color-0001", 1] == "samples/a green cup_000003.png"
    os.remove(tmp_path / "samples" / "a green cup_000002.png")
    found = read_layout(tmp_path, COMP, samples=2)
    assert found.missing == ("color-0001, sample 0",)  # the number says which


def test_numbers_that_do_not_follow_each_other_are_ranks(tmp_path: Path) -> None:
    for number in (5, 19):
        picture(tmp_path / f"a green cup_{number}.png")
    assert of(read_layout(tmp_path, COMP, samples=2)) == {("color-0001", 0): "a green cup_5.png", ("color-0001", 1): "a green cup_19.png"}


def test_clips_by_prompt_and_sample(tmp_path: Path) -> None:
    clips = items("vbench", ("vbench-0000", "a dog, zoom-in"), ("vbench-0001", "a cat"), modality="video")
    for name in ("a dog, zoom-in-0.mp4", "a dog, zoom-in-4.mp4", "a cat-0.mp4", "a cat-7.mp4", "a cow-0.mp4"):
        (tmp_path / name).write_bytes(b"film")
    (tmp_path / "a cat-1.mp4").write_bytes(b"")
    found = read_layout(tmp_path, clips, samples=5)
    assert set(of(found)) == {("vbench-0000", 0), ("vbench-0000", 4), ("vbench-0001", 0)}
    assert found.damaged == ("a cat-1.mp4: the file is empty",) and sorted(found.extra) == ["a cat-7.mp4", "a cow-0.mp4"]
    assert len(found.missing) == 7 and found.modality == "video"


def test_a_map_may_name_what_no_file_system_takes(tmp_path: Path) -> None:
    own = items("tifa", ("coco_1", "a cup"))
    picture(tmp_path / "a.png")
    (tmp_path / "images.json").write_text(json.dumps({"coco_1": ["a.png", "x" * 5000, "../" * 2000 + "etc/passwd"]}))
    found = read_layout(tmp_path / "images.json", own)
    assert found.complete and "2 files are named and not there" in found.line() and len(found.line()) < 600


def test_a_map_from_items_to_files(tmp_path: Path) -> None:
    tifa = items("tifa", ("coco_1", "a café"), ("coco_2", "two dogs"))
    picture(tmp_path / "x" / "one.png")
    picture(tmp_path / "two.png", COLORS[1])
    path = tmp_path / "images.json"
    path.write_text(json.dumps({"coco_1": "x/one.png", "two dogs": ["two.png"], "coco_9": "two.png", "coco_8": "gone.png"}))
    found = read_layout(path, tifa, samples=1)
    assert found.name == "map" and found.complete and len(found.extra) == 1
    assert any("1 files are named and not there (gone.png)" in note.line() for note in found.notes)
    for value, said in (
        ([], "an object that maps"),
        ({"coco_1": 7}, "the name of a file"),
        ({"coco_1": ["a", None]}, "the name of a file"),
    ):
        path.write_text(json.dumps(value))
        with pytest.raises(RecordError, match=said):
            read_layout(path, tifa)


def test_stems_by_id_number_or_prompt_in_any_letters(tmp_path: Path) -> None:
    own = items("genai-bench", ("00012", "a café"), ("00013", "two dogs"), ("00014", "a cat"))
    picture(tmp_path / "00012.jpeg")
    picture(tmp_path / "two dogs.png")
    picture(tmp_path / "14.png", COLORS[1])
    picture(tmp_path / "2.png", COLORS[2])  # of prompt 2, which is not among these; not of the one in place 2
    found = read_layout(tmp_path, own, layout="stems", samples=1)
    assert of(found) == {("00012", 0): "00012.jpeg", ("00013", 0): "two dogs.png", ("00014", 0): "14.png"}
    os.remove(tmp_path / "00012.jpeg")
    picture(tmp_path / "a cafe\u0301.png")  # as a Mac writes it
    assert of(read_layout(tmp_path, own, layout="stems", samples=1))["00012", 0] == "a cafe\u0301.png"


def test_files_claimed_twice(tmp_path: Path) -> None:
    own = items("dsg", ("tifa_1", "a cup"), ("tifa_2", "a cow"))
    picture(tmp_path / "tifa_1.png", COLORS[0])
    picture(tmp_path / "tifa_1.bmp", COLORS[1])
    picture(tmp_path / "tifa_2.png", COLORS[0])
    picture(tmp_path / "more" / "tifa_2.png", COLORS[0])
    found = read_layout(tmp_path, own, samples=1)
    assert set(of(found)) == {("tifa_2", 0)} and sorted(found.duplicated) == ["tifa_1.bmp", "tifa_1.png"]
    assert any("1 files are there twice with the same bytes" in note.line() for note in found.notes)
    assert found.missing == ("tifa_1, sample 0",)


def test_damaged_pictures_are_named_and_missing(tmp_path: Path) -> None:
    own = items("dsg", ("tifa_1", "a cup"), ("tifa_2", "a cow"))
    data = grid(tmp_path / "tifa_1.png", padded=False).read_bytes()
    (tmp_path / "tifa_1.png").write_bytes(data[: len(data) // 2])
    picture(tmp_path / "tifa_2.png")
    found = read_layout(tmp_path, own, samples=1)
    assert len(found.damaged) == 1 and found.damaged[0].startswith("tifa_1.png: cannot be read") and len(found.units) == 1
    assert "1 damaged" in found.line() and found.to_dict()["damaged"]["count"] == 1
    assert len(read_layout(tmp_path, own, samples=1, check=False).units) == 2


def test_hidden_files_and_other_kinds_are_not_looked_at(tmp_path: Path) -> None:
    own = items("dsg", ("tifa_1", "a cup"))
    picture(tmp_path / "tifa_1.png")
    picture(tmp_path / "._tifa_1.png")
    (tmp_path / "tifa_1.txt").write_text("x")
    found = read_layout(tmp_path, own, samples=1)
    assert found.complete and not found.extra


def test_nothing_that_belongs_is_one_clear_line(tmp_path: Path) -> None:
    picture(tmp_path / "other.png")
    with pytest.raises(RecordError, match=r"nothing in it is laid out as .*'other\.png'"):
        read_layout(tmp_path, GENEVAL)
    with pytest.raises(RecordError, match="no such folder"):
        read_layout(tmp_path / "gone", GENEVAL)
    with pytest.raises(SpecError, match="layout 'mine'"):
        read_layout(tmp_path, GENEVAL, layout="mine")
    with pytest.raises(SpecError, match="samples 0"):
        read_layout(tmp_path, GENEVAL, samples=0)
    assert len(LAYOUTS) == 6


# ---- into a run -------------------------------------------------------------------------------------------------------------


def test_a_layout_is_a_model_that_a_run_paints_from(tmp_path: Path) -> None:
    geneval(tmp_path / "out", "00000", "a photo of a bench", 2)
    found = read_layout(tmp_path / "out", GENEVAL, samples=2)
    model = LayoutModel(found, "mine")
    assert isinstance(model, Model) and isinstance(model, Finds) and model.name == "mine"
    report = paint(GENEVAL.records, model, tmp_path / "media", samples=2, quiet=True)
    assert (report.made, report.missing) == (2, 2)
    assert isinstance(model.find("00001", 1, "a photo of a cow", 0), Failure)
    with pytest.raises(ModelError, match="no others can be made"):
        model.generate(["a"], [0])


def test_placed_pictures_are_linked_and_painting_finds_all_done(tmp_path: Path) -> None:
    grid(tmp_path / "out" / "12.png", padded=True)
    for unit_samples, own, layout in ((4, DPG, "dpg"), (1, GENEVAL, "stems")):
        if layout == "stems":
            picture(tmp_path / "out" / "00001.png")
        found = read_layout(tmp_path / "out", own, layout=layout, samples=unit_samples)
        folder = tmp_path / f"media-{layout}"
        entries = place_media(found, own.records, folder, seed=3)
        made = [entry for entry in entries if entry.status == "made"]
        assert len(entries) == len(own.records) * unit_samples and len(made) == unit_samples
        media = MediaFolder(folder)
        assert all(media.problem(entry) is None and entry.seed == media_seed(3, entry.record_id, entry.sample) for entry in made)
        before = media.manifest.read_bytes()
        report = paint(own.records, LayoutModel(found), folder, seed=3, samples=unit_samples, quiet=True)
        assert report.made == unit_samples and media.manifest.read_bytes() == before
    assert os.path.samefile(folder / made[0].file, tmp_path / "out" / "00001.png")
