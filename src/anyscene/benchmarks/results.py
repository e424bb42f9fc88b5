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
from anyscene.benchmarks.benchmark import BenchmarkResult, Items, Note, Replies, Reply, load_benchmark
from anyscene.benchmarks.reading import field, json_value
from anyscene.errors import RecordError
from anyscene.judges.protocol import STATUSES
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
        evidence: `Replies`, or a benchmark's own kind with a ``to_dict``.
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
        "evidence": _replies_to_json(evidence) if isinstance(evidence, Replies) else evidence.to_dict(),
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
    benchmark = load_benchmark(name)
    try:
        notes = tuple(Note(one["what"], one["count"], tuple(one["examples"])) for one in field(own, "notes", list, where))
        items = Items(name, tuple(field(own, "records", list, where)), field(own, "extras", dict, where), notes)
        wrong = items.digest != own["digest"]
    except (KeyError, TypeError, AttributeError) as error:
        raise RecordError(f"{path}: its items cannot be read ({error})") from None
    if wrong:
        raise RecordError(f"{path}: its items were changed; they are not those that it was made from")
    given = field(found, "evidence", dict, where)
    if benchmark.about.evidence == "answers":
        return items, _replies_from_json(given, where), found
    reader = benchmark.evidence_from_dict  # type: ignore[attr-defined]
    return items, reader(given), found


def _replies_to_json(replies: Replies) -> dict[str, Any]:
    answers = []
    for (record, sample), own in sorted(replies.by_media.items()):
        for id, reply in own.items():
            row: dict[str, Any] = {"id": record, "sample": sample, "question": id, **asdict(reply)}
            answers.append({key: value for key, value in row.items() if value is not None and value != ()})
    return {
        "model": replies.model,
        "judge": replies.judge,
        "samples": replies.samples,
        "notes": [asdict(one) for one in replies.notes],
        "pictures": [[record, sample] for record, sample in sorted(replies.by_media)],
        "answers": answers,
    }


def _replies_from_json(given: Mapping[str, Any], where: str) -> Replies:
    by_media: dict[tuple[str, int], dict[str, Reply]] = {}
    samples = field(given, "samples", int, where)
    for pair in field(given, "pictures", list, where):
        if not isinstance(pair, list) or len(pair) != 2 or not isinstance(pair[0], str) or type(pair[1]) is not int:
            raise RecordError(f"{where}: a picture must be [id, sample], not {str(pair)[:60]}")
        by_media[pair[0], pair[1]] = {}
    for number, row in enumerate(field(given, "answers", list, where), 1):
        place = f"{where}, answer {number}"
        key = (field(row, "id", str, place), field(row, "sample", int, place))
        status, p_yes = field(row, "status", str, place), row.get("p_yes")
        shares = row.get("probabilities", [])
        for value in (*([] if p_yes is None else [p_yes]), *(shares if isinstance(shares, list) else [None])):
            if type(value) not in (int, float) or not 0 <= value <= 1 + 1e-6:
                raise RecordError(f"{place}: {str(value)[:40]} is no probability")
        if status not in STATUSES:
            raise RecordError(f"{place}: status {status[:40]!r}; it must be one of {', '.join(STATUSES)}")
        own = by_media.setdefault(key, {})
        if field(row, "question", str, place) in own:
            raise RecordError(f"{place}: question {row['question']} of {key[0]}, sample {key[1]} is answered twice")
        own[row["question"]] = Reply(row.get("text"), p_yes, status, tuple(shares), row.get("mapped"))
    notes = tuple(Note(one["what"], one["count"], tuple(one["examples"])) for one in field(given, "notes", list, where))
    return Replies(by_media, field(given, "model", str, where), field(given, "judge", str, where), samples, notes)
