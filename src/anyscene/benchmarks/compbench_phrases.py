"""What a prompt of T2I-CompBench asks for: its noun phrases, its relation, its numbers.

The released scripts let spaCy's small English model find noun phrases. That model is not needed here: most prompts follow a pattern ("a
green bench and a blue bowl"), in which the phrases are certain; of free sentences the phrases are found by the little words between them,
and may differ from spaCy's in some.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from anyscene.benchmarks.reading import text_lines
from anyscene.errors import RecordError

__all__ = ["count_things", "is_plain", "noun_phrases", "read_objects", "relation_of", "singular"]

NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight")
_ARTICLES = ("a", "an")
_DETERMINERS = {"a", "an", "the", "its", "his", "her", "their", "this", "that", "these", "those", "each", "some"}
_BE = frozenset("is are was were be been being am".split())
_PREPOSITIONS = frozenset(
    (
        "with without on in of at by for from to into onto over under above below behind beside near next inside outside between among "
        "against through along across around off up down out upon during before after beneath amidst atop within toward towards like than "
        "as"
    ).split()
)
_BETWEEN = (
    _BE
    | _PREPOSITIONS
    | frozenset(
        (
            "and or but while has have had holds held sit sits sat stands stood lies hangs hung leads led there it they he she who which "
            "when where so very both all together not also only just no"
        ).split()
    )
)
_SIDES = ("top", "side", "left", "right", "front", "bottom")
_NOT_THINGS = frozenset((*_SIDES, *(f"the {side}" for side in _SIDES)))
_RELATIONS = "on side of|next to|near|on the left of|on the right of|on the bottom of|on the top of|on top of|in front of|behind|hidden by"
_RELATION = re.compile(rf"(?:an? |the )?(.+?) ({_RELATIONS}) (?:an? |the )?(.+?)\.?")
_WORD = re.compile(r"[\w'’-]+|[.,;:!?]")
_IRREGULAR = {
    "people": "person",
    "men": "man",
    "women": "woman",
    "children": "child",
    "mice": "mouse",
    "knives": "knife",
    "wolves": "wolf",
    "leaves": "leaf",
    "shelves": "shelf",
    "feet": "foot",
    "teeth": "tooth",
    "geese": "goose",
    "buses": "bus",
}


def noun_phrases(prompt: str) -> list[str]:
    """The things of a prompt with what is said of them, in order, as they are written."""
    words = _WORD.findall(prompt)
    phrases: list[list[str]] = [[]]
    doing = False  # after "is", before the next thing: "is lying", "were arranged"
    for place, word in enumerate(words):
        low, following = word.lower(), words[place + 1].lower() if place + 1 < len(words) else ""
        own = phrases[-1]
        if word == "," and len(own) == 2 and own[0].lower() in _DETERMINERS and following not in (*_DETERMINERS, "and"):
            continue  # "the sharp, angular lines"
        if not word[0].isalnum() or low in _BETWEEN:
            phrases.append([])
            doing = low in _BE
        elif low in _DETERMINERS:
            phrases.append([word])
            doing = False
        elif doing and low.endswith(("ing", "ed", "en", "ung")):
            continue
        elif own and len(own) > 1 and (following in _DETERMINERS or (low.endswith("ed") and following in _PREPOSITIONS)):
            phrases.append([])  # a verb: "hold the", "contrasted with"
        else:
            own.append(word)
    found = [" ".join(own) for own in phrases if any(word.lower() not in _DETERMINERS for word in own)]
    return [phrase for phrase in found if phrase.lower() not in _NOT_THINGS and phrase.lower() != "nearby"]


def is_plain(prompt: str) -> bool:
    """Is it of the form "X and Y", in which noun phrases are certain?"""
    phrases = noun_phrases(prompt)
    return len(phrases) == 2 and " and ".join(phrases) == prompt.rstrip(".")


def relation_of(prompt: str) -> tuple[str, str, str] | None:
    """(first thing, relation, second thing) of a spatial prompt; None where it follows no pattern."""
    match = _RELATION.fullmatch(" ".join(prompt.split()))
    return (match[1].lower(), match[2], match[3].lower()) if match else None


def count_things(prompt: str, objects: Mapping[str, str]) -> list[tuple[str, str, int]]:
    """(words, name in the singular, number) of every thing with a number in front.

    Args:
        prompt: of the category numeracy.
        objects: plural or singular -> singular, from ``new_objects.txt``; where it is empty, a thing is one word, and "a" is a number only
            in prompts that have no other.
    """
    words = [word.lower() for word in _WORD.findall(prompt)]
    counted = any(word in NUMBERS for word in words)
    found = []
    for place, word in enumerate(words[:-1]):
        number = NUMBERS.index(word) + 1 if word in NUMBERS else 1 if word in _ARTICLES else 0
        if not number:
            continue
        one, two = words[place + 1], " ".join(words[place + 1 : place + 3])
        name = next((text for text in (two, one) if text in objects), None)
        if name is None and (objects or (word in _ARTICLES and counted) or not one[0].isalpha()):
            continue
        thing = objects[name] if name else singular(one) if number > 1 else one
        found.append((f"{word} {name or one}", thing, number))
    return found


def singular(noun: str) -> str:
    """One of several (knives -> knife, butterflies -> butterfly, couches -> couch); words that are alike stay."""
    if noun in _IRREGULAR:
        return _IRREGULAR[noun]
    if noun.endswith("ies") and len(noun) > 4:
        return noun[:-3] + "y"
    if noun.endswith(("ches", "shes", "xes", "sses", "toes")):
        return noun[:-2]
    return noun[:-1] if noun.endswith("s") and not noun.endswith("ss") else noun


def read_objects(path: Path) -> dict[str, str]:
    """``new_objects.txt``: lines "singular - plural"; both lead to the singular.

    Raises:
        RecordError: it cannot be read; the message names the line.
    """
    found: dict[str, str] = {}
    for line, text in text_lines(path):
        one, dash, many = (part.strip().lower() for part in text.partition(" - "))
        if not one or not many or not dash:
            raise RecordError(f"{path}, line {line}: 'singular - plural' is wanted, not {text[:40]!r}")
        found.setdefault(many, one)
        found[one] = one
    return found
