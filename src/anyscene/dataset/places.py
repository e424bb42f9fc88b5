"""Paths beyond this machine: `s3://bucket/folder`, `gs://...`, `file:///...`, and whatever fsspec knows.

Arrow's own file systems are used where it has one, and those of fsspec otherwise (extra `fsspec`, and the library of the protocol, such as
`adlfs`). A place is pickled as its URI and opened anew in every process; keys come from the environment of that process.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
from pyarrow import fs

from anyscene.errors import AnySceneError, MissingExtraError, RunError

__all__ = ["RemotePath", "is_uri", "path_or_uri", "storage_errors"]

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")  # one letter would be a Windows drive
_SECRETS = re.compile(r"(?<=://)[^/@]*@|\?.*", re.DOTALL)


def is_uri(text: object) -> bool:
    """Whether this is the URI of a place, and no path."""
    return isinstance(text, str) and _URI.match(text) is not None


def path_or_uri(place: str | os.PathLike[str] | RemotePath) -> Path | RemotePath:
    """A path of this machine, or the place that a URI names."""
    if isinstance(place, RemotePath):
        return place
    return RemotePath(str(place)) if is_uri(place) else Path(place)


@dataclass(frozen=True, slots=True)
class RemotePath:
    """A file or folder on some file system: as much of `pathlib.Path` as readers need.

    Attributes:
        root: The URI that the user gave.
        inside: What lies between that and this, with slashes.
    """

    root: str
    inside: str = ""

    @property
    def filesystem(self) -> Any:
        """The `pyarrow.fs.FileSystem`.

        Raises:
            RunError: The URI names none that can be used.
            MissingExtraError: It needs fsspec, which is not installed.
        """
        return _opened(self.root)[0]

    @property
    def path(self) -> str:
        """Where it is on the file system."""
        base = _opened(self.root)[1].rstrip("/")
        return f"{base}/{self.inside}" if self.inside else base

    @property
    def name(self) -> str:
        """The last part."""
        return str(self).rstrip("/").rpartition("/")[2]

    @property
    def suffix(self) -> str:
        """The ending of the name, with its dot."""
        return Path(self.name).suffix

    def __truediv__(self, name: str) -> RemotePath:
        return RemotePath(self.root, f"{self.inside}/{name}" if self.inside else name)

    def __str__(self) -> str:
        base = _SECRETS.sub("", self.root).rstrip("/")
        return f"{base}/{self.inside}" if self.inside else base

    def __fspath__(self) -> str:
        raise TypeError(f"{self} is no path of this machine")

    def info(self) -> Any:
        """The `pyarrow.fs.FileInfo`."""
        with storage_errors(self):
            return self.filesystem.get_file_info(self.path)

    def exists(self) -> bool:
        """Whether there is anything."""
        return bool(self.info().type != fs.FileType.NotFound)

    def is_dir(self) -> bool:
        """Whether it is a folder; where there are none, whether there is anything below it."""
        return bool(self.info().type == fs.FileType.Directory)

    def is_file(self) -> bool:
        """Whether it is a file."""
        return bool(self.info().type == fs.FileType.File)

    def open(self) -> BinaryIO:
        """The file, to be read from any place in it."""
        with storage_errors(self):
            opened: BinaryIO = self.filesystem.open_input_file(self.path)
        return opened

    def read_bytes(self) -> bytes:
        """All of the file.

        Raises:
            FileNotFoundError: There is none.
        """
        if not self.is_file():
            raise FileNotFoundError(str(self))
        with storage_errors(self), self.filesystem.open_input_stream(self.path) as file:
            content: bytes = file.read()
        return content


@contextlib.contextmanager
def storage_errors(place: object) -> Iterator[None]:
    """Tells in one line what went wrong at a place. Each library of a storage service has errors of its own.

    Raises:
        RunError: Anything went wrong.
    """
    try:
        yield
    except AnySceneError:
        raise
    except Exception as error:
        what = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise RunError(f"Cannot use {place}: {what[:400]}. What is finished is kept: the same command again goes on.") from error


@functools.lru_cache(maxsize=16)
def _opened(root: str) -> tuple[Any, str]:
    """The file system of a URI, and the path on it.

    Raises:
        RunError: There is none, or no folder is named.
        MissingExtraError: It needs fsspec, which is not installed.
    """
    shown = _SECRETS.sub("", root)
    try:
        filesystem, path = fs.FileSystem.from_uri(root)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        if root.startswith("file:"):
            raise RunError(f"Cannot use {shown}: a file URI has three slashes, like file:///data/scenes.") from error
        filesystem, path = _opened_by_fsspec(root, shown, error)
    except OSError as error:
        raise RunError(f"Cannot use {shown}: {error}.") from error
    if not path.strip("/"):
        raise RunError(f"Cannot use {shown}: it names no folder. Give a bucket and a folder in it, like s3://bucket/scenes.")
    return filesystem, path


def _opened_by_fsspec(root: str, shown: str, refused: Exception) -> tuple[Any, str]:
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise MissingExtraError(f"Using {shown}", "fsspec") from None
    try:
        filesystem, path = url_to_fs(root)
    except ImportError as error:
        raise RunError(f"Cannot use {shown}: {error}.") from error
    except Exception as error:  # whatever the library of that service raises
        raise RunError(f"Cannot use {shown}: Arrow says: {refused}. fsspec says: {error}.") from error
    return fs.PyFileSystem(fs.FSSpecHandler(filesystem)), path
