"""Leaks of a benchmark into a training set: the same words, nearly the same words, or the same scene in other words.

A training row is held against every prompt of the benchmark, without approximation: prompts are indexed by their rarest groups of words, so
that a row meets only those that it can be like (prefix filtering; Bayardo, Ma and Srikant, WWW 2007). Kinds, from the surest:

- ``exact``: the same letters.
- ``normalized``: the same words but for case, punctuation and articles.
- ``same_graph``: the same objects, attributes and relations, where both come with a scene graph.
- ``contained``: a prompt of at least eight words stands within the row.
- ``near``: Jaccard similarity of the groups of two words from a threshold on.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from anyscene.benchmarks.benchmark import Items
from anyscene.benchmarks.reading import csv_rows, json_lines, json_value, text_lines
from anyscene.dataset import read_records
from anyscene.errors import RecordError, SpecError
from anyscene.runs import MANIFEST_NAME
from anyscene.scene.canonical import canonical_key

__all__ = [
    "KINDS",
    "THRESHOLD",
    "Leak",
    "LeakIndex",
    "LeakReport",
    "TrainingRow",
    "audit_leaks",
    "plain_words",
    "read_training",
    "scene_key",
]

KINDS = ("exact", "normalized", "same_graph", "contained", "near")
THRESHOLD = 0.63
"""One word of ten exchanged leaves 0.64 of the groups."""
CONTAINED = 8
EXAMPLES = 20
CAPTION_COLUMNS = ("caption", "prompt", "text", "sentence", "caption_en", "prompt_en")
_ARTICLES = frozenset(("a", "an", "the"))
_WORD = re.compile(r"[^\W_]+")
_NUMERALS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
Grams = frozenset[tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """One row of a training set.

    Attributes:
        place: id, or line, for the report.
        caption: its text.
        graph: as in a record, where it has one.
    """

    place: str
    caption: str
    graph: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Leak:
    """A training row that is, or is nearly, a prompt of the benchmark.

    Attributes:
        kind: one of ``KINDS``.
        record_id: of the item.
        similarity: 1, or for ``near`` the Jaccard similarity.
    """

    kind: str
    record_id: str
    similarity: float = 1.0


@dataclass(frozen=True)
class LeakReport:
    """What was found.

    Attributes:
        benchmark: whose prompts.
        items: how many there are.
        rows: training rows that were looked at.
        threshold: of ``near``.
        rows_by_kind: leaking rows, each by its surest kind.
        items_by_kind: leaked items, each by its surest kind.
        with_graph: items that have a scene graph, so that ``same_graph`` could be asked.
        examples: place of the row, its caption, the item, kind and similarity.
    """

    benchmark: str
    items: int
    rows: int
    threshold: float
    rows_by_kind: Mapping[str, int]
    items_by_kind: Mapping[str, int]
    with_graph: int
    examples: Sequence[Mapping[str, Any]]

    @property
    def leaked_items(self) -> int:
        """Items found in the training set."""
        return sum(self.items_by_kind.values())

    @property
    def leaked_rows(self) -> int:
        """Training rows that leak."""
        return sum(self.rows_by_kind.values())

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "benchmark": self.benchmark,
            "items": self.items,
            "leaked_items": self.leaked_items,
            "items_by_kind": dict(self.items_by_kind),
            "items_with_graph": self.with_graph,
            "rows": self.rows,
            "leaked_rows": self.leaked_rows,
            "rows_by_kind": dict(self.rows_by_kind),
            "threshold": self.threshold,
            "examples": [dict(one) for one in self.examples],
        }


class LeakIndex:
    """The prompts of a benchmark, ready to be met again.

    Args:
        items: of the benchmark.
        threshold: of the similarity from which a row is ``near`` a prompt.

    Raises:
        SpecError: the threshold is not above 0 and at most 1.
    """

    def __init__(self, items: Items, threshold: float = THRESHOLD) -> None:
        if not 0 < threshold <= 1:
            raise SpecError(f"threshold {threshold}: it is above 0 and at most 1")
        self.threshold = threshold
        self._exact: dict[str, str] = {}
        self._plain: dict[tuple[str, ...], str] = {}
        self._scenes: dict[Any, dict[Any, str]] = {}  # by what is cheap to tell, then exactly
        self._long: dict[tuple[str, ...], list[tuple[tuple[str, ...], str]]] = {}
        texts: list[tuple[Grams, str]] = []
        self.with_graph = 0
        for record in items.records:
            id, caption = str(record["id"]), str(record["caption"])
            words = plain_words(caption)
            self._exact.setdefault(caption.strip(), id)
            if words:
                self._plain.setdefault(words, id)
                texts.append((_grams(words), id))
            if len(words) >= CONTAINED:
                self._long.setdefault(words[:CONTAINED], []).append((words, id))
            scene = _scene_of(record["graph"])
            if scene is not None:
                self.with_graph += 1
                self._scenes.setdefault(scene.rough, {}).setdefault(scene.key, id)
        self._near = _Near(texts, threshold)

    def look(self, caption: str, graph: Mapping[str, Any] | None = None) -> Leak | None:
        """The surest leak of a training row; None where it is like no prompt."""
        if (id := self._exact.get(caption.strip())) is not None:
            return Leak("exact", id)
        words = plain_words(caption)
        if (id := self._plain.get(words)) is not None:
            return Leak("normalized", id)
        scene = _scene_of(graph) if self._scenes and graph is not None else None
        own_scenes = self._scenes.get(scene.rough) if scene is not None else None
        if scene is not None and own_scenes and (id := own_scenes.get(scene.key)) is not None:
            return Leak("same_graph", id)
        for start in range(len(words) - CONTAINED + 1):
            for own, id in self._long.get(words[start : start + CONTAINED], ()):
                if words[start : start + len(own)] == own:
                    return Leak("contained", id)
        similarity, near = self._near.look(_grams(words))
        return Leak("near", near, similarity) if near else None


class _Near:
    """Sets of groups of words, found again by their rarest members."""

    def __init__(self, texts: Sequence[tuple[Grams, str]], threshold: float) -> None:
        self._threshold = threshold
        self._texts = texts
        often = Counter(gram for grams, _ in texts for gram in grams)
        self._rank = {gram: place for place, (gram, _) in enumerate(sorted(often.items(), key=lambda one: (one[1], one[0])))}
        self._places: dict[tuple[str, ...], list[int]] = {}
        for place, (grams, _) in enumerate(texts):
            for gram in self._prefix(grams):
                self._places.setdefault(gram, []).append(place)

    def _prefix(self, grams: Grams) -> list[tuple[str, ...]]:
        """The rarest members, of which two sets that are alike share at least one."""
        ordered = sorted(grams, key=lambda gram: (self._rank.get(gram, -1), gram))
        return ordered[: len(ordered) - math.ceil(self._threshold * len(ordered) - 1e-9) + 1]

    def look(self, grams: Grams) -> tuple[float, str]:
        """(similarity, id) of the most similar text from the threshold on; (0, "") where there is none."""
        best = (0.0, "")
        for place in {place for gram in self._prefix(grams) for place in self._places.get(gram, ())}:
            own, id = self._texts[place]
            if min(len(own), len(grams)) < self._threshold * max(len(own), len(grams)) - 1e-9:
                continue
            shared = len(own & grams)
            similarity = shared / (len(own) + len(grams) - shared)
            if similarity >= self._threshold - 1e-9 and (similarity, id) > best:
                best = (similarity, id)
        return best


def plain_words(text: str) -> tuple[str, ...]:
    """The words of a text in small letters, without punctuation and articles."""
    return tuple(word for word in _WORD.findall(unicodedata.normalize("NFKC", text).casefold()) if word not in _ARTICLES)


def _grams(words: Sequence[str]) -> Grams:
    return frozenset(pairwise(words)) if len(words) > 1 else frozenset({tuple(words)}) if words else frozenset()


@dataclass(frozen=True, slots=True)
class _Scene:
    """A graph as it is compared: labels of the things that are related, relations by their ids, all other things counted, the scene."""

    labels: Mapping[str, str]
    edges: Sequence[tuple[str, str, str]]
    alike: tuple[tuple[str, int], ...]
    scene: tuple[str, ...]

    @property
    def rough(self) -> Any:
        """What equal scenes have in common; cheap, and for nearly all scenes as good as `key`."""
        triples = sorted((self.labels[subject], predicate, self.labels[target]) for subject, predicate, target in self.edges)
        return tuple(sorted(self.labels.values())), tuple(triples), self.alike, self.scene

    @property
    def key(self) -> Any:
        """What equal scenes and no others have in common; dear where many things of one label are related alike."""
        return self.alike, canonical_key(self.labels, self.edges) if self.labels else (), self.scene


def scene_key(graph: Mapping[str, Any]) -> Any:
    """What two graphs of one scene have in common, whatever their ids, the types of their attributes and the words around a relation.

    Several alike things without relations and one thing with a number are the same.

    Returns:
        A key, or None for a graph without objects.
    """
    scene = _scene_of(graph)
    return None if scene is None else scene.key


def _scene_of(graph: Mapping[str, Any]) -> _Scene | None:
    """None for a graph without objects."""
    related = {end for one in graph["relations"] for end in (one["subject"], one["object"])}
    labels: dict[str, str] = {}
    alike: Counter[str] = Counter()
    for one in graph["objects"]:
        values = sorted(_said(attribute["value"]) for attribute in one["attributes"] if attribute["type"] != "count")
        counts = [_said(attribute["value"]) for attribute in one["attributes"] if attribute["type"] == "count"]
        number = next((_NUMERALS.index(count) for count in counts if count in _NUMERALS), 1)
        label = json.dumps([_said(one["name"]), values])
        if one["id"] in related:
            labels[one["id"]] = f"{label} {counts[0]}" if counts else label
        else:
            alike[label] += number
    if not labels and not alike:
        return None
    edges = [
        (one["subject"], _relation(one["predicate"]), one["object"])
        for one in graph["relations"]
        if one["subject"] in labels and one["object"] in labels
    ]
    return _Scene(labels, edges, tuple(sorted(alike.items())), tuple(sorted(_said(one["value"]) for one in graph["scene_attributes"])))


def _said(text: str) -> str:
    return " ".join(plain_words(text))


def _relation(predicate: str) -> str:
    words = [word for word in plain_words(predicate) if word not in ("is", "are", "to", "on", "at", "of", "directly")]
    return " ".join(words) or _said(predicate)


def audit_leaks(rows: Iterable[TrainingRow], items: Items, *, threshold: float = THRESHOLD) -> LeakReport:
    """Holds a training set against a benchmark.

    Args:
        rows: of the training set, one after the other.
        items: of the benchmark.
        threshold: of ``near``.

    Raises:
        RecordError: there are no rows.
        SpecError: the threshold is not above 0 and at most 1.
    """
    index = LeakIndex(items, threshold)
    item_of = {
        str(record["id"]): (str(items.extras[record["id"]].get("item_id", record["id"])), str(record["caption"]))
        for record in items.records
    }
    by_row: Counter[str] = Counter()
    best: dict[str, str] = {}
    examples: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
    number = 0
    for row in rows:
        number += 1
        leak = index.look(row.caption, row.graph)
        if leak is None:
            continue
        by_row[leak.kind] += 1
        if leak.record_id not in best or KINDS.index(leak.kind) < KINDS.index(best[leak.record_id]):
            best[leak.record_id] = leak.kind
        if len(examples[leak.kind]) < EXAMPLES:
            item, prompt = item_of[leak.record_id]
            examples[leak.kind].append(
                {
                    "row": row.place,
                    "caption": row.caption[:300],
                    "item": item,
                    "prompt": prompt[:300],
                    "kind": leak.kind,
                    "similarity": round(leak.similarity, 4),
                }
            )
    if not number:
        raise RecordError("the training set has no rows; nothing was audited")
    by_item = Counter(best.values())
    return LeakReport(
        benchmark=items.benchmark,
        items=len(items.records),
        rows=number,
        threshold=threshold,
        rows_by_kind={kind: by_row[kind] for kind in KINDS},
        items_by_kind={kind: by_item[kind] for kind in KINDS},
        with_graph=index.with_graph,
        examples=[one for kind in KINDS for one in examples[kind]][:EXAMPLES],
    )


def read_training(path: Path) -> Iterator[TrainingRow]:
    """The captions of a training set: a dataset folder or file of Anyscene, or a file of captions.

    ``.txt`` has a caption a line; ``.jsonl``, ``.json``, ``.csv`` and ``.parquet`` a column ``caption``, ``prompt`` or ``text``.

    Raises:
        RecordError: it cannot be read, or has no captions; the message names the line.
    """
    if not path.exists():
        raise RecordError(f"{path}: no such file or folder")
    kind = path.suffix.lower()
    if path.is_dir() or kind == ".tar":
        if path.is_dir() and not (path / MANIFEST_NAME).is_file():
            raise RecordError(f"{path}: a folder without {MANIFEST_NAME}; give a dataset of anyscene generate, or a file of captions")
        scenes = path / "scenes.parquet"
        yield from (TrainingRow(str(one["id"]), one["caption"], one["graph"]) for one in read_records(scenes if scenes.is_file() else path))
    elif kind == ".parquet":
        yield from _parquet(path)
    elif kind == ".txt":
        yield from (TrainingRow(f"line {line}", text) for line, text in text_lines(path))
    elif kind in (".jsonl", ".json"):
        rows = json_lines(path) if kind == ".jsonl" else list(enumerate(_list(path), 1))
        for line, one in rows:
            place = f"{'line' if kind == '.jsonl' else 'entry'} {line}"
            if isinstance(one, str):
                yield TrainingRow(place, one)
                continue
            column = next((name for name in CAPTION_COLUMNS if isinstance(one, dict) and isinstance(one.get(name), str)), None)
            if column is None:
                raise RecordError(f"{path}, {place}: no text under {', '.join(CAPTION_COLUMNS)}")
            yield TrainingRow(str(one.get("id", place)), one[column], _graph(one.get("graph")))
    elif kind == ".csv":
        table = csv_rows(path, ())
        column = next((name for name in CAPTION_COLUMNS if name in table[0][1]), None)
        if column is None:
            raise RecordError(f"{path}: no column {', '.join(CAPTION_COLUMNS)}; it has {', '.join(table[0][1])}")
        yield from (TrainingRow(f"line {line}", row[column]) for line, row in table)
    else:
        raise RecordError(f"{path}: captions are read from a dataset folder, .parquet, .jsonl, .json, .csv or .txt")


def _parquet(path: Path) -> Iterator[TrainingRow]:
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            column = next((name for name in CAPTION_COLUMNS if name in names), None)
            if column is None:
                raise RecordError(f"{path}: no column {', '.join(CAPTION_COLUMNS)}; it has {', '.join(names)}")
            wanted = [column, *(name for name in ("id", "graph") if name in names)]
            at = 0
            for batch in file.iter_batches(batch_size=8192, columns=wanted):
                for row in batch.to_pylist():
                    at += 1
                    if isinstance(row[column], str):
                        yield TrainingRow(str(row.get("id", f"row {at}")), row[column], _graph(row.get("graph")))
    except (pa.ArrowException, OSError) as error:
        raise RecordError(f"{path}: cannot be read as Parquet ({str(error).splitlines()[0]})") from None


def _list(path: Path) -> list[Any]:
    value = json_value(path)
    if not isinstance(value, list):
        raise RecordError(f"{path}: a list of captions, or of objects with one, is wanted")
    return value


def _graph(value: object) -> Mapping[str, Any] | None:
    """A graph as in a record; None for anything else."""
    if not isinstance(value, Mapping):
        return None
    fields = {"objects": ("id", "name"), "relations": ("subject", "predicate", "object"), "scene_attributes": ("type", "value")}
    if not all(_entries(value.get(name), wanted) for name, wanted in fields.items()):
        return None
    return value if all(_entries(one.get("attributes"), ("type", "value")) for one in value["objects"]) else None


def _entries(value: object, fields: Sequence[str]) -> bool:
    """Is it a list of objects that have these fields as text?"""
    return isinstance(value, list) and all(
        isinstance(one, Mapping) and all(isinstance(one.get(name), str) for name in fields) for one in value
    )
