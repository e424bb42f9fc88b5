"""The states that a text leads through in the network of a style, and the readings that lie in them.

Every (place in the network, place in the text) that can be reached is one *state*, visited once, so that even a hostile text costs
time in proportion to its length. The ways from the first state to the end of the text are *readings*.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple, TypeAlias

from anyscene.errors import CaptionParseError
from anyscene.language import lexicon as lx
from anyscene.language import networks as net
from anyscene.language.matching import Head, Text, Vocabulary

MAX_STATES = 40_000
MAX_STEPS = 100_000


class State(NamedTuple):
    """A place in the network and in the text; within a noun phrase also what came before it in the phrase."""

    place: str
    start: int
    then: str = ""
    form: int = 0
    head: int = -1
    before: int = -1
    comma: bool = False


class Kind(IntEnum):
    """What an event says: an attribute before or after the noun, a noun, an object named again, a relation of the object just named,
    one more of the same subject, a scene attribute, a modality.
    """

    BEFORE, NOUN, AFTER, AGAIN, RELATION, NEXT_RELATION, PHRASE, MODALITY = range(8)


class Event(NamedTuple):
    """A piece of a reading: ``order`` is which one of its noun it is, ``numeral`` the place of its
    numeral (for an object named again just whether it has one).
    """

    kind: Kind
    what: int
    order: int = 0
    numeral: int = 0


Step: TypeAlias = tuple[State, Event | None]
_ADJECTIVES, _TAG_ADJECTIVES, _BARE, _SAME, _NAMED, _QUALITY, _FIRST_QUALITY, _NEXT_QUALITY, _QUALITIES, _LAST_QUALITY = (
    "adjectives", "adjectives of a tag", "bare noun", "same noun",
    "named", "quality", "first quality", "next quality", "qualities", "last quality",
)  # fmt: skip
_PLACE_OF_FIRST = {net.FIRST: _ADJECTIVES, net.FIRST_TAG: _TAG_ADJECTIVES, net.FIRST_BARE: _BARE}
_EXPECTED: dict[str | int, str] = {
    "plain": '"There is" or an object with a capital letter',
    "subject": '"is" or "are" with a relation',
    "target": "an object",
    "said": 'a full stop, a comma or "and"',
    "more": '"is" or "are" with a relation',
    "sentence": "a sentence about an object or the scene",
    "alone": 'a full stop or "along with"',
    "along": 'a full stop, a comma or "and"',
    "scene": '"The scene is"',
    "phrase": "a scene attribute",
    "phrases": "a full stop or a comma with a scene attribute",
    "stop object": "a full stop",
    "described": "a sentence about an object or the scene",
    "description": '"is" or "are" with a quality or a relation',
    "related to": "an object named before",
    "stop relation": "a full stop",
    "related": "a sentence about a relation or the scene",
    "relation": '"is" or "are" with a relation',
    "tags": "an adjective or a noun",
    "tag": "a comma with one more tag",
    "tag relation": "a relation",
    "tag target": "an object named before",
    "relation tag": "a comma with a relation or a scene attribute",
    "last tags": "a comma with a scene attribute",
    net.END: "nothing more",
    _ADJECTIVES: "an adjective or a noun",
    _TAG_ADJECTIVES: "an adjective or a noun",
    _BARE: "a noun",
    _SAME: "a noun named before",
    _QUALITY: "a quality",
    _NEXT_QUALITY: "a quality",
    _QUALITIES: 'a comma or "and" with a quality',
    _LAST_QUALITY: "a quality",
    net.RELATION: "a relation",
    net.NEXT_RELATION: "a relation",
    net.PREDICATE: "a quality",
    net.PHRASE: "a scene attribute",
    net.FIRST: "an object",
    net.FIRST_BARE: "an object",
    net.AGAIN: "an object named before",
}


@dataclass(frozen=True)
class Rules:
    """One lexicon's captions, and which neighbours never stand side by side in them."""

    lexicon: lx.Lexicon
    with_noun: frozenset[int]
    with_attribute: frozenset[int]

    @classmethod
    def of(cls, lexicon: lx.Lexicon) -> Rules:
        return cls(lexicon, frozenset(lexicon.ambiguous_nouns.tolist()), frozenset(lexicon.ambiguous_attributes.tolist()))


class Lattice:
    """All states of one text in one network that lie on a way to its end.

    Attributes:
        end: how far the text could be read, and ``stuck``: the places in the network reached there or what was tried there.
        lost: the furthest place where an object is named out of its turn, which ended a reading; -1 where there is none.
        refused: did words stand side by side that the rules keep apart?

    Raises:
        CaptionParseError: there are too many states.
    """

    def __init__(self, text: Text, style: str, words: Vocabulary, rules: Rules) -> None:
        self.text = text
        self.style = style
        self.words = words
        self.rules = rules
        self.nouns = len(words.number)
        self.values = len(rules.lexicon.count_place)
        self.first = State(style, 0)
        self.end = 0
        self.stuck: list[str | int] = []
        self.lost = -1
        self.refused = False
        self.steps = self._explore()

    def _explore(self) -> dict[State, list[Step]]:
        """The steps from every state that leads on to the end."""
        steps: dict[State, list[Step]] = {}
        sources: dict[State, list[State]] = {}
        waiting = [self.first]
        while waiting:
            state = waiting.pop()
            if state in steps:
                continue
            if len(steps) == MAX_STATES:
                raise CaptionParseError(f"not a caption: its {len(self.text.text)} characters can be read in too many ways")
            self._reach(state.start, state.place)
            steps[state] = found = list(self._leaving(state))
            for after, _ in found:
                sources.setdefault(after, []).append(state)
                waiting.append(after)
        alive: set[State] = set()
        waiting = [State(net.END, len(self.text.text))]
        while waiting:
            state = waiting.pop()
            if state not in alive:
                alive.add(state)
                waiting += sources.get(state, ())
        return {state: [step for step in own if step[0] in alive] for state, own in steps.items() if state in alive}

    def _reach(self, start: int, place: str | int) -> None:
        """Note what is the furthest that was reached."""
        if start > self.end:
            self.end = start
            self.stuck = []
        if start == self.end:
            self.stuck.append(place)

    def _leaving(self, state: State) -> Iterator[Step]:
        place = state.place
        if place in net.NETWORK:
            for arc in net.NETWORK[place]:
                if self.text.text.startswith(arc.text, state.start):
                    if arc.text and arc.kind != net.TEXT:
                        self._reach(state.start + len(arc.text), arc.kind)
                    yield from self._along(arc, state.start + len(arc.text))
        elif place in (_ADJECTIVES, _TAG_ADJECTIVES, _BARE):
            yield from self._noun(state)
            if place != _BARE:
                yield from self._adjective(state)
        elif place == _SAME:
            head = self._head(state)
            for noun, end in (self.words.nouns if head.numeral else self.words.noun).at(self.text, state.start):
                if self.words.number[noun] in head.numbers:
                    yield State(state.then, end), Event(Kind.AGAIN, noun, head.order, head.numeral)
        elif place != net.END:
            yield from self._qualities(state)

    def _along(self, arc: net.Arc, start: int) -> Iterator[Step]:
        """What the arc reads, from behind its text on."""
        words, text = self.words, self.text
        if arc.kind == net.TEXT:
            yield State(arc.then, start), None
        elif arc.kind == net.LEAD:
            yield State(arc.then, start), Event(Kind.MODALITY, arc.form)
        elif arc.kind in _PLACE_OF_FIRST or arc.kind == net.AGAIN:
            place = _PLACE_OF_FIRST.get(arc.kind, _SAME)
            for head, end in words.heads[arc.form].at(text, start):
                yield State(place, end, arc.then, arc.form, head), None
        elif arc.kind == net.PHRASE:
            yield from ((State(arc.then, end), Event(Kind.PHRASE, phrase)) for phrase, end in words.phrase.at(text, start))
        elif arc.kind == net.PREDICATE:
            yield from ((State(arc.then, end), Event(Kind.AFTER, value)) for value, end in words.predicate.at(text, start))
        else:
            kind = Kind.RELATION if arc.kind == net.RELATION else Kind.NEXT_RELATION
            for relation, end in words.relation.at(text, start):
                if text.text.startswith(" ", end):
                    yield State(arc.then, end + 1), Event(kind, relation)

    def _head(self, state: State) -> Head:
        return self.words.heads[state.form].heads[state.head]

    def _noun(self, state: State) -> Iterator[Step]:
        if state.comma:
            return
        head = self._head(state)
        for noun, end in (self.words.nouns if head.numeral else self.words.noun).at(self.text, state.start):
            if self.words.number[noun] not in head.numbers:
                continue
            if state.before >= 0 and state.before * self.nouns + noun in self.rules.with_noun:
                self.refused = True
                continue
            event = Event(Kind.NOUN, noun, head.order, head.numeral)
            bare = state.before >= 0 or state.place == _BARE
            yield State(state.then if bare else _NAMED, end, "" if bare else state.then), event

    def _adjective(self, state: State) -> Iterator[Step]:
        text = self.text.text
        for value, end in self.words.adjective.at(self.text, state.start):
            joins = state.before >= 0 and state.before * self.values + value in self.rules.with_attribute
            if joins != state.comma:
                self.refused = True
                continue
            event = Event(Kind.BEFORE, value)
            if text.startswith(" ", end):
                yield state._replace(start=end + 1, before=value, comma=False), event
            elif state.place == _ADJECTIVES and text.startswith(", ", end):
                yield state._replace(start=end + 2, before=value, comma=True), event

    def _qualities(self, state: State) -> Iterator[Step]:
        """Attributes after the noun: "that is red", "that is red and big", "that is red, big and wet"."""
        text, start, then = self.text.text, state.start, state.then
        if state.place == _NAMED:
            yield State(then, start), None
            for words in (" that is ", " that are "):
                if text.startswith(words, start):
                    yield State(_QUALITY, start + len(words), then), None
            return
        if state.place in (_QUALITY, _NEXT_QUALITY, _LAST_QUALITY):
            after = {_QUALITY: _FIRST_QUALITY, _NEXT_QUALITY: _QUALITIES, _LAST_QUALITY: ""}[state.place]
            for value, end in self.words.predicate.at(self.text, start):
                yield (State(after, end, then) if after else State(then, end)), Event(Kind.AFTER, value)
            return
        if state.place == _FIRST_QUALITY:
            yield State(then, start), None
        if text.startswith(", ", start):
            yield State(_NEXT_QUALITY, start + 2, then), None
        if text.startswith(" and ", start):
            yield State(_LAST_QUALITY, start + 5, then), None

    def readings(self) -> Iterator[list[Event]]:
        """What is said along every way to the end on which objects named again were named before.

        Raises:
            CaptionParseError: there are more ways than can be tried.
        """
        if self.first not in self.steps:
            return
        waiting: list[tuple[State, _Trail | None, _Seen]] = [(self.first, None, {})]
        for _ in range(MAX_STEPS):
            if not waiting:
                return
            state, trail, seen = waiting.pop()
            if state.place == net.END:
                yield _said(trail)
                continue
            for after, event in reversed(self.steps[state]):
                if event is None:
                    waiting.append((after, trail, seen))
                elif event.kind == Kind.NOUN:
                    numerals = seen.get(event.what, ())
                    if len(numerals) + 1 == event.order:
                        waiting.append((after, _Trail(event, trail), {**seen, event.what: (*numerals, event.numeral)}))
                    else:
                        self.lost = max(self.lost, state.start)
                elif event.kind != Kind.AGAIN or _is_seen(event, seen):
                    waiting.append((after, _Trail(event, trail), seen))
                else:
                    self.lost = max(self.lost, state.start)
        raise CaptionParseError(f"not a caption: {MAX_STEPS} steps did not suffice to tell its readings apart")


_Seen: TypeAlias = dict[int, tuple[int, ...]]
"""The numerals of the objects of each noun."""


def _is_seen(event: Event, seen: _Seen) -> bool:
    """Was the object named before, and in the same number?"""
    numerals = seen.get(event.what, ())
    place = max(event.order, 1)
    return place <= len(numerals) and (numerals[place - 1] > 0) == (event.numeral > 0)


@dataclass(frozen=True, slots=True, eq=False)
class _Trail:
    """The events of a way, the last one first."""

    event: Event
    before: _Trail | None


def _said(trail: _Trail | None) -> list[Event]:
    events = []
    while trail is not None:
        events.append(trail.event)
        trail = trail.before
    return events[::-1]


def expected(places: list[str | int]) -> str:
    """What could have followed at one of these places, for a message."""
    found = list(dict.fromkeys(_EXPECTED[place] for place in sorted(places, key=str) if place in _EXPECTED))
    return " or ".join(found[:2])
