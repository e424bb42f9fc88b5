"""The lexicon: kept by content, never mixed up; which words run together; words of scene graphs in order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from anyscene.dataset import SceneSpace, describe
from anyscene.language import batch_of_graphs, lexicon_of, realize_captions
from anyscene.language.encode import taxonomy_for
from anyscene.scene import Attribute, Object, Relation, SceneGraph
from anyscene.taxonomy import Taxonomy, load_taxonomy, with_counts, with_words

FOLDER = Path(__file__).parents[1] / "golden" / "taxonomy"
SMALL = load_taxonomy(FOLDER)


def folder(path: Path, *names: str) -> Taxonomy:
    path.mkdir(exist_ok=True)
    (path / "objects.tsv").write_text("\n".join(["name", *names]) + "\n")
    return load_taxonomy(path)


def caption(graph: SceneGraph, taxonomy: Taxonomy) -> str:
    words = taxonomy_for([graph], taxonomy)
    return str(realize_captions(batch_of_graphs([graph], words), lexicon_of(words))[0].as_py())


def one(name: str, *values: str) -> SceneGraph:
    return SceneGraph((Object("a", name, tuple(Attribute("look", value) for value in values)),))


def test_a_lexicon_is_kept() -> None:
    assert lexicon_of(SMALL) is lexicon_of(SMALL)
    counted = with_counts(SMALL)
    assert lexicon_of(counted) is lexicon_of(counted)
    assert lexicon_of(counted) is not lexicon_of(SMALL)
    assert lexicon_of(SMALL).counts == []
    assert lexicon_of(counted).counts == [2, 3, 4, 5, 6]


def test_vocabularies_of_one_size_are_told_apart(tmp_path: Path) -> None:
    owls, foxes = folder(tmp_path / "owls", "owl", "ewe"), folder(tmp_path / "foxes", "fox", "axe")
    for _ in range(2):
        assert caption(one("ewe"), owls) == "There is a ewe."
        assert caption(one("axe"), foxes) == "There is an axe."


def test_one_folder_in_two_places_is_one_vocabulary(tmp_path: Path) -> None:
    assert folder(tmp_path / "a", "owl", "ewe").digest == folder(tmp_path / "b", "owl", "ewe").digest


@pytest.mark.parametrize("taxonomy", [SMALL, with_counts(SMALL)], ids=["plain", "counted"])
def test_added_words_are_told_apart(taxonomy: Taxonomy) -> None:
    """As many words were added each time: the second lexicon must not be the first."""
    assert caption(one("blorp"), taxonomy) == "There is a blorp."
    assert caption(one("ogbert"), taxonomy) == "There is an ogbert."
    assert caption(one("dog", "flumpy"), taxonomy) == "There is a flumpy dog."
    assert caption(one("dog", "ugsome"), taxonomy) == "There is an ugsome dog."


def test_describing_one_graph_does_not_change_the_next() -> None:
    names = ["zorgle", "ogbert", "quux", "ibbet"]
    assert [describe(one(name), taxonomy=SMALL)["captions"]["short"] for name in names] == ["A zorgle", "An ogbert", "A quux", "An ibbet"]
    graphs = [SceneGraph((Object("a", "dog"), Object("b", "fox")), (Relation("a", name, "b"),)) for name in ("zigging", "zagging")]
    assert [describe(graph, taxonomy=SMALL)["captions"]["short"] for graph in graphs] == ["A dog zigging a fox", "A dog zagging a fox"]


def test_described_words_do_not_leak_into_spaces_of_the_same_vocabulary() -> None:
    before = [record["caption"] for record in SceneSpace(taxonomy=SMALL, counts=True).records(20)]
    describe(one("blorp"), taxonomy=SMALL)
    assert [record["caption"] for record in SceneSpace(taxonomy=SMALL, counts=True).records(20)] == before


def test_added_words_outlive_the_numerals() -> None:
    """`with_counts` of a taxonomy with added words has both, also when the taxonomy without them was counted before."""
    assert with_counts(SMALL)
    wider = with_counts(with_words(SMALL, objects=["blorp"]))
    assert "blorp" in wider.object_index
    assert "two" in wider.attribute_index


def test_words_that_differ_in_case_alone_are_one_word() -> None:
    graph = SceneGraph((Object("a", "Blorp"), Object("b", "blorp")))
    words = taxonomy_for([graph], SMALL)
    assert [name for name in words.objects.names if name.casefold() == "blorp"] == ["Blorp"]


def test_more_ordinals_than_usual() -> None:
    lexicon = lexicon_of(SMALL, 30)
    assert lexicon.max_ordinal == 30
    assert lexicon_of(SMALL).max_ordinal == 14


def test_tokens_are_as_many_as_strings_and_none_is_null() -> None:
    lexicon = lexicon_of(with_counts(SMALL))
    strings = lexicon.strings
    assert strings.null_count == 0
    assert [lexicon.text(i) for i in range(len(strings))] == strings.to_pylist()
    assert lexicon.text(lexicon.noun + SMALL.object_index["ewe"]) == "ewe"
    assert lexicon.text(lexicon.nouns + SMALL.object_index["child"]) == "children"
    with pytest.raises(KeyError, match="not in the lexicon"):
        lexicon.literal("never seen")


@pytest.mark.parametrize(
    ("attribute", "noun", "joins"),
    [
        ("red", "fox", True),
        ("big", "fox", False),
        ("red", "dog", False),
        ("red", "red fox", False),
        ("dark red", "fox", True),
        ("dark", "fox", False),
    ],
)
def test_attributes_that_run_together_with_a_noun(attribute: str, noun: str, joins: bool) -> None:
    code = SMALL.attribute_index[attribute] * len(SMALL.objects) + SMALL.object_index[noun]
    assert (code in lexicon_of(SMALL).ambiguous_nouns) is joins


@pytest.mark.parametrize(
    ("left", "right", "joins"), [("dark", "red", True), ("red", "dark", False), ("dark", "green", False), ("big", "red", False)]
)
def test_attributes_that_run_together(left: str, right: str, joins: bool) -> None:
    code = SMALL.attribute_index[left] * len(SMALL.attributes) + SMALL.attribute_index[right]
    assert (code in lexicon_of(SMALL).ambiguous_attributes) is joins


def test_a_batch_of_graphs_holds_them_in_the_given_order() -> None:
    graphs = [one("dog"), one("fox"), SceneGraph((Object("a", "car"), Object("b", "ewe")), (Relation("b", "near", "a"),))]
    batch = batch_of_graphs(graphs, SMALL)
    assert batch.index.tolist() == [0, 1, 2]
    assert [SMALL.objects.names[i] for i in batch.objects] == ["dog", "fox", "ewe", "car"]
    assert np.array_equal(batch.complexity, [1, 1, 3])
    assert [batch.subjects.tolist(), batch.targets.tolist()] == [[0], [1]]


def test_words_are_found_in_any_case() -> None:
    assert (
        caption(SceneGraph((Object("a", "suv"), Object("b", "DOG")), (Relation("a", "Next To", "b"),)), SMALL) == "An SUV is next to a dog."
    )


def test_predicates_that_two_values_share_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "attributes.tsv").write_text(
        "value\ttype\tpredicate\noak\tmaterial\tmade of wood\npine\tmaterial\tmade of wood\nsteel\tmaterial\tmade of steel\n"
    )
    taxonomy = folder(tmp_path, "table")
    said = [describe(one("table", value), taxonomy=taxonomy)["captions"]["dense"] for value in ("oak", "pine", "steel")]
    assert said == [
        "There is a table. The table is oak.",
        "There is a table. The table is pine.",
        "There is a table. The table is made of steel.",
    ]


def test_a_vocabulary_where_numerals_do_not_come_first(tmp_path: Path) -> None:
    """A type of the user's own may come before the numerals in word order; its values are said all the same."""
    (tmp_path / "attributes.tsv").write_text("value\ttype\nred\tcolor\n")
    (tmp_path / "types.tsv").write_text("kind\ttype\torder\nattribute\tcolor\t-200\n")
    taxonomy = folder(tmp_path, "dog", "fox", "red fox")
    values = (Attribute("color", "red"), Attribute("count", "two"))
    said = [describe(SceneGraph((Object("a", name, values),)), taxonomy=taxonomy)["caption"] for name in ("dog", "fox")]
    assert said == ["There are two red dogs.", "There are two foxes that are red."]
