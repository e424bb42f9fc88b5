"""What a scan found, one line a file, and the files that it is written to.

While a scan runs, RESULTS.parts/part-NNNNN.jsonl grows line by line, one part for each time that it was started. At its end the results
are written in one step, as JSON lines, CSV or Parquet, with RESULTS.scan.json beside them: what they were made with and how many there are
of each verdict. Both serve the next scan: what has the same path and the same SHA-256 is not scored again.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from anyscene.errors import RecordError, RunError, SpecError
from anyscene.moderation.opening import SCORED, VERDICTS
from anyscene.runs import AtomicFile, Sink, file_error, lock_folder, open_folder, write_atomic

__all__ = ["FORMATS", "Finding", "Findings", "read_findings"]

FORMATS = (".jsonl", ".csv", ".parquet")
AGAIN = ("unreadable", "too_slow", "crashed", "not_scored")
"""Verdicts that may be others the next time."""
ROWS = 10_000
SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("sha256", pa.string()),
        ("verdict", pa.string()),
        ("score", pa.float64()),
        ("generated", pa.bool_()),
        ("notes", pa.list_(pa.string())),
        ("format", pa.string()),
        ("width", pa.int64()),
        ("height", pa.int64()),
        ("bytes", pa.int64()),
    ]
)


@dataclass(frozen=True, slots=True)
class Finding:
    """What is said of one file.

    Attributes:
        path: of the file; of a member of a tar, the tar's path before it.
        sha256: of the file; empty where it was not read.
        verdict: one of ``opening.VERDICTS``.
        score: how likely it is generated, as the detector says; None where there is none.
        generated: whether the score is above the threshold; None without a score.
        notes: what else there is to say.
        format: of the picture; empty where it is none.
        width: in pixels, as the file says.
        height: likewise.
        bytes: of the file.
    """

    path: str
    sha256: str
    verdict: str
    score: float | None = None
    generated: bool | None = None
    notes: tuple[str, ...] = ()
    format: str = ""
    width: int = 0
    height: int = 0
    bytes: int = 0

    def judged(self, threshold: float) -> Finding:
        """With what its score means at a threshold."""
        return replace(self, generated=None if self.score is None else self.score > threshold)

    def to_dict(self) -> dict[str, Any]:
        """As one line of JSON holds it."""
        return {one.name: getattr(self, one.name) for one in fields(self)} | {"notes": list(self.notes)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Finding:
        """Reads `to_dict`.

        Raises:
            ValueError: it is not of this form.
        """
        found = cls(**{**data, "notes": tuple(data["notes"] or ())})
        if not isinstance(found.path, str) or not isinstance(found.sha256, str) or found.verdict not in VERDICTS:
            raise ValueError("no finding")
        if not (found.score is None or isinstance(found.score, float)) or (found.score is not None and found.verdict not in SCORED):
            raise ValueError("no score")
        return found


class Findings:
    """The results of a scan while they grow.

    Args:
        out: the file; its extension is one of ``FORMATS``.
        made_with: all that scores depend on, as plain JSON values.

    Attributes:
        known: what earlier scans found, by path; without what may be other the next time.

    Raises:
        SpecError: the extension is none of them.
        RunError: the file is there and was not written by a scan, or by one with something else.
    """

    def __init__(self, out: Path, made_with: Mapping[str, Any]) -> None:
        if out.suffix.lower() not in FORMATS:
            raise SpecError(f"{out}: results are written to {', '.join(FORMATS)}; its name must end with one of them")
        self.out, self.made_with = out, json.loads(json.dumps(made_with))
        self.facts, self.parts = out.with_name(out.name + ".scan.json"), out.with_name(out.name + ".parts")
        self.known: dict[str, Finding] = {}
        self._file: io.BufferedWriter | None = None

    @property
    def own_files(self) -> list[Path]:
        """What is not to be scanned."""
        folder = sorted(self.parts.glob("*")) if self.parts.is_dir() else []
        return [self.out, self.facts, self.parts, self.parts / "made-with.json", *folder, self.parts / f"part-{len(folder):05}.jsonl"]

    @contextlib.contextmanager
    def opened(self) -> Iterator[Findings]:
        """Reads what is known, and takes new findings until the block ends."""
        self._check_finished()
        open_folder(self.out.parent)
        open_folder(self.parts)
        with lock_folder(self.parts):
            header = self.parts / "made-with.json"
            self._check(header, f"{self.parts} holds an unfinished scan")
            write_atomic(header, json.dumps(self.made_with, indent=2, sort_keys=True).encode() + b"\n")
            older = sorted(self.parts.glob("part-*.jsonl"))
            for part in older:
                self._learn(_read_lines(part, torn=True))
            path = self.parts / f"part-{len(older):05}.jsonl"
            try:
                with open(path, "wb") as self._file:
                    yield self
            except OSError as error:
                raise file_error(error, path) from error
            finally:
                self._file = None

    def add(self, findings: Iterable[Finding]) -> None:
        """Keeps them, come what may.

        Raises:
            RunError: they cannot be written.
        """
        assert self._file is not None
        try:
            for one in findings:
                self._file.write(json.dumps({**one.to_dict(), "generated": None}, ensure_ascii=False, allow_nan=False).encode() + b"\n")
            self._file.flush()
        except OSError as error:
            raise file_error(error, self.parts) from error

    def finish(self, threshold: float, summary: Mapping[str, Any]) -> None:
        """Writes the results of the last part in one step and removes the parts.

        Args:
            threshold: above which a score says generated.
            summary: what ``RESULTS.scan.json`` says beside what the results were made with.
        """
        facts = {"kind": "scan", "version": 1, "made_with": self.made_with, **summary}
        write_atomic(self.facts, json.dumps(facts, indent=2, sort_keys=True, allow_nan=False).encode() + b"\n")
        last = sorted(self.parts.glob("part-*.jsonl"))[-1]
        _WRITERS[self.out.suffix.lower()](self.out, (one.judged(threshold) for one in _read_lines(last)))
        shutil.rmtree(self.parts, ignore_errors=True)

    def _check_finished(self) -> None:
        if not self.out.exists():
            return
        if not self.facts.is_file():
            raise RunError(f"{self.out} is there and was not written by a scan; choose another name, or remove it")
        self._check(self.facts, f"{self.out} holds the results of another scan")
        self._learn(read_findings(self.out))

    def _check(self, path: Path, what: str) -> None:
        if not path.is_file():
            return
        try:
            before = json.loads(path.read_bytes())
        except (OSError, ValueError):
            raise RunError(f"{path} cannot be read; remove it and what it belongs to, or choose another name") from None
        before = before.get("made_with", before) if isinstance(before, dict) else {}
        if before != self.made_with:
            names = sorted(name for name in {*before, *self.made_with} if before.get(name) != self.made_with.get(name))
            raise RunError(f"{what}: it differs in {', '.join(names)}. Choose another name for the results, or remove these")

    def _learn(self, findings: Iterable[Finding]) -> None:
        for one in findings:
            if one.sha256 and one.verdict not in AGAIN:
                self.known[one.path] = one


def read_findings(path: Path) -> Iterator[Finding]:
    """The results of a scan, of any of the formats.

    Raises:
        RecordError: they are missing or damaged.
    """
    if not path.is_file():
        raise RecordError(f"{path}: no such file")
    try:
        if path.suffix.lower() == ".parquet":
            for batch in pq.ParquetFile(path).iter_batches(ROWS):
                yield from map(Finding.from_dict, batch.to_pylist())
        elif path.suffix.lower() == ".csv":
            with open(path, encoding="utf-8", newline="") as file:
                yield from (Finding.from_dict(_of_csv(row)) for row in csv.DictReader(file))
        else:
            yield from _read_lines(path)
    except (OSError, ValueError, TypeError, KeyError, pa.ArrowException, csv.Error) as error:
        raise RecordError(f"{path}: these are no results of a scan, or they are damaged ({error})") from None


def _read_lines(path: Path, torn: bool = False) -> Iterator[Finding]:
    """Findings of JSON lines; with `torn` up to the first line that is not whole."""
    with open(path, "rb") as file:
        for line in file:
            try:
                if torn and not line.endswith(b"\n"):
                    return
                yield Finding.from_dict(json.loads(line))
            except (ValueError, TypeError, KeyError):
                if torn:
                    return
                raise


def _write_jsonl(path: Path, findings: Iterator[Finding]) -> None:
    with AtomicFile(path) as file:
        for some in _some(findings):
            lines = [json.dumps(one.to_dict(), ensure_ascii=False, allow_nan=False) for one in some]
            file.write("".join(f"{line}\n" for line in lines).encode())


def _write_csv(path: Path, findings: Iterator[Finding]) -> None:
    with AtomicFile(path) as file:
        file.write((",".join(SCHEMA.names) + "\r\n").encode())
        for some in _some(findings):
            text = io.StringIO(newline="")
            writer = csv.writer(text)
            for one in some:
                row = one.to_dict() | {"notes": " | ".join(note.replace(" | ", " / ") for note in one.notes)}
                row["path"] = _harmless(row["path"])
                row["score"] = "" if one.score is None else repr(one.score)
                row["generated"] = "" if one.generated is None else str(one.generated).lower()
                writer.writerow(row.values())
            file.write(text.getvalue().encode())


def _of_csv(row: Mapping[str, str]) -> dict[str, Any]:
    path = row["path"]
    return {
        **row,
        "path": path[1:] if path[:1] == "'" and path[1:2] in _FORMULA else path,
        "score": float(row["score"]) if row["score"] else None,
        "generated": {"": None, "true": True, "false": False}[row["generated"]],
        "notes": row["notes"].split(" | ") if row["notes"] else [],
        **{name: int(row[name]) for name in ("width", "height", "bytes")},
    }


_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def _harmless(path: str) -> str:
    """A name that a spreadsheet would take for a formula, as a text."""
    return f"'{path}" if path.startswith(_FORMULA) else path


def _write_parquet(path: Path, findings: Iterator[Finding]) -> None:
    with AtomicFile(path) as file, pq.ParquetWriter(Sink(file), SCHEMA, compression="zstd") as writer:
        for some in _some(findings):
            writer.write_table(pa.Table.from_pylist([one.to_dict() for one in some], SCHEMA))


def _some(findings: Iterator[Finding]) -> Iterator[list[Finding]]:
    while some := [one for _, one in zip(range(ROWS), findings, strict=False)]:
        yield some


_WRITERS = {".jsonl": _write_jsonl, ".csv": _write_csv, ".parquet": _write_parquet}
