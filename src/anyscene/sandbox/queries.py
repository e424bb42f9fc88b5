"""What a question asks, read back from its words.

A judge is given a question as text, form and choices. The grammar of questions is the lexicon's: its strings are the patterns here, so
that a change of wording is followed. Every question comes down to candidates: one statement about the picture for a yes/no question, one
for each choice, and for an open question one for each answer that the vocabulary has.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from anyscene.language import lexicon as lx
from anyscene.language.aids import MOVING_TYPES
from anyscene.language.lexicon import Lexicon, lexicon_of
from anyscene.language.literals import MEDIUM
from anyscene.language.question import Question
from anyscene.taxonomy import Taxonomy

__all__ = ["Asked", "Counted", "Exists", "Has", "Noun", "Query", "Relates", "SceneHas", "read_question"]


@dataclass(frozen=True, slots=True)
class Noun:
    """A noun phrase: "a circle", "the three circles", "the second group of circles".

    Attributes:
        object: index of the noun in the taxonomy.
        order: 1, 2, ... where the phrase has an ordinal; 0 where it has none.
        count: its numeral; 0 where it has none.
        plural: is the noun in the plural, as it is when it has a numeral, said or not ("the first group of circles")?
    """

    object: int
    order: int = 0
    count: int = 0
    plural: bool = False


@dataclass(frozen=True, slots=True)
class Exists:
    """There is such a thing."""

    noun: Noun


@dataclass(frozen=True, slots=True)
class Has:
    """The thing has the attribute (an index in the taxonomy)."""

    noun: Noun
    attribute: int


@dataclass(frozen=True, slots=True)
class Counted:
    """There are exactly so many things of the noun."""

    noun: Noun
    number: int


@dataclass(frozen=True, slots=True)
class Relates:
    """The relation (an index in the taxonomy) holds from subject to target."""

    subject: Noun
    relation: int
    target: Noun


@dataclass(frozen=True, slots=True)
class SceneHas:
    """The picture as a whole has the scene attribute (an index in the taxonomy)."""

    value: int


Query = Exists | Has | Counted | Relates | SceneHas


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, understood.

    Attributes:
        form: ``yes_no``, ``choice`` or ``open``.
        candidates: one (answer, statement) for ``yes_no``, whose answer is ``yes``; one for each choice in order; or one for each answer
            that an open question may have.
    """

    form: str
    candidates: tuple[tuple[str, Query], ...]


def read_question(question: Question, taxonomy: Taxonomy) -> Asked | None:
    """What a question asks, from its text, form and choices alone; None where its words are not of this grammar and vocabulary."""
    return _read(taxonomy, question.form, question.text, question.choices)


@lru_cache(maxsize=65536)
def _read(taxonomy: Taxonomy, form: str, text: str, choices: tuple[str, ...]) -> Asked | None:
    grammar = _grammar(taxonomy)
    if form == "yes_no":
        statement = grammar.statement(text)
        return None if statement is None else Asked(form, (("yes", statement),))
    if form not in ("choice", "open") or (form == "choice") != bool(choices):
        return None
    candidates = grammar.candidates(text, choices)
    return Asked(form, candidates) if candidates else None


@lru_cache(maxsize=4)
def _grammar(taxonomy: Taxonomy) -> _Grammar:
    return _Grammar(lexicon_of(taxonomy))


def _one_of(words: Iterable[str]) -> str:
    """A pattern for any of the words, longest first."""
    return "|".join(re.escape(word) for word in sorted(set(words), key=lambda word: (-len(word), word)))


class _Grammar:
    """Patterns of all questions of one lexicon, and tables from their words to indices."""

    def __init__(self, lexicon: Lexicon) -> None:
        self.lexicon, self.taxonomy = lexicon, lexicon.taxonomy
        taxonomy, text = self.taxonomy, lexicon.text
        attributes, relations, scene = taxonomy.attributes, taxonomy.relations, taxonomy.scene_attributes
        self.heads = {form: self._heads(form) for form in (lx.EXISTS, lx.BE_DEFINITE, lx.DEFINITE, lx.WHAT_BE, lx.WHO_BE, lx.WHICH_BE)}
        self.nouns = {name: (i, True) for i, name in enumerate(taxonomy.objects.plurals)}
        self.nouns |= {name: (i, False) for i, name in enumerate(taxonomy.objects.names)}
        self.predicates = {text(lexicon.predicate_question + i): i for i in range(len(attributes))}
        self.relations = {text(lexicon.relation + i): i for i in range(len(relations))}
        self.relation_ends = {text(lexicon.relation_question + i): i for i in range(len(relations))}
        self.numerals = {attributes.values[i]: int(lexicon.count_number[i]) for i in np.flatnonzero(lexicon.count_number)}
        self.scene_questions = {text(lexicon.scene_question + i): i for i in range(len(scene))}
        self.scene_opens = {text(token): kind for kind, token in enumerate(lexicon.scene_open) if token}
        self.opens = {
            (text(int(lexicon.open_before[kind, plural])), text(int(lexicon.open_after[kind, plural]))): kind
            for kind in range(len(taxonomy.attribute_types))
            for plural in (0, 1)
            if lexicon.open_before[kind, plural]
        }
        self._compile()

    def _heads(self, form: int) -> dict[str, tuple[int, int]]:
        """Text of a head -> (ordinal, numeral)."""
        heads: dict[str, tuple[int, int]] = {}
        for number, place, order, an in np.ndindex(self.lexicon.head.shape[1:]):
            said = self.lexicon.text(int(self.lexicon.head[form, number, place, order, an]))
            count = self.lexicon.counts[place - 1] if place and not order and form != lx.EXISTS else 0
            heads.setdefault(said, (order if order > 1 or form != lx.EXISTS else 0, count))
        return heads

    def _compile(self) -> None:
        noun, the = f"({_one_of(self.nouns)})", f"({_one_of(self.heads[lx.DEFINITE])})"
        be, there = f"({_one_of(self.heads[lx.BE_DEFINITE])})", f"({_one_of(self.heads[lx.EXISTS])})"
        self.exists = re.compile(f"{there}{noun}\\?")
        self.has = re.compile(f"{be}{noun}({_one_of(self.predicates)})")
        self.exactly = re.compile(f"Are there exactly ({_one_of(self.numerals)}) {noun}\\?")
        self.only_one = re.compile(f"Is there exactly one {noun}\\?")
        self.relates = re.compile(f"{be}{noun}({_one_of(self.relations)}){the}{noun}\\?")
        asks = {word for form in (lx.WHAT_BE, lx.WHO_BE, lx.WHICH_BE) for word in self.heads[form]}
        self.asked_heads = self.heads[lx.WHAT_BE] | self.heads[lx.WHO_BE] | self.heads[lx.WHICH_BE]
        self.target = re.compile(f"({_one_of(asks)}){noun}({_one_of(self.relation_ends)})")
        self.how_many = re.compile(f"How many {noun} are there\\?")
        self.in_it = re.compile(f"Which of these is in the ({_one_of(MEDIUM.values())})\\?")
        self.describes = re.compile(f"Which of these describes {the}{noun}\\?")
        self.open_attributes = [(re.compile(f"{re.escape(a)}{the}{noun}{re.escape(b)}"), kind) for (a, b), kind in self.opens.items()]

    def noun(self, name: str, order: int = 0, count: int = 0) -> Noun:
        """A noun phrase from the words of its noun."""
        place, plural = self.nouns[name]
        return Noun(place, order, count, plural)

    # ---- yes or no --------------------------------------------------------------------------------------------------------

    def statement(self, text: str) -> Query | None:
        """The statement that a yes/no question asks about."""
        if text in self.scene_questions:
            return SceneHas(self.scene_questions[text])
        if found := self.exactly.fullmatch(text):
            return Counted(self.noun(found[2]), self.numerals[found[1]])
        if found := self.only_one.fullmatch(text):
            return Counted(self.noun(found[1]), 1)
        if found := self.exists.fullmatch(text):
            return Exists(self.noun(found[2], *self.heads[lx.EXISTS][found[1]]))
        if found := self.has.fullmatch(text):
            return Has(self.noun(found[2], *self.heads[lx.BE_DEFINITE][found[1]]), self.predicates[found[3]])
        if found := self.relates.fullmatch(text):
            subject = self.noun(found[2], *self.heads[lx.BE_DEFINITE][found[1]])
            return Relates(subject, self.relations[found[3]], self.noun(found[5], *self.heads[lx.DEFINITE][found[4]]))
        return None

    # ---- choices and open questions ---------------------------------------------------------------------------------------

    def candidates(self, text: str, choices: Sequence[str]) -> tuple[tuple[str, Query], ...]:
        """(answer, statement) of every choice, or of every answer that there may be; empty where the words are not known."""
        statements = self._statements(text, choices)
        if not choices:
            return tuple(statements.items())
        return tuple((one, statements[one]) for one in choices) if all(one in statements for one in choices) else ()

    def _statements(self, text: str, choices: Sequence[str]) -> dict[str, Query]:
        """Answer -> statement, for all answers of a question that is not yes/no."""
        if text in self.scene_opens:
            return self._scene([self.scene_opens[text]])
        if text == "Which of these describes the scene?":
            return self._scene(range(len(self.taxonomy.scene_attribute_types)), choices)
        if found := self.how_many.fullmatch(text):
            noun = self.noun(found[1])
            return {word: Counted(noun, number) for word, number in self.numerals.items()}
        if self.in_it.fullmatch(text):
            return {name: Exists(self.noun(name)) for name in self.nouns}
        if found := self.target.fullmatch(text):
            subject, relation = self.noun(found[2], *self.asked_heads[found[1]]), self.relation_ends[found[3]]
            return {name: Relates(subject, relation, self.noun(name)) for name in self.nouns}
        if found := self.describes.fullmatch(text):
            noun = self.noun(found[2], *self.heads[lx.DEFINITE][found[1]])
            return self._attributes(noun, range(len(self.taxonomy.attribute_types)), choices)
        for pattern, kind in self.open_attributes:
            if found := pattern.fullmatch(text):
                return self._attributes(self.noun(found[2], *self.heads[lx.DEFINITE][found[1]]), [kind])
        return {}

    def _scene(self, kinds: Iterable[int], choices: Sequence[str] = ()) -> dict[str, Query]:
        """Value -> statement, of the first of the types that has all the choices."""
        scene = self.taxonomy.scene_attributes
        for kind in kinds:
            found: dict[str, Query] = {scene.values[i]: SceneHas(int(i)) for i in np.flatnonzero(scene.type_index == kind)}
            if all(one in found for one in choices):
                return found
        return {}

    def _attributes(self, noun: Noun, kinds: Iterable[int], choices: Sequence[str] = ()) -> dict[str, Query]:
        """Value (of what moves: the words after "is") -> statement, of the first of the types that has all the choices."""
        attributes, names = self.taxonomy.attributes, self.taxonomy.attribute_types.names
        for kind in kinds:
            words = self.lexicon.predicates if names[kind] in MOVING_TYPES else attributes.values
            found: dict[str, Query] = {words[i]: Has(noun, int(i)) for i in np.flatnonzero(attributes.type_index == kind)}
            if all(one in found for one in choices):
                return found
        return {}
