"""A taxonomy folder is read as its format says, and every mistake in it is reported with file and line."""

from __future__ import annotations

import gc
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anyscene.errors import TaxonomyError
from anyscene.taxonomy import (
    COUNT,
    EITHER,
    MASS,
    NUMERALS,
    PLURAL,
    RELATION_TYPES,
    Taxonomy,
    check_taxonomy,
    load_taxonomy,
    numeral,
    regular_plural,
    with_counts,
    with_words,
)
from anyscene.taxonomy.reading import MAX_CELL_CHARS

FILES = {
    "classes.tsv": ["class\tparent", "animal\tanimate", "person\tanimate"],
    "hypernyms.tsv": ["id\tname\tparents", "top\tentity\t", "mid\tcreature\ttop"],
    "objects.tsv": [
        "id\tname\tplural\tnumber\tclass\tparents\tvisuality\tfamiliarity",
        "d1\tdog\t\tcount\tanimal\tmid\t1\t0.9",
        "f1\tfox\t\t\tanimal\tmid,top\t\t",
        "p1\tpuppy\t\t\tanimal\td1\t\t0.2",
        "s1\tsand\t\tmass\tsubstance\ttop\t0.4\t",
        "t1\tscissors\t\tplural\t\t\t\t",
        "c1\tcake\tcakes\teither\t\t\t\t",
        "m1\tman\tmen\tcount\tperson\t\t\t",
    ],
    "attributes.tsv": [
        "value\ttype\tfits\texclusive\topposite\tpredicate\thex\tbasic_color",
        "red\tcolor\t\t1\t\t\t#ff0000\tred",
        "tiny\tsize\tany\t1\thuge\t\t\t",
        "huge\tsize\t\t1\ttiny\t\t\t",
        "furry\tcoat\tanimal\t0\t\tcovered in fur\t\t",
        "smiling\tface\tanimate\t1\t\t\t\t",
    ],
    "relations.tsv": [
        "relation\ttype\tsubject_classes\tobject_classes\tsymmetric\tantisymmetric\tinverse",
        "next to\tspatial\t\t\t1\t0\tnext to",
        "above\tspatial\tany\tany\t0\t1\tbelow",
        "chasing\tinteractional\tanimate\tanimal,person\t\t\t",
    ],
    "scene_attributes.tsv": [
        "value\ttype\tgroup\tphrase\tmodalities\tcontradicts\tvisible\tquestion",
        "fog\tweather\tscene\tin fog\timage,video\tiso\t1\tIs it foggy?",
        "rain\tweather\tscene\tin the rain\t\t@dry\t\t",
        "ISO 100\tiso\tcamera\tshot at ISO 100\timage\t\t0\t",
        "desert\tlocation\tscene\tset in a desert\t\tweather=fog\t1\t",
    ],
    "sets.tsv": ["name\tmembers", "dry\tlocation=desert"],
    "types.tsv": ["kind\ttype\torder\tweight\topen", "attribute\tsize\t40\t2\tWhat size {is} {the}?", "scene_attribute\tweather\t5\t\t"],
    "taxonomy.toml": ['name = "small world"'],
}


def write(folder: Path, file: str = "", lines: list[str] | None = None, end: str = "\n") -> Path:
    for name, content in {**FILES, **({file: lines} if lines else {})}.items():
        (folder / name).write_bytes((end.join(content or []) + end).encode())
    return folder


@pytest.fixture
def small(tmp_path: Path) -> Taxonomy:
    return load_taxonomy(write(tmp_path))


# ---- what is right ------------------------------------------------------------------------------------------------------------


def test_a_valid_folder_has_no_problems(tmp_path: Path) -> None:
    assert check_taxonomy(write(tmp_path)) == []


def test_objects_are_read(small: Taxonomy) -> None:
    objects = small.objects
    assert objects.names == ("dog", "fox", "puppy", "sand", "scissors", "cake", "man")
    assert objects.plurals == ("dogs", "foxes", "puppies", "sand", "scissors", "cakes", "men")
    assert objects.number.tolist() == [COUNT, COUNT, COUNT, MASS, PLURAL, EITHER, COUNT]
    assert [small.classes[i] for i in objects.class_index] == ["animal", "animal", "animal", "substance", "thing", "thing", "person"]
    assert objects.parents[1] == ("mid", "top")
    assert objects.visuality.tolist() == pytest.approx([1, 1, 1, 0.4, 1, 1, 1])
    assert objects.familiarity.tolist() == pytest.approx([0.9, 1, 0.2, 1, 1, 1, 1])


def test_the_tree_is_walked(small: Taxonomy) -> None:
    assert small.ancestors[2] == {"d1", "mid", "top"}
    assert small.hypernym_path(2) == ("entity", "creature", "dog", "puppy")
    assert small.branch("creature").tolist() == [True, True, True, False, False, False, False]
    assert small.branch("animate").tolist() == [True, True, True, False, False, False, True]
    assert small.branch("d1").tolist() == small.branch("Dog").tolist() == [True, False, True, False, False, False, False]
    assert small.branch("any").all()
    with pytest.raises(TaxonomyError, match="no class, object or hypernym is named 'creatur'; near it are creature"):
        small.branch("creatur")


def test_attributes_are_read(small: Taxonomy) -> None:
    attributes = small.attributes
    assert attributes.predicates == ("red", "tiny", "huge", "covered in fur", "smiling")
    assert attributes.opposite.tolist() == [-1, 2, 1, -1, -1]
    assert attributes.exclusive.tolist() == [True, True, True, False, True]
    fits = {value: {small.classes[i] for i in np.flatnonzero(row)} for value, row in zip(attributes.values, attributes.fits, strict=True)}
    assert fits["red"] == set(small.classes) and fits["furry"] == {"animal"} and fits["smiling"] == {"animal", "person"}
    assert small.attribute_types.names == ("size", "coat", "color", "face")
    assert small.attribute_types.order.tolist() == [40, 50, 50, 50]
    assert small.attribute_types.weight.tolist() == [2, 1, 1, 1]
    assert small.attribute_types.open[0] == "What size {is} {the}?"


def test_relations_are_read(small: Taxonomy) -> None:
    relations = small.relations
    assert [RELATION_TYPES[i] for i in relations.type_index] == ["spatial", "spatial", "interactional"]
    assert relations.symmetric.tolist() == [True, False, False] and relations.antisymmetric.tolist() == [False, True, False]
    assert relations.inverse == ("next to", "below", "")
    assert {small.classes[i] for i in np.flatnonzero(relations.subjects[2])} == {"animal", "person"}


def test_scene_attributes_are_read(small: Taxonomy) -> None:
    scene = small.scene_attributes
    assert scene.modalities[0] == {"image", "video"} and scene.modalities[1] == {"image", "video", "3d"}
    assert scene.questions == ("Is it foggy?", "Is the scene in the rain?", "", "Is the scene set in a desert?")
    assert small.scene_attribute_types.names == ("weather", "iso", "location")
    fog, rain, iso, desert = range(4)
    conflicts = {(a, b) for a, b in np.argwhere(small.scene_conflicts).tolist() if a < b}
    assert conflicts == {(fog, rain), (fog, iso), (rain, desert), (fog, desert)}


def test_the_name_stands_in_the_toml_or_is_that_of_the_folder(small: Taxonomy, tmp_path: Path) -> None:
    assert small.name == "small world"
    (tmp_path / "taxonomy.toml").unlink()
    load_taxonomy.__globals__["_load"].cache_clear()
    assert load_taxonomy(tmp_path).name == tmp_path.name


def test_only_objects_are_required(tmp_path: Path) -> None:
    (tmp_path / "objects.tsv").write_text("name\ndog\n", encoding="utf-8")
    taxonomy = load_taxonomy(tmp_path)
    assert taxonomy.objects.ids == taxonomy.objects.names == ("dog",)
    assert taxonomy.classes == ("thing",)
    assert (len(taxonomy.attributes), len(taxonomy.relations), len(taxonomy.scene_attributes)) == (0, 0, 0)
    assert taxonomy.attributes.fits.shape == (0, 1) and taxonomy.scene_conflicts.shape == (0, 0)


def test_byte_order_mark_and_windows_line_ends_are_taken(tmp_path: Path) -> None:
    plain, windows = tmp_path / "plain", tmp_path / "windows"
    plain.mkdir()
    windows.mkdir()
    write(plain)
    write(windows, end="\r\n")
    for name in FILES:
        if name.endswith(".tsv"):
            (windows / name).write_bytes(b"\xef\xbb\xbf" + (windows / name).read_bytes())
    one, other = load_taxonomy(plain), load_taxonomy(windows)
    assert (one.objects.names, one.attributes.values, one.hypernyms) == (other.objects.names, other.attributes.values, other.hypernyms)
    assert one.digest != other.digest


def test_the_digest_is_of_the_content_not_of_the_place(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    first = load_taxonomy(write(one)).digest
    assert load_taxonomy(write(other)).digest == first and len(first) == 16
    changed = tmp_path / "changed"
    changed.mkdir()
    assert load_taxonomy(write(changed, "objects.tsv", [*FILES["objects.tsv"], "x1\tcat"])).digest != first


def test_short_lines_and_blank_lines_are_taken(tmp_path: Path) -> None:
    taxonomy = load_taxonomy(write(tmp_path, "objects.tsv", [*FILES["objects.tsv"], "", "x1\tcat", ""]))
    assert taxonomy.objects.names[-1] == "cat"


@pytest.mark.parametrize(
    ("noun", "plural"), [("fox", "foxes"), ("puppy", "puppies"), ("toy", "toys"), ("church", "churches"), ("y", "ys"), ("dog", "dogs")]
)
def test_regular_plurals(noun: str, plural: str) -> None:
    assert regular_plural(noun) == plural


# ---- what is wrong ------------------------------------------------------------------------------------------------------------


def more(file: str, *lines: str) -> tuple[str, list[str]]:
    """The valid file with lines added."""
    return file, [*FILES[file], *lines]


OBJECT_LINE, ATTRIBUTE_LINE, RELATION_LINE, SCENE_LINE = 9, 7, 5, 6
MISTAKES = [
    (more("objects.tsv", "x\tcat\t\tsome"), "objects.tsv:9: number is 'some'; it must be one of count, mass, plural, either"),
    (more("objects.tsv", "x\tcat\t\t\tany"), "objects.tsv:9: an object cannot be of class 'any'"),
    (more("objects.tsv", "x\tcat\t\t\t\tnobody"), "objects.tsv:9: unknown parent 'nobody' of 'x'"),
    (more("objects.tsv", "x\tcat\t\t\t\t\t1.5"), "objects.tsv:9: visuality is '1.5'; it must be from 0 to 1"),
    (more("objects.tsv", "x\tcat\t\t\t\t\tnan"), "objects.tsv:9: visuality is 'nan'"),
    (more("objects.tsv", "x\tcat\t\t\t\t\t\tlots"), "objects.tsv:9: familiarity is 'lots'; it must be a number"),
    (more("objects.tsv", "x\tDog"), "objects.tsv:9: the object 'Dog' stands already in line 2"),
    (more("objects.tsv", "d1\tcat"), "objects.tsv:9: the id 'd1' is used twice"),
    (more("objects.tsv", "mid\tcat"), "objects.tsv:9: the id 'mid' is used twice"),
    (more("objects.tsv", "x\tcat, big"), "objects.tsv:9: name 'cat, big' has punctuation that captions cannot hold"),
    (more("objects.tsv", "x\tcat."), "objects.tsv:9: name 'cat.' has punctuation"),
    (more("objects.tsv", "x\tcat (pet)"), "objects.tsv:9: name 'cat (pet)' has punctuation"),
    (more("objects.tsv", "x\t"), "objects.tsv:9: name is empty"),
    (more("objects.tsv", "x\t cat"), "objects.tsv:9: stray spaces in ' cat'"),
    (more("objects.tsv", "x\tbig  cat"), "objects.tsv:9: stray spaces in 'big  cat'"),
    (more("objects.tsv", "x\tc\x07at"), "objects.tsv:9: control or invisible character in 'c\\x07at'"),
    (more("objects.tsv", "x\tc\u200bat"), "objects.tsv:9: control or invisible character"),
    (more("objects.tsv", "x\tc\u202eat"), "objects.tsv:9: control or invisible character"),
    (
        more("objects.tsv", "x\t" + "c" * (MAX_CELL_CHARS + 1)),
        f"objects.tsv:9: a cell of {MAX_CELL_CHARS + 1} characters; at most {MAX_CELL_CHARS}",
    ),
    (more("objects.tsv", "x\tcat\t\t\t\t\t\t\t"), "objects.tsv:9: 9 cells, but the header has 8"),
    (more("objects.tsv", "x\tcat\t\t\t\ty", "y\tkitten\t\t\t\tx"), "objects.tsv:9: 'x' is above itself in the hypernym tree"),
    (("objects.tsv", ["id\tname\tcolour", "x\tcat\tred"]), "objects.tsv:1: unknown column 'colour'"),
    (("objects.tsv", ["id\tname\tname", "x\tcat\tcat"]), "objects.tsv:1: a column is named twice"),
    (("objects.tsv", ["id\tplural", "x\tcats"]), "objects.tsv:1: the column 'name' is missing; found id, plural"),
    (("objects.tsv", ["name"]), "objects.tsv:1: no objects; at least one is needed"),
    (more("classes.tsv", "animate\tperson"), "classes.tsv:4: the class 'animate' is above itself"),
    (more("classes.tsv", "person\t"), "classes.tsv:4: the class 'person' stands already in line 3"),
    (more("hypernyms.tsv", "mid\tother\t"), "hypernyms.tsv:4: the id 'mid' stands already in line 3"),
    (more("hypernyms.tsv", "x\tthing\tnobody"), "unknown parent 'nobody' of 'x'"),
    (more("hypernyms.tsv", "x\tone\ty", "y\ttwo\tx"), "is above itself in the hypernym tree"),
    (more("attributes.tsv", "RED\tcolor"), "attributes.tsv:7: the value 'RED' stands already in line 2"),
    (more("attributes.tsv", "blue"), "attributes.tsv:7: type is empty"),
    (more("attributes.tsv", "blue\tcolor\tghost"), "attributes.tsv:7: fits names the class 'ghost'"),
    (more("attributes.tsv", "blue\tcolor\t\tyes"), "attributes.tsv:7: exclusive is 'yes'; it must be 0 or 1"),
    (more("attributes.tsv", "blue\tcolor\t\t\tgreen"), "attributes.tsv:7: opposite 'green' is not a value of this file"),
    (more("attributes.tsv", "blue\tcolor\t\t\ttiny"), "attributes.tsv:7: opposite 'tiny' must be another value of the type 'color'"),
    (more("attributes.tsv", "blue\tcolor\t\t\tblue"), "attributes.tsv:7: opposite 'blue' must be another value"),
    (more("attributes.tsv", "blue\tcolor\t\t\t\t\tblue"), "attributes.tsv:7: hex is 'blue'; it must be like #1e90ff"),
    (more("attributes.tsv", "blue\tcolor\t\t\t\t\t\tazure"), "attributes.tsv:7: basic_color is 'azure'"),
    (more("attributes.tsv", "blue; big\tcolor"), "attributes.tsv:7: value 'blue; big' has punctuation"),
    (more("relations.tsv", "below\tabove"), "relations.tsv:5: type is 'above'; it must be one of spatial"),
    (more("relations.tsv", "below\tspatial\tghost"), "relations.tsv:5: subject_classes names the class 'ghost'"),
    (more("relations.tsv", "below\tspatial\t\tghost"), "relations.tsv:5: object_classes names the class 'ghost'"),
    (more("relations.tsv", "below\tspatial\t\t\t1\t1"), "relations.tsv:5: a relation cannot be symmetric and antisymmetric"),
    (more("relations.tsv", "Above\tspatial"), "relations.tsv:5: the relation 'Above' stands already in line 3"),
    (more("relations.tsv", "where?\tspatial"), "relations.tsv:5: relation 'where?' has punctuation"),
    (more("scene_attributes.tsv", "mist\tweather\tmood\tin mist"), "scene_attributes.tsv:6: group is 'mood'; it must be one of style"),
    (more("scene_attributes.tsv", "mist\tweather\tscene\tin mist\taudio"), "scene_attributes.tsv:6: unknown modality 'audio'"),
    (more("scene_attributes.tsv", "mist\tweather\tscene\tin mist\t\tmood"), "scene_attributes.tsv:6: contradicts names 'mood'"),
    (more("scene_attributes.tsv", "mist\tweather\tscene\tin mist\t\t@wet"), "scene_attributes.tsv:6: contradicts names the set '@wet'"),
    (
        more("scene_attributes.tsv", "fog\tweather\tscene\tin the fog"),
        "scene_attributes.tsv:6: the value 'weather=fog' stands already in line 2",
    ),
    (more("scene_attributes.tsv", "mist\tweather\tscene\tin fog"), "scene_attributes.tsv:6: the phrase 'in fog' stands already in line 2"),
    (more("scene_attributes.tsv", "mist\tweather\tscene\tin fog, thick"), "scene_attributes.tsv:6: phrase 'in fog, thick' has punctuation"),
    (more("scene_attributes.tsv", "mist\tweather\tscene\t"), "scene_attributes.tsv:6: phrase is empty"),
    (more("scene_attributes.tsv", "mist\tweather\tscene\tin mist\t\t\t2"), "scene_attributes.tsv:6: visible is '2'; it must be 0 or 1"),
    (more("types.tsv", "object\tsize"), "types.tsv:4: kind is 'object'; it must be one of attribute, scene_attribute"),
    (more("types.tsv", "attribute\tcolor\tfirst"), "types.tsv:4: order is 'first'; it must be a whole number"),
    (more("types.tsv", "attribute\tcolor\t1\t-1"), "types.tsv:4: weight is '-1'; it must be a finite number of at least 0"),
    (more("types.tsv", "attribute\tcolor\t1\tinf"), "types.tsv:4: weight is 'inf'"),
    (more("types.tsv", "attribute\tcolor\t1\tmuch"), "types.tsv:4: weight is 'much'; it must be a number"),
    (more("types.tsv", "attribute\tsize"), "types.tsv:4: the type 'attribute size' stands already in line 2"),
    (("taxonomy.toml", ["title = 3"]), "taxonomy.toml:1: no line like: name ="),
]


@pytest.mark.parametrize(("change", "message"), MISTAKES, ids=[message[:70] for _, message in MISTAKES])
def test_a_mistake_is_reported_with_file_and_line(tmp_path: Path, change: tuple[str, list[str]], message: str) -> None:
    problems = [str(problem) for problem in check_taxonomy(write(tmp_path, *change))]
    assert any(message in problem for problem in problems), problems
    with pytest.raises(TaxonomyError) as caught:
        load_taxonomy(tmp_path)
    assert problems[0] in str(caught.value)


SEVERAL = ("the id 'mid' is used twice", "the column 'name' is missing", "above itself")
"""Mistakes of two lines, or of a whole file: more than one problem is right."""


@pytest.mark.parametrize(("change", "message"), MISTAKES, ids=[message[:70] for _, message in MISTAKES])
def test_a_mistake_drags_no_others_behind_it(tmp_path: Path, change: tuple[str, list[str]], message: str) -> None:
    if change[1][0] == FILES[change[0]][0] and not any(part in message for part in SEVERAL):
        assert len(check_taxonomy(write(tmp_path, *change))) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (more("types.tsv", "attribute\tsize2\t99999999999"), "types.tsv:4: order"),
        (more("types.tsv", "attribute\tcolor\t99999999999"), "types.tsv:4: order"),
        (more("hypernyms.tsv", "x\tthing\tnobody"), "hypernyms.tsv:4: unknown parent"),
        (more("classes.tsv", "animate\tperson"), "classes.tsv:4: "),
        (more("objects.tsv", "x\t" + "c" * 201), "objects.tsv:9: name"),
        (more("objects.tsv", "x\tcat\tca,ts"), "objects.tsv:9: plural"),
        (more("attributes.tsv", "blue\tcolor\t\t\t\tblue, or so"), "attributes.tsv:7: predicate"),
    ],
)  # fmt: skip
def test_mistakes_that_were_once_missed(tmp_path: Path, change: tuple[str, list[str]], message: str) -> None:
    problems = [str(problem) for problem in check_taxonomy(write(tmp_path, *change))]
    assert any(message in problem for problem in problems), problems


def test_a_deep_tree_is_walked_whatever_the_order(tmp_path: Path) -> None:
    lines = [f"n{i}\tword {i}\tn{i - 1}" for i in range(1500, 0, -1)]
    (tmp_path / "objects.tsv").write_text("\n".join(["id\tname\tparents", *lines, "n0\tword 0"]), encoding="utf-8")
    assert len(load_taxonomy(tmp_path).ancestors[0]) == 1500


def npy() -> bytes:
    """One array, not an archive of arrays."""
    file = io.BytesIO()
    np.save(file, np.zeros(3))
    return file.getvalue()


BROKEN_BYTES: list[Any] = [
    ("objects.tsv", lambda data: data + b"\xff", r"objects.tsv:\d+: not UTF-8 text"),
    ("objects.tsv", lambda data: data.decode().encode("utf-16"), r"objects.tsv:\d+: not UTF-8 text"),
    ("objects.tsv", lambda data: b"", r"objects.tsv:1: the column 'name' is missing"),
    ("vectors.npz", lambda data: b"no archive", r"vectors.npz:1: cannot be read"),
    ("vectors.npz", lambda data: b"", r"vectors.npz:1: "),
    ("vectors.npz", lambda data: b"PK\x03\x04 no archive", r"vectors.npz:1: "),
    ("vectors.npz", lambda data: npy(), r"vectors.npz:1: "),
    ("taxonomy.toml", lambda data: b"\xff", r"taxonomy.toml:1: "),
]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize(("file", "change", "message"), BROKEN_BYTES)
def test_broken_bytes_are_reported(tmp_path: Path, file: str, change: Callable[[bytes], bytes], message: str) -> None:
    path = write(tmp_path) / file
    path.write_bytes(change(path.read_bytes() if path.exists() else b""))
    found = "nothing was raised"
    try:
        load_taxonomy(tmp_path)
    except Exception as error:
        found = f"{type(error).__name__}: {error}"
    gc.collect()  # numpy leaves a file open that it could not read
    assert re.search(f"TaxonomyError: .*{message}", found), found


def test_vectors_must_fit(tmp_path: Path) -> None:
    np.savez(write(tmp_path) / "vectors.npz", objects=np.zeros((3, 64), dtype=np.int8))
    assert [str(p) for p in check_taxonomy(tmp_path)] == ["vectors.npz:1: objects is int8 (3, 64); it must be int8 (7, 64)"]


def test_all_mistakes_are_reported_and_the_first_is_raised(tmp_path: Path) -> None:
    write(tmp_path, *more("objects.tsv", "x\tcat\t\tsome", "x\t kitten", "y\tDog"))
    assert [problem.line for problem in check_taxonomy(tmp_path)] == [10, 11, 9]
    with pytest.raises(TaxonomyError, match=r"\(and 2 more: anyscene taxonomy check "):
        load_taxonomy(tmp_path)


def test_what_is_no_taxonomy_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("name\ndog\n", encoding="utf-8")
    for path, message in [
        (tmp_path / "none", "no such folder"),
        (tmp_path / "file", "no such folder"),
        (tmp_path, "no objects.tsv in this folder"),
    ]:
        with pytest.raises(TaxonomyError, match=message):
            load_taxonomy(path)


# ---- more words ---------------------------------------------------------------------------------------------------------------


def test_counts_are_added_once_and_stand_first(small: Taxonomy) -> None:
    counted = with_counts(small)
    assert counted.attributes.values[-5:] == NUMERALS and counted.attribute_types.names[0] == "count"
    assert with_counts(counted) is counted and with_counts(small) is counted
    assert (counted.digest, counted.objects) == (small.digest, small.objects)
    kinds = [counted.attribute_types.names[i] for i in counted.attributes.type_index]
    assert kinds == ["color", "size", "size", "coat", "face", *["count"] * 5]
    assert counted.attributes.fits.shape == (10, len(counted.classes)) and counted.attributes.fits[5:].all()
    assert counted.attributes.opposite.tolist() == [-1, 2, 1, -1, -1, *[-1] * 5]


@pytest.mark.parametrize(
    ("word", "number"), [("two", 2), ("six", 6), ("7", 7), ("10000", 10_000), ("1", None), ("10001", None), ("red", None), ("-3", None)]
)
def test_numerals(word: str, number: int | None) -> None:
    assert numeral(word) == number


def test_words_are_added_and_known_ones_left(small: Taxonomy) -> None:
    wider = with_words(
        small,
        objects=["Dog", "unicorn", "unicorn"],
        attributes=[("color", "RED"), ("color", "mauve"), ("mood", "gloomy")],
        relations=["above", "orbiting"],
        scene_attributes=[("Weather", "Fog"), ("mood", "dreamy")],
    )
    assert wider.objects.names[-1] == "unicorn" and wider.objects.plurals[-1] == "unicorns" and len(wider.objects) == 8
    assert wider.classes[wider.objects.class_index[-1]] == "thing"
    kinds = [wider.attribute_types.names[i] for i in wider.attributes.type_index]
    assert list(zip(kinds, wider.attributes.values, strict=True))[-2:] == [("color", "mauve"), ("mood", "gloomy")]
    assert kinds[:5] == ["color", "size", "size", "coat", "face"]
    assert wider.relations.names[-1] == "orbiting" and wider.relations.subjects[-1].all() and wider.relations.objects[-1].all()
    assert wider.scene_attributes.phrases[-1] == "with the mood dreamy"
    scene_kinds = [wider.scene_attribute_types.names[i] for i in wider.scene_attributes.type_index]
    assert scene_kinds == ["weather", "weather", "iso", "location", "mood"]
    for table, rows in ((wider.attributes.fits, 7), (wider.relations.subjects, 4), (wider.relations.objects, 4)):
        assert table.shape == (rows, len(wider.classes))
    assert wider.scene_conflicts.shape == (5, 5)


def test_no_new_words_leave_all_as_it_is(small: Taxonomy) -> None:
    same = with_words(small, objects=["dog"], attributes=[("color", "red")], relations=["above"], scene_attributes=[("weather", "fog")])
    assert same.objects.names == small.objects.names and same.attributes.values == small.attributes.values
    assert same.classes == small.classes and same.relations.names == small.relations.names


def test_words_differing_in_case_only_are_added_once(small: Taxonomy) -> None:
    wider = with_words(
        small,
        objects=["unicorn", "Unicorn"],
        attributes=[("a", "shiny"), ("a", "Shiny"), ("b", "shiny")],
        relations=["orbiting", "Orbiting"],
    )
    assert len(wider.objects) == 8 and len(wider.attributes) == 7 and len(wider.relations) == 4


def test_a_class_thing_is_made_where_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "objects.tsv").write_text("name\tclass\ndog\tanimal\n", encoding="utf-8")
    (tmp_path / "attributes.tsv").write_text("value\ttype\tfits\nfurry\tcoat\tanimal\n", encoding="utf-8")
    (tmp_path / "relations.tsv").write_text("relation\tsubject_classes\nchasing\tanimal\n", encoding="utf-8")
    wider = with_words(load_taxonomy(tmp_path), objects=["stone"])
    assert wider.classes == ("animal", "thing") and wider.class_parent == ("", "")
    assert wider.attributes.fits.shape == (1, 2) and wider.relations.subjects.shape == (1, 2)


def test_vectors_grow_with_the_words(tmp_path: Path) -> None:
    np.savez(write(tmp_path) / "vectors.npz", objects=np.ones((7, 64), dtype=np.int8), other=np.ones(3))
    wider = with_words(load_taxonomy(tmp_path), objects=["unicorn"])
    assert wider.vectors["objects"].shape == (8, 64) and not wider.vectors["objects"][-1].any()
    assert wider.vectors["other"].shape == (3,)
