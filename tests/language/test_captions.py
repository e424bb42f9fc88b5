"""Captions, written by hand and compared in all four styles; what all captions have in common is in test_grammar.py."""

from __future__ import annotations

import functools
import operator
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from anyscene.dataset import RecordOptions, SceneRecords, SceneSpace, describe
from anyscene.errors import SpecError
from anyscene.language import LOSSLESS, STYLES, batch_of_graphs, lexicon_of, realize_captions
from anyscene.scene import Attribute, Object, Relation, SceneAttribute, SceneGraph
from anyscene.space import graph_of_row
from anyscene.taxonomy import Taxonomy, load_taxonomy, with_counts

FOLDER = Path(__file__).parents[1] / "golden" / "taxonomy"
SMALL = load_taxonomy(FOLDER)
Edges = tuple[tuple[int, str, int], ...]


def scene(*objects: str, edges: Edges = (), whole: tuple[str, ...] = ()) -> SceneGraph:
    """Objects like "dog: red, big", edges by position, scene attributes like "weather=fog"."""
    counts = with_counts(SMALL)

    def attribute(value: str) -> Attribute:
        index = counts.attribute_index.get(value.casefold())
        kind = "count" if value.isdecimal() else "look"
        return Attribute(kind if index is None else counts.attribute_types.names[counts.attributes.type_index[index]], value)

    made = []
    for i, text in enumerate(objects):
        name, _, values = text.partition(": ")
        made.append(Object(f"n{i}", name, tuple(attribute(value) for value in values.split(", ") if value)))
    relations = tuple(Relation(f"n{a}", predicate, f"n{b}") for a, predicate, b in edges)
    return SceneGraph(tuple(made), relations, tuple(SceneAttribute(*one.split("=")) for one in whole))


CASES: dict[str, tuple[SceneGraph, dict[str, str]]] = {
    "one object": (
        scene("dog"),
        {"plain": "There is a dog.", "dense": "There is a dog.", "short": "A dog", "tags": "dog"},
    ),
    "mass": (
        scene("sand"),
        {"plain": "There is some sand.", "dense": "There is some sand.", "short": "Some sand", "tags": "sand"},
    ),
    "plural only": (
        scene("scissors"),
        {"plain": "There are some scissors.", "dense": "There are some scissors.", "short": "Some scissors", "tags": "scissors"},
    ),
    "either": (
        scene("cake"),
        {"plain": "There is a cake.", "dense": "There is a cake.", "short": "A cake", "tags": "cake"},
    ),
    "an": (
        scene("hourglass"),
        {"plain": "There is an hourglass.", "dense": "There is an hourglass.", "short": "An hourglass", "tags": "hourglass"},
    ),
    "a before a vowel letter": (
        scene("ewe: one-eyed, old", "X-ray machine: U-shaped"),
        {
            "plain": "There is an old one-eyed ewe, along with a U-shaped X-ray machine.",
            "dense": "There is a ewe. The ewe is old. The ewe is missing one eye. There is an X-ray machine. The X-ray machine is U-shaped.",
            "short": "A ewe; an X-ray machine",
            "tags": "old one-eyed ewe, U-shaped X-ray machine",
        },
    ),
    "attributes in word order": (
        scene("table: wooden, red, big"),
        {
            "plain": "There is a big red wooden table.",
            "dense": "There is a table. The table is big. The table is red. The table is made of wood.",
            "short": "A table",
            "tags": "big red wooden table",
        },
    ),
    "attributes of mass and plural nouns": (
        scene("scissors: red", "sand: blue"),
        {
            "plain": "There are some red scissors, along with some blue sand.",
            "dense": "There are some scissors. The scissors are red. There is some sand. The sand is blue.",
            "short": "Some scissors; some sand",
            "tags": "red scissors, blue sand",
        },
    ),
    "one relation": (
        scene("dog: old", "table", edges=((0, "next to", 1),)),
        {
            "plain": "An old dog is next to a table.",
            "dense": "There is a dog. The dog is old. There is a table. The dog is next to the table.",
            "short": "A dog next to a table",
            "tags": "old dog, table, dog next to table",
        },
    ),
    "two relations of one subject": (
        scene("dog", "table", "fox", edges=((0, "next to", 1), (0, "chasing", 2))),
        {
            "plain": "A dog is next to a table and is chasing a fox.",
            "dense": "There is a dog. There is a table. There is a fox. The dog is next to the table. The dog is chasing the fox.",
            "short": "A dog next to a table and chasing a fox",
            "tags": "dog, table, fox, dog next to table, dog chasing fox",
        },
    ),
    "three relations of one subject": (
        scene("jeans", "table", "car", "fox", edges=((0, "next to", 1), (0, "near", 2), (0, "on top of", 3))),
        {
            "plain": "Some jeans are next to a table, are near a car, and are on top of a fox.",
            "dense": "There are some jeans. There is a table. There is a car. There is a fox. The jeans are next to the table. "
            "The jeans are near the car. The jeans are on top of the fox.",
            "short": "Some jeans next to a table, near a car and on top of a fox",
            "tags": "jeans, table, car, fox, jeans next to table, jeans near car, jeans on top of fox",
        },
    ),
    "chain": (
        scene("woman", "axe", "table", edges=((0, "holding", 1), (1, "on top of", 2))),
        {
            "plain": "A woman is holding an axe. The axe is on top of a table.",
            "dense": "There is a woman. There is an axe. There is a table. The woman is holding the axe. The axe is on top of the table.",
            "short": "A woman holding an axe; the axe on top of a table",
            "tags": "woman, axe, table, woman holding axe, axe on top of table",
        },
    ),
    "two subjects of one object": (
        scene("dog", "fox", "table", edges=((0, "near", 2), (1, "near", 2))),
        {
            "plain": "A dog is near a table. A fox is near the table.",
            "dense": "There is a dog. There is a table. There is a fox. The dog is near the table. The fox is near the table.",
            "short": "A dog near a table; a fox near the table",
            "tags": "dog, table, fox, dog near table, fox near table",
        },
    ),
    "isolated": (
        scene("scissors", "dog", "sand", "apple"),
        {
            "plain": "There are some scissors, along with a dog, some sand, and an apple.",
            "dense": "There are some scissors. There is a dog. There is some sand. There is an apple.",
            "short": "Some scissors; a dog; some sand; an apple",
            "tags": "scissors, dog, sand, apple",
        },
    ),
    "a relation and isolated ones": (
        scene("scissors: tiny", "dog", "car", "kite", edges=((1, "near", 2),)),
        {
            "plain": "A dog is near a car. There are also some tiny scissors, along with a kite.",
            "dense": "There is a dog. There is a car. There are some scissors. The scissors are tiny. There is a kite. The dog is near the car.",
            "short": "A dog near a car; some scissors; a kite",
            "tags": "dog, car, tiny scissors, kite, dog near car",
        },
    ),
    "counted": (
        scene("child: two"),
        {"plain": "There are two children.", "dense": "There are two children.", "short": "Two children", "tags": "two children"},
    ),
    "counted, with attributes and relations": (
        scene("dog: small, two", "fox: three, red", "table", edges=((0, "chasing", 1), (1, "near", 2))),
        {
            "plain": "Two small dogs are chasing three foxes that are red. The three foxes are near a table.",
            "dense": "There are two dogs. The two dogs are small. There are three foxes. The three foxes are red. There is a table. "
            "The two dogs are chasing the three foxes. The three foxes are near the table.",
            "short": "Two dogs chasing three foxes; the three foxes near a table",
            "tags": "two small dogs, three foxes that are red, table, dogs chasing foxes, foxes near table",
        },
    ),
    "two of one noun": (
        scene("dog: red", "dog: blue, big"),
        {
            "plain": "There is a red dog, along with a second dog that is big and blue.",
            "dense": "There is a dog. The first dog is red. There is a second dog. The second dog is big. The second dog is blue.",
            "short": "A dog; a second dog",
            "tags": "first red dog, second dog that is big and blue",
        },
    ),
    "three of one noun": (
        scene("axe", "dog", "dog", "dog", edges=((1, "chasing", 2), (3, "near", 2))),
        {
            "plain": "A dog is chasing a second dog. A third dog is near the second dog. There is also an axe.",
            "dense": "There is a dog. There is a second dog. There is a third dog. There is an axe. The first dog is chasing the second dog. "
            "The third dog is near the second dog.",
            "short": "A dog chasing a second dog; a third dog near the second dog; an axe",
            "tags": "first dog, second dog, third dog, axe, first dog chasing second dog, third dog near second dog",
        },
    ),
    "two of a mass noun": (
        scene("sand: red", "sand", edges=((0, "below", 1),)),
        {
            "plain": "A portion of red sand is below a second portion of sand.",
            "dense": "There is a portion of sand. The first portion of sand is red. There is a second portion of sand. "
            "The first portion of sand is below the second portion of sand.",
            "short": "A portion of sand below a second portion of sand",
            "tags": "first portion of red sand, second portion of sand, first portion of sand below second portion of sand",
        },
    ),
    "two of a plural-only noun": (
        scene("jeans", "jeans: blue"),
        {
            "plain": "There is a set of jeans, along with a second set of jeans that is blue.",
            "dense": "There is a set of jeans. There is a second set of jeans. The second set of jeans is blue.",
            "short": "A set of jeans; a second set of jeans",
            "tags": "first set of jeans, second set of jeans that is blue",
        },
    ),
    "two counted ones of one noun": (
        scene("dog: two, big", "dog: three, small", edges=((1, "chasing", 0),)),
        {
            "plain": "A group of three small dogs is chasing a second group of two dogs that is big.",
            "dense": "There is a group of three dogs. The first group of dogs is small. There is a second group of two dogs. "
            "The second group of dogs is big. The first group of dogs is chasing the second group of dogs.",
            "short": "A group of three dogs chasing a second group of two dogs",
            "tags": "first group of three small dogs, second group of two dogs that is big, first group of dogs chasing second group of dogs",
        },
    ),
    "an attribute that runs together with its noun": (
        scene("fox: red", "red fox: big"),
        {
            "plain": "There is a fox that is red, along with a big red fox.",
            "dense": "There is a fox. The fox is red. There is a red fox. The red fox is big.",
            "short": "A fox; a red fox",
            "tags": "fox that is red, big red fox",
        },
    ),
    "several attributes after the noun": (
        scene("fox: red, old, tiny", "car", edges=((0, "near", 1),)),
        {
            "plain": "A fox that is tiny, old and red is near a car.",
            "dense": "There is a fox. The fox is tiny. The fox is old. The fox is red. There is a car. The fox is near the car.",
            "short": "A fox near a car",
            "tags": "fox that is tiny, old and red, car, fox near car",
        },
    ),
    "attributes that run together with each other": (
        scene("dog: red, big, dark", "car: dark red"),
        {
            "plain": "There is a big dark, red dog, along with a dark red car.",
            "dense": "There is a dog. The dog is big. The dog is dark. The dog is red. There is a car. The car is dark red.",
            "short": "A dog; a car",
            "tags": "dog that is big, dark and red, dark red car",
        },
    ),
    "a circle": (
        scene("dog", "fox", edges=((0, "chasing", 1), (1, "chasing", 0))),
        {
            "plain": "A dog is chasing a fox. The fox is chasing the dog.",
            "dense": "There is a dog. There is a fox. The dog is chasing the fox. The fox is chasing the dog.",
            "short": "A dog chasing a fox; the fox chasing the dog",
            "tags": "dog, fox, dog chasing fox, fox chasing dog",
        },
    ),
    "two relations between one pair": (
        scene("dog", "fox: two", edges=((0, "near", 1), (0, "chasing", 1))),
        {
            "plain": "A dog is near two foxes and is chasing the two foxes.",
            "dense": "There is a dog. There are two foxes. The dog is near the two foxes. The dog is chasing the two foxes.",
            "short": "A dog near two foxes and chasing the two foxes",
            "tags": "dog, two foxes, dog near foxes, dog chasing foxes",
        },
    ),
    "words that the taxonomy lacks": (
        scene("zorgle: flumpy", "ogbert", edges=((0, "dancing with", 1),), whole=("mood=gloom",)),
        {
            "plain": "A flumpy zorgle is dancing with an ogbert. The scene is shown with the mood gloom.",
            "dense": "There is a zorgle. The zorgle is flumpy. There is an ogbert. The zorgle is dancing with the ogbert. "
            "The scene is shown with the mood gloom.",
            "short": "A zorgle dancing with an ogbert, with the mood gloom",
            "tags": "flumpy zorgle, ogbert, zorgle dancing with ogbert, with the mood gloom",
        },
    ),
    "letters of other scripts": (
        scene("éclair", "日本の鳥", "Ñandú: süß", edges=((0, "near", 1),)),
        {
            "plain": "An éclair is near a 日本の鳥. There is also a süß Ñandú.",
            "dense": "There is an éclair. There is a 日本の鳥. There is a Ñandú. The Ñandú is süß. The éclair is near the 日本の鳥.",
            "short": "An éclair near a 日本の鳥; a Ñandú",
            "tags": "éclair, 日本の鳥, süß Ñandú, éclair near 日本の鳥",
        },
    ),
    "counts beyond those of the vocabulary": (
        scene("dog: 12", "child: 8"),
        {
            "plain": "There are 12 dogs, along with 8 children.",
            "dense": "There are 12 dogs. There are 8 children.",
            "short": "12 dogs; 8 children",
            "tags": "12 dogs, 8 children",
        },
    ),
}


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("case", CASES)
def test_captions_by_hand(case: str, style: str) -> None:
    graph, expected = CASES[case]
    assert describe(graph, taxonomy=SMALL)["captions"][style] == expected[style]


@pytest.mark.parametrize(
    ("modality", "whole", "sentence"),
    [
        ("image", ("location=cave",), "The scene is set in a cave."),
        ("image", ("weather=fog",), "The scene is shown in fog."),
        ("image", ("weather=fog", "location=cave"), "The scene is set in a cave, in fog."),
        (
            "image",
            ("angle=low", "technique=oil painting", "weather=rain"),
            "The scene is shown in the rain, as an oil painting, seen from below.",
        ),
        ("image", ("iso=ISO 800",), "The scene is shot at ISO 800."),
        ("video", ("pace=slow", "camera_movement=pan"), "The scene is filmed with a pan, in slow motion."),
        ("video", ("time_span=a day",), "The scene is shown over a day."),
        ("3d", ("topology=low-poly", "surface=smooth"), "The 3D model is shown with a smooth surface, rendered low-poly."),
        ("3d", ("topology=low-poly",), "The 3D model is rendered low-poly."),
    ],
)
def test_scene_attributes(modality: str, whole: tuple[str, ...], sentence: str) -> None:
    captions = describe(scene("dog", whole=whole), taxonomy=SMALL, modality=modality)["captions"]
    phrases = sentence.removesuffix(".").split(" is ", 1)[1].removeprefix("shown ")
    assert captions == {
        "plain": f"There is a dog. {sentence}",
        "dense": f"There is a dog. {sentence}",
        "short": f"A dog, {phrases}",
        "tags": f"dog, {phrases}",
    }


@pytest.mark.parametrize(
    ("number", "words"), [(8, "an eighth "), (11, "an eleventh "), (18, "an eighteenth "), (9, "a ninth "), (21, "a 21st ")]
)
@pytest.mark.parametrize(
    ("name", "group"), [("dog", "dog"), ("sand", "portion of sand"), ("scissors", "set of scissors"), ("dog: two", "group of two dogs")]
)
def test_the_article_of_an_ordinal(number: int, words: str, name: str, group: str) -> None:
    record = describe(scene(*[name] * number), taxonomy=SMALL)
    assert record["captions"]["plain"].endswith(f", and {words}{group}.")
    assert record["captions"]["dense"].endswith(f"There is {words}{group}.")
    asked = f"{words}{group.replace('two ', '')}"
    assert f"Is there {asked}?" in [question["text"] for question in record["questions"]]


def test_the_order_in_a_graph_is_not_the_order_in_the_caption() -> None:
    graph = scene("car", "dog", "fox", edges=((2, "chasing", 1),))
    assert describe(graph, taxonomy=SMALL)["caption"] == "A fox is chasing a dog. There is also a car."
    assert [one["name"] for one in describe(graph, taxonomy=SMALL)["graph"]["objects"]] == ["fox", "dog", "car"]


def test_styles_are_known_and_others_refused() -> None:
    assert set(LOSSLESS) < set(STYLES)
    batch = batch_of_graphs([scene("dog")], SMALL)
    with pytest.raises(SpecError, match=r"caption style 'loud'.*plain, dense, short, tags"):
        realize_captions(batch, lexicon_of(SMALL), "loud")


@pytest.mark.parametrize("number", [1, 63, 64, 65, 200])
def test_any_number_of_scene_attributes(number: int) -> None:
    caption = describe(scene("dog", whole=tuple(f"mood=m{i}" for i in range(number))), taxonomy=SMALL)["caption"]
    assert caption.count("with the mood m") == number


def chain(size: int) -> SceneGraph:
    return scene(*[f"thing{i}" for i in range(size)], edges=tuple((i, "near", i + 1) for i in range(size - 1)))


def star(size: int) -> SceneGraph:
    return scene(*["dog"] * size, edges=tuple((0, "near", i) for i in range(1, size)))


@pytest.mark.parametrize("make", [chain, star])
def test_very_long_graphs_finish_quickly(make: Callable[[int], SceneGraph]) -> None:
    start = time.perf_counter()
    record = describe(make(300), taxonomy=SMALL)
    assert time.perf_counter() - start < 15  # on a loaded machine; a second on an idle one
    assert record["complexity"] == 599
    assert record["captions"]["dense"].count("There is") == 300
    assert record["captions"]["plain"].count(" is near ") == 299
    assert len({question["id"] for question in record["questions"]}) == len(record["questions"]) >= 599


def rows_of(style: str) -> SceneRecords:
    return SceneSpace(taxonomy=SMALL, complexity=(1, 9), scene_attributes=(0, 3), counts=True).source(5, RecordOptions(style=style))


@pytest.mark.parametrize("style", STYLES)
def test_a_caption_does_not_depend_on_its_batch(style: str) -> None:
    source = rows_of(style)
    whole = source.table(0, 300, questions=False)["caption"].to_pylist()
    for size in (1, 7, 64):
        parts = [
            source.table(i, min(i + size, 300), questions=False)["caption"].to_pylist()
            for i in range(0, 300 if size > 7 else 10 * size, size)
        ]
        assert functools.reduce(operator.iadd, parts, []) == whole[: len(functools.reduce(operator.iadd, parts, []))]


@pytest.mark.parametrize("style", STYLES)
def test_a_caption_does_not_depend_on_the_order_of_its_batch(style: str) -> None:
    source = rows_of(style)
    batch, taxonomy = source.batch(0, 200), source.space.taxonomy
    graphs = [graph_of_row(taxonomy, batch, row) for row in range(200)]
    lexicon = lexicon_of(taxonomy)
    order = np.random.default_rng(0).permutation(200)
    whole = source.table(0, 200, questions=False)["caption"].to_pylist()
    mixed = realize_captions(batch_of_graphs([graphs[i] for i in order], taxonomy), lexicon, style).to_pylist()
    assert mixed == [whole[i] for i in order]


@pytest.mark.parametrize("style", LOSSLESS)
def test_different_scenes_have_different_captions(style: str) -> None:
    captions = rows_of(style).table(0, 2000, questions=False)["caption"].to_pylist()
    assert len(set(captions)) == 2000


def test_no_rows_have_no_captions() -> None:
    lexicon = lexicon_of(with_counts(SMALL))
    batch = rows_of("plain").batch(0, 0)
    assert batch.rows == 0
    for style in STYLES:
        assert realize_captions(batch, lexicon, style).to_pylist() == []


def test_a_vocabulary_of_nouns_alone(tmp_path: Path) -> None:
    (tmp_path / "objects.tsv").write_text("name\nowl\nfox\n")
    tiny: Taxonomy = load_taxonomy(tmp_path)
    assert describe(scene("owl", "fox"), taxonomy=tiny)["caption"] == "There is an owl, along with a fox."
    space = SceneSpace(taxonomy=tmp_path, complexity=(1, 2))
    assert sorted(record["caption"] for record in space.records(space.source().capacity)) == [
        "There is a fox, along with a second fox.",
        "There is a fox.",
        "There is an owl, along with a fox.",
        "There is an owl, along with a second owl.",
        "There is an owl.",
    ]


def test_golden_captions(golden: Callable[[str, str], None]) -> None:
    lines = []
    for modality in ("image", "video", "3d"):
        space = SceneSpace(taxonomy=SMALL, complexity=(1, 9), scene_attributes=(0, 3), counts=True, modality=modality)
        for style in STYLES:
            table = space.source(7, RecordOptions(style=style)).table(0, 40, questions=False)
            lines += [f"{modality} {style}", *table["caption"].to_pylist(), ""]
    golden("captions.txt", "\n".join(lines))
