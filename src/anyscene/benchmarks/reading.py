"""Reading the files of other benchmarks, as users have them: with byte-order marks, any line ends, cut off, or in another encoding.

What can be read for certain is read; anything else is one line that names the file, the line and what is wrong. Nothing is guessed:
a letter that was saved in another encoding is refused, not replaced, for a changed prompt would be another prompt.
"""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from anyscene.errors import RecordError

__all__ = [
    "MAX_BYTES",
    "MAX_CHARS",
    "csv_rows",
    "field",
    "in_release_order",
    "json_lines",
    "json_value",
    "read_bytes",
    "read_text",
    "text_lines",
    "whole_number",
]

MAX_BYTES = 1 << 30
"""No file of a benchmark is larger; a wrong path may be."""
MAX_CHARS = 100_000
"""Of one prompt or question."""
_WHOLE = re.compile(r"\s*([+-]?[0-9]{1,9})(?:\.0+)?\s*")
_HALF = re.compile(r"\\u[dD][89a-fA-F]")
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def read_bytes(path: Path) -> bytes:
    """The bytes of a regular file.

    Raises:
        RecordError: there is none, it cannot be read, is empty or too large.
    """
    try:
        if not path.is_file():
            what = "a folder; a file is wanted" if path.is_dir() else "not a regular file" if path.exists() else "No such file or directory"
            raise RecordError(f"{path}: {what}")
        if (size := path.stat().st_size) > MAX_BYTES:
            raise RecordError(f"{path}: {size:,} bytes; a file of a benchmark has at most {MAX_BYTES:,}")
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        raise RecordError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    if not data.strip():
        raise RecordError(f"{path}: the file is empty")
    return data


def read_text(path: Path) -> str:
    """The text of a file: UTF-8, or what its byte-order mark says, without the mark. Line ends stay as they are.

    Raises:
        RecordError: it cannot be read, or is in another encoding; the message names the line.
    """
    data = read_bytes(path)
    mark, encoding = next(((mark, name) for mark, name in _MARKS if data.startswith(mark)), (b"", "utf-8"))
    body = data[len(mark) :]
    try:
        text = body.decode(encoding)
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        raise RecordError(
            f"{path}, line {line}: byte 0x{body[error.start]:02x} is not {encoding.upper()}; save the file as UTF-8"
        ) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise RecordError(f"{path}, line {line}: a zero byte; the file is damaged or no text")
    return text


def text_lines(path: Path) -> list[tuple[int, str]]:
    """(number, line) of the lines that hold anything, without white space around them.

    Raises:
        RecordError: as `read_text`.
    """
    lines = read_text(path).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]


def csv_rows(path: Path, columns: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """(number of its last line, row) of every row of a CSV file with a header; blank lines are left out.

    Raises:
        RecordError: it cannot be read, lacks a column, names one twice, or has a row of too many or too few fields.
    """
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    header: list[str] | None = None
    found: list[tuple[int, dict[str, str]]] = []
    try:
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            if header is None:
                header = [cell.strip() for cell in row]
                if missing := [name for name in columns if name not in header]:
                    raise RecordError(f"{path}: it lacks the column {missing[0]}; it needs {', '.join(columns)}")
                if twice := [name for name in header if name and header.count(name) > 1]:
                    raise RecordError(f"{path}: two columns are called {twice[0]}")
                continue
            if len(row) < len(header):
                raise RecordError(
                    f"{path}, line {reader.line_num}: a row of fewer columns than the first line has ({len(row)} of {len(header)})"
                )
            if len(row) > len(header):
                raise RecordError(
                    f"{path}, line {reader.line_num}: a row of more columns than the first line has ({len(row)}, not {len(header)})"
                )
            if long := next((name for name, cell in zip(header, row, strict=True) if len(cell) > MAX_CHARS), None):
                raise RecordError(f"{path}, line {reader.line_num}: {long} is longer than {MAX_CHARS:,} letters")
            found.append((reader.line_num, dict(zip(header, row, strict=True))))
    except csv.Error as error:
        raise RecordError(f"{path}, line {reader.line_num}: cannot be read as CSV ({error}); the file may be cut off") from None
    if header is None or not found:
        raise RecordError(f"{path}: it holds no rows")
    return found


def whole_number(text: str) -> int | None:
    """A number of at most nine digits, perhaps written with ``.0``; None for anything else."""
    match = _WHOLE.fullmatch(text)
    return int(match[1]) if match else None


def json_value(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        RecordError: it cannot be read as JSON, or an object of it has one key twice; the message names the line.
    """
    return _parse(read_text(path), f"{path}", 1)


def json_lines(path: Path) -> list[tuple[int, Any]]:
    """(number, value) of the lines of a JSONL file; blank lines are left out.

    Raises:
        RecordError: a line is no JSON; the message names it.
    """
    return [(number, _parse(line, str(path), number)) for number, line in text_lines(path)]


def _parse(text: str, where: str, first: int) -> Any:
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse, parse_float=_finite)
        if _HALF.search(text):
            json.dumps(value, ensure_ascii=False).encode()  # refuses half a letter
        return value
    except json.JSONDecodeError as error:
        if error.pos == 0:
            raise RecordError(f"{where}: no JSON; it begins with {text[:40]!r}") from None
        line = first + error.lineno - 1
        raise RecordError(f"{where}, line {line}: cannot be read as JSON ({error.msg}); the file may be cut off") from None
    except UnicodeEncodeError:
        raise RecordError(f"{where}: half a letter (a lone surrogate) in a text; the file is damaged") from None
    except (ValueError, RecursionError) as error:
        what = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise RecordError(f"{where}: cannot be read as JSON ({what})") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for name, number in Counter(name for name, _ in pairs).items() if number > 1)
        raise ValueError(f"the key {twice[:60]!r} occurs twice in one object")
    return found


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"the number {text[:40]} is too large")
    return value


def in_release_order(path: Path, prompts: Sequence[str], whole: str, ordered: str) -> None:
    """Refuses the prompts of a release in another order: where results go by number, each would be taken for another's.

    Args:
        path: the file that they are from.
        prompts: in its order.
        whole: the beginning of the digest of the release's prompts, sorted.
        ordered: the same of its prompts in their order.

    Raises:
        RecordError: they are those of the release, in another order.
    """

    def is_digest(of: Iterable[str], begin: str) -> bool:
        return hashlib.sha256("\n".join(of).encode()).hexdigest().startswith(begin)

    if is_digest(sorted(prompts), whole) and not is_digest(prompts, ordered):
        raise RecordError(
            f"{path}: the prompts of the release in another order; folders, boxes and scores go by their numbers: take the file as it was"
        )


def field(entry: object, name: str, kind: type | tuple[type, ...], where: str) -> Any:
    """A field of a JSON object, of the kind that it must have.

    Args:
        entry: the object.
        name: of the field.
        kind: of its value; a boolean is no number.
        where: file and place, for the message.

    Raises:
        RecordError: it is no object, lacks the field, or the field is of another kind.
    """
    kinds = kind if isinstance(kind, tuple) else (kind,)
    wanted = " or ".join(
        {str: "text", int: "a whole number", float: "a number", list: "a list", dict: "an object", bool: "true or false"}[one]
        for one in kinds
    )
    if not isinstance(entry, Mapping):
        raise RecordError(f"{where}: a JSON object is wanted, this is {json.dumps(entry)[:60]}")
    if name not in entry:
        raise RecordError(f"{where}: it lacks the field {name!r}")
    value = entry[name]
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise RecordError(f"{where}: {name} must be {wanted}, not {json.dumps(value)[:60]}")
    if isinstance(value, str) and len(value) > MAX_CHARS:
        raise RecordError(f"{where}: {name} is longer than {MAX_CHARS:,} letters")
    return value
