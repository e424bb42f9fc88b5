"""A small reader for the noun part of the Princeton WordNet 3.0 ``dict`` files; glosses are dropped on reading.

A synset is known by its offset (``n02084071``), which is also its ImageNet id. Only what the object vocabulary needs is kept:
lemmas, lexicographer file, hypernyms, and for every lemma its senses with their tag counts, over all parts of speech, to tell the
dominant sense.
"""

from __future__ import annotations

import collections
from dataclasses import dataclass
from pathlib import Path

NOUN_LEXNAMES = [
    "Tops",
    "act",
    "animal",
    "artifact",
    "attribute",
    "body",
    "cognition",
    "communication",
    "event",
    "feeling",
    "food",
    "group",
    "location",
    "motive",
    "object",
    "person",
    "phenomenon",
    "plant",
    "possession",
    "process",
    "quantity",
    "relation",
    "shape",
    "state",
    "substance",
    "time",
]
FIRST_NOUN_FILE = 3


@dataclass(frozen=True, slots=True)
class Synset:
    """One noun sense: its lemmas with their case and underscores, its lexicographer file (``animal``) and its direct hypernyms."""

    id: str
    lemmas: tuple[str, ...]
    lexname: str
    hypernyms: tuple[str, ...]
    is_instance: bool


class WordNet:
    """The noun network of a folder that holds ``data.noun`` and ``index.sense``."""

    def __init__(self, folder: Path) -> None:
        self.synsets: dict[str, Synset] = {}
        self.hyponyms: dict[str, list[str]] = collections.defaultdict(list)
        self.senses: dict[str, list[str]] = collections.defaultdict(list)
        self.tags: dict[tuple[str, str], int] = {}
        self.other_tags: collections.Counter[str] = collections.Counter()
        for line in (folder / "data.noun").read_text("latin-1").splitlines():
            if not line.startswith("  "):
                synset = _read_synset(line)
                self.synsets[synset.id] = synset
        for synset in self.synsets.values():
            if not synset.is_instance:
                for parent in synset.hypernyms:
                    self.hyponyms[parent].append(synset.id)
        self._distances: dict[str, dict[str, int]] = {}
        self._read_senses(folder / "index.sense")

    def _read_senses(self, path: Path) -> None:
        ranked: dict[str, list[tuple[int, str]]] = collections.defaultdict(list)
        for line in path.read_text("latin-1").splitlines():
            key, offset, rank, tags = line.split()
            lemma, rest = key.split("%", 1)
            if rest[0] == "1":
                ranked[lemma].append((int(rank), "n" + offset))
                self.tags[lemma, "n" + offset] = int(tags)
            else:
                self.other_tags[lemma] += int(tags)
        for lemma, senses in ranked.items():
            self.senses[lemma] = [synset for _, synset in sorted(senses)]

    def sense(self, lemma: str, lexname: str, index: int = 0) -> str:
        """The id of the ``index``-th sense of ``lemma`` that lies in the lexicographer file ``lexname``."""
        return [s for s in self.senses[lemma.lower()] if self.synsets[s].lexname == lexname][index]

    def closure(self, root: str) -> set[str]:
        """``root`` and every hyponym under it; instances (named entities) are left out."""
        found, todo = {root}, [root]
        while todo:
            for child in self.hyponyms[todo.pop()]:
                if child not in found:
                    found.add(child)
                    todo.append(child)
        return found

    def distances(self, synset: str) -> dict[str, int]:
        """Every synset above ``synset``, and itself, with the length of the shortest path up to it."""
        if synset in self._distances:
            return self._distances[synset]
        found = {synset: 0}
        todo = collections.deque([synset])
        while todo:
            here = todo.popleft()
            for parent in self.synsets[here].hypernyms:
                if parent not in found:
                    found[parent] = found[here] + 1
                    todo.append(parent)
        self._distances[synset] = found
        return found

    def dominance(self, lemma: str, synset: str) -> float:
        """The share of the uses of ``lemma`` as a noun that are this sense, smoothed by half a tag for each sense."""
        key = lemma.lower()
        total = sum(self.tags[key, sense] + 0.5 for sense in self.senses[key])
        return (self.tags[key, synset] + 0.5) / total

    def is_mainly_noun(self, lemma: str) -> bool:
        """Whether the tagged uses of ``lemma`` are not chiefly those of a verb, adjective or adverb."""
        key = lemma.lower()
        nouns = sum(self.tags[key, sense] for sense in self.senses[key])
        return self.other_tags[key] <= 3 * (nouns + 1)


def _read_synset(line: str) -> Synset:
    fields = line.split("|", 1)[0].split()
    words = int(fields[3], 16)
    lemmas = tuple(fields[4 : 4 + 2 * words : 2])
    at = 4 + 2 * words
    pointers = [fields[at + 1 + 4 * i : at + 5 + 4 * i] for i in range(int(fields[at]))]
    hypernyms = tuple("n" + target for symbol, target, _, _ in pointers if symbol in ("@", "@i"))
    is_instance = any(symbol == "@i" for symbol, *_ in pointers)
    return Synset("n" + fields[0], lemmas, NOUN_LEXNAMES[int(fields[1]) - FIRST_NOUN_FILE], hypernyms, is_instance)
