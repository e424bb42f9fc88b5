from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from anyscene.errors import RecordError, SpecError
from anyscene.media import read_media
from anyscene.training import pairs
from anyscene.training.pairs import Pair, read_pairs


def picture(shade: int = 0, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 6), (shade, 0, 0)).save(buffer, kind)
    return buffer.getvalue()


def shade_of(pair: Pair) -> int:
    return int(read_media(pair.media).array()[0, 0, 0])


def folder_of(folder: Path, files: dict[str, bytes | str]) -> Path:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
    return folder


def shard_of(path: Path, files: dict[str, bytes | str], mode: str = "w") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            written = data.encode() if isinstance(data, str) else data
            member = tarfile.TarInfo(name)
            member.size = len(written)
            archive.addfile(member, io.BytesIO(written))
    return path


def captions(source: Path | str, damaged: list[str] | None = None) -> list[tuple[str, int]]:
    return [(one.caption, shade_of(one)) for one in read_pairs(source, damaged)]


PICTURES: dict[str, bytes | str] = {"b/2.png": picture(2), "a/1.png": picture(1)}
WANTED = [("a red ball", 1), ("a blue box, twice", 2)]


# ---- folders --------------------------------------------------------------------------------------------------------------------


def test_a_text_beside_each_picture_is_its_caption(tmp_path: Path) -> None:
    folder_of(tmp_path, {**PICTURES, "a/1.txt": "a red ball\n", "b/2.txt": "a blue box, twice"})
    assert captions(tmp_path) == WANTED
    assert next(iter(read_pairs(str(tmp_path)))) == Pair("a red ball", tmp_path / "a/1.png", str(tmp_path / "a/1.png"))


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_captions_stand_in_metadata(kind: str, tmp_path: Path) -> None:
    folder_of(tmp_path, PICTURES)
    rows = [{"file_name": "a/1.png", "text": "a red ball", "size": "8"}, {"file_name": "b/2.png", "text": "a blue box, twice", "size": "8"}]
    if kind == "jsonl":
        (tmp_path / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    elif kind == "csv":
        (tmp_path / "metadata.csv").write_text('file_name,size,text\na/1.png,8,a red ball\nb/2.png,8,"a blue box, twice"\n', "utf-8-sig")
    else:
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "metadata.parquet")
    assert captions(tmp_path) == WANTED


def test_folders_below_may_have_metadata_of_their_own(tmp_path: Path) -> None:
    line = '{{"file_name": "{}", "caption": "{}"}}\n'
    folder_of(tmp_path, {**PICTURES, "a/metadata.jsonl": line.format("1.png", "one"), "b/metadata.jsonl": line.format("2.png", "two")})
    assert captions(tmp_path) == [("one", 1), ("two", 2)]


def test_what_is_wrong_in_metadata_is_said_line_by_line_and_reading_goes_on(tmp_path: Path) -> None:
    lines = [
        '{"file_name": "a/1.png", "text": "a red ball"}',
        "{",
        "[1]",
        '{"file_name": "a/1.png", "words": "x"}',
        '{"file_name": "gone.png", "text": "x"}',
        '{"file_name": "../outside.png", "text": "x"}',
        '{"file_name": "broken.png", "text": "x"}',
        '{"file_name": "a/1.png", "text": "  "}',
        '{"file_name": "b/2.png", "text": "a blue box, twice"}',
    ]
    folder_of(tmp_path / "set", {**PICTURES, "broken.png": picture(3)[:40], "metadata.jsonl": "\n".join(lines)})
    (tmp_path / "outside.png").write_bytes(picture())
    damaged: list[str] = []
    assert captions(tmp_path / "set", damaged) == WANTED
    assert len(damaged) == 7
    for number, (problem, wanted) in enumerate(
        zip(
            damaged,
            [
                "no JSON",
                "no JSON object",
                "none of the keys text, caption, prompt",
                "no such file",
                "outside of",
                "no picture that can be read",
                "empty",
            ],
            strict=True,
        ),
        2,
    ):
        assert f"metadata.jsonl, line {number}: " in problem
        assert wanted in problem
        assert "\n" not in problem
    with pytest.raises(RecordError, match=r"line 2: it is no JSON"):
        list(read_pairs(tmp_path / "set"))


def test_a_picture_without_a_text_is_told_of(tmp_path: Path) -> None:
    folder_of(tmp_path, {**PICTURES, "a/1.txt": "a red ball", "c.png": picture(3), "c.txt": b"\xff\xfe\xff"})
    damaged: list[str] = []
    assert captions(tmp_path, damaged) == [WANTED[0]]
    assert damaged[0].endswith("2.png: it has no caption; 2.txt is not there")
    assert "c.txt: the caption cannot be read" in damaged[1]


# ---- shards ---------------------------------------------------------------------------------------------------------------------

SHARD: dict[str, bytes | str] = {
    "0001.jpg": picture(0, "JPEG"),
    "0001.txt": "a black ball",
    "0001.json": '{"caption": "not this one"}',
    "0002.json": '{"width": 8, "caption": "two"}',
    "0002.seg.png": picture(9),
    "0002.png": picture(2),
    "0003.webp": picture(0, "WEBP"),
    "0003.txt": "three",
}


@pytest.mark.parametrize(("name", "mode"), [("a.tar", "w"), ("a.tar.gz", "w:gz")])
def test_members_of_one_name_are_a_pair(name: str, mode: str, tmp_path: Path) -> None:
    shard = shard_of(tmp_path / name, SHARD, mode)
    found = list(read_pairs(shard))
    assert [one.caption for one in found] == ["a black ball", "two", "three"]
    assert found[1].media == SHARD["0002.png"]
    assert found[1].name == f"{shard}: 0002.png"


def test_several_shards_are_named_by_a_folder_a_star_or_braces(tmp_path: Path) -> None:
    for number in range(12):
        shard_of(tmp_path / f"s/{number:03d}.tar", {"x.png": picture(number), "x.txt": f"number {number}"})
    wanted = [f"number {number}" for number in range(12)]
    for source, count in (("s", 12), ("s/*.tar", 12), ("s/{000..011}.tar", 12), ("s/{009..010}.tar", 2)):
        found = [one.caption for one in read_pairs(str(tmp_path / source))]
        assert found == (wanted if count == 12 else wanted[9:11])
    with pytest.raises(SpecError, match=r"012\.tar: there is no such folder or shard"):
        list(read_pairs(str(tmp_path / "s/{010..012}.tar")))


def test_damaged_members_are_told_of_and_the_others_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "LARGEST_BYTES", 2000)
    shard = shard_of(
        tmp_path / "a.tar",
        {
            "1.png": picture(1),
            "2.txt": "no picture",
            "3.png": picture(3),
            "3.json": "{",
            "4.png": picture()[:30],
            "4.txt": "half",
            "5.png": picture() + b"0" * 2000,
            "5.txt": "large",
            "6.png": picture(6),
            "6.json": '{"words": "none of ours"}',
            "7.png": picture(7),
            "7.txt": "seven",
        },
    )
    damaged: list[str] = []
    assert captions(shard, damaged) == [("seven", 7)]
    assert [one.removeprefix(f"{shard}: ").split(" (")[0] for one in damaged] == [
        "1: a picture without a caption",
        "2: a caption without a picture",
        "3: the caption cannot be read",
        "4.png: no picture that can be read",
        "5.png: larger than 0 MiB",
        "6: a picture without a caption",
    ]


@pytest.mark.parametrize(("name", "mode"), [("a.tar", "w"), ("a.tar.gz", "w:gz")])
def test_a_shard_that_is_cut_off_is_told_of_and_the_next_one_read(name: str, mode: str, tmp_path: Path) -> None:
    source = {f"{number}.{suffix}": picture(number) if suffix == "png" else "x" for number in range(40) for suffix in ("png", "txt")}
    whole = shard_of(tmp_path / "s" / name, source, mode).read_bytes()
    (tmp_path / "s" / name).write_bytes(whole[: len(whole) // 2])
    shard_of(tmp_path / "s" / "b.tar", {"z.png": picture(5), "z.txt": "last"})
    damaged: list[str] = []
    found = captions(tmp_path / "s", damaged)
    assert found[-1] == ("last", 5)
    assert len(damaged) == 1
    assert "it cannot be read further" in damaged[0]


def test_what_holds_no_pairs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="neither pictures, nor metadata"):
        list(read_pairs(tmp_path))
    with pytest.raises(SpecError, match="there is no such folder or shard"):
        list(read_pairs(tmp_path / "nowhere"))
    (tmp_path / "notes.md").write_text("x")
    with pytest.raises(SpecError, match="neither a folder nor a"):
        list(read_pairs(tmp_path / "notes.md"))
    (tmp_path / "metadata.csv").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(RecordError, match=r"metadata\.csv: it cannot be read"):
        list(read_pairs(tmp_path, []))
