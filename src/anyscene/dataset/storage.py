"""Where a dataset is written: a folder of this machine, or one on any file system that Arrow or fsspec knows.

Both keep the same promises. A file is there in full or not at all; what is finished is on record, so that a run that was cut off goes on;
`run.json` comes last. They differ in who does it:

- A `LocalFolder` is one process's: it holds a lock, and appends to a journal.
- A `RemoteFolder` is written to by the workers themselves, wherever they are. A file goes out under a temporary name and is moved, and a
  small file in `.progress/` says that it is finished. There are no locks on object stores: two runs at a time into one folder are up to
  the user. Of what is there already the sizes are looked at, for reading it all again would cost as much as making it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from pyarrow import fs

from anyscene.dataset.places import RemotePath, storage_errors
from anyscene.dataset.plan import ShardFile
from anyscene.errors import RunError
from anyscene.runs import (
    JOURNAL_NAME,
    MANIFEST_NAME,
    AtomicFile,
    append_journal,
    file_error,
    is_temporary,
    lock_folder,
    manifest_bytes,
    open_folder,
    parse_manifest,
    read_journal,
    read_manifest,
    remove_temporaries,
    sha256_of,
    start_journal,
    write_manifest,
)

__all__ = ["LocalFolder", "RemoteFolder", "Storage", "storage_at"]

_COPIED_AT_ONCE = 1 << 23


@dataclass(frozen=True, slots=True)
class LocalFolder:
    """A folder of this machine, written to by processes of this machine."""

    path: Path
    reaches_all = False

    def __str__(self) -> str:
        return str(self.path)

    def open(self) -> None:
        """Makes the folder where it is missing."""
        open_folder(self.path)

    def lock(self) -> contextlib.AbstractContextManager[None]:
        """Keeps other processes out."""
        return lock_folder(self.path)

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Tells what an `OSError` in the folder means."""
        try:
            yield
        except OSError as error:
            raise file_error(error, self.path) from error

    def names(self) -> list[str]:
        """What is in the folder, sorted."""
        return sorted(path.name for path in self.path.iterdir())

    def remove(self, name: str) -> None:
        """Removes a file, if it is there."""
        (self.path / name).unlink(missing_ok=True)

    def remove_temporaries(self) -> None:
        """Removes what writers that were killed left."""
        remove_temporaries(self.path)

    def file(self, name: str) -> AtomicFile:
        """A new file; it appears when it is complete."""
        return AtomicFile(self.path / name)

    def is_intact(self, file: ShardFile) -> bool:
        """Whether the file is as the record says, byte for byte."""
        path = self.path / file.name
        return path.is_file() and path.stat().st_size == file.bytes and sha256_of(path) == file.sha256

    def read_manifest(self) -> dict[str, object] | None:
        """`run.json`, or None."""
        return read_manifest(self.path)

    def write_manifest(self, manifest: Mapping[str, object]) -> None:
        """Writes `run.json`."""
        write_manifest(self.path, manifest)

    def read_journal(self) -> tuple[dict[str, object], list[dict[str, object]]] | None:
        """What the unfinished run makes, and what of it is finished; or None."""
        return read_journal(self.path)

    def start_journal(self, header: Mapping[str, object], files: Iterable[ShardFile]) -> None:
        """Marks the folder as an unfinished run's, of which some files are there."""
        start_journal(self.path, header, [file.to_json() for file in files])

    def enter(self, file: ShardFile) -> None:
        """Puts on record that a file is finished."""
        append_journal(self.path, file.to_json())

    def end_journal(self) -> None:
        """Removes the record of the unfinished run."""
        self.remove(JOURNAL_NAME)


@dataclass(frozen=True, slots=True)
class RemoteFolder:
    """A folder that every worker reaches by the same URI."""

    path: RemotePath
    reaches_all = True

    def __str__(self) -> str:
        return str(self.path)

    def open(self) -> None:
        """Makes the folder where it is missing and the file system has folders.

        Raises:
            RunError: It is a file, or cannot be made.
        """
        if self.path.is_file():
            raise RunError(f"Cannot write into {self}: it is a file. Give the name of a folder.")
        with self.errors():
            if self.path.filesystem.type_name not in ("s3", "gcs"):
                self.path.filesystem.create_dir(self._journal.path, recursive=True)

    def lock(self) -> contextlib.AbstractContextManager[None]:
        """Nothing: object stores have no locks."""
        return contextlib.nullcontext()

    def errors(self) -> contextlib.AbstractContextManager[None]:
        """Tells what went wrong in the folder."""
        return storage_errors(self)

    def names(self) -> list[str]:
        """What is in the folder, sorted."""
        return _names(self.path)

    def remove(self, name: str) -> None:
        """Removes a file, if it is there."""
        _remove(self.path / name)

    def remove_temporaries(self) -> None:
        """Removes what writers that were killed left."""
        for folder in (self.path, self._journal):
            for name in _names(folder):
                if is_temporary(name):
                    _remove(folder / name)

    def file(self, name: str) -> RemoteFile:
        """A new file; it appears when it is complete."""
        return RemoteFile(self.path / name)

    def is_intact(self, file: ShardFile) -> bool:
        """Whether a file of this name and size is there."""
        info = (self.path / file.name).info()
        return bool(info.type == fs.FileType.File and info.size == file.bytes)

    def read_manifest(self) -> dict[str, object] | None:
        """`run.json`, or None."""
        return _json_of(self.path / MANIFEST_NAME)

    def write_manifest(self, manifest: Mapping[str, object]) -> None:
        """Writes `run.json`."""
        _write(self.path / MANIFEST_NAME, manifest)

    def read_journal(self) -> tuple[dict[str, object], list[dict[str, object]]] | None:
        """What the unfinished run makes, and what of it is finished; or None."""
        header = _json_of(self._header)
        if header is None:
            return None
        entries = (_json_of(self._journal / name) for name in _names(self._journal) if name.endswith(".json") and name != MANIFEST_NAME)
        return header, [entry for entry in entries if entry is not None]

    def start_journal(self, header: Mapping[str, object], files: Iterable[ShardFile]) -> None:
        """Marks the folder as an unfinished run's, of which some files are there."""
        kept = {f"{file.name}.json": file for file in files}
        there = _names(self._journal)
        goes_on = MANIFEST_NAME in there and _json_of(self._header) == json.loads(manifest_bytes(header))
        if not goes_on:
            _remove(self._header)  # first, or what other runs finished would be taken for this one's
        for name in there:
            if name not in kept and name != MANIFEST_NAME:
                _remove(self._journal / name)
        for name, file in kept.items():
            if name not in there:
                _write(self._journal / name, file.to_json())
        if not goes_on:
            _write(self._header, header)

    def enter(self, file: ShardFile) -> None:
        """Puts on record that a file is finished."""
        _write(self._journal / f"{file.name}.json", file.to_json())

    def end_journal(self) -> None:
        """Removes the record of the unfinished run."""
        _remove(self._header)
        for name in _names(self._journal):
            _remove(self._journal / name)
        with contextlib.suppress(Exception):  # on an object store it is gone with what was in it
            self._journal.filesystem.delete_dir(self._journal.path)

    @property
    def _journal(self) -> RemotePath:
        return self.path / JOURNAL_NAME

    @property
    def _header(self) -> RemotePath:
        return self._journal / MANIFEST_NAME


Storage = LocalFolder | RemoteFolder


def storage_at(place: Path | RemotePath) -> Storage:
    """Where a dataset is written whose folder this is."""
    return RemoteFolder(place) if isinstance(place, RemotePath) else LocalFolder(place)


class RemoteFile:
    """A file that appears under its name when the `with` block ends well; `AtomicFile` on a file system of any kind.

    It is written under a temporary name and moved, also on object stores, where what is written appears when it is closed: one cannot help
    but close a file, even one that an error has cut short. It counts and hashes what passes through.
    """

    def __init__(self, place: RemotePath) -> None:
        self.place = place
        self.size = 0
        self._hash = hashlib.sha256()
        folder, _, name = place.path.rpartition("/")
        self._temporary = f"{folder}/.{name}.{secrets.token_hex(8)}.tmp"

    def __enter__(self) -> RemoteFile:
        with storage_errors(self.place):
            self._file = self.place.filesystem.open_output_stream(self._temporary)
        return self

    def write(self, data: Any) -> None:
        """Writes bytes, or anything with a buffer of them."""
        rest = memoryview(data).cast("B")
        self._hash.update(rest)
        self.size += len(rest)
        with storage_errors(self.place):
            self._file.write(rest)

    @property
    def sha256(self) -> str:
        """The digest of what was written so far, in hexadecimal."""
        return self._hash.hexdigest()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        filesystem = self.place.filesystem
        try:
            if kind is None:
                with storage_errors(self.place):
                    self._file.close()
                    self._move()
                    found = filesystem.get_file_info(self.place.path).size
                if found != self.size:
                    raise RunError(f"Cannot use {self.place}: {self.size:,} bytes were written, and {found or 0:,} are there.")
                return
        except BaseException:
            self._discard()
            raise
        self._discard()

    def _move(self) -> None:
        filesystem = self.place.filesystem
        try:
            filesystem.move(self._temporary, self.place.path)
        except Exception:  # whatever a service says that cannot do that, or not with so large a file
            with filesystem.open_input_stream(self._temporary) as source, filesystem.open_output_stream(self.place.path) as target:
                while piece := source.read(_COPIED_AT_ONCE):
                    target.write(piece)
            filesystem.delete_file(self._temporary)

    def _discard(self) -> None:
        for step in (self._file.close, lambda: self.place.filesystem.delete_file(self._temporary)):
            with contextlib.suppress(Exception):  # or it would hide the error that ended the writing
                step()


def _write(place: RemotePath, value: Mapping[str, object]) -> None:
    with RemoteFile(place) as file:
        file.write(manifest_bytes(value))


def _json_of(place: RemotePath) -> dict[str, object] | None:
    try:
        content = place.read_bytes()
    except FileNotFoundError:
        return None
    return parse_manifest(content, place)


def _names(folder: RemotePath) -> list[str]:
    selector = fs.FileSelector(folder.path, allow_not_found=True)
    with storage_errors(folder):
        return sorted(info.base_name for info in folder.filesystem.get_file_info(selector))


def _remove(place: RemotePath) -> None:
    if place.is_file():
        with storage_errors(place):
            place.filesystem.delete_file(place.path)
