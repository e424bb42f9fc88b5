"""The questions of many records as columns: what each asks, under which key it is answered, what it is about, what it depends on."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from anyscene.errors import RecordError

__all__ = ["Bools", "Codes", "Floats", "Ints", "QuestionBank", "coded", "flat_list", "question_bank"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

BLOCK = 20_000
"""Questions whose keys are made at a time: the texts of a million cost more to keep than to hash."""
_ELEMENT = re.compile(r"(?:o(\d+)(?:\.a(\d+))?|r(\d+)|s(\d+))")
_FIELDS = ("id", "kind", "form", "text", "answer", "choices", "depends_on", "elements", "foil")


@dataclass(frozen=True, slots=True)
class Codes:
    """A column of words: ``index`` points into ``words``; -1 where there is none."""

    index: Ints
    words: tuple[str, ...]

    def take(self, rows: Ints) -> Codes:
        """The column at some rows."""
        return Codes(self.index[rows], self.words)

    def text(self) -> pa.Array:
        """The column as an Arrow dictionary, null where there is no word."""
        indices = pa.array(self.index.astype(np.int32), mask=self.index < 0)
        return pa.DictionaryArray.from_arrays(indices, pa.array(self.words, pa.string()))


@dataclass(frozen=True, slots=True)
class QuestionBank:
    """All questions of all records, record after record, in the order of their files.

    Attributes:
        start: ``(records + 1,)`` first question of each record.
        record: ``(questions,)`` the record of each.
        id, kind, form, foil: words of each.
        key: what its answers are stored under, see ``Question.key``.
        gold: the right answer.
        gold_yes: is "yes" the right answer?
        choices: ``(questions + 1,)`` first of its choices in ``choice_text``.
        choice_text: all choices.
        gold_choice: place of the right answer among its choices, -1 where there are none.
        attribute_type: of the attribute (of an object or of the scene) that it is about.
        relation_type: of the relation that it is about.
        object_class: of the object that it is about, or whose attribute it is about. Relations, which have two objects, have none, nor
            have questions about absent objects, whose class the record does not tell.
        child, parent: ``(edges,)`` questions, and questions that these depend on, of the same record.
        dangling: how many ids in ``depends_on`` name no question.
    """

    start: Ints
    record: Ints
    id: Codes
    kind: Codes
    form: Codes
    foil: Codes
    key: Codes
    gold: Codes
    gold_yes: Bools
    choices: Ints
    choice_text: Codes
    gold_choice: Ints
    attribute_type: Codes
    relation_type: Codes
    object_class: Codes
    child: Ints
    parent: Ints
    dangling: int

    def __len__(self) -> int:
        return len(self.record)

    def form_is(self, form: str) -> Bools:
        """``(questions,)`` which have this form."""
        return word_is(self.form, form)


def word_is(column: Codes, word: str) -> Bools:
    """Which rows of a column hold the word."""
    found: Bools = column.index == (column.words.index(word) if word in column.words else -2)
    return found


def coded(column: pa.Array | pa.ChunkedArray) -> Codes:
    """A column of text as codes, -1 for null."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):  # several chunks that are too large for one
        array = pa.concat_arrays(array.chunks)
    if pa.types.is_dictionary(array.type) and not array.dictionary.null_count and len(array.dictionary.unique()) == len(array.dictionary):
        ranked = array.indices.dictionary_encode()  # numbers are told apart faster than the words that they stand for
        words = array.dictionary.take(ranked.dictionary)
    else:
        plain = array.cast(array.type.value_type) if pa.types.is_dictionary(array.type) else array
        ranked = plain.cast(pa.string()).dictionary_encode()
        words = ranked.dictionary
    return Codes(np.asarray(ranked.indices.fill_null(-1)).astype(np.int64), tuple(words.cast(pa.string()).to_pylist()))


def flat_list(column: pa.Array) -> tuple[Ints, pa.Array]:
    """``(rows + 1,)`` offsets and the values of a list column; null is an empty list."""
    lengths = np.asarray(pc.fill_null(pc.list_value_length(column), 0)).astype(np.int64)
    return np.append(0, np.cumsum(lengths)), pc.list_flatten(column)


def question_bank(
    records: pa.Table, *, relation_types: Mapping[str, str] | None = None, object_classes: Mapping[str, str] | None = None
) -> QuestionBank:
    """The questions of records as columns.

    Args:
        records: with the columns ``id``, ``graph`` and ``questions``.
        relation_types: type of each predicate; without it, questions have no relation type.
        object_classes: class of each object's name; without it, questions have no object class.

    Raises:
        RecordError: there are no questions, or a question is not what it should be.
    """
    missing = [name for name in ("id", "graph", "questions") if name not in records.column_names]
    if missing:
        raise RecordError(f"records without the column {missing[0]!r} cannot be scored; they have {', '.join(records.column_names)}")
    start, values = flat_list(_whole(records["questions"]))
    fields = {one.name for one in values.type} if pa.types.is_struct(values.type) else set()
    lacking = [name for name in _FIELDS if name not in fields]
    if lacking:
        raise RecordError(f"the questions of the records lack the field {lacking[0]!r}")
    record = np.repeat(np.arange(len(start) - 1), np.diff(start))
    field = {name: pc.struct_field(values, name) for name in _FIELDS}
    words = {name: coded(field[name]) for name in ("id", "kind", "form", "answer", "foil")}
    for name in ("id", "kind", "form", "text", "answer"):
        if field[name].null_count:
            raise RecordError(f"{_where(records, record, np.asarray(pc.is_null(field[name])))}: a question without {name!r}")
    choice_start, choice_values = flat_list(field["choices"])
    choice_text = coded(choice_values)
    gold_choice = _gold_choice(words["answer"], choice_start, choice_text)
    _check_answers(records, record, words, gold_choice)
    child, parent, dangling = _parents(record, words["id"], field["depends_on"])
    attribute_type, relation_type, object_class = _about(records, record, words, field["elements"], relation_types, object_classes)
    return QuestionBank(
        start=start,
        record=record,
        id=words["id"],
        kind=words["kind"],
        form=words["form"],
        foil=words["foil"],
        key=_keys(words["form"], field["text"].cast(pa.string()), choice_text, choice_start),
        gold=words["answer"],
        gold_yes=word_is(words["answer"], "yes"),
        choices=choice_start,
        choice_text=choice_text,
        gold_choice=gold_choice,
        attribute_type=attribute_type,
        relation_type=relation_type,
        object_class=object_class,
        child=child,
        parent=parent,
        dangling=dangling,
    )


def _whole(column: pa.ChunkedArray) -> pa.Array:
    array = column.combine_chunks()
    return pa.concat_arrays(array.chunks) if isinstance(array, pa.ChunkedArray) else array


def _where(records: pa.Table, record: Ints, wrong: Bools) -> str:
    return f"record {records['id'][int(record[np.flatnonzero(wrong)[0]])].as_py()!r}"


def _keys(form: Codes, text: pa.Array, choices: Codes, choice_start: Ints) -> Codes:
    """``question_key`` of every question."""
    many = pa.array(np.diff(choice_start) > 0)
    lists = pa.ListArray.from_arrays(pa.array(choice_start.astype(np.int32)), choices.text().cast(pa.string()))
    forms = form.text().cast(pa.string())
    digests, digest = bytearray(), hashlib.sha256
    for first in range(0, len(text), BLOCK):
        own = pc.binary_join_element_wise(forms.slice(first, BLOCK), text.slice(first, BLOCK), "\0")
        long = pc.binary_join_element_wise(own, pc.binary_join(lists.slice(first, BLOCK), "\0"), "\0")
        asked = pc.if_else(many.slice(first, BLOCK), long, own).cast(pa.binary())
        digests += b"".join([digest(one).digest()[:8] for one in asked.to_pylist()])
    found, index = np.unique(np.frombuffer(digests, dtype=">u8").astype(np.uint64), return_inverse=True)
    names = found.astype(">u8").tobytes().hex()
    return Codes(index.ravel().astype(np.int64), tuple([names[place : place + 16] for place in range(0, len(names), 16)]))


def _gold_choice(gold: Codes, start: Ints, choices: Codes) -> Ints:
    """Place of the right answer among the choices, the first where it stands twice; -1 where it is not there."""
    lengths = np.diff(start)
    place_of = {word: place for place, word in enumerate(gold.words)}
    as_gold = np.array([place_of.get(word, -1) for word in choices.words], dtype=np.int64)
    match = np.flatnonzero(as_gold[choices.index] == np.repeat(gold.index, lengths)) if len(choices.index) else np.zeros(0, dtype=np.int64)
    owner = np.repeat(np.arange(len(lengths)), lengths)[match]
    found = np.full(len(lengths), -1, dtype=np.int64)
    found[owner[::-1]] = (match - start[owner])[::-1]
    return found


def _check_answers(records: pa.Table, record: Ints, words: Mapping[str, Codes], gold_choice: Ints) -> None:
    form, gold = words["form"], words["answer"]
    strange = ~(word_is(form, "yes_no") | word_is(form, "choice") | word_is(form, "open"))
    if strange.any():
        name = form.words[form.index[np.flatnonzero(strange)[0]]]
        raise RecordError(f"{_where(records, record, strange)}: question form {name!r}; it must be yes_no, choice or open")
    wrong = word_is(form, "yes_no") & ~(word_is(gold, "yes") | word_is(gold, "no"))
    if wrong.any():
        raise RecordError(f"{_where(records, record, wrong)}: a yes/no question whose right answer is neither yes nor no")
    wrong = word_is(form, "choice") & (gold_choice < 0)
    if wrong.any():
        raise RecordError(f"{_where(records, record, wrong)}: the right answer of a question is not among its choices")


def _parents(record: Ints, ids: Codes, depends_on: pa.Array) -> tuple[Ints, Ints, int]:
    """(child, parent) pairs of questions, and the number of ids that name none."""
    start, values = flat_list(depends_on)
    if not len(values):
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), 0
    child = np.repeat(np.arange(len(record)), np.diff(start))
    named = coded(values)
    place_of = {word: place for place, word in enumerate(ids.words)}
    code = np.array([place_of.get(word, -1) for word in named.words], dtype=np.int64)[named.index]
    width = len(ids.words) + 1
    own = record * width + ids.index
    order = np.argsort(own, kind="stable")
    wanted = record[child] * width + code
    at = np.minimum(np.searchsorted(own[order], wanted), len(own) - 1)
    known = (own[order][at] == wanted) & (code >= 0)
    return child[known], order[at][known], int((~known).sum())


def _about(
    records: pa.Table,
    record: Ints,
    words: Mapping[str, Codes],
    elements: pa.Array,
    relation_types: Mapping[str, str] | None,
    object_classes: Mapping[str, str] | None,
) -> tuple[Codes, Codes, Codes]:
    """Attribute type, relation type and object class of each question, from the first graph element that it is about."""
    start, values = flat_list(elements)
    named = coded(values)
    parsed = np.full((len(named.words) + 1, 4), -1, dtype=np.int64)  # the last row is for questions about no element
    for place, word in enumerate(named.words):
        match = _ELEMENT.fullmatch(word)
        if match:
            parsed[place] = [-1 if digits is None else int(digits) for digits in match.groups()]
    has = np.diff(start) > 0
    first = np.full(len(record), len(named.words), dtype=np.int64)
    first[has] = named.index[start[:-1][has]]
    thing, attribute, relation, scene = parsed[first].T

    graph = _whole(records["graph"])
    object_start, objects = flat_list(pc.struct_field(graph, "objects"))
    attribute_start, attributes = flat_list(pc.struct_field(objects, "attributes"))
    relation_start, relations = flat_list(pc.struct_field(graph, "relations"))
    scene_start, scenes = flat_list(pc.struct_field(graph, "scene_attributes"))

    objects_at = _at(object_start, record, thing)
    attributes_at = _at(attribute_start, objects_at, attribute)
    of_objects, of_scenes = coded(pc.struct_field(attributes, "type")), coded(pc.struct_field(scenes, "type"))
    types = tuple(dict.fromkeys(of_objects.words + of_scenes.words))
    place_of = {word: place for place, word in enumerate(types)}
    scene_places = np.array([place_of[word] for word in of_scenes.words], dtype=np.int64)
    scene_types = np.where(of_scenes.index >= 0, scene_places[of_scenes.index], -1) if len(scene_places) else of_scenes.index
    in_scene = _pick(scene_types, _at(scene_start, record, scene))
    attribute_type = np.where(scene >= 0, in_scene, _pick(of_objects.index, attributes_at))  # object types keep their places in `types`

    predicates = _renamed(coded(pc.struct_field(relations, "predicate")), relation_types)
    relation_type = _pick(predicates.index, _at(relation_start, record, relation))
    names = _renamed(coded(pc.struct_field(objects, "name")), object_classes)
    object_class = np.where(word_is(words["foil"], "absent_object"), -1, _pick(names.index, objects_at))
    return Codes(attribute_type, types), Codes(relation_type, predicates.words), Codes(object_class, names.words)


def _at(start: Ints, owner: Ints, place: Ints) -> Ints:
    """Position of the part at a place of its owner; -1 where the owner or the place is not there."""
    if len(start) < 2:
        return np.full(len(owner), -1, dtype=np.int64)
    safe = np.maximum(owner, 0)
    found = start[safe] + place
    return np.where((owner >= 0) & (place >= 0) & (found < start[safe + 1]), found, -1)


def _pick(values: Ints, at: Ints) -> Ints:
    return np.where(at >= 0, values[np.maximum(at, 0)], -1) if len(values) else np.full(len(at), -1, dtype=np.int64)


def _renamed(column: Codes, names: Mapping[str, str] | None) -> Codes:
    """The column with each word replaced by what it is mapped to; -1 where it is not mapped."""
    if not names:
        return Codes(np.full(len(column.index), -1, dtype=np.int64), ())
    words = tuple(sorted({names[word] for word in column.words if word in names}))
    place_of = {word: place for place, word in enumerate(words)}
    places = np.array([place_of[names[word]] if word in names else -1 for word in column.words] + [-1], dtype=np.int64)
    return Codes(places[column.index], words)  # -1 picks the last
