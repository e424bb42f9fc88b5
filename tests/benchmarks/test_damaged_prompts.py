"""As `test_damaged_files`, for the benchmarks of detectors and metrics."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from anyscene.benchmarks import Items, load_benchmark
from anyscene.errors import RecordError

sys.path.insert(0, str(Path(__file__).parent))
from damages import DETECTED, FILES, load, refused

each = pytest.mark.parametrize("name", DETECTED)


def prompts(items: Items) -> list[str]:
    return [record["caption"] for record in items.records]


@each
def test_spaces_at_the_ends_of_lines_change_nothing(name: str, tmp_path: Path) -> None:
    clean = FILES[name][1]()
    assert load(name, tmp_path, clean.replace(b"\n", b"  \n")).digest == load(name, tmp_path, clean).digest


@each
def test_a_file_cut_off_anywhere_is_refused_or_holds_fewer_of_the_same(name: str, tmp_path: Path) -> None:
    clean = FILES[name][1]()
    whole = prompts(load(name, tmp_path, clean))
    taken = 0
    for end in range(len(clean)):
        try:
            found = load(name, tmp_path, clean[:end])
        except RecordError as error:
            assert len(str(error).splitlines()) == 1
            continue
        taken += 1
        assert prompts(found) == whole[: len(found.records)]
        assert "release has" in found.notes[0].line()
    assert taken <= 6  # at ends of lines alone


def parts(name: str, data: bytes) -> list[str]:
    """The rows of a file."""
    return [json.dumps(row) for row in json.loads(data)] if name == "vbench" else data.decode().splitlines()


def joined(name: str, rows: list[str]) -> bytes:
    return f"[{', '.join(rows)}]".encode() if name == "vbench" else ("\n".join(rows) + "\n").encode()


@each
def test_shuffled_rows_are_the_same_prompts_with_the_same_questions(name: str, tmp_path: Path) -> None:
    clean = FILES[name][1]()
    rows = parts(name, clean)
    wanted = {record["caption"]: record["questions"] for record in load(name, tmp_path, clean).records}
    for seed in range(5):
        random.Random(seed).shuffle(rows)
        found = load(name, tmp_path, joined(name, rows))
        assert {record["caption"]: record["questions"] for record in found.records} == wanted


@each
def test_repeated_rows_are_left_out_and_counted(name: str, tmp_path: Path) -> None:
    clean = FILES[name][1]()
    rows = parts(name, clean)
    found = load(name, tmp_path, joined(name, [*rows, rows[0], rows[1], rows[0]]))
    assert found.digest == load(name, tmp_path, clean).digest
    assert any(note.count in (2, 3) and ("repeat" in note.what or "twice" in note.what) for note in found.notes)


HOSTILE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "blank": lambda data: b" \n\n ",
    "zero bytes": lambda data: data[:9] + b"\0\0" + data[9:],
    "a picture": lambda data: b"\x89PNG\r\n\x1a\n" + bytes(range(256)),
    "random bytes": lambda data: random.Random(0).randbytes(500),
    "half a letter": lambda data: data.replace("é".encode(), b"\\ud800"),
    "nested without end": lambda data: b"[" * 100_000,
    "not a number": lambda data: data.replace(b"3", b"NaN") if b"3" in data else b'{"a": NaN}',
    "another file": lambda data: b'{"item": "x"}\n',
}


@each
@pytest.mark.parametrize("how", HOSTILE)
def test_hostile_files_are_refused_in_one_line(name: str, how: str, tmp_path: Path) -> None:
    data = HOSTILE[how](FILES[name][1]())
    if name == "t2i-compbench" and how in ("half a letter", "nested without end", "not a number", "another file"):
        return  # any line is a prompt there
    refused(name, tmp_path, data)


@pytest.mark.parametrize("data", [b"x" * 5000 + b"\n", "a red \u202e cow\n".encode(), b"a red \x07 cow\n"])
def test_lines_that_are_no_prompts_are_refused(data: bytes, tmp_path: Path) -> None:
    refused("t2i-compbench", tmp_path, data, "line 1")


@each
def test_a_folder_or_nothing_at_all_is_refused(name: str, tmp_path: Path) -> None:
    for path in (tmp_path / "gone", tmp_path):
        with pytest.raises(RecordError):
            load_benchmark(name).import_items(path)


@each
def test_a_key_that_stands_twice_is_refused(name: str, tmp_path: Path) -> None:
    if name == "t2i-compbench":
        return
    text = FILES[name][1]().decode()
    key = "prompt_en" if name == "vbench" else "prompt"
    refused(name, tmp_path, text.replace(f'"{key}":', f'"{key}": "x", "{key}":', 1).encode(), "occurs twice")
