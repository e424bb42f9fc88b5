"""`manifest.jsonl` of a folder of media: which scene, sample and seed each file was made for, and its digest.

While media are made, lines are appended and synced batch by batch; a line torn by a crash is dropped and its media made again. When all
are made, the manifest is written anew in the order of the scenes, so that a run that was stopped ends with the bytes of an unbroken one.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from anyscene.errors import MediaError, RunError
from anyscene.media.media import Media, read_media
from anyscene.media.unread import UnreadMedia
from anyscene.runs import file_error, write_atomic

__all__ = ["MEDIA_STATUSES", "MediaEntry", "MediaFolder", "media_schema"]

MANIFEST = "manifest.jsonl"
MEDIA_STATUSES = ("made", "failed", "refused", "missing")
FILES_PER_FOLDER = 1000
MOST_AT_ONCE = 1 << 24
"""Bytes of a manifest that are parsed together; a longer line is read in the slow way."""
PIECE = 1 << 26
"""Bytes of a manifest that are held together."""


@dataclass(frozen=True, slots=True)
class MediaEntry:
    """One media asked for.

    Attributes:
        record_id: of its scene.
        index: of its scene.
        sample: number among the media of one scene, from 0.
        seed: that the model was given.
        file: name in the folder, with `/` between; empty unless made.
        sha256: of the file; None unless made.
        status: one of ``MEDIA_STATUSES``.
        reason: why there is none; else empty.
        details: JSON text of what else is known (a sandbox painter puts the graph that it really drew there); may be empty.
    """

    record_id: str
    index: int
    sample: int
    seed: int
    file: str
    sha256: str | None
    status: str
    reason: str = ""
    details: str = ""

    @property
    def key(self) -> tuple[str, int]:
        """Which media of the run this is."""
        return self.record_id, self.sample


def media_schema() -> pa.Schema:
    """The Arrow schema of a table of entries."""
    text, whole = pa.string(), pa.int64()
    return pa.schema(
        {
            "record_id": text,
            "index": whole,
            "sample": pa.int32(),
            "seed": whole,
            "file": text,
            "sha256": text,
            "status": text,
            "reason": text,
            "details": text,
        }
    )


class MediaFolder:
    """A folder of media with its manifest.

    Args:
        path: the folder; it need not exist yet for reading.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.manifest = path / MANIFEST

    def entries(self) -> list[MediaEntry]:
        """What the manifest says, in its order; a later line on the same media replaces an earlier one.

        Raises:
            RunError: a line in the middle cannot be read.
        """
        try:
            data = self.manifest.read_bytes()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise file_error(error, self.manifest) from error
        *lines, torn = data.split(b"\n")
        if torn:
            self._cut(len(data) - len(torn))
        found: dict[tuple[str, int], MediaEntry] = {}
        for number, line in enumerate(lines, 1):
            try:
                entry = MediaEntry(**json.loads(line))
            except (ValueError, TypeError, RecursionError) as error:
                raise RunError(
                    f"{self.manifest}, line {number}: it is no entry of a manifest ({error}). Remove the line to have its media made again."
                ) from None
            found[entry.key] = entry
        return list(found.values())

    def _cut(self, size: int) -> None:
        """Drops a line that a crash tore."""
        try:
            os.truncate(self.manifest, size)
        except OSError as error:
            raise file_error(error, self.manifest) from error

    def append(self, entries: Iterable[MediaEntry]) -> None:
        """Adds lines and waits until they are on the disk."""
        try:
            with open(self.manifest, "ab", buffering=0) as file:
                file.write(b"".join(_line(entry) for entry in entries))
                os.fsync(file.fileno())
        except OSError as error:
            raise file_error(error, self.manifest) from error

    def rewrite(self, entries: Sequence[MediaEntry]) -> None:
        """Writes the manifest anew, in one step."""
        write_atomic(self.manifest, b"".join(_line(entry) for entry in entries))

    def file_name(self, position: int, record_id: str, sample: int, suffix: str) -> str:
        """Where the media of the scene at a position of the run goes: a thousand scenes a folder."""
        return f"{position // FILES_PER_FOLDER:05d}/{record_id}-{sample}{suffix}"

    def write(self, name: str, media: Media) -> None:
        """Writes a media under its name, in one step.

        Raises:
            RunError: it cannot be written: the disk is full, or the folder is not the user's.
        """
        path = self.path / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise file_error(error, path.parent) from error
        write_atomic(path, media.data, sync=False)  # the manifest has its digest, and is synced

    def problem(self, entry: MediaEntry) -> str | None:
        """What is wrong with the file of an entry, or None where it is as the manifest says."""
        try:
            self._bytes(entry)
        except MediaError as error:
            return str(error)
        return None

    def read(self, entry: MediaEntry, modality: str = "image") -> Media:
        """The media of an entry.

        Raises:
            MediaError: the file is missing, cannot be read, or is not the one that was made.
        """
        try:
            return read_media(self._bytes(entry), modality, str(self.path / entry.file))
        except MediaError as error:
            raise MediaError(f"{error}. Paint the run again: only what is damaged is made anew") from None

    def unread(self, entry: MediaEntry, modality: str = "image") -> UnreadMedia:
        """The media of an entry, for whoever passes it on without looking at it.

        Raises:
            MediaError: the file is missing, or is not the one that was made.
        """
        try:
            return UnreadMedia(self._bytes(entry), modality, Path(entry.file).suffix)
        except MediaError as error:
            raise MediaError(f"{error}. Paint the run again: only what is damaged is made anew") from None

    def _bytes(self, entry: MediaEntry) -> bytes:
        path = self.path / entry.file
        try:
            data = path.read_bytes()
        except OSError as error:
            raise MediaError(f"{path}: {error.strerror or error}") from None
        digest = hashlib.sha256(data).hexdigest()
        if digest != entry.sha256:
            raise MediaError(f"{path}: its bytes are not those that were made (sha256 {digest[:12]}, not {str(entry.sha256)[:12]})")
        return data

    def table(self, entries: Iterable[MediaEntry] | None = None, columns: Sequence[str] | None = None) -> pa.Table:
        """Entries as a table of ``media_schema``; those of the manifest unless others are given.

        Args:
            entries: by default those of the manifest.
            columns: only these, among them ``record_id`` and ``sample``; of a large manifest no more is held than they take.

        Raises:
            RunError: as ``entries``.
        """
        names = media_schema().names if columns is None else list(columns)
        if entries is None and (whole := self._whole(names)) is not None:
            return whole
        rows = self.entries() if entries is None else list(entries)
        schema = pa.schema([media_schema().field(name) for name in names])
        return pa.table({name: [getattr(entry, name) for entry in rows] for name in names}, schema)

    def _whole(self, names: Sequence[str]) -> pa.Table | None:
        """The table of a manifest in order, read some megabytes at a time; None where lines must be looked at one by one."""
        strict = pj.ParseOptions(explicit_schema=media_schema(), unexpected_field_behavior="error")
        tables = []
        try:
            for data in _pieces(self.manifest):
                table = pj.read_json(pa.BufferReader(data), pj.ReadOptions(block_size=MOST_AT_ONCE), strict)
                made = pc.equal(table["status"], "made")
                lacking = [
                    name
                    for name in table.column_names
                    if table[name].filter(made).null_count or (table[name].null_count and name != "sha256")
                ]
                if lacking or not data.endswith(b"\n") or table.num_rows != data.count(b"\n"):
                    return None
                tables.append(table.select(names))
        except (OSError, pa.ArrowException):
            return None
        if not tables:
            return None
        whole = pa.concat_tables(tables)
        keys = whole.group_by(["record_id", "sample"]).aggregate([])
        return whole if keys.num_rows == whole.num_rows else None

    def __iter__(self) -> Iterator[MediaEntry]:
        return iter(self.entries())


def _line(entry: MediaEntry) -> bytes:
    return json.dumps(asdict(entry), ensure_ascii=False).encode() + b"\n"


def _pieces(path: Path) -> Iterator[bytes]:
    """A file of lines, some of them at a time; what stands behind the last line's end comes with it."""
    with open(path, "rb") as file:
        while data := file.read(PIECE):
            yield data + file.readline()
