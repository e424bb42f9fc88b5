"""Captions: a scene graph as English, in four styles.

``plain`` reads like a person's description; ``dense`` has one sentence for each element; ``tags`` is a comma-separated list; ``short``
names objects and relations only. All but ``short`` are lossless: ``parse`` gives the graph back.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from anyscene.errors import SpecError
from anyscene.language import lexicon as lx
from anyscene.language.literals import FIXED, SCENE_NOUN, TOKEN
from anyscene.language.phrases import Phrases
from anyscene.language.text import Template, fill_templates, join_tokens
from anyscene.scene.batch import SceneBatch, Shape
from anyscene.scene.structure import Edge, subject_order

IntArray = NDArray[np.int64]
STYLES = ("plain", "dense", "short", "tags")
LOSSLESS = ("plain", "dense", "tags")

(LITERAL, FIRST, FIRST_CAPITAL, AGAIN, AGAIN_CAPITAL, NOUN, THERE, THERE_ALSO, ADJECTIVE, AFTER, RELATION, LEAD, PHRASE,
 ATTRIBUTE_SUBJECT, ATTRIBUTE_NOUN, ATTRIBUTE_PREDICATE, FIRST_PLAIN) = range(17)  # fmt: skip
_OF_OBJECT = (FIRST, FIRST_CAPITAL, AGAIN, AGAIN_CAPITAL, NOUN, THERE, THERE_ALSO, FIRST_PLAIN)
_OF_ATTRIBUTE = (ADJECTIVE, AFTER, ATTRIBUTE_SUBJECT, ATTRIBUTE_NOUN, ATTRIBUTE_PREDICATE)
Place = tuple[int, int]


def realize_captions(batch: SceneBatch, lexicon: lx.Lexicon, style: str = "plain", modality: str = "image") -> pa.StringArray:
    """``(rows,)`` captions.

    Raises:
        SpecError: there is no such style.
    """
    if style not in STYLES:
        raise SpecError(f"caption style {style!r}: it must be one of {', '.join(STYLES)}")
    phrases = Phrases(batch, lexicon)
    sizes = np.diff(batch.scene_start)
    most = int(sizes.max(initial=0)) + 1
    codes, which = np.unique(batch.shape_index * most + sizes, return_inverse=True)
    templates = [_template(batch.shapes[code // most], int(code % most), style) for code in codes]
    tokens, starts = fill_templates(templates, which.ravel(), *_columns(phrases, style, modality))
    return join_tokens(lexicon.strings, tokens, starts)


def _columns(phrases: Phrases, style: str, modality: str) -> tuple[list[IntArray], list[IntArray]]:
    """Token columns of each kind and where each row begins in them."""
    batch, lexicon = phrases.batch, phrases.lexicon
    tags = style == "tags"
    empty = np.zeros(0, dtype=np.int64)
    columns: list[IntArray] = [empty] * 17
    columns[LITERAL] = np.arange(len(FIXED), dtype=np.int64)
    columns[FIRST] = phrases.head(lx.TAG if tags else lx.INDEFINITE)
    columns[AGAIN] = phrases.head(lx.TAG_AGAIN if tags else lx.DEFINITE)
    columns[NOUN] = phrases.noun
    columns[ADJECTIVE] = phrases.adjectives(tags)
    columns[AFTER] = phrases.after_noun(tags)
    columns[PHRASE] = lexicon.phrase + batch.scene_attributes
    subjects = batch.object_start[np.repeat(np.arange(batch.rows), np.diff(batch.relation_start))] + batch.subjects
    if style in ("plain", "dense"):
        columns[RELATION] = np.where(phrases.plural[subjects], lexicon.are_relation, lexicon.is_relation) + batch.relations
    else:
        columns[RELATION] = lexicon.relation + batch.relations
    if style != "tags":
        columns[FIRST_CAPITAL] = phrases.head(lx.INDEFINITE_CAPITAL, plain=style == "short")
        columns[AGAIN_CAPITAL] = phrases.head(lx.DEFINITE_CAPITAL)
    if style in ("plain", "dense"):
        columns[THERE] = phrases.be(TOKEN["There is "], TOKEN["There are "])
        columns[THERE_ALSO] = phrases.be(TOKEN["There is also "], TOKEN["There are also "])
        columns[LEAD] = _leads(batch, lexicon, modality)
    if style in ("dense", "short"):
        columns[FIRST_PLAIN] = phrases.head(lx.INDEFINITE, plain=True)
    if style == "dense":
        owner = phrases.object_of
        said = ~phrases.is_count
        predicates = np.where(phrases.plural[owner], lexicon.are_predicate, lexicon.is_predicate) + batch.attributes
        columns[ATTRIBUTE_SUBJECT] = np.where(said, phrases.head(lx.NEXT_DEFINITE)[owner], 0)
        columns[ATTRIBUTE_NOUN] = np.where(said, phrases.noun[owner], 0)
        columns[ATTRIBUTE_PREDICATE] = np.where(said, predicates, 0)
    attribute_first = batch.attribute_start[batch.object_start[:-1]]
    starts = [np.zeros(batch.rows, dtype=np.int64)] * 17
    for kind in _OF_OBJECT:
        starts[kind] = batch.object_start[:-1]
    for kind in _OF_ATTRIBUTE:
        starts[kind] = attribute_first
    starts[RELATION] = batch.relation_start[:-1]
    starts[PHRASE] = batch.scene_start[:-1]
    starts[LEAD] = np.arange(batch.rows)
    return columns, starts


def _leads(batch: SceneBatch, lexicon: lx.Lexicon, modality: str) -> IntArray:
    """``(rows,)`` "The scene is " or "The scene is shown ", as the first phrase asks for."""
    noun = SCENE_NOUN[modality]
    leads = np.zeros(batch.rows, dtype=np.int64)
    some = np.flatnonzero(np.diff(batch.scene_start))
    first = batch.scene_attributes[batch.scene_start[some]]
    leads[some] = np.where(lexicon.scene_lead_participle[first], TOKEN[f"The {noun} is "], TOKEN[f"The {noun} is shown "])
    return leads


# ---- templates ----------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=65536)
def _template(shape: Shape, scene_attributes: int, style: str) -> Template:
    build = {"plain": _plain, "dense": _dense, "tags": _tags, "short": _short}[style]
    return Template.of(build(shape, scene_attributes))


def _fixed(text: str) -> Place:
    return LITERAL, TOKEN[text]


def _sentences(shape: Shape) -> list[tuple[int, list[int]]]:
    """(subject, numbers of its relations), sentence by sentence."""
    numbers: dict[Edge, list[int]] = {}
    for i, edge in enumerate(shape.edges):
        numbers.setdefault(edge, []).append(i)
    sentences = subject_order(len(shape.attributes), shape.edges)
    return [(subject, [i for target in targets for i in numbers[subject, target]]) for subject, targets in sentences]


def _attributes_of(shape: Shape, node: int) -> range:
    """Numbers of an object's attributes within the row."""
    first = sum(shape.attributes[:node])
    return range(first, first + shape.attributes[node])


def _introduced(shape: Shape, node: int, head: int) -> list[Place]:
    """An object at its first mention, with its attributes."""
    own = _attributes_of(shape, node)
    return [(head, node), *((ADJECTIVE, a) for a in own), (NOUN, node), *((AFTER, a) for a in own)]


def _mention(shape: Shape, node: int, named: set[int], capital: bool = False) -> list[Place]:
    """An object at its first mention or a later one."""
    if node in named:
        return [(AGAIN_CAPITAL if capital else AGAIN, node), (NOUN, node)]
    named.add(node)
    return _introduced(shape, node, FIRST_CAPITAL if capital else FIRST)


def _joined(parts: list[list[Place]], last: str, between: str = ", ", pair: str = " and ") -> list[Place]:
    """A list: "a and b"; "a, b, and c"."""
    places: list[Place] = []
    for i, part in enumerate(parts):
        if i:
            places.append(_fixed(pair if len(parts) == 2 else last if i == len(parts) - 1 else between))
        places += part
    return places


def _joined_sentences(sentences: list[list[Place]]) -> list[Place]:
    places: list[Place] = []
    for i, sentence in enumerate(sentences):
        places += [_fixed(". ")] if i else []
        places += sentence
    return [*places, _fixed(".")]


def _scene_sentence(scene_attributes: int) -> list[list[Place]]:
    if not scene_attributes:
        return []
    return [[(LEAD, 0), *_joined([[(PHRASE, i)] for i in range(scene_attributes)], ", ", pair=", ")]]


def _plain(shape: Shape, scene_attributes: int) -> list[Place]:
    named: set[int] = set()
    sentences = []
    for subject, relations in _sentences(shape):
        start = _mention(shape, subject, named, capital=True)
        said = [[(RELATION, i), *_mention(shape, shape.edges[i][1], named)] for i in relations]
        sentences.append([*start, *_joined(said, ", and", between=",", pair=" and")])
    alone = [node for node in range(len(shape.attributes)) if node not in named]
    if alone:
        first, rest = alone[0], [_introduced(shape, node, FIRST) for node in alone[1:]]
        sentence = [(THERE_ALSO if named else THERE, first), *_introduced(shape, first, FIRST)]
        sentences.append([*sentence, *([_fixed(", along with "), *_joined(rest, ", and ")] if rest else [])])
    return _joined_sentences(sentences + _scene_sentence(scene_attributes))


def _dense(shape: Shape, scene_attributes: int) -> list[Place]:
    places: list[Place] = []
    for node in range(len(shape.attributes)):
        places += [*([_fixed(" ")] if node else []), (THERE, node), (FIRST_PLAIN, node), (NOUN, node), _fixed(".")]
        for attribute in _attributes_of(shape, node):
            places += [(ATTRIBUTE_SUBJECT, attribute), (ATTRIBUTE_NOUN, attribute), (ATTRIBUTE_PREDICATE, attribute)]
    for subject, relations in _sentences(shape):
        for i in relations:
            target = shape.edges[i][1]
            places += [_fixed(" "), (AGAIN_CAPITAL, subject), (NOUN, subject), (RELATION, i), (AGAIN, target), (NOUN, target), _fixed(".")]
    for sentence in _scene_sentence(scene_attributes):
        places += [_fixed(" "), *sentence, _fixed(".")]
    return places


def _tags(shape: Shape, scene_attributes: int) -> list[Place]:
    tags = [_introduced(shape, node, FIRST) for node in range(len(shape.attributes))]
    for subject, relations in _sentences(shape):
        tags += [
            [(AGAIN, subject), (NOUN, subject), (RELATION, i), (AGAIN, shape.edges[i][1]), (NOUN, shape.edges[i][1])] for i in relations
        ]
    tags += [[(PHRASE, i)] for i in range(scene_attributes)]
    return _joined(tags, ", ", pair=", ")


def _short(shape: Shape, scene_attributes: int) -> list[Place]:
    named: set[int] = set()
    groups: list[list[Place]] = []
    for subject, relations in _sentences(shape):
        start = _bare(subject, named, capital=not groups)
        said = [[(RELATION, i), *_bare(shape.edges[i][1], named)] for i in relations]
        groups.append([*start, *_joined(said, " and", between=",", pair=" and")])
    for node in range(len(shape.attributes)):
        if node not in named:
            groups.append(_bare(node, named, capital=not groups))
    places = _joined(groups, "; ", between="; ", pair="; ")
    return [*places, *(place for i in range(scene_attributes) for place in (_fixed(", "), (PHRASE, i)))]


def _bare(node: int, named: set[int], capital: bool = False) -> list[Place]:
    """An object without its attributes."""
    if node in named:
        return [(AGAIN, node), (NOUN, node)]
    named.add(node)
    return [(FIRST_CAPITAL if capital else FIRST_PLAIN, node), (NOUN, node)]
