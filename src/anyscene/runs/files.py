"""Writing files that are either there in full or not there at all.

A file is written under a temporary name in its own folder, synced to the disk and renamed. A process killed on the way leaves the
temporary, never a half-written file; the next run clears it away with `remove_temporaries`.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from anyscene.errors import RunError

__all__ = [
    "AtomicFile",
    "Sink",
    "file_error",
    "is_temporary",
    "lock_folder",
    "open_folder",
    "remove_temporaries",
    "sha256_of",
    "write_atomic",
]

_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{16}\.tmp")
_DISK_FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "your disk quota is used up",
    errno.EFBIG: "the file would be larger than is allowed",
}


def file_error(error: OSError, path: Path) -> RunError:
    """The `RunError` that tells the user what an `OSError` at `path` means."""
    if error.errno in _DISK_FULL:
        return RunError(
            f"Cannot write {path}: {_DISK_FULL[error.errno]}. Finished files are kept: make room, then run the same command again to go on."
        )
    return RunError(f"Cannot use {path}: {error.strerror or error}. Choose a folder that you may write to.")


class AtomicFile:
    """A binary file that appears under its name when the `with` block ends well, and leaves nothing behind when it does not.

    It counts and hashes what passes through: `size` and `sha256` are those of the whole file.

    Args:
        path: the file.
        sync: wait until it is on the disk. Without, a power cut may take it back: only for what a digest written later vouches for.
    """

    def __init__(self, path: Path, *, sync: bool = True) -> None:
        self.path = path
        self.sync = sync
        self.size = 0
        self._hash = hashlib.sha256()
        self._temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")

    def __enter__(self) -> AtomicFile:
        try:
            self._file = open(self._temporary, "xb", buffering=0)
        except OSError as error:
            raise file_error(error, self.path) from error
        return self

    def write(self, data: Any) -> None:
        """Writes bytes, or anything with a buffer of them."""
        rest = memoryview(data).cast("B")
        self._hash.update(rest)
        self.size += len(rest)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise file_error(error, self.path) from error

    @property
    def sha256(self) -> str:
        """The digest of what was written so far, in hexadecimal."""
        return self._hash.hexdigest()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            with self._file:
                if kind is None and self.sync:
                    os.fsync(self._file.fileno())
            if kind is None:
                os.replace(self._temporary, self.path)
                if self.sync:
                    _sync_folder(self.path.parent)
        except OSError as problem:
            raise file_error(problem, self.path) from problem
        finally:
            with contextlib.suppress(OSError):  # it was renamed; or it stays for `remove_temporaries`
                os.unlink(self._temporary)


class Sink(io.RawIOBase):
    """What Arrow takes for a file to write to, in front of one that appears when it is whole."""

    def __init__(self, file: AtomicFile) -> None:
        self._file = file

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        """Passes bytes, or anything with a buffer of them, on."""
        self._file.write(data)
        return memoryview(data).nbytes


def write_atomic(path: Path, data: bytes, *, sync: bool = True) -> None:
    """Writes a whole file at once, or not at all (`AtomicFile` says what `sync` is)."""
    with AtomicFile(path, sync=sync) as file:
        file.write(data)


def open_folder(path: Path) -> None:
    """Makes the folder, and its parents, where they are missing.

    Raises:
        RunError: It cannot be made, is a file, or cannot be written to.
    """
    if path.exists() and not path.is_dir():
        raise RunError(f"Cannot write into {path}: it is a file. Give the name of a folder.")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise file_error(error, path) from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise RunError(f"Cannot write into {path}: permission denied. Choose a folder that you may write to.")


@contextlib.contextmanager
def lock_folder(path: Path) -> Iterator[None]:
    """Keeps other processes from writing in the folder. The system lifts the lock when the process ends, however it ends.

    Raises:
        RunError: Another process holds it.
    """
    try:
        import fcntl
    except ImportError:  # Windows has no such locks; there one run at a time is up to the user
        yield
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(f"Another process is writing in {path}. Wait until it ends, or choose another folder.") from None
        except OSError as error:  # a file system without locks: go on as on Windows
            if error.errno not in (errno.ENOTSUP, errno.ENOLCK, errno.EINVAL, errno.ENOSYS, errno.EBADF):
                raise file_error(error, path) from error
        yield
    finally:
        os.close(descriptor)


def is_temporary(name: str) -> bool:
    """Whether a file is named as those that are not complete yet."""
    return _TEMPORARY.fullmatch(name) is not None


def remove_temporaries(folder: Path) -> int:
    """Removes what writers that were killed left in the folder. Gives the number of files removed."""
    stale = [path for path in sorted(folder.iterdir()) if is_temporary(path.name)]
    for path in stale:
        path.unlink(missing_ok=True)
    return len(stale)


def sha256_of(path: Path) -> str:
    """The digest of a file, in hexadecimal, read piece by piece."""
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _sync_folder(folder: Path) -> None:
    """Makes a rename in the folder last through a power cut, where the system can."""
    with contextlib.suppress(OSError):  # some network file systems and Windows cannot sync a folder
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
