"""Countability and plural forms of English noun phrases.

The plural is formed on the head of the phrase: the last word, or the noun before a preposition (``lilies of the valley``), or the
first part of a few fixed compounds (``attorneys general``). The number of an object is first what a reviewer wrote; the rule here
covers the rest: a noun that the inflection lexicon knows as invariant, or whose plural is rare beside its singular, is mass if it
hangs under a substance, food or fabric. Single words that break the rules are in ``review/``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from word_data import WordData

POSTPOSED = {
    "general": ("attorney", "solicitor", "postmaster", "governor", "inspector"),
    "royal": ("princess",),
    "laureate": ("poet",),
    "apostolic": ("vicar",),
    "errant": ("knight",),
    "palatine": ("count",),
    "martial": ("court",),
    "dowager": ("queen",),
    "regent": ("queen",),
    "consort": ("queen",),
    "bachelor": ("knight",),
    "banneret": ("knight",),
}
"""Adjectives that follow their noun, with the nouns that they follow."""
PREPOSITIONS = ("of", "in", "on", "at", "with", "for", "by", "from", "de", "du", "des", "à", "la", "under", "to", "over")
PARTICLES = ("in", "up", "out", "off", "on", "down", "by", "over", "away", "back")
GENERIC_LAST = (
    "plant",
    "flower",
    "shrub",
    "tree",
    "mushroom",
    "fern",
    "grass",
    "orchid",
    "lily",
    "vine",
    "moth",
    "fish",
    "sponge",
    "cactus",
)
"""After these a preposition inside the name does not make its first noun the head: ``string of pearls plants``."""
COMPOUND_ENDINGS = (
    *("woman", "child", "mouse", "louse", "goose", "tooth", "foot", "wolf", "leaf", "loaf", "knife", "shelf", "wife", "calf"),
)
REGULAR_IN_PLANTS = ("foot", "tooth", "leaf", "wolf")
INVARIANT_ENDINGS = ("aircraft", "watercraft", "spacecraft", "hovercraft", "rotorcraft")
SINGULAR_IN_S = ("ss", "us", "is", "as", "os", "ns")


class Inflector:
    """Plurals and number, with the lexicon, the frequencies, the genus names and the reviewed words of the build at hand."""

    def __init__(self, data: WordData, genera: frozenset[str], irregular: Mapping[str, str], heads: Mapping[str, str]) -> None:
        self.data = data
        self.genera = genera
        self.irregular = irregular
        self.heads = heads

    def plural(self, name: str, lexname: str) -> str:
        """The plural of a noun phrase; Latin binomials stay as they are, as in ``three Abies alba``."""
        if self.is_binomial(name):
            return name
        if name.lower() in self.irregular:
            return _match_case(self.irregular[name.lower()], name)
        words = name.split(" ")
        at = self.head(words)
        words[at] = self._hyphenated(words[at], lexname)
        return " ".join(words)

    def is_binomial(self, name: str) -> bool:
        """Whether the name is a genus and an epithet that is no English noun: ``Abies alba``."""
        match = re.fullmatch(r"([A-Z][a-z]+)( x)? ([a-z-]+)", name)
        return bool(match and match[1].lower() in self.genera and match[3] not in self.data.plurals)

    def head(self, words: list[str]) -> int:
        """The place of the word that takes the plural."""
        last = len(words) - 1
        if len(words) == 2 and words[0].lower() in POSTPOSED.get(words[1], ()):
            return 0
        if words[last] in GENERIC_LAST:
            return last
        for at in range(1, last):
            before = words[at - 1].lower()
            if words[at] in PREPOSITIONS and (before in self.data.plurals or before[:-1] in self.data.plurals):
                return at - 1
        return last

    def _hyphenated(self, word: str, lexname: str) -> str:
        if word.lower() in self.irregular:
            return _match_case(self.irregular[word.lower()], word)
        stem, hyphen, last = word.rpartition("-")
        if stem and (last in PARTICLES or re.search("-(of|in|on|at|me|the|and|o|a)-", word)):
            return regular_plural(word)
        return stem + hyphen + self._token(last, lexname)

    def _token(self, word: str, lexname: str) -> str:
        lower, plurals = word.lower(), self.data.plurals
        if lower in self.irregular:
            return _match_case(self.irregular[lower], word)
        if lower.endswith(INVARIANT_ENDINGS) or (lexname in ("animal", "food") and lower.endswith("fish")):
            return word
        if lower.endswith("s") and lower not in plurals and lower[:-1] in plurals and not lower.endswith("ss"):
            return word
        if len(word) > 1 and word.isupper():
            return word + "s"
        if lower.endswith("bus"):
            return word + "es"
        if lower.endswith("man") and len(lower) > 4:
            return word[:-3] + "men"
        for ending in COMPOUND_ENDINGS:
            if lower.endswith(ending) and not (lexname == "plant" and ending in REGULAR_IN_PLANTS):
                return word[: -len(ending)] + self.irregular[ending]
        known = [form for form in plurals.get(word, plurals.get(lower, ())) if form.lower() != lower]
        if known:
            usual = max(known, key=lambda form: (round(self.data.zipf(form), 1), form == regular_plural(lower), form))
            return _match_case(usual, word)
        return regular_plural(word)

    def number(self, name: str, lexname: str, can_be_mass: bool) -> str:
        """``count``, ``mass``, ``plural`` or ``either``; ``can_be_mass`` says that it hangs under a substance, food or fabric."""
        head = re.split(r"[ -]", name.lower())[-1]
        if lexname in ("person", "animal"):
            return "plural" if head in ("cattle", "police", "people") else "count"
        if self.is_binomial(name) or re.search(r" (of|in|on|with) ", name.lower()):
            return "count"
        reviewed = self._by_head(head, " " in name, lexname, can_be_mass)
        if reviewed:
            return reviewed
        forms = self.data.plurals.get(head)
        only_itself = forms is not None and set(forms) == {head}
        if head.endswith("s") and not head.endswith(SINGULAR_IN_S):
            is_plural = head[:-1] in self.data.plurals and self.data.zipf(head) > self.data.zipf(head[:-1]) + 0.3
            if only_itself or (forms is None and is_plural):
                return "plural"
        if only_itself:
            return "mass" if can_be_mass or lexname not in ("plant", "body") else "count"
        return self._by_frequency(head, lexname, forms) if can_be_mass else "count"

    def _by_head(self, head: str, is_phrase: bool, lexname: str, can_be_mass: bool) -> str:
        """What ``review/number_heads.tsv`` says of the last word, or nothing."""
        rule = self.heads.get(head, "")
        if rule == "plural":
            return "plural"
        if rule == "always mass" or (head.endswith("ware") and lexname == "artifact"):
            return "mass"
        if can_be_mass and (rule == "mass" or (rule == "mass in phrases" and is_phrase and lexname not in ("artifact", "food"))):
            return "mass"
        return "either" if rule == "either" and lexname == "food" else ""

    def _by_frequency(self, head: str, lexname: str, forms: tuple[str, ...] | None) -> str:
        """A noun that can be mass is the more so, the rarer its plural is beside it."""
        plural = self._token(head, lexname)
        alone = self.data.zipf(head)
        ratio = self.data.zipf(plural if plural != head else regular_plural(head)) - alone
        if lexname == "substance":
            mass, either = -0.7, -0.2
        elif alone < 2 or (forms is not None and head in forms):
            mass, either = -1.3, -0.6
        else:
            mass, either = -1.8, -1.2
        if ratio < mass or (lexname == "substance" and alone < 2):
            return "mass"
        return "either" if ratio < either else "count"


def regular_plural(word: str) -> str:
    """The regular spelling rule."""
    lower = word.lower()
    if re.search(r"[^aeiou]y$", lower) and not word[:1].isupper():
        return word[:-1] + "ies"
    if lower.endswith("sis"):
        return word[:-2] + "es"
    if re.search(r"(s|x|z|ch|sh)$", lower):
        return word + "es"
    return word + "s"


def _match_case(form: str, like: str) -> str:
    return form[:1].upper() + form[1:] if like[:1].isupper() else form
