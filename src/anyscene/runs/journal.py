"""The journal of an unfinished run: what it is making, and what is finished so far.

A journal is a file of JSON lines. The first says what the run makes and is written in one step; each of the others says that one
part is finished and is appended and synced. A line torn by a crash is dropped, so the part it spoke of is made again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from anyscene.errors import RunError
from anyscene.runs.files import file_error, write_atomic

__all__ = ["JOURNAL_NAME", "append_journal", "read_journal", "start_journal"]

JOURNAL_NAME = ".progress"


def start_journal(folder: Path, header: Mapping[str, object], entries: Iterable[Mapping[str, object]] = ()) -> None:
    """Writes a journal anew, with the entries that are already known."""
    write_atomic(folder / JOURNAL_NAME, b"".join(_line(value) for value in (header, *entries)))


def append_journal(folder: Path, entry: Mapping[str, object]) -> None:
    """Adds one entry and waits until it is on the disk."""
    path = folder / JOURNAL_NAME
    try:
        with open(path, "ab", buffering=0) as file:
            file.write(_line(entry))
            os.fsync(file.fileno())
    except OSError as error:
        raise file_error(error, path) from error


def read_journal(folder: Path) -> tuple[dict[str, object], list[dict[str, object]]] | None:
    """The header and the entries of the folder's journal, or None where there is none.

    Raises:
        RunError: The header cannot be read.
    """
    path = folder / JOURNAL_NAME
    if path.exists() and not path.is_file():
        raise RunError(f"Cannot read {path}: it is not a regular file. Remove it, or choose another folder.")
    try:
        lines = path.read_bytes().split(b"\n")[:-1]  # what follows the last line end was torn off
    except FileNotFoundError:
        return None
    except OSError as error:
        raise file_error(error, path) from error
    values: list[dict[str, object]] = []
    for line in lines:
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            break
        if not isinstance(value, dict):
            break
        values.append(value)
    if not values:
        raise RunError(f"Cannot read {path}: it is no journal of Anyscene, or is damaged. Remove it, or choose another folder.")
    return values[0], values[1:]


def _line(value: Mapping[str, object]) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode() + b"\n"
