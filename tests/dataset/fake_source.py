"""A source of rows that look like the engine's and cost little: each a pure function of its index."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from anyscene.dataset import record_schema

_NUM_WORDS = 5_000
_WORDS = pa.array(
    [f"{word} {i}" if i % 3 else f"{word}{i}" for i in range(_NUM_WORDS) for word in [("stoop", "carrel", "gîte", "robin")[i % 4]]]
)
_KINDS = pa.array(["object", "attribute", "relation", "count", "scene"])
_FORMS = pa.array(["yes_no", "choice", "open"])
_ANSWERS = pa.array(["yes", "no", "2", "red", 'a "quoted" \\ answer'])
_IDS = pa.array([f"{kind}{i}" for kind in "oarq" for i in range(32)])
_FOILS = pa.array(["absent_object", "swapped_attribute", "reversed_relation"])


def _mix(values: Any) -> Any:
    """splitmix64: a hash of each value."""
    with np.errstate(over="ignore"):
        z = values + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


class _Draws:
    """Numbers that hang on (seed, row, purpose) only."""

    def __init__(self, keys: Any) -> None:
        self.keys = keys

    def below(self, limit: int, purpose: int) -> Any:
        return (_mix(self.keys ^ _mix(np.full(1, purpose, np.uint64))) % np.uint64(limit)).astype(np.int32)

    def children(self, counts: Any, purpose: int) -> _Draws:
        first = np.repeat(np.cumsum(counts) - counts, counts)
        ordinal = np.arange(int(counts.sum())) - first
        return _Draws(_mix(np.repeat(self.keys, counts) + np.uint64(purpose) * np.uint64(1_000_003)) + ordinal.astype(np.uint64))


def _offsets(counts: Any) -> Any:
    return pa.array(np.concatenate([[0], np.cumsum(counts)]).astype(np.int32))


@dataclass(frozen=True)
class FakeSource:
    """`num_questions` per record on average (15: what the engine makes); strings dictionary-encoded where the engine's are."""

    seed: int = 7
    rows: int = 1 << 40
    num_questions: int = 15
    dictionaries: bool = True
    delay_s: float = 0.0
    die_at: int = -1
    die_once: str = ""  # a file that is made before the process dies, and keeps the next from dying
    manifest_of_process: bool = False
    fail_at: int = -1

    @property
    def capacity(self) -> int:
        return self.rows

    def manifest(self) -> dict[str, object]:
        version = str(os.getpid()) if self.manifest_of_process else "1"
        return {"spec": {"vocabulary": "fake", "num_questions": self.num_questions}, "seed": self.seed, "versions": {"fake": version}}

    def table(self, start: int, stop: int, *, questions: bool = True) -> pa.Table:
        if self.delay_s:
            time.sleep(self.delay_s)
        if start <= self.die_at < stop and not (self.die_once and os.path.exists(self.die_once)):
            if self.die_once:
                open(self.die_once, "x").close()
            os.kill(os.getpid(), signal.SIGKILL)
        if start <= self.fail_at < stop:
            raise ZeroDivisionError("the engine slipped")
        schema = record_schema(questions)
        index = np.arange(start, stop, dtype=np.uint64)
        row = _Draws(_mix(index + _mix(np.full(1, self.seed, np.uint64))))
        hexes = pa.array(np.char.encode(np.array([f"{key:016x}" for key in row.keys.tolist()])).tolist(), pa.string())
        n = stop - start
        nouns = [self._pick(_WORDS, row.below(_NUM_WORDS, p)) for p in (1, 2, 3, 4)]
        join = pa.compute.binary_join_element_wise
        caption = join(
            "A", _plain(nouns[0]), _plain(nouns[1]), "next to a", _plain(nouns[2]), 'that is "on top of" a', _plain(nouns[3]), " "
        )
        columns: dict[str, Any] = {
            "id": hexes,
            "index": pa.array(index.astype(np.int64)),
            "caption": caption,
            "graph": self._graph(row),
            "complexity": pa.array(1 + row.below(12, 5), pa.int32()),
            "modality": self._pick(pa.array(["image"]), np.zeros(n, np.int32)),
            "plausibility": pa.array(row.below(1000, 6).astype(np.float32) / np.float32(999)),
            "spec_digest": self._pick(pa.array(["5f" * 16]), np.zeros(n, np.int32)),
            "seed": pa.array(np.full(n, self.seed, np.int64)),
        }
        if questions:
            columns["questions"] = self._questions(row)
        return pa.table([columns[name] for name in schema.names], schema.names)

    def _pick(self, words: Any, indices: Any, missing: Any = None) -> Any:
        picked = pa.DictionaryArray.from_arrays(pa.array(indices, pa.int32(), mask=missing), words)
        return picked if self.dictionaries else picked.dictionary_decode()

    def _attributes(self, parents: _Draws, limit: int, purpose: int) -> Any:
        counts = parents.below(limit, purpose)
        each = parents.children(counts, purpose)
        fields = [self._pick(_KINDS, each.below(5, 1)), self._pick(_WORDS, each.below(_NUM_WORDS, 2))]
        return pa.ListArray.from_arrays(_offsets(counts), pa.StructArray.from_arrays(fields, ["type", "value"]))

    def _graph(self, row: _Draws) -> Any:
        num_objects = 1 + row.below(4, 10)
        objects = row.children(num_objects, 10)
        relations = row.children(num_objects - 1, 11)
        object_fields = [
            self._pick(_IDS, objects.below(8, 1)),
            self._pick(_WORDS, objects.below(_NUM_WORDS, 2)),
            self._attributes(objects, 3, 12),
        ]
        relation_fields = [
            self._pick(_IDS, relations.below(8, 1)),
            self._pick(_WORDS, relations.below(_NUM_WORDS, 2)),
            self._pick(_IDS, relations.below(8, 3)),
        ]
        lists = [
            pa.ListArray.from_arrays(_offsets(num_objects), pa.StructArray.from_arrays(object_fields, ["id", "name", "attributes"])),
            pa.ListArray.from_arrays(
                _offsets(num_objects - 1), pa.StructArray.from_arrays(relation_fields, ["subject", "predicate", "object"])
            ),
            self._attributes(row, 2, 13),
        ]
        return pa.StructArray.from_arrays(lists, ["objects", "relations", "scene_attributes"])

    def _ids(self, parents: _Draws, most: int, purpose: int) -> Any:
        counts = parents.below(most + 1, purpose)
        return pa.ListArray.from_arrays(_offsets(counts), self._pick(_IDS, parents.children(counts, purpose).below(128, 1)))

    def _questions(self, row: _Draws) -> Any:
        counts = self.num_questions - 3 + row.below(7, 20)
        each = row.children(counts, 20)
        words = [_plain(self._pick(_WORDS, each.below(_NUM_WORDS, p))) for p in (1, 2)]
        num_choices = np.where(each.below(3, 3) == 0, 4, 0).astype(np.int32)
        choices = self._pick(_WORDS, each.children(num_choices, 3).below(_NUM_WORDS, 1))
        fields = [
            self._pick(_IDS, each.below(32, 4)),
            self._pick(_KINDS, each.below(5, 5)),
            self._pick(_FORMS, each.below(3, 6)),
            pa.compute.binary_join_element_wise("Is there a", words[0], words[1], "in the image?", " "),
            self._pick(_ANSWERS, each.below(5, 7)),
            pa.ListArray.from_arrays(_offsets(num_choices), choices),
            self._ids(each, 2, 8),
            self._ids(each, 2, 9),
            self._pick(_FOILS, each.below(3, 10), missing=each.below(4, 11) > 0),
        ]
        names = ["id", "kind", "form", "text", "answer", "choices", "depends_on", "elements", "foil"]
        return pa.ListArray.from_arrays(_offsets(counts), pa.StructArray.from_arrays(fields, names))


def _plain(array: Any) -> Any:
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array
