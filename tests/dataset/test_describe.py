"""Describe: the graph of a user in, caption and questions out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from anyscene import Attribute, Object, RecordOptions, Relation, SceneAttribute, SceneGraph, SceneSpace, describe
from anyscene.errors import SpecError
from anyscene.language import LOSSLESS, STYLES
from anyscene.taxonomy import load_taxonomy

SMALL = load_taxonomy(Path(__file__).parents[1] / "golden" / "taxonomy")
DOG = Object("d", "dog", (Attribute("color", "red"), Attribute("size", "big")))
TABLE = Object("t", "table")
GRAPH = SceneGraph((TABLE, DOG), (Relation("d", "next to", "t"),), (SceneAttribute("weather", "fog"),))


def test_what_comes_back() -> None:
    record = describe(GRAPH, taxonomy=SMALL)
    assert list(record) == ["caption", "captions", "graph", "complexity", "modality", "plausibility", "questions"]
    assert record["caption"] == record["captions"]["plain"] == "A big red dog is next to a table. The scene is shown in fog."
    assert set(record["captions"]) == set(STYLES)
    assert (record["complexity"], record["modality"]) == (5, "image")
    assert record["graph"] == {
        "objects": [
            {"id": "o0", "name": "dog", "attributes": [{"type": "size", "value": "big"}, {"type": "color", "value": "red"}]},
            {"id": "o1", "name": "table", "attributes": []},
        ],
        "relations": [{"subject": "o0", "predicate": "next to", "object": "o1"}],
        "scene_attributes": [{"type": "weather", "value": "fog"}],
    }
    assert SceneGraph.from_dict(record["graph"]).same_scene(GRAPH)


@pytest.mark.parametrize("style", STYLES)
def test_the_style_is_the_one_of_the_options(style: str) -> None:
    record = describe(GRAPH, taxonomy=SMALL, options=RecordOptions(style=style))
    assert record["caption"] == record["captions"][style]


def test_the_shipped_vocabulary_is_the_default() -> None:
    assert describe(GRAPH)["caption"].startswith("A big red dog is next to a table.")


def test_describing_twice_is_the_same() -> None:
    assert describe(GRAPH, taxonomy=SMALL) == describe(GRAPH, taxonomy=SMALL)


def test_ids_and_order_of_the_graph_do_not_matter() -> None:
    other = SceneGraph(
        (Object("0", "dog", DOG.attributes[::-1]), Object("1", "table")), (Relation("0", "next to", "1"),), GRAPH.scene_attributes
    )
    assert describe(other, taxonomy=SMALL) == describe(GRAPH, taxonomy=SMALL)


def test_a_record_of_a_space_is_described_as_it_stands_there() -> None:
    space = SceneSpace(taxonomy=SMALL, complexity=(1, 7), scene_attributes=(0, 2), counts=True)
    for record in space.records(60, seed=2):
        again = describe(SceneGraph.from_dict(record["graph"]), taxonomy=SMALL)
        assert again["caption"] == record["caption"]
        assert again["graph"] == record["graph"]
        assert again["plausibility"] == record["plausibility"]
        fixed = [q for q in record["questions"] if q["form"] == "yes_no" and not q["foil"]]
        assert [q for q in again["questions"] if q["form"] == "yes_no" and not q["foil"]] == fixed


def test_plausibility_is_null_without_attributes_and_relations() -> None:
    assert describe(SceneGraph((TABLE,)), taxonomy=SMALL)["plausibility"] is None
    assert describe(SceneGraph((DOG,)))["plausibility"] is not None


@pytest.mark.parametrize("modality", ["", "Image", "sound"])
def test_unknown_modalities_are_refused(modality: str) -> None:
    with pytest.raises(SpecError, match="image, video, 3d"):
        describe(GRAPH, taxonomy=SMALL, modality=modality)


@pytest.mark.parametrize("modality", ["image", "video", "3d"])
def test_scene_attributes_of_another_modality_are_taken_as_they_stand(modality: str) -> None:
    whole = (SceneAttribute("pace", "slow"), SceneAttribute("topology", "low-poly"), SceneAttribute("iso", "ISO 100"))
    record = describe(SceneGraph((TABLE,), (), whole), taxonomy=SMALL, modality=modality)
    for phrase in ("in slow motion", "rendered low-poly", "shot at ISO 100"):
        assert phrase in record["caption"]


def test_words_are_kept_as_the_taxonomy_writes_them() -> None:
    record = describe(SceneGraph((Object("a", "suv", (Attribute("Color", "RED"),)),)), taxonomy=SMALL)
    assert record["graph"]["objects"] == [{"id": "o0", "name": "SUV", "attributes": [{"type": "color", "value": "red"}]}]


def test_a_word_keeps_the_type_that_the_graph_gives_it() -> None:
    """Dark is a luminosity in the vocabulary; a graph that calls it a mood comes back with a mood, or is refused."""
    graph = SceneGraph((Object("a", "dog", (Attribute("mood", "ominous"), Attribute("tone", "ominous"))),))
    record = describe(graph, taxonomy=SMALL)
    assert SceneGraph.from_dict(record["graph"]).same_scene(graph)


@pytest.mark.parametrize("text", ["dog. A cat", "dog, cat", "the dog", "?", "a b  c", "{is}", "%s", "and", "12", "'", "\\", "<b>"])
def test_strange_names_do_no_harm(text: str) -> None:
    graph = SceneGraph((Object("a", text, (Attribute("look", text),)), Object("b", text)), (Relation("a", text, "b"),))
    record = describe(graph, taxonomy=SMALL)
    for style in LOSSLESS:
        assert text in record["captions"][style]
    assert all(q["text"].endswith("?") for q in record["questions"])


@pytest.mark.parametrize("name", ["dog", "sand", "scissors", "zorgle"])
def test_many_of_one_noun(name: str) -> None:
    record = describe(SceneGraph(tuple(Object(f"x{i}", name) for i in range(40))), taxonomy=SMALL)
    assert "40th " in record["captions"]["plain"]
    asked: list[Any] = [q["text"] for q in record["questions"] if q["form"] == "yes_no" and not q["foil"]]
    assert len(set(asked)) == 40
