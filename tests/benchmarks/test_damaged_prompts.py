"""Importers of prompts on files that went through somebody's hands: the same items, or one clear line; never other items.

As `test_damaged_files`, for the benchmarks of detectors and metrics. All rows here are made up.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from anyscene.benchmarks import Items, load_benchmark
from anyscene.errors import RecordError


def lines(rows: list[Any]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def geneval() -> bytes:
    things = ("café table", "cow", "cup")
    return lines([{"tag": "single_object", "include": [{"class": one, "count": 1}], "prompt": f"a photo of a {one}"} for one in things])


def geneval2() -> bytes:
    rows = [
        {
            "prompt": f"{number} cafés",
            "atom_count": 3,
            "vqa_list": [["How many cafés?", number], ["Any café?", "Yes"]],
            "skills": ["count", "object"],
        }
        for number in ("two", "three", "four")
    ]
    return lines(rows)


def compbench() -> bytes:
    return "".join(f"a red café and a {color} cow\n" for color in ("blue", "green", "black")).encode()


def vbench() -> bytes:
    rows = [
        {"prompt_en": f"a {color} café", "dimension": ["color"], "auxiliary_info": {"color": {"color": color}}}
        for color in ("red", "blue", "pink")
    ]
    return (json.dumps(rows, ensure_ascii=False, indent=1) + "\n").encode()


FILES: dict[str, tuple[str, Callable[[], bytes]]] = {
    "geneval": ("metadata.jsonl", geneval),
    "geneval2": ("geneval2_data.jsonl", geneval2),
    "t2i-compbench": ("color_val.txt", compbench),
    "vbench": ("VBench_full_info.json", vbench),
}
each = pytest.mark.parametrize("name", FILES)


def load(name: str, folder: Path, data: bytes) -> Items:
    path = folder / FILES[name][0]
    path.write_bytes(data)
    return load_benchmark(name).import_items(path)


def refused(name: str, folder: Path, data: bytes, *said: str) -> None:
    with pytest.raises(RecordError) as caught:
        load(name, folder, data)
    text = str(caught.value)
    assert len(text.splitlines()) == 1 and FILES[name][0] in text and len(text) < 600
    assert all(one in text for one in said), text


def prompts(items: Items) -> list[str]:
    return [record["caption"] for record in items.records]


SAME: dict[str, Callable[[str], bytes]] = {
    "byte-order mark": lambda text: b"\xef\xbb\xbf" + text.encode(),
    "windows line ends": lambda text: text.replace("\n", "\r\n").encode(),
    "old line ends": lambda text: text.replace("\n", "\r").encode(),
    "utf-16": lambda text: text.encode("utf-16"),
    "blank lines": lambda text: ("\n" + text.replace("\n", "\n\n") + "\n").encode(),
    "spaces at the ends": lambda text: text.replace("\n", "  \n").encode(),
}


@each
@pytest.mark.parametrize("how", SAME)
def test_other_ways_to_save_a_file_give_the_same_items(name: str, how: str, tmp_path: Path) -> None:
    clean = FILES[name][1]()
    assert load(name, tmp_path, SAME[how](clean.decode())).digest == load(name, tmp_path, clean).digest


@each
def test_another_encoding_is_refused_with_its_line(name: str, tmp_path: Path) -> None:
    data = FILES[name][1]().decode().encode("latin-1")
    line = data.count(b"\n", 0, data.index(b"\xe9")) + 1
    refused(name, tmp_path, data, f"line {line}", "0xe9", "UTF-8")


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
