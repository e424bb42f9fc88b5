"""Scoring a run that is too large to be held: some scenes at a time, one after the other or side by side on an engine.

What is held of the whole run are the ids of its scenes and the digests of its media, some hundred bytes a picture. Records are read as
they come; each part of them goes with its media and its answers to a worker, which gives back sums (`Tally`) and rows. Sums are added
and rows are written in the order of the parts, so that neither engine nor workers change a bit of the result.
"""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from anyscene.engines import Engine
from anyscene.errors import RecordError, SpecError
from anyscene.evaluation.run import LABELS, ROWS, EvaluationRun
from anyscene.judges.store import answer_files, media_of_answers, read_answer_file, read_some_answers
from anyscene.runs import AtomicFile, Sink, progress
from anyscene.scoring.question_bank import Ints
from anyscene.scoring.rows import score_rows
from anyscene.scoring.run import as_strings, rows_table, summary_of, tally_part
from anyscene.scoring.statistics import MANY_SCENES, UNITS, units_of
from anyscene.scoring.tally import Basis, Tally, add_up

__all__ = ["in_parts", "score_in_parts"]

LEAST_SCENES = 1000
"""Of a part, however many media its scenes have."""
COLUMNS = ("id", "graph", "questions", "complexity")
LABEL_COLUMNS = ("media_sha256", "question_key", "answer")
MEDIA_COLUMNS = ("record_id", "sample", "sha256", "status")
_PREFIX = 16

_Scored = tuple[Tally, pa.Table]


def in_parts(run: EvaluationRun) -> bool:
    """Whether a run has so many scenes that it is scored in parts."""
    return int(run.manifest["scenes"]["n"]) > MANY_SCENES


def score_in_parts(
    run: EvaluationRun, judge: str | None = None, *, engine: Engine, seed: int = 0, scenes: int | None = None, quiet: bool = False
) -> dict[str, Any]:
    """Writes ``scores.parquet`` and gives what ``scores.json`` holds.

    Args:
        run: the evaluation.
        judge: whose answers; by default the only one's.
        engine: where parts are scored.
        seed: of the resampling behind the intervals.
        scenes: of a part; by default as many as are resampled one by one, fewer with several media each.
        quiet: show no progress.

    Raises:
        SpecError: no judge has answered, several have and none is named, or answers of several lie in one store.
        RecordError: a file is damaged, or there is not a single answer.
    """
    source = _Source(run, judge, scenes or max(LEAST_SCENES, MANY_SCENES // run.manifest["samples"]), seed, engine.shares_disk)
    basis: Basis | None = None
    while True:
        try:
            with AtomicFile(run.folder / ROWS) as file:
                tally = _tally(source, engine, basis, file, quiet)
            break
        except _OtherBasis as other:
            basis = other.basis  # this happens once: what is found there does not hang on what was assumed
    return summary_of(
        tally,
        model=run.model["name"],
        judge=source.judge,
        samples=run.manifest["samples"],
        labels_source=run.labels_source,
        seed=seed,
    )


class _OtherBasis(Exception):
    """The whole run tells something else than was assumed of it."""

    def __init__(self, basis: Basis) -> None:
        super().__init__(basis)
        self.basis = basis


@dataclass(frozen=True, slots=True)
class _Common:
    """What every part needs; where ``forms`` and ``on_yes_no`` are None, its own scenes tell them."""

    words: Mapping[str, Mapping[str, str]]
    samples: int
    units: int
    labelled: bool
    forms: frozenset[str] | None = None
    on_yes_no: bool | None = None


@dataclass(frozen=True, slots=True)
class _Part:
    """Some scenes with all that belongs to them. The answers are their rows, or files where the worker sees the disk."""

    number: int
    records: pa.Table
    media: pa.Table
    labels: pa.Table | None
    answers: pa.Table | Sequence[tuple[Path, bool]]
    unit: Ints


def score_part(common: _Common, part: _Part) -> _Scored:
    """The sums of a part, and its rows."""
    answers = part.answers if isinstance(part.answers, pa.Table) else read_some_answers(part.answers, _digests(part.media))
    rows = score_rows(part.records, part.media, answers, **common.words, forms=common.forms, on_yes_no=common.on_yes_no)
    tally, *_, truth = tally_part(
        rows,
        part.labels,
        samples=common.samples,
        unit=part.unit,
        units=common.units,
        forms=rows.answered if common.forms is None else common.forms,
        labelled=common.labelled,
    )
    return tally, rows_table(rows, part.records["id"].combine_chunks().cast(pa.string()), truth)


def _tally(source: _Source, engine: Engine, basis: Basis | None, file: AtomicFile, quiet: bool) -> Tally:
    """The sums of all parts, with their rows written on the way.

    Without a basis, the first part tells it.

    Raises:
        _OtherBasis: the whole tells another one.
    """
    words, samples, units = source.run.words, source.run.manifest["samples"], source.units
    parts, done = source.parts(), []
    if basis is None:
        labelled = source.labels is not None and source.labels.num_rows > 0
        done = [score_part(_Common(words, samples, units, labelled), next(parts))]
        told = done[0][0].basis
        basis = Basis(told.forms, told.yes_no, labelled)
    common = _Common(words, samples, units, basis.labelled, basis.forms, basis.yes_no)
    with (
        progress(source.scenes, "scenes", quiet=quiet) as advance,
        closing(engine.imap_unordered(score_part, common, parts, ahead=1)) as results,
    ):

        def written() -> Iterator[Tally]:
            writer: pq.ParquetWriter | None = None
            try:
                for tally, rows in chain(done, _in_order(results, len(done), engine.workers, source.run.folder)):
                    table = as_strings(rows)
                    writer = writer or pq.ParquetWriter(Sink(file), table.schema, compression="zstd", write_page_checksum=True)
                    writer.write_table(table)
                    advance(tally.scenes)
                    yield tally
            finally:
                if writer is not None:
                    writer.close()

        whole = add_up(written())
    if whole.basis != basis:
        raise _OtherBasis(whole.basis)
    return whole


def _in_order(results: Iterable[tuple[_Part, _Scored]], first: int, held: int, folder: Path) -> Iterator[_Scored]:
    """Results by the numbers of their parts. Of those that came too early only some are held; the others wait on the disk."""
    waiting: dict[int, _Scored | int] = {}
    with tempfile.TemporaryFile(dir=folder) as early:
        for part, scored in results:
            place: _Scored | int = scored
            if part.number != first and sum(not isinstance(one, int) for one in waiting.values()) >= held:
                place = early.seek(0, 2)
                pickle.dump(scored, early, protocol=5)
            waiting[part.number] = place
            while first in waiting:
                one = waiting.pop(first)
                if isinstance(one, int):
                    early.seek(one)
                    one = pickle.load(early)
                yield one
                first += 1


class _Source:
    """A run's files, and where what belongs to each part of its scenes is found.

    Attributes:
        judge: what is known of the judge.
        scenes: how many there are.
        units: in which they are resampled.
        labels: true answers to some questions.
    """

    def __init__(self, run: EvaluationRun, judge: str | None, size: int, seed: int, shares_disk: bool) -> None:
        self.run, self.size, self.shares_disk = run, size, shares_disk
        store, self.judge = run.store_of(judge)
        self.path = run.scenes_file()
        ids = pq.read_table(self.path, columns=["id"])["id"].cast(pa.string()).combine_chunks()
        if len(pc.unique(ids)) < len(ids):
            raise RecordError("two records have the same id; scores could not tell them apart")
        self.scenes = len(ids)
        unit = units_of(self.scenes, seed)
        self.units = self.scenes if unit is None else UNITS
        self._unit = np.arange(self.scenes) if unit is None else unit
        media = run.media.table(columns=MEDIA_COLUMNS)
        scene = np.asarray(pc.fill_null(pc.index_in(media["record_id"], value_set=ids), -1)).astype(np.int64)
        part = np.where(scene >= 0, scene // size, -1)
        order = np.argsort(part, kind="stable")
        self._media = media.take(pa.array(order))
        self._ends = np.searchsorted(part[order], np.arange(-(-self.scenes // size) + 1))
        path = run.folder / LABELS
        self.labels = pq.read_table(path, columns=list(LABEL_COLUMNS)) if path.exists() else None
        self._files = self._files_of(store)

    def parts(self) -> Iterator[_Part]:
        """All parts, in order."""
        with pq.ParquetFile(self.path) as file:
            columns = [name for name in COLUMNS if name in file.schema_arrow.names]
            for number, records in enumerate(_tables(file.iter_batches(self.size, columns=columns), self.size)):
                media = self._media.slice(self._ends[number], self._ends[number + 1] - self._ends[number])
                digests, files = _digests(media), self._files[number]
                labels = None if self.labels is None else self.labels.filter(pc.is_in(self.labels["media_sha256"], value_set=digests))
                answers = files if self.shares_disk else read_some_answers(files, digests)
                start = number * self.size
                yield _Part(number, records, media, labels, answers, self._unit[start : start + records.num_rows])

    def _files_of(self, store: Path) -> list[list[tuple[Path, bool]]]:
        """For each part the files that hold answers about its media, with whether they hold answers about no other part's."""
        found: list[list[tuple[Path, bool]]] = [[] for _ in self._ends[1:]]
        prefix, part = self._prefixes()
        rows, judges = 0, set()
        for path in answer_files(store):
            number, digests, theirs = media_of_answers(path)
            rows += number
            judges.update(theirs)
            own = np.array([one.encode()[:_PREFIX] for one in digests], dtype=f"S{_PREFIX}")
            low, high = np.searchsorted(prefix, own, "left"), np.searchsorted(prefix, own, "right")
            used = np.unique(np.concatenate([part[one:other] for one, other in zip(low, high, strict=True)] or [part[:0]]))
            for one in used.tolist():
                found[one].append((path, len(used) == 1))
            if not len(used):
                read_answer_file(path)  # nobody else would see that it is damaged
        if not rows:
            raise RecordError(f"{self.run.folder}: the store of {self.judge['name']} holds no answers; judge the run again")
        if len(judges) > 1:
            several = ", ".join(" ".join(filter(None, one)) for one in sorted(judges)[:5])
            raise SpecError(f"{store}: the answers come from several judges ({several}); score those of one at a time")
        return found

    def _prefixes(self) -> tuple[np.ndarray[Any, np.dtype[np.bytes_]], Ints]:
        """The beginnings of the digests of all media of the run, ascending, and the part of each. Two may begin alike: no harm is done."""
        sizes = np.diff(self._ends)
        part = np.repeat(np.arange(len(sizes)), sizes)
        used = self._media["sha256"].slice(self._ends[0])
        prefix = np.array([(one or "").encode()[:_PREFIX] for one in used.to_pylist()], dtype=f"S{_PREFIX}")
        order = np.argsort(prefix, kind="stable")
        return prefix[order], part[order]


def _digests(media: pa.Table) -> pa.Array:
    return pc.unique(media["sha256"].drop_null())


def _tables(batches: Iterable[pa.RecordBatch], size: int) -> Iterator[pa.Table]:
    """The rows of batches as tables of one size, the last one excepted."""
    held: list[pa.Table] = []
    rows = 0
    for batch in batches:
        held.append(pa.Table.from_batches([batch]))
        rows += batch.num_rows
        while rows >= size:
            whole = pa.concat_tables(held)
            yield whole.slice(0, size).unify_dictionaries().combine_chunks()
            held, rows = [whole.slice(size)], rows - size
    if rows:
        yield pa.concat_tables(held).unify_dictionaries().combine_chunks()
