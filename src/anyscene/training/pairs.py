"""The user's own captioned pictures: an imagefolder, or WebDataset shards, read one after the other.

A folder may have ``metadata.jsonl`` (``{"file_name": "a.png", "text": "a red ball"}`` on each line), ``metadata.csv`` or
``metadata.parquet``; without, ``a.txt`` beside ``a.png`` is its caption. In shards, members of one name are one pair: a picture, and a
``.txt`` or ``.json`` with the caption.
"""

from __future__ import annotations

import csv
import glob
import json
import re
import tarfile as tars
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from anyscene.errors import MediaError, RecordError, SpecError
from anyscene.media import MEDIA_SUFFIXES, read_media

__all__ = ["Pair", "read_pairs"]

CAPTION_KEYS = ("text", "caption", "prompt")
"""Columns or keys that hold a caption; the first that there is."""
FILE_KEYS = ("file_name", "image", "file")
LARGEST_BYTES = 256 * 1024 * 1024
"""Of one member of a shard."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A picture and its caption.

    Attributes:
        caption: without spaces around it.
        media: the picture's file, or the bytes of one.
        name: where it stands, for messages: a path, or shard and member.
    """

    caption: str
    media: Path | bytes
    name: str


def read_pairs(source: str | Path, damaged: list[str] | None = None) -> Iterator[Pair]:
    """Captioned pictures in an order that is always the same, lazily. Every picture is decoded once, so a pair that comes out can be used.

    Args:
        source: a folder with pictures or with ``.tar`` shards; a shard; or several by ``*`` or ``{000..011}``.
        damaged: one line is put in here for each pair that cannot be used (no caption, no picture, not readable), and reading goes on.
            None stops at the first.

    Raises:
        SpecError: there is nothing there, or nothing of that kind.
        RecordError: with ``damaged`` None, what is wrong with a pair; in any case, metadata that cannot be read at all.
    """
    folder, shards = _find(str(source))
    found = _from_folder(folder) if folder is not None else _from_shards(shards)
    for one in found:
        problem = one if isinstance(one, str) else _problem(one)
        if problem is None and isinstance(one, Pair):
            yield one
        elif damaged is None:
            raise RecordError(str(problem))
        else:
            damaged.append(str(problem))


def _problem(pair: Pair) -> str | None:
    """What is wrong with a pair, in a line."""
    if not pair.caption:
        return f"{pair.name}: its caption is empty"
    try:
        read_media(pair.media, name=pair.name)
    except MediaError as error:
        return str(error)
    return None


def _find(source: str) -> tuple[Path | None, list[Path]]:
    """A folder with pictures, or shards."""
    here = Path(source).expanduser()
    if here.is_dir():
        shards = sorted(one for one in here.iterdir() if one.is_file() and _is_shard(one))
        return (None, shards) if shards else (here, [])
    if here.is_file():
        if not _is_shard(here):
            raise SpecError(f"{source}: neither a folder nor a .tar shard; give an imagefolder or WebDataset shards")
        return None, [here]
    names = [name for one in _braces(str(here)) for name in (sorted(glob.glob(one)) if glob.has_magic(one) else [one])]
    missing = [name for name in names if not Path(name).is_file()]
    if not names or missing:
        raise SpecError(f"{(missing or [source])[0]}: there is no such folder or shard")
    return None, [Path(name) for name in names]


def _is_shard(path: Path) -> bool:
    return path.name.endswith((".tar", ".tar.gz", ".tgz"))


def _braces(text: str) -> list[str]:
    """``a{00..02}b`` as its three names; leading zeros are kept."""
    found = re.search(r"\{(\d+)\.\.(\d+)\}", text)
    if found is None:
        return [text]
    first, last = found.groups()
    names = [f"{text[: found.start()]}{number:0{len(first)}d}{text[found.end() :]}" for number in range(int(first), int(last) + 1)]
    return [one for name in names for one in _braces(name)]


# ---- folders --------------------------------------------------------------------------------------------------------------------


def _from_folder(folder: Path) -> Iterator[Pair | str]:
    tables = sorted(one for one in folder.rglob("metadata.*") if one.suffix in _READERS)
    if tables:
        for table in tables:
            yield from _from_table(table)
        return
    pictures = sorted(one for one in folder.rglob("*") if one.suffix.lower() in MEDIA_SUFFIXES and one.is_file())
    if not pictures:
        raise SpecError(f"{folder}: it has neither pictures, nor metadata.jsonl, nor .tar shards")
    for picture in pictures:
        text = picture.with_suffix(".txt")
        try:
            yield Pair(text.read_text("utf-8").strip(), picture, str(picture))
        except FileNotFoundError:
            yield f"{picture}: it has no caption; {text.name} is not there"
        except (OSError, UnicodeDecodeError) as error:
            yield f"{text}: the caption cannot be read ({_why(error)})"


def _from_table(table: Path) -> Iterator[Pair | str]:
    for number, row in _READERS[table.suffix](table):
        place = f"{table}, line {number}"
        if not isinstance(row, dict):
            yield f"{place}: {row}"
            continue
        name, caption = _first(row, FILE_KEYS), _first(row, CAPTION_KEYS)
        if name is None or caption is None:
            absent = FILE_KEYS if name is None else CAPTION_KEYS
            yield f"{place}: it has none of the keys {', '.join(absent)}, only {', '.join(map(str, row))}"
            continue
        path = table.parent / name
        if not path.resolve().is_relative_to(table.parent.resolve()):
            yield f"{place}: {name} lies outside of {table.parent}"
        else:
            yield Pair(caption, path, f"{place}: {path}")


def _first(row: dict[str, Any], keys: tuple[str, ...]) -> str | None:
    return next((row[key].strip() for key in keys if isinstance(row.get(key), str)), None)


def _json_lines(table: Path) -> Iterator[tuple[int, Any]]:
    try:
        with table.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    try:
                        row = json.loads(line)
                    except ValueError as error:
                        row = f"it is no JSON ({error})"
                    yield number, row if isinstance(row, dict | str) else "it is no JSON object"
    except (OSError, UnicodeDecodeError) as error:
        raise RecordError(f"{table}: it cannot be read ({_why(error)})") from None


def _csv_rows(table: Path) -> Iterator[tuple[int, Any]]:
    try:
        with table.open(encoding="utf-8-sig", newline="") as lines:
            rows = csv.DictReader(lines)
            for row in rows:
                yield rows.line_num, row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RecordError(f"{table}: it cannot be read ({_why(error)})") from None


def _parquet_rows(table: Path) -> Iterator[tuple[int, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(table) as file:
            wanted = [name for name in file.schema_arrow.names if name in (*FILE_KEYS, *CAPTION_KEYS)]
            number = 0
            for part in file.iter_batches(columns=wanted):
                for row in part.to_pylist():
                    number += 1
                    yield number, row
    except (OSError, pa.ArrowException) as error:
        raise RecordError(f"{table}: it cannot be read ({_why(error)})") from None


_READERS = {".jsonl": _json_lines, ".csv": _csv_rows, ".parquet": _parquet_rows}


# ---- shards ---------------------------------------------------------------------------------------------------------------------


class _Member(tars.TarInfo):
    """Python takes a damaged or missing header behind the first member for the end of the archive; here it is an error."""

    @classmethod
    def fromtarfile(cls, tarfile: tars.TarFile) -> _Member:
        try:
            return super().fromtarfile(tarfile)
        except tars.HeaderError as error:
            if type(error).__name__ == "EOFHeaderError":  # the end as it should be
                raise
            raise tars.ReadError(f"{error}; it is damaged or cut off") from None


def _from_shards(shards: list[Path]) -> Iterator[Pair | str]:
    for shard in shards:
        try:
            yield from _from_shard(shard)
        except (OSError, EOFError, tars.TarError) as error:
            yield f"{shard}: it cannot be read further ({_why(error)})"


def _from_shard(shard: Path) -> Iterator[Pair | str]:
    """Members of one name stand one after the other (that is what makes a tar file a WebDataset)."""
    name = ""
    parts: dict[str, bytes | None] = {}
    with tars.open(shard, "r|*", tarinfo=_Member) as archive:
        for member in archive:
            path = PurePosixPath(member.name)
            stem, _, suffix = path.name.partition(".")
            key, suffix = str(path.parent / stem), f".{suffix.lower()}"
            if not member.isfile() or not stem or (suffix not in MEDIA_SUFFIXES and suffix not in (".txt", ".json")):
                continue
            if key != name and parts:
                yield _joined(shard, name, parts)
                parts = {}
            name = key
            if member.size > LARGEST_BYTES:
                parts[suffix] = None
                continue
            file = archive.extractfile(member)
            data = b"" if file is None else file.read()
            if len(data) < member.size:
                raise tars.ReadError(f"{member.name} is cut off")
            parts[suffix] = data
    if parts:
        yield _joined(shard, name, parts)


def _joined(shard: Path, name: str, parts: dict[str, bytes | None]) -> Pair | str:
    place = f"{shard}: {name}"
    pictures = [one for one in MEDIA_SUFFIXES if one in parts]
    if not pictures:
        return f"{place}: a caption without a picture"
    picture = parts[pictures[0]]
    if picture is None:
        return f"{place}{pictures[0]}: larger than {LARGEST_BYTES // 2**20} MiB"
    try:
        caption = _caption(parts)
    except ValueError as error:
        return f"{place}: the caption cannot be read ({_why(error)})"
    return f"{place}: a picture without a caption" if caption is None else Pair(caption, picture, f"{place}{pictures[0]}")


def _caption(parts: dict[str, bytes | None]) -> str | None:
    text, described = parts.get(".txt"), parts.get(".json")
    if text is not None:
        return text.decode("utf-8").strip()
    if described is None:
        return None
    row = json.loads(described)
    return _first(row, CAPTION_KEYS) if isinstance(row, dict) else None


def _why(error: BaseException) -> str:
    return " ".join(str(getattr(error, "strerror", None) or error or type(error).__name__).split())[:160]
