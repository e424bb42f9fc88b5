"""The lexicon: every form of every word of a taxonomy as a token, and who reads as what.

Tokens are positions in one list of strings. Words come in the few forms that captions and questions need; heads of noun
phrases ("a ", "some ", "the second set of ", "Is the ") are a small table over form, grammatical number, numeral, ordinal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property, lru_cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from anyscene.language.english import capital, ordinal, takes_an
from anyscene.language.literals import FIXED, TOKEN
from anyscene.taxonomy import COUNT, COUNT_TYPE, EITHER, MASS, PLURAL, Taxonomy, numeral

IntArray = NDArray[np.int64]

FORMS = 12
(
    INDEFINITE,
    INDEFINITE_CAPITAL,
    DEFINITE,
    DEFINITE_CAPITAL,
    BE_DEFINITE,
    WHAT_BE,
    WHO_BE,
    EXISTS,
    TAG,
    TAG_AGAIN,
    NEXT_DEFINITE,
    WHICH_BE,
) = range(FORMS)
"""a fox, A fox, the fox, The fox, Is the fox, What is the fox, Who is the fox, Is there a fox, fox as a tag, fox named again in a
tag, The fox after a full stop, Which of these is the fox."""
MAX_ORDINAL = 14
GROUP_WORD = {COUNT: "", EITHER: "", MASS: "portion of ", PLURAL: "set of "}
"""What tells several of one mass or plural noun apart: "the second portion of sand"."""


class Lexicon:
    """Tokens of one taxonomy. Make one with ``lexicon_of``."""

    def __init__(self, taxonomy: Taxonomy, max_ordinal: int = MAX_ORDINAL) -> None:
        self.taxonomy = taxonomy
        self.max_ordinal = max_ordinal
        self._list: list[str] = list(FIXED)
        self._literals: dict[str, int] = dict(TOKEN)
        objects, attributes, relations = taxonomy.objects, taxonomy.attributes, taxonomy.relations
        plural_only = objects.number == PLURAL
        self.number = objects.number.astype(np.int64)
        self.noun_an = np.array([takes_an(name) for name in objects.names], dtype=np.bool_)
        self.attribute_an = np.array([takes_an(value) for value in attributes.values], dtype=np.bool_)
        self.plural_only = plural_only
        self.noun = self._section(objects.names)
        self.nouns = self._section(objects.plurals)
        self.adjective = self._section(f"{value} " for value in attributes.values)
        self.adjective_comma = self._section(f"{value}, " for value in attributes.values)
        self.predicates = _unambiguous(attributes.predicates, attributes.values)
        self.predicate_question = self._section(f" {words}?" for words in self.predicates)
        self.that_is = self._section(f" that is {words}" for words in self.predicates)
        self.that_are = self._section(f" that are {words}" for words in self.predicates)
        self.and_predicate = self._section(f" and {words}" for words in self.predicates)
        self.comma_predicate = self._section(f", {words}" for words in self.predicates)
        self.is_predicate = self._section(f" is {words}." for words in self.predicates)
        self.are_predicate = self._section(f" are {words}." for words in self.predicates)
        self.value = self._section(attributes.values)
        self.predicate = self._section(self.predicates)
        self.is_relation = self._section(f" is {name} " for name in relations.names)
        self.are_relation = self._section(f" are {name} " for name in relations.names)
        self.relation = self._section(f" {name} " for name in relations.names)
        self.relation_question = self._section(f" {name}?" for name in relations.names)
        self.phrase = self._section(taxonomy.scene_attributes.phrases)
        self.scene_question = self._section(taxonomy.scene_attributes.questions)
        self.scene_value = self._section(taxonomy.scene_attributes.values)
        self.scene_lead_participle = np.array([not _needs_shown(phrase) for phrase in taxonomy.scene_attributes.phrases], dtype=np.bool_)
        self.count_number = np.zeros(len(attributes), dtype=np.int64)
        if COUNT_TYPE in taxonomy.attribute_types.names:
            kind = taxonomy.attribute_types.names.index(COUNT_TYPE)
            for place in np.flatnonzero(attributes.type_index == kind):
                self.count_number[place] = numeral(attributes.values[place]) or 0
        self.counts = sorted({int(n) for n in self.count_number if n})
        self._heads()
        self._open_questions()

    def _section(self, words: Iterable[str]) -> int:
        """Add a run of tokens; the first one's position is returned."""
        first = len(self._list)
        self._list.extend(words)
        return first

    def literal(self, text: str) -> int:
        """The token of a fixed piece of text."""
        if text not in self._literals:
            if "strings" in self.__dict__:
                raise KeyError(f"the literal {text!r} is not in the lexicon")
            self._literals[text] = len(self._list)
            self._list.append(text)
        return self._literals[text]

    @cached_property
    def strings(self) -> pa.StringArray:
        """All tokens; nothing can be added afterwards."""
        return pa.array(self._list, pa.string())

    @cached_property
    def canonical(self) -> IntArray:
        """``(tokens,)`` the first token of each one's string: Parquet wants dictionaries without a word twice."""
        first: dict[str, int] = {}
        return np.array([first.setdefault(text, token) for token, text in enumerate(self._list)], dtype=np.int64)

    def text(self, token: int) -> str:
        """The string of a token."""
        return self._list[token]

    # ---- heads ------------------------------------------------------------------------------------------------------------

    def _heads(self) -> None:
        """``head[form, number, count place, ordinal, an]``: count place 0 is no numeral, ordinal 0 is a noun that occurs once."""
        shape = (FORMS, 4, len(self.counts) + 1, self.max_ordinal + 1, 2)
        self.head = np.zeros(shape, dtype=np.int64)
        for form, number, count, order, an in np.ndindex(*shape):
            numeral_text = self._numeral(count)
            self.head[form, number, count, order, an] = self.literal(_head(form, number, numeral_text, order, bool(an)))
        self.count_place = np.zeros(len(self.taxonomy.attributes), dtype=np.int64)
        for place in np.flatnonzero(self.count_number):
            self.count_place[place] = self.counts.index(int(self.count_number[place])) + 1

    def _numeral(self, place: int) -> str:
        if place == 0:
            return ""
        attribute = int(np.flatnonzero(self.count_number == self.counts[place - 1])[0])
        return self.taxonomy.attributes.values[attribute] + " "

    def _open_questions(self) -> None:
        """``open_before`` and ``open_after``, ``[type, plural]``: what stands before and after the object; 0 where there is no question."""
        types = self.taxonomy.attribute_types
        self.open_before, self.open_after = np.zeros((2, len(types), 2), dtype=np.int64)
        for kind, question in enumerate(types.open):
            if "{the}" not in question[1:]:
                continue
            for plural in (0, 1):
                words = question.replace("{is}", ("is", "are")[plural]).replace("{does}", ("does", "do")[plural])
                before, after = words.split("{the}", 1)
                self.open_before[kind, plural] = self.literal(before)
                self.open_after[kind, plural] = self.literal(after)
        self.scene_open = np.array([self.literal(question) for question in self.taxonomy.scene_attribute_types.open], dtype=np.int64)

    # ---- which words run together -----------------------------------------------------------------------------------------

    @cached_property
    def ambiguous_nouns(self) -> IntArray:
        """Sorted codes ``attribute * nouns + noun`` of pairs that could be read apart in another way ("red" + "fox")."""
        pairs = self._crossing(self.taxonomy.objects.names)
        pairs += self._crossing(self.taxonomy.objects.plurals)
        return _codes(pairs, len(self.taxonomy.objects))

    @cached_property
    def ambiguous_attributes(self) -> IntArray:
        """Sorted codes ``attribute * attributes + attribute`` of neighbours that could be read apart in another way ("dark" + "red")."""
        return _codes(self._crossing(self.taxonomy.attributes.values, middle=True), len(self.taxonomy.attributes))

    def _crossing(self, right: Sequence[str], middle: bool = False) -> list[tuple[int, int]]:
        """(attribute, word) pairs whose border some other word of the taxonomy runs across.

        With ``middle`` the word may also lie wholly within that other word (it is followed by more).
        """
        lefts: dict[str, list[int]] = {}
        whole: dict[str, int] = {}
        for index, value in enumerate(self.taxonomy.attributes.values):
            words = value.casefold().split(" ")
            whole[" ".join(words)] = index
            for start in range(len(words)):
                lefts.setdefault(" ".join(words[start:]), []).append(index)
        starts: dict[str, list[int]] = {}
        whole_right: dict[str, int] = {}
        for index, name in enumerate(right):
            words = name.casefold().split(" ")
            whole_right[" ".join(words)] = index
            for end in range(1, len(words) + 1):
                starts.setdefault(" ".join(words[:end]), []).append(index)
        found: set[tuple[int, int]] = set()
        objects = self.taxonomy.objects
        for text in {*objects.names, *objects.plurals, *self.taxonomy.attributes.values}:
            words = text.casefold().split(" ")
            for cut in range(1, len(words)):
                before, after = " ".join(words[:cut]), " ".join(words[cut:])
                left = [*lefts.get(before, ()), *(whole[part] for part in _endings(words[:cut]) if part in whole)]
                if not left:
                    continue
                near = list(starts.get(after, ()))
                if middle:
                    near += [whole_right[part] for part in _beginnings(words[cut:]) if part in whole_right]
                found.update((a, b) for a in left for b in near)
        return sorted(found)


@lru_cache(maxsize=6)
def lexicon_of(taxonomy: Taxonomy, max_ordinal: int = MAX_ORDINAL) -> Lexicon:
    """The lexicon of a taxonomy; kept for the last few."""
    return Lexicon(taxonomy, max_ordinal)


def _head(form: int, number: int, count: str, order: int, an: bool) -> str:
    """The words before the noun (and its adjectives)."""
    group = "group of " if count else GROUP_WORD[number]
    nth = f"{ordinal(order)} " if order else ""
    if form in (INDEFINITE, INDEFINITE_CAPITAL):
        if order > 1 or (order and (count or group)):
            nth = nth if order > 1 else ""
            text = f"{'an' if nth and takes_an(nth) else 'a'} {nth}{group if count or group else ''}{count}"
        elif count:
            text = count
        else:
            text = "some " if group else ("an " if an else "a ")
        return capital(text) if form == INDEFINITE_CAPITAL else text
    if form == EXISTS:
        if order > 1:
            return f"Is there {'an' if takes_an(nth) else 'a'} {nth}{group}"
        return f"{'Are' if count or number == PLURAL else 'Is'} there {'any ' if count or group else 'an ' if an else 'a '}"
    if form in (TAG, TAG_AGAIN):
        return nth + (group if order else "") + (count if form == TAG else "")
    the = f"the {nth}{group if order else count}"
    be = "are" if is_plural(number, bool(count), order) else "is"
    return {
        DEFINITE: the,
        DEFINITE_CAPITAL: capital(the),
        NEXT_DEFINITE: " " + capital(the),
        BE_DEFINITE: f"{capital(be)} {the}",
        WHAT_BE: f"What {be} {the}",
        WHO_BE: f"Who {be} {the}",
        WHICH_BE: f"Which of these {be} {the}",
    }[form]


def is_plural(number: int, counted: bool, order: int) -> bool:
    """Does the noun phrase take "are"? A second set of scissors and a group of three dogs are singular."""
    if order and (counted or number == PLURAL):
        return False
    return counted or number == PLURAL


_PLACE_WORDS = frozenset(
    "about above across after against along amid among around as at before behind below beneath beside between by during for from "
    "in inside into like near of on onto out outside over past through throughout to toward towards under underneath until up upon "
    "via while with within without".split()
)


def _needs_shown(phrase: str) -> bool:
    """Does the phrase follow "is shown" (in fog, with a high horizon) and not "is" (set in a cave, slightly blurred)?"""
    return phrase.split(" ", 1)[0].lower() in _PLACE_WORDS


def _unambiguous(predicates: Sequence[str], values: Sequence[str]) -> list[str]:
    """Predicates, but the value itself where two values share a predicate."""
    seen: dict[str, set[str]] = {}
    for words, value in (*zip(predicates, values, strict=True), *zip(values, values, strict=True)):
        seen.setdefault(words.casefold(), set()).add(value.casefold())
    return [words if len(seen[words.casefold()]) == 1 else value for words, value in zip(predicates, values, strict=True)]


def _endings(words: list[str]) -> Iterator[str]:
    for start in range(1, len(words)):
        yield " ".join(words[start:])


def _beginnings(words: list[str]) -> Iterator[str]:
    for end in range(1, len(words)):
        yield " ".join(words[:end])


def _codes(pairs: list[tuple[int, int]], size: int) -> IntArray:
    return np.array(sorted({a * size + b for a, b in pairs}), dtype=np.int64)
