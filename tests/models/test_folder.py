from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from anyscene.errors import MediaError, MissingExtraError, ModelError, SpecError
from anyscene.media import Media
from anyscene.models import Failure, Model, load_model
from anyscene.models.folder import FolderModel
from anyscene.models.protocol import Finds

RECORDS = [
    {"id": "9f3a01c2", "index": 0, "caption": "A red cube to the left of a blue sphere."},
    {"id": "77b0de15", "index": 1, "caption": "Two dogs, one of them asleep, on a green sofa in a bright room with white walls."},
    {"id": "c0ffee42", "index": 12, "caption": "a cat"},
]


def picture(path: Path, shade: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), (shade, shade, shade)).save(path)
    return path


def found(model: FolderModel, record: dict[str, Any], sample: int = 0) -> str:
    result = model.find(record["id"], record["index"], record["caption"], sample)
    return result.relative_to(model._root).as_posix() if isinstance(result, Path) else result.status


def layout(root: Path, *names: str) -> FolderModel:
    for shade, name in enumerate(names):
        picture(root / name, shade)
    return FolderModel(str(root))


@pytest.mark.parametrize(
    ("names", "samples", "rule"),
    [
        (["9f3a01c2.png", "77b0de15.jpg", "c0ffee42.webp"], 1, "id"),
        (["9f3a01c2-0.png", "9f3a01c2-1.png", "77b0de15-0.png", "77b0de15-1.png", "c0ffee42-0.png", "c0ffee42-1.png"], 2, "id"),
        (["9f3a01c2_1.png", "9f3a01c2_2.png", "77b0de15_1.png", "77b0de15_2.png", "c0ffee42_1.png", "c0ffee42_2.png"], 2, "id"),
        (["9f3a01c2.png", "9f3a01c2_1.png", "77b0de15.png", "77b0de15_1.png", "c0ffee42.png", "c0ffee42_1.png"], 2, "id"),
        (
            ["9f3a01c2/0000.png", "9f3a01c2/0001.png", "77b0de15/0000.png", "77b0de15/0001.png", "c0ffee42/0000.png", "c0ffee42/0001.png"],
            2,
            "id",
        ),
        (["00000/9f3a01c2-0.png", "00000/77b0de15-0.png", "00001/c0ffee42-0.png"], 1, "id"),
        (["000000.png", "000001.png", "000012.png"], 1, "index"),
        (["0_0.png", "0_1.png", "1_0.png", "1_1.png", "12_0.png", "12_1.png"], 2, "index"),
        (
            [
                "00000/samples/0000.png",
                "00000/samples/0001.png",
                "00001/samples/0000.png",
                "00001/samples/0001.png",
                "00012/samples/0000.png",
                "00012/samples/0001.png",
            ],
            2,
            "index",
        ),
        (["images/0.png", "images/1.png", "images/12.png"], 1, "index"),
        (
            ["A red cube to the left of a blue sphere.png", "two_dogs_one_of_them_asleep_on_a_green_sofa_in_a.png", "a-cat.png"],
            1,
            "caption",
        ),
        (
            [
                "a_red_cube_to_the_left_of_a_blue_sphere_0a1b2c3d-0000-4000-8000-0123456789ab.png",
                "Two_dogs_one_of_them_asleep_on_a_green_sofa_in_a_bright_0a1b2c3d-0000-4000-8000-0123456789ab.png",
                "a_cat_0a1b2c3d-0000-4000-8000-0123456789ab.png",
            ],
            1,
            "caption",
        ),
    ],
)
def test_file_names_say_whose_they_are(tmp_path: Path, names: list[str], samples: int, rule: str) -> None:
    model = layout(tmp_path, *names, "notes/unrelated-9x.png")
    assert [found(model, record, sample) for record in RECORDS for sample in range(samples)] == names
    match = model.match(RECORDS, samples)
    assert (match.rule, match.source, match.matched, match.expected) == (rule, "file names", len(names), len(names))
    assert match.unmatched == ("notes/unrelated-9x.png",)
    assert f"{len(names)} of {len(names)} media found by {rule}" in match.line()


def test_what_is_not_there_is_missing_and_not_wrong(tmp_path: Path) -> None:
    model = layout(tmp_path, "9f3a01c2.png")
    assert found(model, RECORDS[1]) == "missing"
    assert found(model, RECORDS[0], sample=1) == "missing"
    match = model.match(RECORDS)
    assert (match.matched, match.missing) == (1, ("77b0de15", "c0ffee42"))


def write_manifest(path: Path, rows: list[dict[str, Any]]) -> Path:
    if path.suffix == ".json":
        path.write_text(json.dumps(rows))
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        with open(path, "w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".json"])
@pytest.mark.parametrize("column", ["id", "record_id", "index", "caption", "prompt"])
def test_a_manifest_in_any_format_by_any_column(tmp_path: Path, suffix: str, column: str) -> None:
    field = {"record_id": "id", "prompt": "caption"}.get(column, column)
    rows = [{"file": f"x/{place}.png", column: record[field], "steps": 30} for place, record in enumerate(RECORDS)]
    write_manifest(tmp_path / f"manifest{suffix}", rows)
    model = layout(tmp_path, *(row["file"] for row in rows))
    assert [found(model, record) for record in RECORDS] == [row["file"] for row in rows]
    assert model.match(RECORDS).rule == field
    assert model.match(RECORDS).source == f"manifest{suffix}"


@pytest.mark.parametrize(
    "value",
    [
        {"p0.png": RECORDS[0]["caption"], "p1.png": RECORDS[1]["caption"], "p2.png": RECORDS[2]["caption"]},
        {RECORDS[0]["id"]: "p0.png", RECORDS[1]["id"]: "p1.png", RECORDS[2]["id"]: "p2.png"},
        {record["id"]: [f"p{place}.png"] for place, record in enumerate(RECORDS)},
        {f"p{place}.png": {"index": record["index"]} for place, record in enumerate(RECORDS)},
        {record["id"]: {"file": f"p{place}.png"} for place, record in enumerate(RECORDS)},
    ],
)
def test_a_json_object_maps_files_to_captions_or_ids_to_files(tmp_path: Path, value: Any) -> None:
    (tmp_path / "captions.json").write_text(json.dumps(value))
    model = layout(tmp_path, "p0.png", "p1.png", "p2.png")
    assert [found(model, record) for record in RECORDS] == ["p0.png", "p1.png", "p2.png"]


def test_samples_count_up_where_the_manifest_does_not_number_them(tmp_path: Path) -> None:
    write_manifest(tmp_path / "manifest.csv", [{"file": f"{name}.png", "caption": "a cat"} for name in "abc"])
    model = layout(tmp_path, "a.png", "b.png", "c.png")
    assert [found(model, RECORDS[2], sample) for sample in range(4)] == ["a.png", "b.png", "c.png", "missing"]
    made = model.generate(["a cat", "a dog", "A  cat"], [1, 2, 3])
    assert [one.array()[0, 0, 0] if isinstance(one, Media) else one.status for one in made] == [0, "missing", 0]
    again = model.generate(["a cat", "a cat"], [1, 2])
    assert [one.array()[0, 0, 0] for one in again if isinstance(one, Media)] == [0, 1]


def test_two_scenes_may_have_one_caption_where_ids_tell_them_apart(tmp_path: Path) -> None:
    twin = {"id": "twin", "index": 40, "caption": "a cat"}
    write_manifest(
        tmp_path / "manifest.csv", [{"file": f"{r['id']}.png", "id": r["id"], "caption": r["caption"]} for r in (RECORDS[2], twin)]
    )
    model = layout(tmp_path, "c0ffee42.png", "twin.png")
    assert [found(model, record) for record in (RECORDS[2], twin)] == ["c0ffee42.png", "twin.png"]


def test_the_manifest_of_a_run_is_one_too(tmp_path: Path) -> None:
    common = {"sample": 0, "seed": 1, "sha256": None, "details": ""}
    rows = [
        {**common, "record_id": RECORDS[0]["id"], "index": 0, "file": "00000/a.png", "status": "made", "reason": ""},
        {**common, "record_id": RECORDS[1]["id"], "index": 1, "file": "", "status": "refused", "reason": "by its rules"},
    ]
    write_manifest(tmp_path / "manifest.jsonl", rows)
    model = layout(tmp_path, "00000/a.png")
    assert found(model, RECORDS[0]) == "00000/a.png"
    assert model.find(RECORDS[1]["id"], 1, "", 0) == Failure("refused", "by its rules")


def test_a_file_that_the_manifest_names_and_is_not_there_is_missing(tmp_path: Path) -> None:
    write_manifest(tmp_path / "manifest.csv", [{"file": "gone.png", "caption": "a cat"}])
    result = FolderModel(str(tmp_path)).find("c0ffee42", 12, "a cat", 0)
    assert isinstance(result, Failure)
    assert result.status == "missing"
    assert "gone.png" in result.reason


def test_the_manifest_may_be_named_itself(tmp_path: Path) -> None:
    picture(tmp_path / "x.png")
    write_manifest(tmp_path / "of_may.csv", [{"file": "x.png", "caption": "a cat"}])
    assert found(FolderModel(str(tmp_path / "of_may.csv")), RECORDS[2]) == "x.png"
    assert found(FolderModel(str(tmp_path), manifest="of_may.csv"), RECORDS[2]) == "x.png"


@pytest.mark.parametrize(
    ("names", "records"),
    [
        (["9f3a01c2.png", "000000.png"], RECORDS),
        (["9f3a01c2.png", "9f3a01c2.jpg"], RECORDS),
        (["9f3a01c2.png", "9f3a01c2-0.png"], RECORDS),
        (["9f3a01c2.png", "000001.png"], RECORDS),
        (["000012.png", "12.png"], RECORDS),
        (
            ["two_dogs_one_of_them_asleep_on_a_green_sofa.png"],
            [RECORDS[1], {**RECORDS[1], "id": "other", "caption": RECORDS[1]["caption"][:60] + " hall"}],
        ),
    ],
    ids=["two rules, one scene", "two suffixes", "two spellings", "two rules, two scenes", "two zeros", "one beginning, two captions"],
)
def test_what_is_ambiguous_is_refused_with_advice(tmp_path: Path, names: list[str], records: list[dict[str, Any]]) -> None:
    with pytest.raises(ModelError, match=r"rule=|manifest\.csv"):
        layout(tmp_path, *names).match(records)


def test_a_rule_asked_for_settles_it(tmp_path: Path) -> None:
    layout(tmp_path, "9f3a01c2.png", "000000.png")
    assert found(FolderModel(str(tmp_path), rule="index"), RECORDS[0]) == "000000.png"
    assert found(FolderModel(str(tmp_path), rule="id"), RECORDS[0]) == "9f3a01c2.png"
    model = load_model(f"folder:{tmp_path}", rule="id")
    assert isinstance(model, Finds)
    assert isinstance(model, Model)


def test_a_folder_of_something_else_says_what_it_found_and_what_would_fit(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"'IMG_2001.png'.*9f3a01c2.*manifest.csv"):
        layout(tmp_path, "IMG_2001.png").match(RECORDS)


@pytest.mark.parametrize(
    ("files", "options", "said"),
    [
        ({}, {}, "no media in it"),
        ({"manifest.csv": "file,steps\na.png,3\n"}, {}, "a column id, index or caption"),
        ({"manifest.csv": "id,caption\n1,a cat\n"}, {}, "names no files"),
        ({"manifest.csv": "file,index\na.png,first\n"}, {}, "line 2: index 'first' is no whole number"),
        ({"manifest.csv": "file,caption\na.png,a cat, a dog\n"}, {}, "line 2: it does not fit"),
        ({"manifest.jsonl": '{"file": "a.png"\n'}, {}, "cannot be read as a manifest"),
        ({"manifest.json": "3"}, {}, "neither a list nor an object"),
        ({"manifest.csv": "file,id\na.png,1\n", "captions.csv": "file,id\na.png,1\n"}, {}, "several manifests"),
        ({"manifest.csv": "file,id\na.png,1\n"}, {"manifest": "other.csv"}, "no such manifest"),
        ({"manifest.csv": "file,id\na.png,1\n"}, {"rule": "caption"}, "only by id"),
    ],
)
def test_folders_that_cannot_be_used_say_why(tmp_path: Path, files: dict[str, str], options: dict[str, Any], said: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(ModelError, match=said):
        FolderModel(str(tmp_path), **options)


def test_no_folder_and_no_such_option(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such folder"):
        FolderModel(str(tmp_path / "none"))
    with pytest.raises(SpecError):
        load_model(f"folder:{tmp_path}", rule="name")


def test_clips_are_read_whole(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 6), (40 * place, 0, 0)) for place in range(5)]
    for suffix in ("gif", "webp", "png"):
        frames[0].save(tmp_path / f"{suffix}.{suffix}", save_all=True, append_images=frames[1:], duration=100, lossless=True)
        model = FolderModel(str(tmp_path), modality="video")
        found = model.find(suffix, 7, "", 0)
        assert isinstance(found, Path)
        media = model.read(found)
        assert (media.modality, len(media.frames), media.fps) == ("video", 5, 10.0)


def test_views_are_a_folder_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for record in RECORDS[:2]:
        for view in range(12):
            picture(tmp_path / record["id"] / f"view_{view}.png", view)
    model = FolderModel(str(tmp_path), modality="3d")
    path = model.find(RECORDS[1]["id"], 1, "", 0)
    assert isinstance(path, Path)
    media = model.read(path)
    assert media.modality == "3d"
    assert [frame.getpixel((0, 0))[0] for frame in media.frames] == list(range(12))
    picture(path / "view_3.png").write_bytes(b"broken")
    with pytest.raises(MediaError, match=r"view_3\.png"):
        model.read(path)


def test_views_of_several_samples(tmp_path: Path) -> None:
    for sample in range(2):
        for view in range(3):
            picture(tmp_path / f"9f3a01c2-{sample}" / f"{view}.png", 10 * sample + view)
    model = FolderModel(str(tmp_path), modality="3d")
    assert [found(model, RECORDS[0], sample) for sample in range(3)] == ["9f3a01c2-0", "9f3a01c2-1", "missing"]


def test_a_film_without_its_library_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / "9f3a01c2.mp4").write_bytes(b"film")
    model = FolderModel(str(tmp_path), modality="video")
    path = model.find("9f3a01c2", 0, "", 0)
    assert isinstance(path, Path)
    with pytest.raises(MissingExtraError, match=r"anyscene\[video\]"):
        model.read(path)


def test_films_are_sampled_evenly(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    path = tmp_path / "9f3a01c2.mp4"
    with av.open(str(path), "w") as film:
        stream = film.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for place in range(40):
            for packet in stream.encode(av.VideoFrame.from_ndarray(np.full((64, 64, 3), 6 * place, np.uint8), format="rgb24")):
                film.mux(packet)
        for packet in stream.encode():
            film.mux(packet)
    model = FolderModel(str(tmp_path), modality="video", frames=4)
    media = model.read(path)
    shades = [int(media.array(place).mean()) for place in range(len(media.frames))]
    assert len(shades) == 4
    for shade, place in zip(shades, (5, 15, 25, 35), strict=True):
        assert abs(shade - 6 * place) < 8
    assert media.fps == pytest.approx(1.0)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(MediaError, match="cannot be read as a film"):
        model.read(path)
