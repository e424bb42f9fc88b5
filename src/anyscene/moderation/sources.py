"""Where pictures come from: a folder, WebDataset shards, a ``datasets`` folder on the disk, or an evaluation's run.

Pictures are listed in an order that does not depend on the disk. A picture is read only when it is asked for.
"""

from __future__ import annotations

import glob
import json
import tarfile as tars
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from anyscene.errors import MediaError, MissingExtraError, RecordError, SpecError
from anyscene.evaluation import open_run
from anyscene.media import MEDIA_SUFFIXES
from anyscene.runs import read_manifest

__all__ = ["GROUPINGS", "PictureSource", "SourcePicture", "open_source"]

GROUPINGS = ("file", "folder")
CAPTION_KEYS = ("text", "caption", "prompt")
FILE_KEYS = ("file_name", "file", "image")
GROUP_KEYS = ("group", "source")
RECORD_KEYS = ("record_id", "id")
LARGEST_BYTES = 256 * 2**20
"""Of one file, or of one member of a shard."""
LARGEST_CAPTION = 2**20


@dataclass(frozen=True, slots=True)
class SourcePicture:
    """One picture, not read yet.

    Attributes:
        key: its name in the source, that no other has.
        read: gives the bytes of its file.
        caption: may be empty.
        record_id: of the scene that it shows; may be empty.
        group: name of what it is a part of, by the source's own word; its key where nothing is said.
    """

    key: str
    read: Callable[[], bytes]
    caption: str = ""
    record_id: str = ""
    group: str = ""


@dataclass(frozen=True, slots=True)
class PictureSource:
    """Pictures of one kind.

    Attributes:
        kind: ``run``, ``folder``, ``webdataset`` or ``datasets``.
        pictures: in the order of their keys.
        records: scenes that they show, by id.
        facts: what a manifest says of it, beside its kind.
        problems: what could not be used, a line each.
    """

    kind: str
    pictures: tuple[SourcePicture, ...]
    records: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


def open_source(path: str | Path, *, group_by: str = "file") -> PictureSource:
    """Lists the pictures of a source.

    Args:
        path: a folder of pictures, a ``.tar`` or several by ``*``, a folder of ``datasets``, or a run's folder.
        group_by: what is one source image where nothing else says so: each ``file``, or all files of a ``folder``.

    Raises:
        SpecError: there is nothing of these kinds, or no picture in it.
        RecordError: metadata cannot be read.
        MissingExtraError: a ``datasets`` folder without that library.
    """
    if group_by not in GROUPINGS:
        raise SpecError(f"group by {group_by!r}: it must be one of {', '.join(GROUPINGS)}")
    here = Path(path).expanduser()
    if here.is_dir():
        if (manifest := read_manifest(here)) is not None and manifest.get("kind") == "evaluation":
            found = _from_run(here)
        elif (here / "state.json").is_file() and (here / "dataset_info.json").is_file():
            found = _from_datasets(here)
        elif shards := sorted(one for one in here.iterdir() if one.suffix == ".tar"):
            found = _from_shards(shards)
        else:
            found = _from_folder(here, group_by)
    else:
        shards = [Path(one) for one in sorted(glob.glob(str(here)))]
        if not shards or any(one.suffix != ".tar" for one in shards):
            raise SpecError(f"{path}: give a folder of pictures, .tar shards, a folder of datasets, or the folder of an evaluation")
        found = _from_shards(shards)
    if not found.pictures:
        first = f" (the first problem: {found.problems[0]})" if found.problems else ""
        raise SpecError(f"{path}: there are no pictures in it{first}")
    return PictureSource(found.kind, tuple(sorted(found.pictures, key=lambda one: one.key)), found.records, found.facts, found.problems)


# ---- an evaluation's run --------------------------------------------------------------------------------------------------------


def _from_run(folder: Path) -> PictureSource:
    run = open_run(folder)
    if run.model["modality"] != "image":
        raise SpecError(f"{folder}: its media are {run.model['modality']}; detectors look at pictures")
    records = {record["id"]: record for record in run.records}
    media = run.media
    pictures, problems = [], []
    for entry in media.entries():
        if entry.status != "made":
            problems.append(f"{entry.record_id}: {entry.status} ({entry.reason})")
            continue
        caption = str(records.get(entry.record_id, {}).get("caption", ""))
        key = f"{entry.record_id}-{entry.sample}"
        pictures.append(SourcePicture(key, _reader(media.path / entry.file), caption, entry.record_id, entry.record_id))
    return PictureSource("run", tuple(pictures), records, {"model": dict(run.model)}, tuple(problems))


# ---- a folder -------------------------------------------------------------------------------------------------------------------


def _from_folder(folder: Path, group_by: str) -> PictureSource:
    said: dict[str, dict[str, Any]] = {}
    for table in sorted(one for one in folder.rglob("metadata.jsonl") if one.is_file()):
        for row in _rows(table):
            beside = table.parent.relative_to(folder) / _first(row, FILE_KEYS)  # one that is elsewhere is missing
            said[_in_utf8(beside.as_posix())] = row
    pictures = []
    for path in folder.rglob("*"):
        if path.suffix.lower() not in MEDIA_SUFFIXES or not path.is_file() or path.name.startswith("."):
            continue
        key = _in_utf8(path.relative_to(folder).as_posix())
        row = said.pop(key, {})
        caption = _first(row, CAPTION_KEYS) or _beside(path)
        own = key if group_by == "file" else _in_utf8(path.parent.relative_to(folder).as_posix())
        pictures.append(SourcePicture(key, _reader(path), caption, _first(row, RECORD_KEYS), _first(row, GROUP_KEYS) or own))
    missing = tuple(f"{name}: metadata.jsonl names it, but it is not there" for name in sorted(said))
    return PictureSource("folder", tuple(pictures), problems=missing)


def _rows(table: Path) -> Iterator[dict[str, Any]]:
    try:
        lines = table.read_bytes().splitlines()
    except OSError as error:
        raise RecordError(f"{table}: cannot be read ({error.strerror or error})") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise RecordError(f"{table}, line {number}: not valid JSON ({error})") from None
        if not isinstance(row, dict) or not _first(row, FILE_KEYS):
            raise RecordError(f'{table}, line {number}: it must name a file, like {{"file_name": "a.jpg", "text": "a red ball"}}')
        yield row


def _beside(path: Path) -> str:
    text = path.with_suffix(".txt")
    try:
        if not text.is_file():  # a pipe would be waited for
            return ""
        if text.stat().st_size > LARGEST_CAPTION:
            raise RecordError(f"{text}: a caption of more than {LARGEST_CAPTION:,} bytes")
        return text.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise RecordError(f"{text}: the caption cannot be read ({error})") from None


# ---- shards ---------------------------------------------------------------------------------------------------------------------


def _from_shards(shards: list[Path]) -> PictureSource:
    pictures: list[SourcePicture] = []
    problems: list[str] = []
    for shard in shards:
        parts: dict[str, dict[str, tars.TarInfo]] = {}
        try:
            with tars.open(shard, "r:") as archive:
                for member in archive:
                    path = PurePosixPath(member.name)
                    stem, _, suffix = path.name.partition(".")
                    if member.isfile() and stem:
                        parts.setdefault(str(path.parent / stem), {})[f".{suffix.lower()}"] = member
                found = [_member(shard, archive, name, own) for name, own in parts.items()]
        except (OSError, EOFError, tars.TarError) as error:
            raise RecordError(f"{shard}: cannot be read ({error}); it is damaged, or compressed: unpack it to a plain .tar") from None
        pictures += [one for one in found if isinstance(one, SourcePicture)]
        problems += [one for one in found if isinstance(one, str)]
    return PictureSource("webdataset", tuple(pictures), problems=tuple(problems))


def _member(shard: Path, archive: tars.TarFile, name: str, parts: Mapping[str, tars.TarInfo]) -> SourcePicture | str | None:
    picture = next((parts[suffix] for suffix in MEDIA_SUFFIXES if suffix in parts), None)
    if picture is None:
        return None
    key = _in_utf8(f"{shard.stem}/{name}")
    if max(part.size for part in parts.values()) > LARGEST_BYTES:
        return f"{key}: larger than {LARGEST_BYTES // 2**20} MiB"
    row: dict[str, Any] = {}
    caption = ""
    try:
        if ".json" in parts:
            row = json.loads(_content(archive, parts[".json"]))
        if ".txt" in parts:
            caption = _content(archive, parts[".txt"]).decode("utf-8").strip()
    except (ValueError, RecursionError) as error:
        return f"{key}: its caption cannot be read ({error})"
    row = row if isinstance(row, dict) else {}
    start, size = picture.offset_data, picture.size

    def read() -> bytes:
        with open(shard, "rb") as file:
            file.seek(start)
            return file.read(size)

    return SourcePicture(key, read, caption or _first(row, CAPTION_KEYS), _first(row, RECORD_KEYS), _first(row, GROUP_KEYS) or key)


def _content(archive: tars.TarFile, member: tars.TarInfo) -> bytes:
    file = archive.extractfile(member)
    return b"" if file is None else file.read()


# ---- datasets -------------------------------------------------------------------------------------------------------------------


def _from_datasets(folder: Path) -> PictureSource:
    try:
        import datasets
    except ImportError:
        raise MissingExtraError(f"Reading {folder}", "datasets") from None
    table = datasets.load_from_disk(str(folder))
    column = next((name for name, kind in table.features.items() if isinstance(kind, datasets.Image)), None)
    if column is None:
        raise SpecError(f"{folder}: none of its columns holds pictures ({', '.join(table.features)})")
    table = table.cast_column(column, datasets.Image(decode=False))
    texts = table.remove_columns([column])
    pictures = []
    for number in range(len(table)):
        row = texts[number]
        key = f"{number:09d}"
        pictures.append(
            SourcePicture(
                key, _cell(table, number, column), _first(row, CAPTION_KEYS), _first(row, RECORD_KEYS), _first(row, GROUP_KEYS) or key
            )
        )
    return PictureSource("datasets", tuple(pictures))


def _cell(table: Any, number: int, column: str) -> Callable[[], bytes]:
    def read() -> bytes:
        cell = table[number][column]
        return bytes(cell["bytes"]) if cell["bytes"] is not None else Path(cell["path"]).read_bytes()

    return read


def _reader(path: Path) -> Callable[[], bytes]:
    def read() -> bytes:
        if path.stat().st_size > LARGEST_BYTES:
            raise MediaError(f"{_in_utf8(path.name)}: larger than {LARGEST_BYTES // 2**20} MiB")
        return path.read_bytes()

    return read


def _first(row: Mapping[str, Any], names: tuple[str, ...]) -> str:
    found = next((row[name] for name in names if row.get(name) not in (None, "")), "")
    return _in_utf8(str(found).strip())


def _in_utf8(text: str) -> str:
    """A name or a caption; letters that UTF-8 has not are escaped."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
