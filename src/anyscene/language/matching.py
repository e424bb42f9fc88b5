"""Which words stand at a place of a text: the lexicon turned around, for the parser.

Names hold "and", "of", full stops and apostrophes, so a text cannot be split into words first. Instead every list of names is a
dictionary, and at a place all of its names that begin there are found, the longest first.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from anyscene.language import lexicon as lx

_MARK = re.compile(r"[ ,.]")
Found = list[tuple[int, int]]
"""(what was found, where it ends)."""


class Text:
    """A text and its marks: the places where a name can end."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.marks = [match.start() for match in _MARK.finditer(text)]
        self.marks.append(len(text))
        self.found: dict[tuple[int, int], Found] = {}


class Names:
    """A list of names, each with a number; two may be alike."""

    def __init__(self, names: Iterable[tuple[str, int]]) -> None:
        self._numbers: dict[str, tuple[int, ...]] = {}
        self._reach: dict[str, int] = {}
        for name, number in names:
            self._numbers[name] = (*self._numbers.get(name, ()), number)
            marks = _MARK.findall(name)
            first = _MARK.split(name, maxsplit=1)[0]
            self._reach[first] = max(self._reach.get(first, 0), len(marks) + 1)

    def at(self, text: Text, start: int) -> Found:
        """All names at a place, the longest first."""
        key = (id(self), start)
        found = text.found.get(key)
        if found is None:
            found = text.found[key] = self._search(text, start)
        return found

    def _search(self, text: Text, start: int) -> Found:
        first = bisect_left(text.marks, start)
        if first == len(text.marks):
            return []
        reach = self._reach.get(text.text[start : text.marks[first]], 0)
        found: Found = []
        for end in reversed(text.marks[first : first + reach]):
            for number in self._numbers.get(text.text[start:end], ()):
                found.append((number, end))
        return found


class Head(NamedTuple):
    """What the words before a noun say: which one of its noun, the place of its numeral, the grammatical numbers that take them."""

    order: int
    numeral: int
    numbers: frozenset[int]


class Heads:
    """The words before a noun in one form ("a ", "the second set of ") and what they say."""

    def __init__(self, lexicon: lx.Lexicon, form: int, again: bool) -> None:
        numbers: dict[str, dict[tuple[int, int], set[int]]] = {}
        for number, count, order, an in np.ndindex(*lexicon.head.shape[1:]):
            words = lexicon.text(int(lexicon.head[form, number, count, order, an]))
            meaning = (order if again else max(order, 1), min(count, 1) if again else count)
            numbers.setdefault(words, {}).setdefault(meaning, set()).add(number)
        self.heads: list[Head] = []
        self.bare: list[int] = []
        named: list[tuple[str, int]] = []
        for words, meanings in numbers.items():
            for (order, count), own in meanings.items():
                if words:
                    named.append((words.rstrip(" "), len(self.heads)))
                else:
                    self.bare.append(len(self.heads))
                self.heads.append(Head(order, count, frozenset(own)))
        self._names = Names(named)

    def at(self, text: Text, start: int) -> Found:
        """All heads at a place and where the noun phrase goes on; the longest first."""
        found = [(head, end + 1) for head, end in self._names.at(text, start) if text.text.startswith(" ", end)]
        return [*found, *((head, start) for head in self.bare)]


_INTRODUCED = (lx.INDEFINITE, lx.INDEFINITE_CAPITAL, lx.TAG)
_AGAIN = (lx.DEFINITE, lx.DEFINITE_CAPITAL, lx.TAG_AGAIN)


def heads_of(lexicon: lx.Lexicon) -> dict[int, Heads]:
    """The heads of every form that captions have."""
    return {form: Heads(lexicon, form, form in _AGAIN) for form in (*_INTRODUCED, *_AGAIN)}


@dataclass(frozen=True)
class Vocabulary:
    """All names of a lexicon by list."""

    number: Sequence[int]
    noun: Names
    nouns: Names
    adjective: Names
    predicate: Names
    relation: Names
    phrase: Names
    heads: dict[int, Heads]
    counts: tuple[int, ...]

    @classmethod
    def of(cls, lexicon: lx.Lexicon) -> Vocabulary:
        """Turn a lexicon around."""
        taxonomy = lexicon.taxonomy
        said = [a for a, place in enumerate(lexicon.count_place) if place == 0]
        return cls(
            number=lexicon.number.tolist(),
            noun=Names((name, i) for i, name in enumerate(taxonomy.objects.names)),
            nouns=Names((name, i) for i, name in enumerate(taxonomy.objects.plurals)),
            adjective=Names((taxonomy.attributes.values[a], a) for a in said),
            predicate=Names((lexicon.predicates[a], a) for a in said),
            relation=Names((name, i) for i, name in enumerate(taxonomy.relations.names)),
            phrase=Names((name, i) for i, name in enumerate(taxonomy.scene_attributes.phrases)),
            heads=heads_of(lexicon),
            counts=tuple(int(np.flatnonzero(lexicon.count_number == number)[0]) for number in lexicon.counts),
        )
