"""SceneSpace: the front door. A space of scenes, and the records (graph, caption, questions) of any range of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from anyscene.dataset.huggingface import to_datasets
from anyscene.dataset.schema import record_schema
from anyscene.errors import CapacityError, SpecError
from anyscene.language import QuestionOptions, lexicon_of, realize_captions, realize_questions
from anyscene.language.captions import STYLES
from anyscene.language.text import choose
from anyscene.scene.batch import SceneBatch, owners
from anyscene.scene.graph import SceneGraph
from anyscene.scene.keyed import mix_int
from anyscene.space import SceneSpec, Space
from anyscene.taxonomy import Taxonomy, load_taxonomy

if TYPE_CHECKING:
    import datasets

IntArray = NDArray[np.int64]
CHUNK = 8192
VERSION = 1
"""Raised when the same spec, seed and index would give other bytes than before."""


@dataclass(frozen=True, slots=True)
class RecordOptions:
    """How scenes are put into words.

    Attributes:
        style: of the captions: ``plain``, ``dense``, ``short`` or ``tags``.
        questions: which questions are asked.
    """

    style: str = "plain"
    questions: QuestionOptions = field(default_factory=QuestionOptions)

    def __post_init__(self) -> None:
        if self.style not in STYLES:
            raise SpecError(f"caption style {self.style!r}: it must be one of {', '.join(STYLES)}")


class SceneSpace:
    """All scenes of a spec, exactly counted and numbered.

    Args:
        spec: which scenes; or give the fields of ``SceneSpec`` by name.
        taxonomy: a taxonomy, the path of a taxonomy folder, or ``None`` for the one that ships.

    Example:
        >>> space = SceneSpace(complexity=(4, 8))
        >>> space[123].complexity
        4

    Raises:
        SpecError: the spec cannot be honoured; ``EmptySpaceError`` where it leaves no scene.
        TaxonomyError: the taxonomy has mistakes or lacks a word of the spec.
    """

    def __init__(self, spec: SceneSpec | None = None, *, taxonomy: Taxonomy | str | Path | None = None, **fields: Any) -> None:
        unknown = sorted(set(fields) - set(SceneSpec.__dataclass_fields__))
        if unknown:
            raise SpecError(f"unknown option {unknown[0]!r}; the options are {', '.join(SceneSpec.__dataclass_fields__)}")
        self.spec = replace(spec, **fields) if spec else SceneSpec(**fields)
        self.source_taxonomy = taxonomy
        self.space = Space(taxonomy if isinstance(taxonomy, Taxonomy) else load_taxonomy(taxonomy), self.spec)

    @property
    def taxonomy(self) -> Taxonomy:
        """The vocabulary, with numerals where the spec counts."""
        return self.space.taxonomy

    @property
    def digest(self) -> str:
        """16 hex digits that name spec and vocabulary."""
        return self.space.digest

    @property
    def size(self) -> int:
        """How many scenes there are, exactly."""
        return self.space.size

    def __getitem__(self, index: int) -> SceneGraph:
        """The scene with a number from 0 to ``size - 1``."""
        return self.space[index]

    def index(self, graph: SceneGraph) -> int:
        """The number of a scene of this space."""
        return self.space.index(graph)

    def source(self, seed: int = 0, options: RecordOptions | None = None) -> SceneRecords:
        """The dataset with a seed: any range of its rows, for ``generate`` and others."""
        return SceneRecords(self.spec, self.source_taxonomy, seed, options or RecordOptions(), _space=self.space)

    def table(self, start: int, stop: int, *, seed: int = 0, questions: bool = True) -> pa.Table:
        """Records ``start`` to ``stop - 1`` as an Arrow table.

        Raises:
            CapacityError: there are not that many.
        """
        return self._source(seed).table(start, stop, questions=questions)

    @lru_cache(maxsize=4)  # noqa: B019 - a few sources, kept as long as the space
    def _source(self, seed: int) -> SceneRecords:
        return self.source(seed)

    def records(self, n: int, seed: int = 0, start: int = 0, *, options: RecordOptions | None = None) -> Iterator[dict[str, Any]]:
        """Records ``start`` to ``start + n - 1``, one after the other.

        Raises:
            CapacityError: there are not that many.
        """
        source = self.source(seed, options)
        if n < 1 or start < 0:
            raise SpecError(f"{n} records from {start}: ask for at least 1, from 0 up")
        if start + n > source.capacity:
            raise CapacityError(f"{n} records from {start} were asked for; there are {source.capacity}")

        def rows() -> Iterator[dict[str, Any]]:
            for first in range(start, start + n, CHUNK):
                yield from source.table(first, min(first + CHUNK, start + n)).to_pylist()

        return rows()

    def to_dataset(self, n: int, seed: int = 0, start: int = 0) -> datasets.Dataset:
        """The records as a Hugging Face ``datasets.Dataset`` (extra ``datasets``)."""
        return to_datasets(self.source(seed), n, start)


@dataclass
class SceneRecords:
    """A dataset: rows as a pure function of (spec, vocabulary, seed, index). It can be pickled; workers build the space anew."""

    spec: SceneSpec
    taxonomy: Taxonomy | str | Path | None
    seed: int
    options: RecordOptions
    _space: Space | None = None

    def __post_init__(self) -> None:
        if not -(2**63) <= self.seed < 2**63:
            raise SpecError(f"seed {self.seed}: it must fit in 64 bits")

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("spec", "taxonomy", "seed", "options")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    @cached_property
    def space(self) -> Space:
        """The space that the rows come from."""
        if self._space is not None:
            return self._space
        return Space(self.taxonomy if isinstance(self.taxonomy, Taxonomy) else load_taxonomy(self.taxonomy), self.spec)

    @cached_property
    def _rows(self) -> Any:
        return self.space.rows(self.seed)

    @property
    def capacity(self) -> int:
        """How many rows there are, all different scenes."""
        return int(self._rows.capacity)

    def manifest(self) -> dict[str, object]:
        """What identifies the rows exactly."""
        return {
            "spec": self.spec.to_dict(),
            "spec_digest": self.space.digest,
            "taxonomy": {"name": self.space.taxonomy.name, "digest": self.space.taxonomy.digest},
            "seed": self.seed,
            "style": self.options.style,
            "question_options": asdict(self.options.questions),
            "record_version": VERSION,
        }

    def batch(self, start: int, stop: int) -> SceneBatch:
        """Scenes ``start`` to ``stop - 1`` as integer columns."""
        batch: SceneBatch = self._rows.rows(start, stop)
        return batch

    def table(self, start: int, stop: int, *, questions: bool = True) -> pa.Table:
        """Rows ``start`` to ``stop - 1`` with the columns of ``record_schema(questions)``; recurring words are dictionaries.

        Raises:
            CapacityError: there are not that many.
        """
        if not 0 <= start <= stop <= self.capacity:
            raise CapacityError(f"rows {start} to {stop} were asked for; there are the rows 0 to {self.capacity}")
        if start == stop:
            return record_schema(questions).empty_table()
        batch = self.batch(start, stop)
        lexicon = lexicon_of(self.space.taxonomy)
        rows = batch.rows
        columns = {
            "id": row_ids(batch.index, f"{self.space.digest}:{self.seed}"),
            "index": pa.array(batch.index),
            "caption": realize_captions(batch, lexicon, self.options.style, self.spec.modality),
            "graph": graph_column(batch, self.space.taxonomy),
            "complexity": pa.array(batch.complexity.astype(np.int32)),
            "modality": _constant(self.spec.modality, rows),
            "plausibility": plausibility_column(batch, self.space.taxonomy),
            "spec_digest": _constant(self.space.digest, rows),
            "seed": pa.array(np.full(rows, self.seed, dtype=np.int64)),
        }
        if questions:
            options = replace(self.options.questions, seed=self.seed ^ mix_int(self.options.questions.seed))
            columns["questions"] = realize_questions(batch, lexicon, options, self.spec.modality)
        return pa.table([columns[name] for name in record_schema(questions).names], names=list(columns))


def row_ids(index: IntArray, origin: str) -> pa.StringArray:
    """``(rows,)`` ids: 12 hex digits that name the dataset, a dash, 12 hex digits of the row number."""
    prefix = np.frombuffer(f"{hashlib.sha256(origin.encode()).hexdigest()[:12]}-".encode(), dtype=np.uint8)
    digits = (index[:, None] >> (4 * np.arange(11, -1, -1))) & 15
    text = np.empty((len(index), len(prefix) + 12), dtype=np.uint8)
    text[:, : len(prefix)] = prefix
    text[:, len(prefix) :] = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)[digits]
    offsets = (np.arange(len(index) + 1) * text.shape[1]).astype(np.int32)
    return pa.StringArray.from_buffers(len(index), pa.py_buffer(offsets), pa.py_buffer(text.tobytes()))


def graph_column(batch: SceneBatch, taxonomy: Taxonomy) -> pa.StructArray:
    """``(rows,)`` scene graphs as they stand in a record."""
    most = int(np.diff(batch.object_start).max(initial=1))
    ids = pa.array([f"o{i}" for i in range(most)])

    def id_of(place: IntArray) -> pa.DictionaryArray:
        return pa.DictionaryArray.from_arrays(pa.array(place.astype(np.int32)), ids)

    strings = _strings_of(taxonomy)

    def words(name: str, index: IntArray) -> pa.DictionaryArray:
        column, first = strings[name]
        return choose(column, first[index])

    attributes = _struct(
        type=words("attribute_types", taxonomy.attributes.type_index[batch.attributes].astype(np.int64)),
        value=words("attributes", batch.attributes),
    )
    place = np.arange(len(batch.objects)) - batch.object_start[owners(batch.object_start)]
    objects = _struct(id=id_of(place), name=words("objects", batch.objects), attributes=_listed(batch.attribute_start, attributes))
    relations = _struct(subject=id_of(batch.subjects), predicate=words("relations", batch.relations), object=id_of(batch.targets))
    scene = _struct(
        type=words("scene_types", taxonomy.scene_attributes.type_index[batch.scene_attributes].astype(np.int64)),
        value=words("scene_attributes", batch.scene_attributes),
    )
    return _struct(
        objects=_listed(batch.object_start, objects),
        relations=_listed(batch.relation_start, relations),
        scene_attributes=_listed(batch.scene_start, scene),
    )


def plausibility_column(batch: SceneBatch, taxonomy: Taxonomy) -> pa.Array:
    """``(rows,)`` mean z-score over the attributes and relations of each scene that have a score, to two decimals; null where none has."""
    model = taxonomy.plausibility
    owner = batch.object_of_attribute
    row = batch.row_of_object
    relation_row = owners(batch.relation_start)
    first = batch.object_start[relation_row]
    of_attributes = model.attribute_scores(batch.objects[owner], batch.attributes)
    of_relations = model.relation_scores(batch.objects[first + batch.subjects], batch.relations, batch.objects[first + batch.targets])
    total = np.bincount(row[owner], of_attributes, batch.rows) + np.bincount(relation_row, of_relations, batch.rows)
    known = np.bincount(row[owner], of_attributes != 0, batch.rows) + np.bincount(relation_row, of_relations != 0, batch.rows)
    return pa.array(np.round(total / np.maximum(known, 1), 2).astype(np.float32), mask=known == 0)


@lru_cache(maxsize=4)
def _strings_of(taxonomy: Taxonomy) -> dict[str, tuple[pa.StringArray, IntArray]]:
    """The words of a taxonomy as Arrow columns, each with the first place of every word: Parquet wants none twice in a dictionary."""
    lists = {
        "objects": taxonomy.objects.names,
        "attributes": taxonomy.attributes.values,
        "attribute_types": taxonomy.attribute_types.names,
        "relations": taxonomy.relations.names,
        "scene_attributes": taxonomy.scene_attributes.values,
        "scene_types": taxonomy.scene_attribute_types.names,
    }
    found = {}
    for name, words in lists.items():
        first: dict[str, int] = {}
        places = np.array([first.setdefault(word, place) for place, word in enumerate(words)], dtype=np.int64)
        found[name] = pa.array(words, pa.string()), places
    return found


def _struct(**columns: pa.Array) -> pa.StructArray:
    return pa.StructArray.from_arrays(list(columns.values()), names=list(columns))


def _listed(starts: IntArray, values: pa.Array) -> pa.ListArray:
    return pa.ListArray.from_arrays(pa.array(starts.astype(np.int32)), values)


def _constant(text: str, rows: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, dtype=np.int32)), pa.array([text]))
