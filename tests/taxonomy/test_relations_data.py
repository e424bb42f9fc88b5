"""The shipped relations.tsv keeps the rules it was written by."""

from __future__ import annotations

import csv
import re
from collections import Counter
from pathlib import Path

import pytest

PATH = Path(__file__).resolve().parents[2] / "src" / "anyscene" / "taxonomy" / "data" / "relations.tsv"
COLUMNS = ["relation", "type", "subject_classes", "object_classes", "symmetric", "antisymmetric", "inverse"]
TYPES = {"spatial", "interactional", "functional", "social", "emotional", "symbolic", "part", "comparison"}
CLASSES = (
    "person animal plant food body_part clothing fabric vehicle furniture container tool weapon instrument machine device toy building room "
    "structure covering document artwork artifact landform water natural_object substance place thing"
).split()
GROUPS = {"any": set(CLASSES), "animate": {"person", "animal"}}
OTHER_FIRST_WORDS = set(
    """a above across adjacent all almost along alongside an arm around as at atop back behind below beneath bent beside bound built bungee
    caught cheek clad close cut deep different downhill drawn face far flat half halfway hand held high hung identical in inside just laid
    left less level lit low made more much near next nose not on opposite outside overgrown overhung parallel part partway perpendicular read
    right scuba set several sewn shown side sideways similar slow slung spread strung stuck sunk sword the three thrown thrust to twice
    underneath uphill upright upside very visible well within worn wound""".split()
)
FINITE_VERBS = {
    "is",
    "are",
    "was",
    "has",
    "have",
    "leads",
    "shows",
    "depicts",
    "contains",
    "holds",
    "stands",
    "sits",
    "lies",
    "faces",
    "covers",
}


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    with PATH.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def expand(cell: str) -> set[str]:
    return set().union(*(GROUPS.get(name, {name}) for name in cell.split(",")))


def test_columns_and_line_ends() -> None:
    data = PATH.read_bytes()
    assert b"\r" not in data and data.endswith(b"\n") and b'"' not in data
    lines = data.decode("utf-8").split("\n")[:-1]
    assert lines[0].split("\t") == COLUMNS
    assert all(line.count("\t") == len(COLUMNS) - 1 for line in lines)


def test_counts(rows: list[dict[str, str]]) -> None:
    assert len(rows) >= 4700
    counts = Counter(row["type"] for row in rows)
    assert set(counts) == TYPES
    least = {
        "spatial": 1800,
        "interactional": 1200,
        "functional": 350,
        "social": 380,
        "emotional": 300,
        "symbolic": 220,
        "comparison": 160,
        "part": 50,
    }
    assert all(counts[name] >= number for name, number in least.items()), counts


def test_unique(rows: list[dict[str, str]]) -> None:
    counts = Counter(row["relation"].lower() for row in rows)
    assert [name for name, number in counts.items() if number > 1] == []


def test_characters(rows: list[dict[str, str]]) -> None:
    for row in rows:
        text = row["relation"]
        assert re.fullmatch(r"[A-Za-z][A-Za-z'é-]*( [A-Za-z'é-]+)*", text), text
        assert not re.search(r"\b(is|are|between|among|its|his|her|their)\b", text), text
        assert not re.search(r"\b(a|an|the)$", text), text


def test_first_word_is_no_finite_verb(rows: list[dict[str, str]]) -> None:
    participle_adverb_or_adjective = re.compile(r".*(ing|ed|en|er|ly)$")
    for row in rows:
        first = row["relation"].split()[0]
        assert first not in FINITE_VERBS, row["relation"]
        assert participle_adverb_or_adjective.match(first) or first in OTHER_FIRST_WORDS, row["relation"]


def test_classes(rows: list[dict[str, str]]) -> None:
    allowed = set(CLASSES) | set(GROUPS)
    for row in rows:
        for column in ("subject_classes", "object_classes"):
            names = row[column].split(",")
            assert set(names) <= allowed and len(set(names)) == len(names), (row["relation"], column)
            assert "any" not in names or names == ["any"], row["relation"]
            assert not ("animate" in names and {"person", "animal"} & set(names)), row["relation"]


def test_flags(rows: list[dict[str, str]]) -> None:
    for row in rows:
        assert row["symmetric"] in "01" and row["antisymmetric"] in "01" and row["symmetric"] + row["antisymmetric"] != "11", row[
            "relation"
        ]
        if row["symmetric"] == "1":
            assert row["inverse"] == row["relation"]
            assert row["subject_classes"] == row["object_classes"], row["relation"]
        else:
            assert row["inverse"] != row["relation"], row["relation"]


@pytest.mark.parametrize(
    "relation", ["above", "in front of", "to the left of", "inside", "bigger than", "wearing", "riding", "eating", "carrying"]
)
def test_one_way_relations(rows: list[dict[str, str]], relation: str) -> None:
    assert next(row for row in rows if row["relation"] == relation)["antisymmetric"] == "1"


@pytest.mark.parametrize(
    "relation", ["looking at", "facing", "hugging", "kissing", "touching", "next to", "near", "pushing", "watching", "smiling at"]
)
def test_relations_that_may_hold_both_ways(rows: list[dict[str, str]], relation: str) -> None:
    assert next(row for row in rows if row["relation"] == relation)["antisymmetric"] == "0"


def test_inverses(rows: list[dict[str, str]]) -> None:
    by_name = {row["relation"]: row for row in rows}
    for row in rows:
        inverse = row["inverse"]
        if not inverse or inverse == row["relation"]:
            continue
        if inverse in by_name:
            assert by_name[inverse]["inverse"], f"{row['relation']} -> {inverse} does not lead back"
        else:
            assert re.fullmatch(r"being .+ by", inverse), row["relation"]


def test_every_pair_of_classes_has_relations(rows: list[dict[str, str]]) -> None:
    assert sum(row["subject_classes"] == row["object_classes"] == "any" for row in rows) >= 40
    pairs = Counter((a, b) for row in rows for a in expand(row["subject_classes"]) for b in expand(row["object_classes"]))
    assert min(pairs[a, b] for a in CLASSES for b in CLASSES) >= 60
