"""SceneSpace: the front door, and the records behind it."""

from __future__ import annotations

import json
import multiprocessing
import pickle
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pyarrow as pa
import pytest

from anyscene import QuestionOptions, RecordOptions, SceneSpace, SceneSpec
from anyscene.dataset import RecordSource, SceneRecords, record_json_schema, record_schema
from anyscene.dataset.scene_space import row_ids
from anyscene.dataset.source import plain_type, records_between
from anyscene.errors import CapacityError, EmptySpaceError, SpecError, TaxonomyError
from anyscene.scene import Attribute, Object, SceneGraph
from anyscene.taxonomy import load_taxonomy, with_words

FOLDER = Path(__file__).parents[1] / "golden" / "taxonomy"
SPEC = SceneSpec(complexity=(1, 8), scene_attributes=(0, 3), counts=True)


@cache
def small() -> SceneSpace:
    return SceneSpace(SPEC, taxonomy=FOLDER)


@cache
def tiny() -> SceneSpace:
    return SceneSpace(taxonomy=FOLDER, complexity=(1, 2))


# ---- the Python API -----------------------------------------------------------------------------------------------------------


def test_the_api_as_the_readme_shows_it() -> None:
    space = SceneSpace(taxonomy=FOLDER, complexity=(4, 8))
    assert space.size > 10**12
    assert isinstance(space[123], SceneGraph)
    assert space[123].complexity == 4
    found = []
    for record in space.records(1000, seed=0):
        found.append(record)
    assert len(found) == 1000
    assert [record["index"] for record in found] == list(range(1000))
    assert all(4 <= record["complexity"] <= 8 for record in found)
    assert list(found[0]) == record_schema().names


def test_numbers_and_scenes_are_one_to_one() -> None:
    space = tiny()
    scenes = [space[number] for number in range(space.size)]
    assert len({scene.to_json() for scene in scenes}) == space.size
    assert [space.index(scene) for scene in scenes] == list(range(space.size))
    for bad in (-1, space.size, space.size + 10**30):
        with pytest.raises(IndexError, match=rf"0 to {space.size - 1}"):
            space[bad]


def test_every_row_is_a_scene_of_the_space_and_no_row_comes_twice() -> None:
    space = tiny()
    numbers = [space.index(SceneGraph.from_dict(record["graph"])) for record in space.records(space.source().capacity)]
    assert len(set(numbers)) == len(numbers) == space.source().capacity


def test_records_go_on_where_a_start_says() -> None:
    everything = list(small().records(30, seed=4))
    assert list(small().records(10, 4, 20)) == everything[20:]
    assert small().table(20, 30, seed=4).to_pylist() == everything[20:]
    assert small().table(20, 30, seed=4, questions=False).column_names == record_schema(False).names


def test_records_are_made_when_they_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anyscene.dataset.scene_space.CHUNK", 16)
    assert next(small().records(10**6))["index"] == 0


def test_chunks_leave_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = list(small().records(50))
    monkeypatch.setattr("anyscene.dataset.scene_space.CHUNK", 7)
    assert list(small().records(50)) == whole


@pytest.mark.parametrize(("n", "start"), [(0, 0), (-1, 0), (1, -1)])
def test_numbers_that_ask_for_nothing_are_refused(n: int, start: int) -> None:
    with pytest.raises(SpecError, match="at least 1, from 0 up"):
        small().records(n, start=start)


def test_more_than_there_is_is_refused_at_once() -> None:
    capacity = tiny().source().capacity
    assert len(list(tiny().records(capacity))) == capacity
    for n, start in ((capacity + 1, 0), (1, capacity), (10, capacity - 9)):
        with pytest.raises(CapacityError, match=f"there are {capacity}"):
            tiny().records(n, start=start)


@pytest.mark.parametrize(("start", "stop"), [(-1, 3), (5, 4), (0, 1112), (1111, 1112)])
def test_a_table_of_rows_that_there_are_not_is_refused(start: int, stop: int) -> None:
    with pytest.raises(SpecError):
        tiny().table(start, stop)


@pytest.mark.parametrize("questions", [True, False])
def test_a_table_of_no_rows_has_the_columns(questions: bool) -> None:
    table = small().table(3, 3, questions=questions)
    assert table.num_rows == 0
    assert table.column_names == record_schema(questions).names


@pytest.mark.parametrize(
    "fields",
    [
        {"complexity": (0, 3)},
        {"complexity": (5, 4)},
        {"modality": "sound"},
        {"realism": 2.0},
        {"scene_attributes": (0, 9)},
        {"order": "any"},
    ],
)
def test_specs_that_cannot_be_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(SpecError):
        SceneSpace(taxonomy=FOLDER, **fields)


def test_unknown_options_and_words_are_refused() -> None:
    with pytest.raises(SpecError, match=r"unknown option 'complexty'.*complexity"):
        SceneSpace(taxonomy=FOLDER, complexty=(1, 2))
    with pytest.raises(TaxonomyError, match="animl"):
        SceneSpace(taxonomy=FOLDER, only=("animl",))
    with pytest.raises(TaxonomyError, match="no such folder"):
        SceneSpace(taxonomy=FOLDER / "nowhere")


def test_an_empty_space_is_refused() -> None:
    with pytest.raises(EmptySpaceError):
        list(SceneSpace(taxonomy=FOLDER, complexity=(1, 3), only=("animal",), without=("animal",)).records(1))


def test_fields_may_be_given_beside_a_spec() -> None:
    assert SceneSpace(SPEC, taxonomy=FOLDER, modality="video").spec == replace(SPEC, modality="video")
    assert SceneSpace(SPEC, taxonomy=FOLDER).spec is not None
    assert SceneSpace(taxonomy=str(FOLDER)).taxonomy.digest == SceneSpace(taxonomy=load_taxonomy(FOLDER)).taxonomy.digest


def test_options_that_cannot_be_are_refused() -> None:
    with pytest.raises(SpecError, match="plain, dense, short, tags"):
        RecordOptions(style="loud")
    for seed in (2**63, -(2**63) - 1):
        with pytest.raises(SpecError, match="64 bits"):
            small().source(seed)


def test_numerals_outlive_words_of_ones_own() -> None:
    """A space that counts, over a vocabulary with added words, has both."""
    taxonomy = with_words(load_taxonomy(FOLDER), objects=["blorp"])
    space = SceneSpace(taxonomy=taxonomy, complexity=(1, 1), counts=True)
    assert "blorp" in {space[number].objects[0].name for number in range(space.size)}


# ---- records ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("modality", ["image", "video", "3d"])
@pytest.mark.parametrize("questions", [True, False])
def test_a_table_is_of_the_record_schema(modality: str, questions: bool) -> None:
    source = SceneSpace(SPEC, taxonomy=FOLDER, modality=modality).source(1)
    table = source.table(0, 50, questions=questions)
    assert pa.schema([(field.name, plain_type(field.type)) for field in table.schema]) == record_schema(questions)
    cast = table.cast(record_schema(questions))
    assert cast.schema == record_schema(questions)
    assert cast.to_pylist() == table.to_pylist()
    assert records_between(source, 0, 50, questions).num_rows == 50
    cast.validate(full=True)


@pytest.mark.parametrize("style", ["plain", "dense", "short", "tags"])
def test_the_json_schema_holds_for_every_row(style: str) -> None:
    validator = jsonschema.Draft202012Validator(record_json_schema())
    for row in small().source(2, RecordOptions(style=style)).table(0, 60).to_pylist():
        validator.validate(row)
        validator.validate(json.loads(json.dumps(row)))


def test_columns_say_what_the_graph_says() -> None:
    for row in small().source(2).table(0, 300).to_pylist():
        graph = SceneGraph.from_dict(row["graph"])
        assert row["complexity"] == graph.complexity
        assert [one.id for one in graph.objects] == [f"o{i}" for i in range(len(graph.objects))]
        assert row["modality"] == "image"
        assert row["seed"] == 2
        assert row["spec_digest"] == small().digest
        assert row["plausibility"] is None  # a vocabulary without vectors knows of none


def test_plausibility_of_the_shipped_vocabulary() -> None:
    rows = SceneSpace(complexity=(1, 3)).source(0).table(0, 300, questions=False).to_pylist()
    known = [row["plausibility"] for row in rows if len(row["graph"]["objects"]) < row["complexity"]]
    assert all(isinstance(value, float) for value in known)
    assert len(set(known)) > 50
    assert all(row["plausibility"] is None for row in rows if len(row["graph"]["objects"]) == row["complexity"])
    assert len(known) < 300


def test_ids_are_unique_and_stable() -> None:
    table = small().table(0, 3000, seed=3, questions=False)
    ids = table["id"].to_pylist()
    assert len(set(ids)) == 3000
    assert all(re.fullmatch(r"[0-9a-f]{12}-[0-9a-f]{12}", one) for one in ids)
    assert ids[255].endswith("-0000000000ff")
    assert small().table(100, 101, seed=3, questions=False)["id"].to_pylist() == ids[100:101]
    others = [small().table(0, 5, seed=4), SceneSpace(SPEC, taxonomy=FOLDER, modality="video").table(0, 5, seed=3)]
    assert not any(set(other["id"].to_pylist()) & set(ids) for other in others)
    assert row_ids(np.array([2**40 + 10]), "x").to_pylist()[0].endswith("-01000000000a")


@pytest.mark.parametrize("size", [1, 3, 50])
def test_a_row_is_the_same_in_every_batch(size: int) -> None:
    source = small().source(6)
    whole = source.table(0, 150).to_pylist()
    for start in range(0, min(150, 12 * size), size):
        assert source.table(start, start + size).to_pylist() == whole[start : start + size]


def test_a_row_is_the_same_after_rows_far_away() -> None:
    source = small().source(6)
    once = source.table(10**9, 10**9 + 5).to_pylist()
    source.table(0, 5)
    assert source.table(10**9, 10**9 + 5).to_pylist() == once


def test_seeds_give_other_rows() -> None:
    first, second = (small().table(0, 200, seed=seed, questions=False)["caption"].to_pylist() for seed in (0, 1))
    assert len(set(first) & set(second)) < 40


def test_the_seed_of_the_question_options_has_a_meaning_or_is_not_recorded() -> None:
    """`QuestionOptions(seed=5)` either changes the draws of a dataset or does not appear in its manifest as if it did."""
    plain, other = (small().source(0, RecordOptions(questions=QuestionOptions(seed=seed))) for seed in (0, 5))
    same = plain.table(0, 20).to_pylist() == other.table(0, 20).to_pylist()
    assert same == (plain.manifest() == other.manifest())


def test_the_manifest_is_json_and_names_everything() -> None:
    options = RecordOptions(style="dense", questions=QuestionOptions(forms=("yes_no",), foils=0.2))
    manifest = small().source(9, options).manifest()
    read = json.loads(json.dumps(manifest))
    assert SceneSpec.from_dict(read["spec"]) == SPEC
    assert read["spec_digest"] == small().digest
    assert (read["seed"], read["style"], read["question_options"]["foils"]) == (9, "dense", 0.2)
    assert str(FOLDER.parent) not in json.dumps(manifest)


def test_a_spec_with_a_graph_goes_all_the_way() -> None:
    wanted = SceneGraph((Object("x", "dog", (Attribute("color", "red"),)),))
    space = SceneSpace(taxonomy=FOLDER, complexity=(3, 6), containing=wanted)
    for record in space.records(40):
        [dog] = [one for one in record["graph"]["objects"] if one["name"] == "dog"]
        assert {"type": "color", "value": "red"} in dog["attributes"]
        assert " red " in record["caption"]


def test_uniform_order_has_records_too() -> None:
    space = SceneSpace(taxonomy=FOLDER, complexity=(1, 6), order="uniform")
    assert space.source().capacity == space.size
    assert len({record["caption"] for record in space.records(50)}) == 50


# ---- sources travel -----------------------------------------------------------------------------------------------------------


def test_records_are_a_source() -> None:
    assert isinstance(small().source(), RecordSource)


@pytest.mark.parametrize("whole", [True, False], ids=["taxonomy", "path"])
def test_a_source_can_be_pickled(whole: bool) -> None:
    space = SceneSpace(SPEC, taxonomy=load_taxonomy(FOLDER) if whole else FOLDER)
    source = space.source(8, RecordOptions(style="tags"))
    before = source.table(0, 20).to_pylist()
    copy = pickle.loads(pickle.dumps(source))
    assert isinstance(copy, SceneRecords)
    assert copy.manifest() == source.manifest()
    assert copy.table(0, 20).to_pylist() == before


def test_a_source_works_in_a_spawned_process() -> None:
    source = small().source(8)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        there = pool.apply(source.table, (5, 25))
    assert there.to_pylist() == source.table(5, 25).to_pylist()


def test_golden_records(golden: Callable[[str, str], None]) -> None:
    space = SceneSpace(SPEC, taxonomy=FOLDER)
    lines = [json.dumps(record, ensure_ascii=False) for record in islice(space.records(3, seed=1), 3)]
    golden("records.jsonl", "\n".join(lines) + "\n")


def test_no_dictionary_has_a_word_twice() -> None:
    """Parquet writes such dictionaries differently from time to time."""

    def dictionaries(array: pa.Array) -> Iterator[pa.Array]:
        if pa.types.is_dictionary(array.type):
            yield array.dictionary
        elif pa.types.is_struct(array.type):
            for child in array.flatten():
                yield from dictionaries(child)
        elif pa.types.is_list(array.type):
            yield from dictionaries(array.values)

    table = SceneSpace(complexity=(2, 6), scene_attributes=(0, 2), counts=True).table(0, 3000)
    found = [one for column in table.columns for one in dictionaries(column.combine_chunks())]
    assert len(found) >= 15
    assert all(len(set(one.to_pylist())) == len(one) for one in found)
