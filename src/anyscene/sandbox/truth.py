"""True answers to any question of a record about a picture whose contents are known.

The picture may be wrong, then so are the answers that its caption would have: what counts is what was drawn. Definitions are those of
``looks``. An attribute or a relation of something that is not there does not hold, and an ordinal counts the groups that are there, in
the order of the drawn graph.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from itertools import groupby
from typing import Any

from anyscene.errors import RecordError
from anyscene.language.question import Question
from anyscene.sandbox import looks
from anyscene.sandbox.layout import ABOVE, LARGER, LEFT, NEXT_TO, UPPER_LEFT
from anyscene.sandbox.loading import load_sandbox_taxonomy
from anyscene.sandbox.looks import Seen, Thing
from anyscene.sandbox.queries import Asked, Counted, Exists, Has, Noun, Query, Relates, SceneHas, read_question
from anyscene.taxonomy import Taxonomy

__all__ = ["read_seen", "seen_to_dict", "true_answer", "true_answers"]

Group = tuple[Thing, ...]
_OPTIONAL = ("chances",)


def true_answer(question: Question, seen: Seen) -> str | None:
    """The true answer to a question: its own right answer where that one is among the true ones, else the first of them.

    None where no answer is true: no choice fits, or there is no such thing to be asked about.

    Raises:
        RecordError: the question is not in the words of the sandbox.
    """
    answers = true_answers(question, seen)
    return question.answer if question.answer in answers else answers[0] if answers else None


def true_answers(question: Question, seen: Seen) -> tuple[str, ...]:
    """All true answers: ``yes`` or ``no``, the choices that fit, or the words that answer an open question.

    Raises:
        RecordError: the question is not in the words of the sandbox.
    """
    asked = _read(question)
    if question.form == "yes_no":
        return ("yes",) if _holds(asked.candidates[0][1], seen) else ("no",)
    return tuple(answer for answer, query in asked.candidates if _holds(query, seen))


def _read(question: Question) -> Asked:
    asked = read_question(question, load_sandbox_taxonomy())
    if asked is None:
        raise RecordError(f"the question {question.text!r} is not in the words of the sandbox's vocabulary")
    return asked


def seen_to_dict(seen: Seen) -> dict[str, Any]:
    """What is in a picture as plain JSON values, without chances: what was drawn is certain."""
    data = {**asdict(seen), "things": [asdict(thing) for thing in seen.things]}
    for part in (data, *data["things"]):
        for name in _OPTIONAL:
            del part[name]
    return data


def read_seen(data: Mapping[str, Any]) -> Seen:
    """What ``seen_to_dict`` wrote.

    Raises:
        RecordError: a field is missing or unknown.
    """
    things = tuple(Thing(**_checked(Thing, one)) for one in data.get("things", ()))
    return Seen(**{**_checked(Seen, data), "things": things})


def _checked(kind: type, data: Mapping[str, Any]) -> dict[str, Any]:
    names = {field.name for field in fields(kind)}
    missing = names - set(data) - set(_OPTIONAL)
    if missing or set(data) - names:
        wrong = sorted(missing or set(data) - names)[0]
        raise RecordError(f"the contents of a drawn picture: the field {wrong!r} is unknown or missing")
    return dict(data)


# ---- statements -----------------------------------------------------------------------------------------------------------------


def _holds(query: Query, seen: Seen) -> bool:
    taxonomy = load_sandbox_taxonomy()
    if isinstance(query, SceneHas):
        kind, value = taxonomy.scene_attribute_words(query.value)
        return bool(getattr(seen, kind) == value)
    shape = taxonomy.objects.names[_noun(query).object]
    groups = _groups(seen, shape)
    if isinstance(query, Counted):
        return sum(map(len, groups)) == query.number
    subject = _picked(groups, _noun(query))
    if isinstance(query, Exists):
        return bool(subject)
    if isinstance(query, Has):
        kind, value = taxonomy.attribute_words(query.attribute)
        return bool(subject) and all(_has(thing, kind, value) for thing in subject)
    return bool(subject) and _relates(query, subject, seen, taxonomy)


def _noun(query: Exists | Has | Counted | Relates) -> Noun:
    return query.subject if isinstance(query, Relates) else query.noun


def _groups(seen: Seen, shape: str) -> list[Group]:
    """The things of a shape, those of one object together, in the order of the graph."""
    return [tuple(group) for _, group in groupby((thing for thing in seen.things if thing.shape == shape), key=lambda thing: thing.owner)]


def _picked(groups: Sequence[Group], noun: Noun) -> Group:
    """What a noun phrase stands for: the group of its ordinal, or all things of the noun; empty where there is none."""
    if noun.order:
        return groups[noun.order - 1] if len(groups) >= noun.order else ()
    return tuple(thing for group in groups for thing in group)


def _has(thing: Thing, kind: str, value: str) -> bool:
    if kind == "size":
        return ("large" if thing.width > (looks.SMALL_TO + looks.LARGE_FROM) / 2 else "small") == value
    return bool(getattr(thing, kind) == value)


def _relates(query: Relates, subject: Group, seen: Seen, taxonomy: Taxonomy) -> bool:
    """Does a relation hold? A target with neither ordinal nor numeral may be any other group of its noun, of the same number."""
    word = taxonomy.relations.names[query.relation]
    groups = _groups(seen, taxonomy.objects.names[query.target.object])
    if query.target.order or query.target.count:
        targets = [_picked(groups, query.target)]
    else:
        targets = [group for group in groups if (len(group) > 1) == query.target.plural]
    subjects = {id(thing) for thing in subject}
    return any(_related(word, subject, target) for target in targets if target and not any(id(thing) in subjects for thing in target))


def _related(word: str, one: Group, other: Group) -> bool:
    """Does a relation hold between two groups (``looks``)?"""
    across = min(thing.x for thing in other) - max(thing.x for thing in one) >= looks.AHEAD
    down = min(thing.y for thing in other) - max(thing.y for thing in one) >= looks.AHEAD
    if word == NEXT_TO:
        return any(_gap(a, b) <= looks.NEXT_TO for a in one for b in other)
    ratio = min(thing.width for thing in one) / max(thing.width for thing in other)
    return {LEFT: across, ABOVE: down, UPPER_LEFT: across and down, LARGER: ratio >= looks.LARGER}[word]


def _gap(one: Thing, other: Thing) -> float:
    """Space between two boxes, the larger of across and down."""
    return max(abs(one.x - other.x) - (one.width + other.width) / 2, abs(one.y - other.y) - (one.height + other.height) / 2)
