"""Pictures from folders, shards, datasets and runs: the same list from the same content, whatever the disk's order."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anyscene.dataset import SceneSpace
from anyscene.errors import RecordError, SpecError
from anyscene.evaluation import paint_run
from anyscene.models import load_model
from anyscene.moderation.sources import open_source
from anyscene.moderation.survey import survey
from anyscene.sandbox import sandbox_taxonomy_path


def png(seed: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (20, 20, 3), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_folder_is_listed_by_name_with_captions_groups_and_scenes(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for name in ("b/2.png", "a.png", "c.png"):
        (tmp_path / name).write_bytes(png(1))
    (tmp_path / "note.md").write_text("no picture")
    (tmp_path / ".hidden.png").write_bytes(png(2))
    (tmp_path / "c.txt").write_text("a cat\n")
    (tmp_path / "metadata.jsonl").write_text(
        '{"file_name": "a.png", "text": "a dog", "group": "roll 1", "record_id": "s1"}\n{"file_name": "gone.png", "text": "x"}\n'
    )
    found = open_source(tmp_path)
    assert found.kind == "folder"
    assert [one.key for one in found.pictures] == ["a.png", "b/2.png", "c.png"]
    first, second, third = found.pictures
    assert (first.caption, first.group, first.record_id) == ("a dog", "roll 1", "s1")
    assert (second.caption, second.group) == ("", "b/2.png")
    assert third.caption == "a cat"
    assert found.problems == ("gone.png: metadata.jsonl names it, but it is not there",)
    assert open_source(tmp_path, group_by="folder").pictures[1].group == "b"
    assert first.read() == png(1)


@pytest.mark.parametrize("line", ["{", "[1]", '{"text": "a dog"}'])
def test_metadata_that_cannot_be_read_stop_the_build_with_their_line(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.png").write_bytes(png(1))
    (tmp_path / "metadata.jsonl").write_text(f'{{"file_name": "a.png"}}\n\n{line}\n')
    with pytest.raises(RecordError, match=r"metadata\.jsonl, line 3"):
        open_source(tmp_path)


def write_shard(path: Path, members: dict[str, bytes], mode: str = "w") -> None:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


def test_shards_are_read_member_by_member(tmp_path: Path) -> None:
    write_shard(
        tmp_path / "b.tar",
        {"1.png": png(1), "1.txt": b"a dog", "2.jpg.json": b"{}", "2.png": png(2), "2.json": b'{"caption": "a cat", "group": "g"}'},
    )
    write_shard(tmp_path / "a.tar", {"x/3.txt": b"a bus", "x/3.png": png(3), "broken.json": b"{", "broken.png": png(4)})
    found = open_source(tmp_path)
    assert found.kind == "webdataset"
    assert [(one.key, one.caption, one.group) for one in found.pictures] == [
        ("a/x/3", "a bus", "a/x/3"),
        ("b/1", "a dog", "b/1"),
        ("b/2", "a cat", "g"),
    ]
    assert [one.read() for one in found.pictures] == [png(3), png(1), png(2)]
    assert len(found.problems) == 1 and "broken" in found.problems[0]
    assert len(open_source(tmp_path / "b*.tar").pictures) == 2


def test_damaged_and_compressed_shards_are_named(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", {"1.png": png(1)}, "w:gz")
    with pytest.raises(RecordError, match="unpack it"):
        open_source(tmp_path / "a.tar")


def test_a_run_gives_its_media_with_their_scenes(tmp_path: Path) -> None:
    scenes = SceneSpace(complexity=(1, 3), taxonomy=sandbox_taxonomy_path()).table(0, 5, seed=0)
    paint_run(scenes, load_model("sandbox:flawed", size=32, refuse=0.4), tmp_path / "run", quiet=True)
    found = open_source(tmp_path / "run")
    assert found.kind == "run" and found.facts["model"]["name"] == "sandbox:flawed"
    assert 0 < len(found.pictures) < 5
    assert len(found.pictures) + len(found.problems) == 5
    assert all(one.record_id in found.records and one.caption == found.records[one.record_id]["caption"] for one in found.pictures)


@pytest.mark.interop
def test_a_datasets_folder_gives_its_pictures_undecoded(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "text": datasets.Value("string")})
    rows = {"image": [{"bytes": png(seed), "path": None} for seed in range(3)], "text": ["a dog", "a cat", ""]}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(str(tmp_path / "d"))
    found = open_source(tmp_path / "d")
    assert found.kind == "datasets"
    assert [(one.caption, one.read()) for one in found.pictures] == [("a dog", png(0)), ("a cat", png(1)), ("", png(2))]
    bare = datasets.Dataset.from_dict({"text": ["a"]})
    bare.save_to_disk(str(tmp_path / "bare"))
    with pytest.raises(SpecError, match="none of its columns holds pictures"):
        open_source(tmp_path / "bare")


def test_what_is_no_source_is_said(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="give a folder of pictures"):
        open_source(tmp_path / "nothing")
    with pytest.raises(SpecError, match="no pictures"):
        open_source(tmp_path)
    with pytest.raises(SpecError, match="group by"):
        open_source(tmp_path, group_by="camera")
    (tmp_path / "run.json").write_text(json.dumps({"kind": "dataset"}))
    with pytest.raises(SpecError, match="no pictures"):
        open_source(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes of POSIX")
def test_odd_names_pipes_and_places_elsewhere_stop_nothing(tmp_path: Path) -> None:
    picture = png(0)
    odd = os.fsdecode(b"caf\xe9\n.png")
    for name in ("a.png", odd):
        (tmp_path / name).write_bytes(picture)
    os.mkfifo(tmp_path / "pipe.png")
    os.mkfifo(tmp_path / "a.txt")  # would be waited for
    (tmp_path / "loop.png").symlink_to("loop.png")
    with open(tmp_path / "sparse.png", "wb") as file:
        file.truncate(10 * 2**30)
    rows = [{"file_name": "/etc/passwd"}, {"file_name": "../x.png"}, {"file_name": odd, "text": "a \ud800 dog"}]
    (tmp_path / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = open_source(tmp_path)
    captions = {one.key: one.caption for one in found.pictures}
    assert captions == {"a.png": "", "caf\\udce9\n.png": "a \\ud800 dog", "sparse.png": ""}
    assert found.problems == tuple(f"{name}: metadata.jsonl names it, but it is not there" for name in ("../x.png", "/etc/passwd"))
    side = survey(found, True, "pictures")
    assert side.problems[2:] == ("sparse.png: larger than 256 MiB",)
    json.dumps(side.facts(), ensure_ascii=False).encode()
