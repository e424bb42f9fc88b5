"""Which generated picture stands beside which real one: of the same scene, of the same name, or of the same topic.

The topic of a caption is the nouns of the vocabulary that occur in it. Scenes to be painted are chosen so that each real caption has one
that shares its nouns, so a noun has the same share on both sides.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from anyscene.moderation.sources import SourcePicture
from anyscene.scene.keyed import key_of

__all__ = ["RULES", "Pairing", "Topics", "match_topics", "pair_up"]

RULES = ("record", "name", "topic", "any")
"""How a partner is found, the first that there is: same scene, same file name, most nouns in common, any."""
_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")


class Topics:
    """Finds nouns in captions.

    Args:
        nouns: of the vocabulary; of several words, the longest that fits counts.
    """

    def __init__(self, nouns: Iterable[str]) -> None:
        self._nouns: dict[tuple[str, ...], str] = {}
        for noun in nouns:
            words = tuple(_WORD.findall(noun.lower()))
            if words:
                self._nouns.setdefault(words, noun)
        self._longest = max((len(words) for words in self._nouns), default=0)

    def of(self, caption: str) -> tuple[str, ...]:
        """The nouns of a caption, each once, in the order of their first use; plurals are taken for their singular."""
        words = _WORD.findall(caption.lower())
        found: dict[str, None] = {}
        place = 0
        while place < len(words):
            noun, used = self._at(words, place)
            if noun is not None:
                found[noun] = None
            place += used
        return tuple(found)

    def _at(self, words: Sequence[str], place: int) -> tuple[str | None, int]:
        for length in range(min(self._longest, len(words) - place), 0, -1):
            *first, last = words[place : place + length]
            for form in _singulars(last):
                noun = self._nouns.get((*first, form))
                if noun is not None:
                    return noun, length
        return None, 1


def _singulars(word: str) -> tuple[str, ...]:
    """A word, and what it may be the plural of."""
    forms = [word]
    if word.endswith("ies"):
        forms.append(word[:-3] + "y")
    if word.endswith("ves"):
        forms += [word[:-3] + "f", word[:-3] + "fe"]
    if word.endswith("es"):
        forms.append(word[:-2])
    if word.endswith("s") and not word.endswith("ss"):
        forms.append(word[:-1])
    if word.endswith("men"):
        forms.append(word[:-3] + "man")
    return tuple(forms)


def match_topics(wanted: Sequence[tuple[str, ...]], offered: Sequence[tuple[str, ...]]) -> list[int | None]:
    """For each topic the place of the offer that shares most of its nouns, then has fewest others; each offer is taken once.

    None where no offer that is left shares a noun.
    """
    holders: dict[str, list[int]] = defaultdict(list)
    for place, nouns in enumerate(offered):
        for noun in nouns:
            holders[noun].append(place)
    taken: set[int] = set()
    found: list[int | None] = []
    for nouns in wanted:
        shared: Counter[int] = Counter()
        for noun in nouns:
            holders[noun] = [place for place in holders[noun] if place not in taken]
            shared.update(holders[noun])
        best = min(shared, key=lambda place: (-shared[place], len(offered[place]), place), default=None)
        found.append(best)
        if best is not None:
            taken.add(best)
    return found


@dataclass(frozen=True, slots=True)
class Pairing:
    """Who stands beside whom.

    Attributes:
        partners: generated pictures by the key of the real one.
        rules: how many were found by each of ``RULES``.
    """

    partners: Mapping[str, tuple[SourcePicture, ...]]
    rules: Mapping[str, int]


def pair_up(real: Sequence[SourcePicture], generated: Sequence[SourcePicture], topics: Topics, seed: int = 0) -> Pairing:
    """Finds partners of real pictures. A generated picture is used once.

    Of one scene all pictures are taken; by name, topic or without a rule one for each real picture.
    """
    open_ = sorted(real, key=lambda one: key_of("pair", seed, one.key))
    left = sorted(generated, key=lambda one: key_of("pair", seed, one.key))
    found: dict[str, tuple[SourcePicture, ...]] = {}
    rules = {}
    for rule in RULES:
        given = _RULES[rule](open_, left, topics)
        rules[rule] = sum(map(len, given.values()))
        found.update(given)
        used = {partner.key for partners in given.values() for partner in partners}
        open_ = [one for one in open_ if one.key not in found]
        left = [one for one in left if one.key not in used]
    return Pairing(found, rules)


_Found = dict[str, tuple[SourcePicture, ...]]


def _by_record(real: Sequence[SourcePicture], generated: Sequence[SourcePicture], topics: Topics) -> _Found:
    of_record: dict[str, list[SourcePicture]] = defaultdict(list)
    for one in generated:
        if one.record_id:
            of_record[one.record_id].append(one)
    return {
        one.key: tuple(sorted(of_record.pop(one.record_id), key=lambda partner: partner.key)) for one in real if one.record_id in of_record
    }


def _by_name(real: Sequence[SourcePicture], generated: Sequence[SourcePicture], topics: Topics) -> _Found:
    named = {_stem(one): one for one in generated}
    return {one.key: (named.pop(_stem(one)),) for one in real if _stem(one) in named}


def _by_topic(real: Sequence[SourcePicture], generated: Sequence[SourcePicture], topics: Topics) -> _Found:
    places = match_topics([topics.of(one.caption) for one in real], [topics.of(one.caption) for one in generated])
    return {one.key: (generated[place],) for one, place in zip(real, places, strict=True) if place is not None}


def _by_order(real: Sequence[SourcePicture], generated: Sequence[SourcePicture], topics: Topics) -> _Found:
    return {one.key: (partner,) for one, partner in zip(real, generated, strict=False)}


_RULES = {"record": _by_record, "name": _by_name, "topic": _by_topic, "any": _by_order}


def _stem(one: SourcePicture) -> str:
    return str(PurePosixPath(one.key).with_suffix(""))
