"""Questions about a scene, with their answers: one for each element, foils with a gold "no", choices and open ones.

Everything is made for a whole batch at once. A *family* is all questions of one wording in a batch: where they belong, the tokens of
their text, the answer, what they depend on and which element they ask about. Families are laid side by side and then put in
order: within a scene first the yes/no questions (objects, attributes, relations, scene attributes), then foils, choices, open ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from anyscene.errors import SpecError
from anyscene.language import lexicon as lx
from anyscene.language.aids import ATTRIBUTE, COUNTING, EXISTENCE, KINDS, MOTION, RELATION, aids_of
from anyscene.language.hashing import scene_keys
from anyscene.language.literals import MEDIUM, TOKEN
from anyscene.language.phrases import Phrases
from anyscene.language.text import choose, join_tokens
from anyscene.scene.batch import SceneBatch, owners, starts_of
from anyscene.scene.keyed import U64, mix
from anyscene.taxonomy import COUNT, EITHER

IntArray = NDArray[np.int64]
FORMS = ("yes_no", "choice", "open")
YES_NO, CHOICE, OPEN = range(len(FORMS))
FOILS = ("absent_object", "swapped_attribute", "reversed_relation", "wrong_count")
ABSENT, SWAPPED, REVERSED, WRONG_COUNT = range(len(FOILS))
WIDTH = 6
CHOICES = 4
DEFAULT_FOILS = 1 / 3
FEW_ABSENT, MANY_ABSENT = 4, 8
"""Absent objects of a scene, with up to the default share of foils and above it."""


@dataclass(frozen=True, slots=True)
class QuestionOptions:
    """Which questions are asked.

    Attributes:
        forms: of ``yes_no``, ``choice``, ``open``.
        foils: share of the yes/no questions whose answer is no, from 0 to 0.5; reached on average where elements allow it.
        seed: of the draws (which foils, which wrong choices).
        only_one: among the yes/no questions, ask of every noun that stands in the singular without a number whether there is exactly one
            of it. For rewards: a model that is paid for "Is there a star?" alone learns to draw many.
    """

    forms: tuple[str, ...] = FORMS
    foils: float = DEFAULT_FOILS
    seed: int = 0
    only_one: bool = False

    def __post_init__(self) -> None:
        for form in self.forms:
            if form not in FORMS:
                raise SpecError(f"question form {form!r}: it must be one of {', '.join(FORMS)}")
        if not 0.0 <= self.foils <= 0.5:
            raise SpecError(f"a share of foils of {self.foils}: it must be from 0 to 0.5")


@dataclass
class _Family:
    """Questions of one wording; all arrays have one entry a question, in row order."""

    kind: IntArray | int
    form: int
    row: IntArray
    tokens: list[IntArray | int]
    answer: IntArray | int
    element: IntArray
    needs: list[IntArray] = field(default_factory=list)
    foil: int = -1
    choices: IntArray | None = None


def question_type() -> pa.DataType:
    """The Arrow type of one question as it is built here: words that recur are dictionaries."""
    word = pa.dictionary(pa.int32(), pa.string())
    return pa.struct(
        [
            ("id", word),
            ("kind", word),
            ("form", word),
            ("text", pa.string()),
            ("answer", word),
            ("choices", pa.list_(word)),
            ("depends_on", pa.list_(word)),
            ("elements", pa.list_(word)),
            ("foil", word),
        ]
    )


def realize_questions(batch: SceneBatch, lexicon: lx.Lexicon, options: QuestionOptions, modality: str = "image") -> pa.ListArray:
    """``(rows,)`` lists of questions (id, kind, form, text, answer, choices, depends_on, elements, foil)."""
    return _Asker(batch, lexicon, options, modality).ask()


class _Asker:
    """Builds the families of one batch."""

    def __init__(self, batch: SceneBatch, lexicon: lx.Lexicon, options: QuestionOptions, modality: str) -> None:
        self.batch, self.lexicon, self.options, self.modality = batch, lexicon, options, modality
        self.taxonomy = lexicon.taxonomy
        self.phrases = Phrases(batch, lexicon)
        self.aids = aids_of(lexicon, modality)
        self.keys = scene_keys(batch, options.seed)
        self.row = self.phrases.row_of
        self.place = np.arange(len(batch.objects)) - batch.object_start[self.row]
        self.owner = self.phrases.object_of
        self.attribute_row = self.row[self.owner]
        self.relation_row = owners(batch.relation_start)
        self.subject = batch.object_start[self.relation_row] + batch.subjects
        self.target = batch.object_start[self.relation_row] + batch.targets
        self.scene_row = owners(batch.scene_start)
        self._elements()
        self.absent = self.aids.absent.draw(batch, self.keys, FEW_ABSENT if options.foils <= DEFAULT_FOILS else MANY_ABSENT)

    def _elements(self) -> None:
        """Codes of all elements, the same whatever else is in the batch: kind, object and number within it."""
        number = np.arange(len(self.batch.attributes)) - self.batch.attribute_start[self.owner]
        self.attribute_element = (1 << 24) + (self.place[self.owner] << 12) + number
        self.relation_element = (2 << 24) + np.arange(len(self.relation_row)) - self.batch.relation_start[self.relation_row]
        self.scene_element = (3 << 24) + np.arange(len(self.scene_row)) - self.batch.scene_start[self.scene_row]

    # ---- families ---------------------------------------------------------------------------------------------------------

    def ask(self) -> pa.ListArray:
        families: list[_Family] = []
        if "yes_no" in self.options.forms:
            families += [self._existence(), self._attributes(), self._counts(), self._relations(), self._scene()]
            if self.options.foils > 0:
                families += self._foils(families)
            if self.options.only_one:
                families.append(self._only_one())
        if "choice" in self.options.forms:
            families += [self._which_object(), self._which_attribute(), self._which_count(), self._which_target(), self._which_scene()]
        if "open" in self.options.forms:
            families += [self._open_attribute(), self._open_count(), self._open_target(), self._open_scene()]
        return self._lay_out([family for family in families if len(family.row)])

    def _existence(self) -> _Family:
        head = self.phrases.head(lx.EXISTS)
        return _Family(EXISTENCE, YES_NO, self.row, [head, self.phrases.noun, TOKEN["?"]], TOKEN["yes"], self.place)

    def _described(self) -> IntArray:
        """Attributes that are no numerals."""
        return np.flatnonzero(~self.phrases.is_count)

    def _attribute_kind(self, own: IntArray) -> IntArray | int:
        if self.modality != "video" or self.aids.motion_type < 0:
            return ATTRIBUTE
        kinds = self.taxonomy.attributes.type_index[self.batch.attributes[own]]
        return np.where(kinds == self.aids.motion_type, MOTION, ATTRIBUTE)

    def _attribute_family(self, own: IntArray, values: IntArray, answer: str, foil: int = -1) -> _Family:
        head, noun = self.phrases.head(lx.BE_DEFINITE)[self.owner[own]], self.phrases.noun[self.owner[own]]
        tokens: list[IntArray | int] = [head, noun, self.lexicon.predicate_question + values]
        needs = [self.place[self.owner[own]]]
        return _Family(
            self._attribute_kind(own), YES_NO, self.attribute_row[own], tokens, TOKEN[answer], self.attribute_element[own], needs, foil
        )

    def _attributes(self) -> _Family:
        own = self._described()
        return self._attribute_family(own, self.batch.attributes[own], "yes")

    def _counted(self) -> IntArray:
        """Numerals of nouns that occur once in their scene, with no other object of their kind (two dogs and a poodle)."""
        own = np.flatnonzero(self.phrases.is_count & (self.phrases.ordinal[self.owner] == 0))
        return own[~self.aids.absent.has_relative(self.batch, self.owner[own], self.attribute_row[own])]

    def _count_family(self, own: IntArray, values: IntArray, answer: str, foil: int = -1) -> _Family:
        tokens: list[IntArray | int] = [
            TOKEN["Are there exactly "],
            self.lexicon.adjective + values,
            self.phrases.noun[self.owner[own]],
            TOKEN["?"],
        ]
        return _Family(
            COUNTING,
            YES_NO,
            self.attribute_row[own],
            tokens,
            TOKEN[answer],
            self.attribute_element[own],
            [self.place[self.owner[own]]],
            foil,
        )

    def _counts(self) -> _Family:
        own = self._counted()
        return self._count_family(own, self.batch.attributes[own], "yes")

    def _only_one(self) -> _Family:
        """Of things in the singular, with no other object of their kind."""
        phrases = self.phrases
        own = np.flatnonzero(np.isin(phrases.number, (COUNT, EITHER)) & (phrases.count == 0) & (phrases.ordinal == 0))
        own = own[~self.aids.absent.has_relative(self.batch, own, self.row[own])]
        tokens: list[IntArray | int] = [TOKEN["Is there exactly one "], phrases.noun[own], TOKEN["?"]]
        return _Family(COUNTING, YES_NO, self.row[own], tokens, TOKEN["yes"], self.place[own], [self.place[own]])

    def _relation_family(self, own: IntArray, subject: IntArray, target: IntArray, answer: str, foil: int = -1) -> _Family:
        noun = self.phrases.noun
        tokens: list[IntArray | int] = [
            self.phrases.head(lx.BE_DEFINITE)[subject],
            noun[subject],
            self.lexicon.relation + self.batch.relations[own],
            self.phrases.head(lx.DEFINITE)[target],
            noun[target],
            TOKEN["?"],
        ]
        needs = [self.place[subject], self.place[target]]
        return _Family(RELATION, YES_NO, self.relation_row[own], tokens, TOKEN[answer], self.relation_element[own], needs, foil)

    def _relations(self) -> _Family:
        own = np.arange(len(self.relation_row))
        return self._relation_family(own, self.subject, self.target, "yes")

    def _asked_scene(self) -> IntArray:
        """Scene attributes that can be seen."""
        return np.flatnonzero(self.taxonomy.scene_attributes.visible[self.batch.scene_attributes])

    def _scene_kind(self, own: IntArray) -> IntArray:
        return self.aids.scene_kind[self.taxonomy.scene_attributes.type_index[self.batch.scene_attributes[own]]]

    def _scene(self) -> _Family:
        own = self._asked_scene()
        tokens: list[IntArray | int] = [self.lexicon.scene_question + self.batch.scene_attributes[own]]
        return _Family(self._scene_kind(own), YES_NO, self.scene_row[own], tokens, TOKEN["yes"], self.scene_element[own])

    # ---- foils ------------------------------------------------------------------------------------------------------------

    def _foils(self, yes: list[_Family]) -> list[_Family]:
        """Questions with a gold "no": each element that has one is taken with the chance that makes up the share asked for."""
        rows = self.batch.rows
        asked = sum((np.bincount(family.row, minlength=rows) for family in yes), start=np.zeros(rows, dtype=np.int64))
        attributes, relations = self.taxonomy.attributes, self.taxonomy.relations
        swapped = self._described()
        values = self.batch.attributes[swapped]
        swapped = swapped[(attributes.opposite[values] >= 0) & attributes.exclusive[values]]
        swapped = swapped[~self._object_has(self.owner[swapped], attributes.opposite[self.batch.attributes[swapped]].astype(np.int64))]
        reversed_ = np.flatnonzero(relations.antisymmetric[self.batch.relations]) if len(relations) else np.zeros(0, dtype=np.int64)
        reversed_ = reversed_[~self._said_both_ways[reversed_]]
        counted = self._counted()
        counted = counted[self.aids.next_count[self.batch.attributes[counted]] >= 0]
        absent = np.flatnonzero(self.absent[self.row, self.place % self.absent.shape[1]] >= 0)
        absent = absent[self.place[absent] < self.absent.shape[1]]
        pools = [(absent, self.row), (swapped, self.attribute_row), (reversed_, self.relation_row), (counted, self.attribute_row)]
        able = sum((np.bincount(row[own], minlength=rows) for own, row in pools), start=np.zeros(rows, dtype=np.int64))
        more_row, more_slot = self._more_absent() if self.options.foils > DEFAULT_FOILS else (able[:0], able[:0])
        able += np.bincount(more_row, minlength=rows)
        wanted = self.options.foils / (1 - self.options.foils) * asked
        chance = np.minimum(np.floor(wanted / np.maximum(able, 1) * 65536), 65536).astype(np.uint64)
        taken = []
        for salt, (own, row) in enumerate(pools):
            h = mix(self.keys[row[own]] + (own - _first_of(row[own], own) + salt * 4096 + 31).astype(np.uint64))
            taken.append(own[(h & np.uint64(65535)) < chance[row[own]]])
        absent, swapped, reversed_, counted = taken
        h = mix(self.keys[more_row] + (more_slot + 8 * 4096).astype(np.uint64))
        more = (h & np.uint64(65535)) < chance[more_row]
        more_row, more_slot = more_row[more], more_slot[more]
        replaced = self.batch.object_start[more_row] + more_slot % np.diff(self.batch.object_start)[more_row]
        return [
            self._absent_family(absent, self.absent[self.row[absent], self.place[absent]]),
            self._absent_family(replaced, self.absent[more_row, more_slot]),
            self._attribute_family(swapped, attributes.opposite[self.batch.attributes[swapped]].astype(np.int64), "no", SWAPPED),
            self._relation_family(reversed_, self.target[reversed_], self.subject[reversed_], "no", REVERSED),
            self._count_family(counted, self._other_count(counted), "no", WRONG_COUNT),
        ]

    def _more_absent(self) -> tuple[IntArray, IntArray]:
        """(row, slot) of the absent objects that no object of the scene is asked against."""
        spare = np.arange(self.absent.shape[1])[None, :] >= np.diff(self.batch.object_start)[:, None]
        row, slot = np.nonzero(spare & (self.absent >= 0))
        return row.astype(np.int64), slot.astype(np.int64)

    @cached_property
    def _said_both_ways(self) -> NDArray[np.bool_]:
        """``(relations,)`` does the scene have a relation the other way round, too? Never in a space."""
        if not any((b, a) in shape.edges for shape in self.batch.shapes for a, b in shape.edges):
            return np.zeros(len(self.relation_row), dtype=np.bool_)
        size = len(self.batch.objects)
        return np.isin(self.target * size + self.subject, self.subject * size + self.target)

    def _object_has(self, objects: IntArray, values: IntArray) -> NDArray[np.bool_]:
        """Does the object have the attribute? Looked up only where one has two of a type: in a space they exclude each other."""
        kinds = self.taxonomy.attributes.type_index[self.batch.attributes]
        if not np.any((kinds[1:] == kinds[:-1]) & (self.owner[1:] == self.owner[:-1])):
            return np.zeros(values.shape, dtype=np.bool_)
        size = len(self.taxonomy.attributes)
        return np.isin(objects * size + values, self.owner * size + self.batch.attributes)

    def _absent_family(self, own: IntArray, candidates: IntArray) -> _Family:
        number = self.lexicon.number[candidates]
        an = self.lexicon.noun_an[candidates].astype(np.int64)
        tokens: list[IntArray | int] = [self.lexicon.head[lx.EXISTS, number, 0, 0, an], self.lexicon.noun + candidates, TOKEN["?"]]
        return _Family(EXISTENCE, YES_NO, self.row[own], tokens, TOKEN["no"], self.place[own], [], ABSENT)

    def _other_count(self, own: IntArray) -> IntArray:
        """A numeral one above or one below."""
        values = self.batch.attributes[own]
        up, down = self.aids.next_count[values], self.aids.last_count[values]
        odd = (mix(self.keys[self.attribute_row[own]] + np.uint64(99)) & np.uint64(1)).astype(np.bool_)
        return np.where((up >= 0) & (odd | (down < 0)), up, down)

    # ---- choices ----------------------------------------------------------------------------------------------------------

    def _arranged(self, answer: IntArray, wrong: IntArray, keys: U64) -> IntArray:
        """``(questions, 4)`` the answer among up to three wrong tokens (-1 for none), at a drawn place; -1 last."""
        options = np.concatenate([answer[:, None], wrong[:, : CHOICES - 1]], axis=1)
        there = (options >= 0).sum(axis=1)
        turn = (mix(keys) % there.astype(np.uint64)).astype(np.int64) if len(keys) else np.zeros(0, dtype=np.int64)
        columns = np.arange(CHOICES)
        place = np.where(
            columns[None, :] < there[:, None], (columns[None, :] - turn[:, None]) % np.maximum(there, 1)[:, None], columns[None, :]
        )
        return np.take_along_axis(options, place, axis=1)

    def _absent_tokens(self, row: IntArray, step: IntArray) -> IntArray:
        """``(questions, 3)`` nouns that are not in the scene, starting at different ones for different elements."""
        slots = self.absent.shape[1]
        own = self.absent[row[:, None], (step[:, None] + np.arange(CHOICES - 1)[None, :]) % slots]
        own = np.where(own >= 0, self.lexicon.noun + own, -1)
        return np.take_along_axis(own, np.argsort(own < 0, axis=1, kind="stable"), axis=1)

    def _with_choices(self, family: _Family, answer: IntArray, wrong: IntArray, salt: int) -> _Family:
        """The family with choices, without the questions that have no wrong one."""
        own = np.flatnonzero(wrong[:, 0] >= 0) if len(wrong) else np.zeros(0, dtype=np.int64)
        keys = self.keys[family.row[own]] + (family.element[own] * 8 + salt).astype(np.uint64)
        return _Family(
            family.kind if isinstance(family.kind, int) else family.kind[own],
            CHOICE,
            family.row[own],
            [token if isinstance(token, int) else token[own] for token in family.tokens],
            answer[own],
            family.element[own],
            [need[own] for need in family.needs],
            choices=self._arranged(answer[own], wrong[own], keys),
        )

    def _which_object(self) -> _Family:
        """One a scene, about an object drawn from it."""
        counts = np.diff(self.batch.object_start).astype(np.uint64)
        own = self.batch.object_start[:-1] + (mix(self.keys + np.uint64(5)) % counts).astype(np.int64)
        family = _Family(
            EXISTENCE, CHOICE, self.row[own], [TOKEN[f"Which of these is in the {MEDIUM[self.modality]}?"]], 0, self.place[own]
        )
        return self._with_choices(family, self.phrases.noun[own], self._absent_tokens(family.row, self.place[own]), 1)

    def _which_attribute(self) -> _Family:
        own = self._described()
        values = self.batch.attributes[own]
        family = self._attribute_words(own, always=True)
        wrong = self.aids.distractors[values]
        wrong = np.where((wrong >= 0) & ~self._object_has(self.owner[own][:, None], wrong), wrong, -1)
        wrong = np.take_along_axis(wrong, np.argsort(wrong < 0, axis=1, kind="stable"), axis=1)
        turn = (mix(self.keys[family.row] + family.element.astype(np.uint64)) & np.uint64(7)).astype(np.int64)
        there = np.maximum((wrong >= 0).sum(axis=1), 1)
        columns = (turn[:, None] + np.arange(CHOICES - 1)[None, :]) % there[:, None]
        chosen = np.take_along_axis(wrong, columns, axis=1)
        chosen = np.where(np.arange(CHOICES - 1)[None, :] < there[:, None], chosen, -1)
        words = self._answer_words(values)[:, None]
        return self._with_choices(family, words[:, 0] + values, np.where(chosen >= 0, words + chosen, -1), 2)

    def _answer_words(self, values: IntArray) -> IntArray:
        """Where the answers of attributes begin: values, but what follows "is" for what moves ("carrying a lantern")."""
        moving = self.taxonomy.attributes.type_index[values] == self.aids.motion_type
        return np.where(moving, self.lexicon.predicate, self.lexicon.value)

    def _attribute_words(self, own: IntArray, always: bool) -> _Family:
        """The type's open question, or with ``always`` "Which of these describes the fox?" where it has none."""
        values, objects = self.batch.attributes[own], self.owner[own]
        kinds = self.taxonomy.attributes.type_index[values].astype(np.int64)
        plural = self.phrases.plural[objects].astype(np.int64)
        before = self.lexicon.open_before[kinds, plural]
        after = np.where(before > 0, self.lexicon.open_after[kinds, plural], TOKEN["?"])
        if always:
            before = np.where(before > 0, before, TOKEN["Which of these describes "])
        tokens: list[IntArray | int] = [before, self.phrases.head(lx.DEFINITE)[objects], self.phrases.noun[objects], after]
        return _Family(
            self._attribute_kind(own),
            OPEN,
            self.attribute_row[own],
            tokens,
            self._answer_words(values) + values,
            self.attribute_element[own],
            [self.place[objects]],
        )

    def _which_count(self) -> _Family:
        family = self._open_count()
        own = self._counted()
        values = self.batch.attributes[own]
        near = self.aids.near_counts[values]
        return self._with_choices(family, self.lexicon.value + values, np.where(near >= 0, self.lexicon.value + near, -1), 3)

    def _which_target(self) -> _Family:
        family = self._open_target()
        family.tokens[0] = self.phrases.head(lx.WHICH_BE)[self.subject[self._one_target]]
        wrong = self._absent_tokens(family.row, self.batch.targets[self._one_target] + 2)
        return self._with_choices(family, self.phrases.noun[self.target[self._one_target]], wrong, 4)

    def _which_scene(self) -> _Family:
        own = self._asked_scene()
        values = self.batch.scene_attributes[own]
        kinds = self.taxonomy.scene_attributes.type_index[values].astype(np.int64)
        words = self.lexicon.scene_open[kinds]
        words = np.where(words > 0, words, TOKEN["Which of these describes the scene?"])
        family = _Family(self._scene_kind(own), CHOICE, self.scene_row[own], [words], 0, self.scene_element[own])
        wrong = np.full((len(own), CHOICES - 1), -1, dtype=np.int64)
        listed, first, place = self.aids.scene_lists
        size = first[kinds + 1] - first[kinds]
        keys = self.keys[family.row] + family.element.astype(np.uint64)
        width = (size - 1) // (CHOICES - 1)
        for column in range(CHOICES - 1):
            some = np.flatnonzero(width > 0)
            step = 1 + column * width[some] + (mix(keys[some] + np.uint64(column + 50)) % width[some].astype(np.uint64)).astype(np.int64)
            chosen = listed[first[kinds[some]] + (place[values[some]] + step) % size[some]]
            held = self._scene_has(family.row[some], chosen)
            wrong[some[~held], column] = self.lexicon.scene_value + chosen[~held]
        wrong = np.take_along_axis(wrong, np.argsort(wrong < 0, axis=1, kind="stable"), axis=1)
        return self._with_choices(family, self.lexicon.scene_value + values, wrong, 5)

    def _scene_has(self, rows: IntArray, values: IntArray) -> NDArray[np.bool_]:
        """Does the scene have the scene attribute? In a space it has one of a type, so this is looked up only where one has more."""
        kinds = self.taxonomy.scene_attributes.type_index[self.batch.scene_attributes]
        if not np.any((kinds[1:] == kinds[:-1]) & (self.scene_row[1:] == self.scene_row[:-1])):
            return np.zeros(len(values), dtype=np.bool_)
        size = len(self.taxonomy.scene_attributes)
        return np.isin(rows * size + values, self.scene_row * size + self.batch.scene_attributes)

    # ---- open questions ---------------------------------------------------------------------------------------------------

    def _open_attribute(self) -> _Family:
        own = self._described()
        kinds = self.taxonomy.attributes.type_index[self.batch.attributes].astype(np.int64)
        twin = (kinds[1:] == kinds[:-1]) & (self.owner[1:] == self.owner[:-1])
        several = np.zeros(len(kinds), dtype=np.bool_)
        several[1:] |= twin
        several[:-1] |= twin
        asked = (self.lexicon.open_before[kinds[own], 0] > 0) & ~several[own]
        return self._attribute_words(own[asked], always=False)

    def _open_count(self) -> _Family:
        own = self._counted()
        values = self.batch.attributes[own]
        tokens: list[IntArray | int] = [TOKEN["How many "], self.phrases.noun[self.owner[own]], TOKEN[" are there?"]]
        return _Family(
            COUNTING,
            OPEN,
            self.attribute_row[own],
            tokens,
            self.lexicon.value + values,
            self.attribute_element[own],
            [self.place[self.owner[own]]],
        )

    @cached_property
    def _one_target(self) -> IntArray:
        """Relations whose subject has the predicate to one object only."""
        several = np.zeros(len(self.relation_row), dtype=np.bool_)
        again = self.subject[1:] == self.subject[:-1]
        several[1:] |= again
        several[:-1] |= again
        own = np.flatnonzero(several)
        _, place, count = np.unique(
            self.subject[own] * len(self.taxonomy.relations) + self.batch.relations[own], return_inverse=True, return_counts=True
        )
        several[:] = False
        several[own] = count[place.ravel()] > 1
        return np.flatnonzero(~several)

    def _open_target(self) -> _Family:
        own = self._one_target
        subject, target = self.subject[own], self.target[own]
        person = self.aids.person[self.batch.objects[target]]
        head = np.where(person, self.phrases.head(lx.WHO_BE)[subject], self.phrases.head(lx.WHAT_BE)[subject])
        tokens: list[IntArray | int] = [head, self.phrases.noun[subject], self.lexicon.relation_question + self.batch.relations[own]]
        answer = self.phrases.noun[target]
        return _Family(RELATION, OPEN, self.relation_row[own], tokens, answer, self.relation_element[own], [self.place[subject]])

    def _open_scene(self) -> _Family:
        own = self._asked_scene()
        values = self.batch.scene_attributes[own]
        words = self.lexicon.scene_open[self.taxonomy.scene_attributes.type_index[values].astype(np.int64)]
        own, values, words = own[words > 0], values[words > 0], words[words > 0]
        return _Family(
            self._scene_kind(own), OPEN, self.scene_row[own], [words], self.lexicon.scene_value + values, self.scene_element[own]
        )

    # ---- laying out -------------------------------------------------------------------------------------------------------

    def _lay_out(self, families: list[_Family]) -> pa.ListArray:
        """Put all families in scene order and build the Arrow column."""
        rows = self.batch.rows
        counts = [np.bincount(family.row, minlength=rows) for family in families]
        starts = starts_of(np.sum(counts, axis=0) if counts else np.zeros(rows, dtype=np.int64))
        total = int(starts[-1])
        kind, form, answer, element, foil = (np.zeros(total, dtype=np.int64) for _ in range(5))
        tokens = np.zeros((total, WIDTH), dtype=np.int64)
        needs = np.full((total, 2), -1, dtype=np.int64)
        choices = np.full((total, CHOICES), -1, dtype=np.int64)
        before = starts[:-1].copy()
        for family, count in zip(families, counts, strict=True):
            own_start = np.cumsum(count) - count
            at = before[family.row] + np.arange(len(family.row)) - own_start[family.row]
            before += count
            kind[at], form[at], answer[at], element[at], foil[at] = family.kind, family.form, family.answer, family.element, family.foil
            for column, token in enumerate(family.tokens):
                tokens[at, column] = token
            if "yes_no" in self.options.forms:
                for column, need in enumerate(family.needs):
                    needs[at, column] = need
            if family.choices is not None:
                choices[at] = family.choices
        number = np.arange(total) - np.repeat(starts[:-1], np.diff(starts))
        ids = pa.array([f"q{i}" for i in range(int(number.max(initial=0)) + 1)])
        text = join_tokens(self.lexicon.strings, tokens.ravel(), np.arange(total + 1) * WIDTH)
        foil_words = pa.DictionaryArray.from_arrays(pa.array(np.maximum(foil, 0).astype(np.int32), mask=foil < 0), pa.array(FOILS))
        columns = [
            pa.DictionaryArray.from_arrays(pa.array(number.astype(np.int32)), ids),
            pa.DictionaryArray.from_arrays(pa.array(kind.astype(np.int32)), pa.array(KINDS)),
            pa.DictionaryArray.from_arrays(pa.array(form.astype(np.int32)), pa.array(FORMS)),
            text,
            choose(self.lexicon.strings, self.lexicon.canonical[answer]),
            _lists(choices, lambda flat: choose(self.lexicon.strings, self.lexicon.canonical[flat])),
            _lists(needs, lambda flat: pa.DictionaryArray.from_arrays(pa.array(flat.astype(np.int32)), ids)),
            _lists(element[:, None], _element_names),
            foil_words,
        ]
        struct = pa.StructArray.from_arrays(columns, fields=list(question_type()))
        return pa.ListArray.from_arrays(pa.array(starts.astype(np.int32)), struct)


def _element_names(codes: IntArray) -> pa.DictionaryArray:
    """Names of elements by their codes: o0, o0.a1, r0, s0."""
    used, place = np.unique(codes, return_inverse=True)

    def name(code: int) -> str:
        kind, first, second = code >> 24, code >> 12 & 4095, code & 4095
        return (f"o{second}", f"o{first}.a{second}", f"r{second}", f"s{second}")[kind]

    return pa.DictionaryArray.from_arrays(
        pa.array(place.ravel().astype(np.int32)), pa.array([name(int(code)) for code in used], pa.string())
    )


def _lists(table: IntArray, words: Callable[[IntArray], pa.DictionaryArray]) -> pa.ListArray:
    """A list column out of a table with -1 for nothing."""
    there = table >= 0
    starts = starts_of(there.sum(axis=1))
    return pa.ListArray.from_arrays(pa.array(starts.astype(np.int32)), words(table[there]))


def _first_of(row: IntArray, own: IntArray) -> IntArray:
    """For each entry the first entry of its row: makes draws independent of where a row stands in its batch."""
    if not len(row):
        return own
    new = np.concatenate([[True], row[1:] != row[:-1]])
    return own[np.maximum.accumulate(np.where(new, np.arange(len(row)), 0))]
