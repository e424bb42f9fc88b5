"""A benchmark's result with all that it rests on: whoever has the file can compute the number again, without model, judge or pictures.

    {
      "kind": "benchmark result", "benchmark": ..., "result": both readings (`BenchmarkResult.to_dict`),
      "items": records, extras and notes, "evidence": every answer letter for letter, "media": seeds and digests of the pictures,
      "model": ..., "judge": ..., "settings": ..., "environment": versions
    }

No file holds a time, a host name or a path.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from anyscene import __version__
from anyscene.benchmarks.benchmark import BenchmarkResult, Items, Note, load_benchmark
from anyscene.benchmarks.evidence_json import evidence_from_json, evidence_to_json
from anyscene.benchmarks.reading import field, json_value
from anyscene.errors import RecordError
from anyscene.runs import write_atomic

__all__ = ["environment", "read_result", "result_document", "write_result"]

KIND = "benchmark result"
_LIBRARIES = ("numpy", "pyarrow", "pillow", "torch", "transformers", "diffusers", "accelerate", "torchvision")


def environment() -> dict[str, str]:
    """Versions of what a result may depend on, as far as it is installed."""
    found = {"anyscene": __version__, "python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def result_document(
    items: Items, evidence: Any, result: BenchmarkResult, *, seed: int = 0, run: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The file's contents.

    Args:
        items: of the benchmark.
        evidence: what it was computed from, with the items.
        result: computed from these two.
        seed: of the intervals.
        run: ``model``, ``judge``, ``settings`` and ``media`` where the pictures were made here.
    """
    return {
        "kind": KIND,
        "benchmark": items.benchmark,
        "result": result.to_dict(),
        "resampling_seed": seed,
        "model": {"name": result.model},
        "judge": {"name": result.judge},
        "settings": {},
        "media": [],
        **(run or {}),
        "environment": environment(),
        "items": {
            "digest": items.digest,
            "records": list(items.records),
            "extras": items.extras,
            "notes": [asdict(one) for one in items.notes],
        },
        "evidence": evidence_to_json(evidence),
    }


def write_result(path: Path, document: Mapping[str, Any]) -> None:
    """Writes a result file, in one step."""
    write_atomic(path, (json.dumps(document, ensure_ascii=False, allow_nan=False) + "\n").encode())


def read_result(path: Path) -> tuple[Items, Any, dict[str, Any]]:
    """(items, evidence, the whole document) of a result file.

    Raises:
        RecordError: it is none, or its items are not those that it was made from.
    """
    found = json_value(path)
    where = str(path)
    if not isinstance(found, dict) or found.get("kind") != KIND:
        raise RecordError(f"{path}: no result of a benchmark; give the result.json of anyscene bench run, or a run's folder")
    name, own = field(found, "benchmark", str, where), field(found, "items", dict, where)
    load_benchmark(name)  # refuses a name that there is not
    notes = tuple(Note.read(one, where) for one in field(own, "notes", list, where))
    try:
        items = Items(name, tuple(field(own, "records", list, where)), field(own, "extras", dict, where), notes)
        wrong = items.digest != own["digest"]
    except (KeyError, TypeError, AttributeError) as error:
        raise RecordError(f"{path}: its items cannot be read ({error})") from None
    if wrong:
        raise RecordError(f"{path}: its items were changed; they are not those that it was made from")
    given = field(found, "evidence", dict, where)
    return items, evidence_from_json(given, where), found
