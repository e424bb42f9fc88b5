"""Importers on files that went through somebody's hands: the same items, or one clear line; never other items."""

from __future__ import annotations

import csv
import io
import json
import random
import sys
from pathlib import Path
from typing import Any

import pytest

from anyscene.benchmarks import load_benchmark
from anyscene.errors import RecordError

sys.path.insert(0, str(Path(__file__).parent))
from damages import ANSWERED, COLUMNS, FILES, SAME, load, propositions, refused

every = pytest.mark.parametrize("name", FILES)
each = pytest.mark.parametrize("name", ANSWERED)


@every
@pytest.mark.parametrize("how", SAME)
def test_other_ways_to_save_a_file_give_the_same_items(name: str, how: str, tmp_path: Path) -> None:
    clean = FILES[name][1]()
    assert load(name, tmp_path, SAME[how](clean.decode())).digest == load(name, tmp_path, clean).digest


@every
def test_another_encoding_is_refused_with_its_line(name: str, tmp_path: Path) -> None:
    data = FILES[name][1]().decode().encode("latin-1")
    line = data.count(b"\n", 0, data.index(b"\xe9")) + 1
    refused(name, tmp_path, data, f"line {line}", "0xe9", "UTF-8")


@each
def test_a_file_cut_off_anywhere_is_refused_or_holds_fewer_of_the_same(name: str, tmp_path: Path) -> None:
    clean = FILES[name][1]()
    whole = load(name, tmp_path, clean)
    known = {record["id"]: record for record in whole.records}
    taken = 0
    for end in range(len(clean)):
        try:
            found = load(name, tmp_path, clean[:end])
        except RecordError as error:
            assert len(str(error).splitlines()) == 1
            continue
        taken += 1
        assert "release" in found.notes[0].what  # that it is not the whole is the first thing said
        for record in found.records:
            questions = known[record["id"]]["questions"][: len(record["questions"])]
            assert record["questions"] == questions and record["caption"] == known[record["id"]]["caption"]
    assert taken <= 12  # at ends of rows alone


def test_the_first_row_of_the_released_file_is_known_in_any_order(tmp_path: Path) -> None:
    text = propositions().decode().replace("vrd_1", "partiprompts97")
    wanted = load("dpg", tmp_path, text.encode())
    assert wanted.extras["partiprompts97"]["first_row"] == "q1" and "first_row" not in wanted.extras["whoops_5"]
    assert {load("dpg", tmp_path, shuffled("dpg", text, seed)).digest for seed in range(10)} == {wanted.digest}


def shuffled(name: str, text: str, seed: int) -> bytes:
    shuffle = random.Random(seed).shuffle
    if name in ("dsg", "dpg"):
        head, *rows = text.splitlines()
        shuffle(rows)
        return "\n".join([head, *rows, ""]).encode()
    value = json.loads(text)
    rows = list(value.items()) if isinstance(value, dict) else value
    shuffle(rows)
    return json.dumps(dict(rows) if isinstance(value, dict) else rows).encode()


@each
def test_a_shuffled_file_holds_the_same_items(name: str, tmp_path: Path) -> None:
    text = FILES[name][1]().decode()
    wanted = load(name, tmp_path, text.encode())
    for seed in range(10):
        found = load(name, tmp_path, shuffled(name, text, seed))
        without = {id: {key: value for key, value in own.items() if key != "first_row"} for id, own in found.extras.items()}
        assert without == {id: {key: value for key, value in own.items() if key != "first_row"} for id, own in wanted.extras.items()}
        for one in found.records:
            twin = next(record for record in wanted.records if record["id"] == one["id"])
            assert {**one, "index": 0, "questions": 0} == {**twin, "index": 0, "questions": 0}
            assert sorted(one["questions"], key=str) == sorted(twin["questions"], key=str)
        if name != "dpg":  # whose first row is dropped by the official reading, whichever it is
            assert found.digest == wanted.digest


@each
def test_rows_that_come_twice_are_counted_once(name: str, tmp_path: Path) -> None:
    text = FILES[name][1]().decode()
    if name == "genai-bench":
        refused(name, tmp_path, (text.rstrip()[:-1] + "," + text.strip()[1:]).encode(), "twice")
        return
    if name in ("dsg", "dpg"):
        double = text + "".join(line + "\n" for line in text.splitlines()[1:])
    else:
        double = json.dumps(json.loads(text) * 2)
    found = load(name, tmp_path, double.encode())
    assert found.digest == load(name, tmp_path, text.encode()).digest
    assert any("repeat" in note.what for note in found.notes)


CONTRADICTIONS: dict[str, tuple[str, str]] = {
    "dsg": ("vrd_1,", "line 7"),
    "dpg": ("vrd_1,", "line 7"),
    "tifa": ("", "entry 4"),
    "conceptmix": ("", "entry 4"),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_rows_that_contradict_each_other_are_refused(name: str, tmp_path: Path) -> None:
    text = FILES[name][1]().decode()
    if name in ("dsg", "dpg"):
        double = text + text.splitlines()[-1].replace("Is it on a sofa?", "Is it on a chair?") + "\n"
    else:
        rows = json.loads(text)
        last = {**rows[-1], "caption": "Another", "sentence": "Another"}
        double = json.dumps([*rows, last])
    refused(name, tmp_path, double.encode(), CONTRADICTIONS[name][1])


@each
@pytest.mark.parametrize(
    "data", [b"", b" \n\n", b"\x00\x01\x02\xff" * 50, b"PK\x03\x04" + bytes(200), b"null", b"[]", b"{}", b"[[]]", b"a,b\n1,2\n"]
)
def test_other_files_are_refused(name: str, data: bytes, tmp_path: Path) -> None:
    refused(name, tmp_path, data)


@each
def test_what_is_no_file_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"No such file|not a regular file"):
        load_benchmark(name).import_items(tmp_path / "none.csv")
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(RecordError):
        load_benchmark(name).import_items(tmp_path / "folder.json")


HOSTILE: dict[str, tuple[str, str]] = {
    "deep": ("[" * 100_000 + "]" * 100_000, "JSON"),
    "not a number": ('[{"id": NaN}]', "NaN"),
    "half a letter": ('[{"id": "\\ud800"}]', "half a letter"),
    "one key twice": ('[{"id": 1, "id": 2}]', "twice"),
    "a number of a million digits": ("[" + "9" * 1_000_000 + "]", ""),
    "a number beyond all": ('[{"id": 1e999}]', "1e999 is too large"),
    "one key twice among many": ("{" + "".join(f'"{at}": 1, ' for at in range(100_000)) + '"99999": 1}', "'99999' occurs twice"),
}


@pytest.mark.parametrize("name", ["tifa", "conceptmix", "genai-bench"])
@pytest.mark.parametrize("how", HOSTILE)
def test_hostile_json_is_refused(name: str, how: str, tmp_path: Path) -> None:
    text, said = HOSTILE[how]
    refused(name, tmp_path, text.encode(), said)


def changed(name: str, **values: Any) -> bytes:
    """The clean JSON file with fields of its first entry changed."""
    value = json.loads(FILES[name][1]())
    first = value[0] if isinstance(value, list) else value["00000"]
    first.update(values)
    return json.dumps(value).encode()


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("tifa", {"choices": "yes"}, "choices must be a list"),
        ("tifa", {"choices": ["yes"]}, "two or more"),
        ("tifa", {"choices": ["yes", 1]}, "two or more"),
        ("tifa", {"choices": ["yes", "x" * 200_000]}, "two or more"),
        ("conceptmix", {"question": ["x" * 200_000]}, "at most 100,000 letters"),
        ("tifa", {"question": 3}, "question must be text"),
        ("tifa", {"question": " "}, "empty"),
        ("tifa", {"answer": None}, "answer must be text"),
        ("tifa", {"id": True}, "id must be"),
        ("tifa", {"caption": "x" * 200_000}, "longer than"),
        ("conceptmix", {"index": "0"}, "index must be a whole number"),
        ("conceptmix", {"index": -1}, "below 0"),
        ("conceptmix", {"question": []}, "no question"),
        ("conceptmix", {"question": [1]}, "list of texts"),
        ("conceptmix", {"sentence": ""}, "empty sentence"),
        ("genai-bench", {"prompt": ""}, "empty prompt"),
        ("genai-bench", {"prompt": 1}, "prompt must be text"),
        ("genai-bench", {"models": []}, "models must be"),
        ("genai-bench", {"models": {"SDXL": [9]}}, "from 1 to 5"),
    ],
)
def test_a_field_of_the_wrong_kind_is_named(name: str, values: dict[str, Any], said: str, tmp_path: Path) -> None:
    refused(name, tmp_path, changed(name, **values), said)


@pytest.mark.parametrize("item", ["../../etc/passwd", "a/b", "C:\\x", "..", "CON\u202e", "x" * 400, "-rf", "ä", "a b"])
@pytest.mark.parametrize("name", ["dsg", "tifa"])
def test_an_id_never_names_a_file_elsewhere(name: str, item: str, tmp_path: Path) -> None:
    text = FILES[name][1]().decode()
    old = "vrd_1" if name == "dsg" else "coco_2"
    new = json.dumps(item)[1:-1] if name == "tifa" else item
    found = load(name, tmp_path, text.replace(old, new).encode())
    record = found.by_item_id()[item]
    assert record["id"].replace("-", "").replace("_", "").isalnum() and record["id"].isascii() and not record["id"].startswith("-")
    assert len(record["id"]) <= 120 and found.extras[record["id"]]["item_id"] == item


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("proposition_id", "one", "proposition_id 'one'"),
        ("proposition_id", "0", "from 1"),
        ("proposition_id", "9" * 5000, "proposition_id"),
        ("item_id", " ", "no item_id"),
        ("question_natural_language", "", "no question"),
        ("text", "Another text", "another text for whoops_5"),
    ],
)
def test_a_cell_of_the_wrong_kind_is_named_with_its_line(column: str, value: str, said: str, tmp_path: Path) -> None:
    rows = list(csv.reader(io.StringIO(propositions().decode(), newline="")))
    rows[2][COLUMNS.index(column)] = value
    file = io.StringIO(newline="")
    csv.writer(file).writerows(rows)
    refused("dsg", tmp_path, file.getvalue().encode(), "line 3", said)


@pytest.mark.parametrize("dependency", ["1, right", "", "x", "3", "99", "-", "1,1", "9" * 5000])
def test_a_dependency_is_kept_as_far_as_it_is_certain(dependency: str, tmp_path: Path) -> None:
    rows = list(csv.reader(io.StringIO(propositions().decode(), newline="")))
    rows[3][COLUMNS.index("dependency")] = dependency
    file = io.StringIO(newline="")
    csv.writer(file).writerows(rows)
    found = load("dsg", tmp_path, file.getvalue().encode())
    assert found.records[0]["questions"][2]["depends_on"] == (["q1"] if dependency.startswith("1") else [])
    assert found.extras["whoops_5"]["malformed"] == (dependency not in ("3", "99", "1,1"))
