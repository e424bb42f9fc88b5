"""What may not be in the vocabulary at all: names on the deny list, blocked WordNet branches and single synsets, and names of peoples.

The files are ``review/deny_words.txt`` (words), ``review/blocked_branches.txt`` and ``review/blocked_ids.txt`` (WordNet ids, so
that no other file holds an offensive word).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from wordnet import WordNet


@dataclass(frozen=True, slots=True)
class Safety:
    """The rules that keep offensive words out of every shipped name."""

    words: frozenset[str]
    phrases: re.Pattern[str]
    single: frozenset[str]
    blocked: frozenset[str]
    allowed: frozenset[str]

    def is_denied(self, text: str) -> bool:
        """Whether the text is, or holds as whole words, a denied word, phrase or plural, and was not reviewed as innocent."""
        plain = text.lower().replace("_", " ")
        if plain in self.allowed:
            return False
        return plain in self.words or bool(self.phrases.search(plain))


def read_safety(review: Path, wordnet: WordNet) -> Safety:
    """Read the deny list and the blocked ids from the review folder."""
    words = {line.strip().lower() for line in (review / "deny_words.txt").read_text(encoding="utf-8").splitlines() if line.strip()}
    words = {word for word in words if "(" not in word}
    allowed = frozenset(_ids(review / "deny_exceptions.txt"))
    branches = set().union(*(wordnet.closure(root) for root in _ids(review / "blocked_branches.txt")))
    single = frozenset(_ids(review / "blocked_ids.txt"))
    forms = [
        re.escape(word) + ("(?:es)?" if word.endswith(("s", "x", "ch", "sh")) else "s?")
        for word in sorted(words, key=lambda word: (-len(word), word))
    ]
    pattern = re.compile(r"(?<!\w)(?:" + "|".join(forms) + r")(?!\w)")
    return Safety(frozenset(words), pattern, single, single | branches, allowed)


def _ids(path: Path) -> list[str]:
    """The first column of a text file; ``#`` starts a comment."""
    lines = [line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line]


def is_people_name(name: str, lexname: str) -> bool:
    """A person noun with a capital is a people, a faith or a party (``Scout`` and the like go with them)."""
    return lexname == "person" and any(part[:1].isupper() for part in re.split(r"[ -]", name))
