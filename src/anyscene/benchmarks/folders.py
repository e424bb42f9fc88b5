"""A benchmark's items as a dataset folder: records that `paint`, `judge`, `score` and `eval` take, and what else the benchmark says.

    FOLDER/
      run.json, records-*.parquet    an ordinary dataset (docs/record-format.md)
      benchmark.json                 which benchmark, digest, notes of the importer, and for each record its extras

A run that was made from such a folder may keep ``benchmark.json`` too: then it is scored without the folder.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa

from anyscene import __version__
from anyscene.benchmarks.benchmark import Items, Note, benchmark_names, load_benchmark
from anyscene.benchmarks.reading import json_value
from anyscene.dataset import generate, read_table, record_schema
from anyscene.errors import RecordError, RunError
from anyscene.runs import open_folder, write_atomic

__all__ = ["SIDE_FILE", "import_benchmark", "items_table", "read_items", "side_bytes", "write_items"]

SIDE_FILE = "benchmark.json"


class _ItemSource:
    """Items as a source of rows."""

    def __init__(self, items: Items) -> None:
        self._items = items
        self._table = items_table(items)

    def table(self, start: int, stop: int, *, questions: bool = True) -> pa.Table:
        """Rows of the items."""
        return self._table.slice(start, stop - start).select(record_schema(questions).names)

    @property
    def capacity(self) -> int:
        """How many items there are."""
        return int(self._table.num_rows)

    def manifest(self) -> dict[str, object]:
        """What identifies them."""
        return {"benchmark": self._items.benchmark, "digest": self._items.digest}


def items_table(items: Items) -> pa.Table:
    """The records as a table of `record_schema`."""
    return pa.Table.from_pylist([dict(record) for record in items.records], record_schema())


def import_benchmark(name: str, path: Path, out: Path, *, overwrite: bool = False, quiet: bool = True) -> Items:
    """Imports the user's file of a benchmark into a folder.

    Raises:
        RecordError: the file is not this benchmark's.
        RunError: the folder holds something else, or cannot be written.
        SpecError: no such benchmark.
    """
    items = load_benchmark(name).import_items(path)
    write_items(items, out, overwrite=overwrite, quiet=quiet)
    return items


def write_items(items: Items, out: Path, *, overwrite: bool = False, quiet: bool = True) -> None:
    """Writes items as a dataset folder with its side file.

    Raises:
        RunError: the folder holds something else, or cannot be written.
    """
    side = out / SIDE_FILE
    if side.exists() and not overwrite and read_side(side)["digest"] != items.digest:
        raise RunError(
            f"{out} holds other items of {read_side(side)['benchmark']}. Choose another folder, or replace them with --overwrite."
        )
    open_folder(out)
    generate(_ItemSource(items), len(items.records), out, overwrite=overwrite, quiet=quiet)
    write_atomic(side, side_bytes(items))


def side_bytes(items: Items) -> bytes:
    """What ``benchmark.json`` holds."""
    value = {
        "kind": "benchmark",
        "benchmark": items.benchmark,
        "digest": items.digest,
        "anyscene": __version__,
        "notes": [asdict(note) for note in items.notes],
        "items": items.extras,
    }
    return (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode("utf-8", "surrogatepass")


def read_side(path: Path) -> dict[str, Any]:
    """What a ``benchmark.json`` holds.

    Raises:
        RecordError: it cannot be read, or is no such file.
    """
    value = json_value(path)
    wanted = {"benchmark": str, "digest": str, "notes": list, "items": dict}
    if not isinstance(value, dict) or any(not isinstance(value.get(name), kind) for name, kind in wanted.items()):
        raise RecordError(f"{path}: not the side file of a benchmark; import it again: anyscene bench import NAME PATH --out FOLDER")
    if value["benchmark"] not in benchmark_names():
        raise RecordError(f"{path}: benchmark {value['benchmark']!r} is not known; there are {', '.join(benchmark_names())}")
    return value


def read_items(folder: Path) -> Items:
    """The items of a folder that `write_items` wrote, or of a run that keeps them.

    Raises:
        RecordError: it holds none, or they are damaged.
    """
    side = folder / SIDE_FILE
    if not side.is_file():
        raise RecordError(f"{folder}: it has no {SIDE_FILE}; give a folder of anyscene bench import, or a run of anyscene bench run")
    value = read_side(side)
    scenes = folder / "scenes.parquet"
    records = tuple(read_table(scenes if scenes.is_file() else folder).to_pylist())
    items = Items(
        value["benchmark"],
        records,
        value["items"],
        tuple(Note.read(one, str(side)) for one in value["notes"]),
    )
    if set(items.extras) != {record["id"] for record in records} or items.digest != value["digest"]:
        raise RecordError(f"{folder}: its records are not those that {SIDE_FILE} was written for; import the benchmark again")
    return items
