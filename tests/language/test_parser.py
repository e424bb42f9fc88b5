"""Captions parse back to their graphs, and everything else is refused quickly and clearly."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyscene.errors import CaptionParseError
from anyscene.language.captions import LOSSLESS, realize_captions
from anyscene.language.encode import batch_of_graphs, taxonomy_for
from anyscene.language.lexicon import Lexicon, lexicon_of
from anyscene.language.parser import parse
from anyscene.scene.graph import Attribute, Object, Relation, SceneGraph
from anyscene.space.decode import graph_of_row
from anyscene.space.space import Space
from anyscene.space.spec import SceneSpec
from anyscene.taxonomy import COUNT_TYPE, Taxonomy, load_taxonomy, with_counts

ROWS = 5000


def check_rows(space: Space, rows: int, modality: str, taxonomy: Taxonomy | None, every: int = 1) -> int:
    """Rows of a space parse back; each in all styles, or with ``every`` 3 in one style by turns. How many captions were read."""
    batch = space.rows(7).rows(0, rows)
    lexicon = lexicon_of(space.taxonomy)
    captions = [realize_captions(batch, lexicon, style, modality).to_pylist() for style in LOSSLESS]
    read = 0
    for row in range(rows):
        graph = graph_of_row(space.taxonomy, batch, row)
        for own in captions[row % every :: every]:
            assert parse(own[row], taxonomy) == graph, own[row]
            read += 1
    return read


@pytest.mark.parametrize(
    ("modality", "counts", "realism", "complexity"),
    [("image", False, 0.5, 12), ("video", True, 0.5, 7), ("3d", True, 0.0, 9)],
)
def test_captions_of_the_shipped_vocabulary_parse_back(modality: str, counts: bool, realism: float, complexity: int) -> None:
    spec = SceneSpec(complexity=(1, complexity), scene_attributes=(0, 4), modality=modality, counts=counts, realism=realism)
    assert check_rows(Space(load_taxonomy(), spec), ROWS, modality, None, every=len(LOSSLESS)) > 0.95 * ROWS


@pytest.fixture
def tiny(tmp_path: Path) -> Taxonomy:
    """Few nouns of every number, and words that run together: "red fox", "dark red", "and", full stops, capitals."""
    files = {
        "objects.tsv": [
            "name\tplural\tnumber",
            "fox\tfoxes\tcount",
            "red fox\tred foxes\tcount",
            "sand\t\tmass",
            "scissors\t\tplural",
            "chocolate\tchocolates\teither",
            "St. Bernard\tSt. Bernards\tcount",
            "bow and arrow\tbows and arrows\tcount",
            "sheep\tsheep\tcount",
        ],
        "attributes.tsv": [
            "value\ttype\tpredicate",
            "dark\tshade\t",
            "dark red\tcolor\t",
            "red\tcolor\t",
            "hatted\twear\twearing a hat",
            "old\tage\t",
        ],
        "relations.tsv": ["relation", "near", "holding", "holding a picture of", "above and to the left of"],
        "scene_attributes.tsv": [
            "value\ttype\tphrase",
            "fog\tweather\tin fog",
            "cave\tplace\tset in a cave",
            "Klee\tartist\tin the style of P. Klee",
        ],
    }
    for name, lines in files.items():
        (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return load_taxonomy(tmp_path)


@pytest.mark.parametrize("counts", [False, True])
def test_captions_with_many_objects_of_one_noun_parse_back(tiny: Taxonomy, counts: bool) -> None:
    spec = SceneSpec(complexity=(1, 10), scene_attributes=(0, 3), counts=counts, realism=0.0)
    assert check_rows(Space(tiny, spec), 2500, "image", tiny) == 2500 * len(LOSSLESS)


def graph_with(*names: str, relations: tuple[tuple[int, str, int], ...] = (), count: str = "") -> SceneGraph:
    attributes = (Attribute(COUNT_TYPE, count),) if count else ()
    objects = tuple(Object(f"o{i}", name, attributes) for i, name in enumerate(names))
    return SceneGraph(objects, tuple(Relation(f"o{a}", name, f"o{b}") for a, name, b in relations))


@pytest.mark.parametrize("style", LOSSLESS)
@pytest.mark.parametrize("count", ["", "two"])
@pytest.mark.parametrize("noun", ["fox", "sand", "scissors", "chocolate", "sheep"])
def test_a_noun_of_any_number_repeats(tiny: Taxonomy, noun: str, count: str, style: str) -> None:
    taxonomy = with_counts(tiny)
    graph = graph_with(noun, noun, noun, "red fox", relations=((0, "near", 1), (1, "holding a picture of", 2)), count=count)
    caption = str(realize_captions(batch_of_graphs([graph], taxonomy), lexicon_of(taxonomy), style)[0])
    assert parse(caption, tiny) == graph


@pytest.mark.parametrize("style", LOSSLESS)
def test_more_objects_of_one_noun_than_the_usual_lexicon_numbers(tiny: Taxonomy, style: str) -> None:
    graph = graph_with(*["fox"] * 25, relations=((0, "near", 1),))
    caption = str(realize_captions(batch_of_graphs([graph], tiny), lexicon_of(tiny, 25), style)[0])
    assert parse(caption, tiny) == graph


@pytest.mark.parametrize("style", LOSSLESS)
def test_a_directed_circle_and_two_relations_of_one_pair(tiny: Taxonomy, style: str) -> None:
    graph = graph_with("fox", "sand", relations=((0, "near", 1), (0, "holding", 1), (1, "near", 0)))
    caption = str(realize_captions(batch_of_graphs([graph], tiny), lexicon_of(tiny), style)[0])
    assert parse(caption, tiny) == graph


@pytest.mark.parametrize("noun", ["gizmo", "widget"])
def test_words_of_the_user_are_read_with_the_taxonomy_that_has_them(tiny: Taxonomy, noun: str) -> None:
    graph = graph_with(noun)
    taxonomy = taxonomy_for([graph], tiny)
    caption = str(realize_captions(batch_of_graphs([graph], taxonomy), Lexicon(taxonomy))[0])
    assert parse(caption, taxonomy) == graph
    with pytest.raises(CaptionParseError):
        parse(caption, tiny)


def test_a_large_graph_parses_back() -> None:
    taxonomy = load_taxonomy()
    graph = graph_with(*taxonomy.objects.names[:400], relations=tuple((i, "near", i + 1) for i in range(399)))
    for style in LOSSLESS:
        caption = str(realize_captions(batch_of_graphs([graph], taxonomy), lexicon_of(taxonomy), style)[0])
        assert parse(caption) == graph


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", 'expected "There is" or an object with a capital letter; found the end'),
        ("A dog is zapping a cat.", "after 'A dog is ', expected a relation; found 'zapping a cat.'"),
        ("A dog is near a zzyzx.", "after 'A dog is near a ', expected an adjective or a noun; found 'zzyzx.'"),
        ("A dog is near a cat", "after 'A dog is near a cat', expected a full stop, a comma or \"and\"; found the end"),
        ("There is a dog.\n", "after 'There is a dog.', expected nothing more; found '\\n'"),
        ("There is an dog.", "after 'There is ' it goes on 'an dog.', but the caption of that scene goes on 'a dog.'"),
        ("A dog are near a cat.", "after 'A dog ' it goes on 'are near a cat.', but the caption of that scene goes on 'is near a cat.'"),
        (
            "A dog is near the cat.",
            "after 'A dog is near the ', an object is named out of turn (a dog, a second dog, the first dog): 'cat.'",
        ),
        ("A dog is near a second dog. The third dog is near a cat.", "an object is named out of turn"),
        ("A red red dog is near a cat.", "the object 'o0' has the same attribute twice"),
    ],
)
def test_a_message_says_how_far_the_text_was_read(text: str, message: str) -> None:
    with pytest.raises(CaptionParseError) as raised:
        parse(text)
    assert message in str(raised.value)


def refused(text: str) -> None:
    """A text that is no caption is refused in one line."""
    with pytest.raises(CaptionParseError) as raised:
        parse(text)
    assert len(str(raised.value)) <= 200 and str(raised.value).isprintable()


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=80))
def test_any_text_is_refused(text: str) -> None:
    refused(text + "\x00")


PIECES = [
    "A",
    "a",
    "an",
    "the",
    "The",
    "There",
    "is",
    "are",
    "dog",
    "cat",
    "dogs",
    "two",
    "red",
    "fox",
    "second",
    "first",
    "near",
    "and",
    "that",
    "of",
    "group",
]


@settings(max_examples=500, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(PIECES), st.sampled_from([" ", " ", ", ", ". "])), max_size=25))
def test_word_salad_is_a_caption_or_refused(pieces: list[tuple[str, str]]) -> None:
    text = "".join(word + mark for word, mark in pieces)
    try:
        graph = parse(text)
    except CaptionParseError as error:
        assert len(str(error)) <= 200 and str(error).isprintable()
        return
    taxonomy = with_counts(load_taxonomy())
    batch = batch_of_graphs([graph], taxonomy)
    assert text in [str(realize_captions(batch, lexicon_of(taxonomy), style)[0]) for style in LOSSLESS]


@pytest.mark.parametrize(
    "text",
    [
        "There is a " + "red " * 25_000 + "dog.",
        "dark " * 20_000,
        "dog, " * 20_000,
        "There is a dog. " * 6_250,
        "A dog is near a cat" + " and is near a cat" * 5_500 + ".",
        "A dog is near a cat" + ", is near the cat" * 5_800 + ".",
        "There is a dog that is " + "red, " * 20_000 + "red and red.",
        "sheep, " + "sheep near sheep, " * 5_500 + "sheep",
        "There is a dog. There is a cat. " + "The dog is near the cat. " * 4_000,
        "There is a dog. The scene is " + "shown in fog, " * 7_000,
        "a" * 100_000,
        ", " * 50_000,
        "\ud800" * 100_000,
        "x" * 10_000_000,
    ],
)
def test_a_hostile_text_is_refused_quickly(text: str) -> None:
    refused("")
    start = time.process_time()
    refused(text)
    assert time.process_time() - start < 3.0
