"""Small made-up files of every benchmark, and what may befall a file on its way: for tests of importers."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from anyscene.benchmarks import Items, load_benchmark
from anyscene.errors import RecordError

COLUMNS = "item_id,text,keywords,proposition_id,dependency,category_broad,category_detailed,tuple,question_natural_language".split(",")


def propositions() -> bytes:
    rows = [
        ["whoops_5", "A café with a red door", "café", "1", "0", "entity", "whole", "entity - whole (café)", "Is there a café?"],
        ["whoops_5", "A café with a red door", "door", "2", "1", "entity", "part", "entity - part (door)", "Does the café have a door?"],
        ["whoops_5", "A café with a red door", "door, red", "3", "2", "attribute", "color", "attribute - color (door, red)", "Is it red?"],
        ["vrd_1", "dog, on sofa", "dog", "1", "0", "entity", "whole", "entity - whole (dog)", "Is there a dog?"],
        ["vrd_1", "dog, on sofa", "dog, sofa", "2", "1", "relation", "spatial", "relation - spatial (dog, sofa, on)", "Is it on a sofa?"],
    ]
    file = io.StringIO(newline="")
    csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows])
    return file.getvalue().encode()


def tifa() -> bytes:
    rows = [
        ("coco_1", "A café", "is there a café?", ["yes", "no"], "yes", "object"),
        ("coco_1", "A café", "where?", ["café", "sea"], "café", "location"),
    ]
    rows += [("coco_2", "Two dogs", "how many dogs?", ["1", "2", "3", "4"], "2", "counting")]
    names = ("id", "caption", "question", "choices", "answer", "element_type")
    return json.dumps([dict(zip(names, row, strict=True)) for row in rows], indent=1, ensure_ascii=False).encode()


def concepts() -> bytes:
    rows = [
        {
            "index": place,
            "sentence": f"A café and {place} dogs",
            "skills": ["object", "number"],
            "question": ["A café? ", "", f"{place} dogs?"],
        }
        for place in range(3)
    ]
    return json.dumps(rows, indent=1, ensure_ascii=False).encode()


def genai() -> bytes:
    rows = {f"{place:05d}": {"prompt": f"a café with {place} dogs", "models": {"SDXL": [3, 4, 5]}} for place in range(3)}
    return json.dumps(rows, indent=1, ensure_ascii=False).encode()


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


ANSWERED: dict[str, tuple[str, Callable[[], bytes]]] = {
    "dsg": ("dsg.csv", propositions),
    "dpg": ("dpg.csv", propositions),
    "tifa": ("tifa.json", tifa),
    "conceptmix": ("300_sentences_k=2.json", concepts),
    "genai-bench": ("genai_image.json", genai),
}
"""Benchmarks of questions that a judge answers."""
DETECTED: dict[str, tuple[str, Callable[[], bytes]]] = {
    "geneval": ("metadata.jsonl", geneval),
    "geneval2": ("geneval2_data.jsonl", geneval2),
    "t2i-compbench": ("color_val.txt", compbench),
    "vbench": ("VBench_full_info.json", vbench),
}
"""Benchmarks of detectors and metrics."""
FILES = {**ANSWERED, **DETECTED}


def load(name: str, folder: Path, data: bytes) -> Items:
    if name == "genai-bench":
        (folder / "genai_skills.json").write_text(json.dumps({"counting": [1, 2], "advanced": [1], "basic": [0]}))
    path = folder / FILES[name][0]
    path.write_bytes(data)
    return load_benchmark(name).import_items(path)


def refused(name: str, folder: Path, data: bytes, *said: str) -> None:
    with pytest.raises(RecordError) as caught:
        load(name, folder, data)
    text = str(caught.value)
    assert len(text.splitlines()) == 1 and FILES[name][0] in text and len(text) < 600
    assert all(one in text for one in said), text


SAME: dict[str, Callable[[str], bytes]] = {
    "byte-order mark": lambda text: b"\xef\xbb\xbf" + text.encode(),
    "windows line ends": lambda text: text.replace("\n", "\r\n").encode(),
    "old line ends": lambda text: text.replace("\n", "\r").encode(),
    "utf-16": lambda text: text.encode("utf-16"),
    "utf-32": lambda text: text.encode("utf-32"),
    "blank lines": lambda text: (text.replace("\n", "\n\n") + "\n\n").encode(),
    "escaped letters": lambda text: text.replace("é", "\\u00e9").encode() if text[0] in "[{" else text.encode(),
}
