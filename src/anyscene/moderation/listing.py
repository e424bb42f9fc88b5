"""What there is to scan, in an order that stays the same: files, folders with all below them, patterns, and tar files of a WebDataset.

Everything that is found is either opened or gets a verdict here; only what WebDataset keeps beside its pictures (captions, classes) is
left out, and counted. Links to folders are not followed, so that no circle is walked for ever.
"""

from __future__ import annotations

import glob
import os
import stat
import tarfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from anyscene.errors import SpecError
from anyscene.moderation.opening import Opened

__all__ = ["Listing", "Source", "shown_path"]

COMPANIONS = (".json", ".jsonl", ".txt", ".caption", ".cls", ".cls2", ".id", ".index")
"""Extensions of a tar's members that belong to pictures and are none."""


@dataclass(frozen=True, slots=True)
class Source:
    """One thing to scan.

    Attributes:
        path: what results call it; letters that its name has no UTF-8 for are escaped.
        name: its last part, for its extension.
        content: the file, the bytes of a member, or the verdict that there is already.
    """

    path: str
    name: str
    content: Path | bytes | Opened


class Listing:
    """All that some paths name. It can be gone through again and again.

    Args:
        paths: files, folders, patterns (``photos/*.jpg``, ``photos/**/*.png``) and tar files.
        file_bytes: members of a tar that are larger are not read.
        leave_out: files that are not to be scanned, such as our own results.

    Attributes:
        companions: members that were left out the last time.

    Raises:
        SpecError: a path is not there, or a pattern fits nothing.
    """

    def __init__(self, paths: Sequence[str | os.PathLike[str]], file_bytes: int, leave_out: Collection[Path] = ()) -> None:
        self.roots = _without_inner([found for path in paths for found in _named(os.fspath(path))])
        if not self.roots:
            raise SpecError("nothing is named to be scanned; give files, folders, patterns or tar files")
        self.file_bytes, self.companions = file_bytes, 0
        self._leave_out: set[str] = set()
        self.leave_out(leave_out)

    def leave_out(self, paths: Collection[Path]) -> None:
        """Leaves more files out."""
        self._leave_out |= {os.path.realpath(path) for path in paths}

    def __iter__(self) -> Iterator[Source]:
        """Everything, one after the other; members of a tar are read as they are come to."""
        self.companions = 0
        for found in self._files():
            if isinstance(found, Source):
                yield found
            elif _is_tar(found):
                yield from self._members(found)
            else:
                yield Source(shown_path(found), os.path.basename(found), Path(found))

    def count(self) -> int:
        """How much there is, without reading it."""
        self.companions = 0
        return sum(
            1 if isinstance(found, Source) or not _is_tar(found) else sum(1 for _ in self._members(found, read=False))
            for found in self._files()
        )

    def _files(self) -> Iterator[str | Source]:
        """Paths of files, depth first and by the bytes of their names; what cannot be listed has its verdict."""
        for root in self.roots:
            waiting = [iter([(root, os.path.isdir(root))])]
            while waiting:
                path, is_folder = next(waiting[-1], ("", False))
                if not path:
                    waiting.pop()
                elif not is_folder:
                    if not self._leave_out or os.path.realpath(path) not in self._leave_out:
                        yield path
                else:
                    try:
                        waiting.append(iter(_entries(path)))
                    except OSError as error:
                        note = f"a folder that cannot be listed: {error.strerror or error}"
                        yield Source(shown_path(path), os.path.basename(path), Opened("unreadable", (note,)))

    def _members(self, path: str, read: bool = True) -> Iterator[Source]:
        """What a tar holds; where it breaks off, that is the last verdict."""
        number, where = 0, shown_path(path)
        try:
            with open(path, "rb") as file, tarfile.open(fileobj=cast(IO[bytes], _Guarded(file, self.file_bytes)), mode="r:") as tar:
                while (member := tar.next()) is not None:
                    tar.members = []  # type: ignore[attr-defined]  # a tar of millions would be remembered whole
                    if member.isdir():
                        continue
                    number += 1
                    if os.path.splitext(member.name)[1].lower() in COMPANIONS:
                        self.companions += 1
                        continue
                    content = self._content(tar, member) if read else b""
                    yield Source(f"{where}/{shown_path(member.name)}", os.path.basename(member.name), content)
                file.seek(tar.offset)
                if file.read(tarfile.BLOCKSIZE).strip(b"\0"):  # tarfile takes a damaged head for the end
                    raise tarfile.ReadError("a damaged head")
        except (tarfile.TarError, OSError, EOFError, ValueError, OverflowError, MemoryError, RecursionError) as error:
            note = f"a tar that breaks off after {number:,} members: {error}"
            yield Source(where, os.path.basename(path), Opened("damaged", (note,)))

    def _content(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes | Opened:
        if not member.isreg():
            return Opened("not_a_file", ("a link" if member.issym() or member.islnk() else "a device",))
        if member.size > self.file_bytes:
            return Opened("too_large", (f"{member.size:,} bytes; at most {self.file_bytes:,} are taken",), size=member.size)
        file = tar.extractfile(member)
        assert file is not None
        data = file.read()
        if len(data) < member.size:
            raise tarfile.ReadError("unexpected end of data")
        return data


def shown_path(path: str) -> str:
    """A path in UTF-8, whatever its bytes are."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


class _Guarded:
    """A file that does not give more at once than it should: the heads of a tar say how long they are."""

    def __init__(self, file: IO[bytes], most: int) -> None:
        self._file, self._most = file, most
        self.seek, self.tell, self.close = file.seek, file.tell, file.close

    def read(self, count: int = -1) -> bytes:
        if count < 0 or count > self._most:
            raise tarfile.ReadError(f"{count:,} bytes at once")
        return self._file.read(count)


def _named(path: str) -> list[str]:
    """The files and folders of one argument."""
    if os.path.lexists(path):
        return [path]
    found = sorted(glob.glob(path, recursive=True), key=os.fsencode) if glob.has_magic(path) else []
    if not found:
        what = "no file fits this pattern" if glob.has_magic(path) else "no such file or folder" if path else "an empty name"
        raise SpecError(f"{shown_path(path)}: {what}")
    return found


def _without_inner(roots: Sequence[str]) -> list[str]:
    """Without those that are named twice, or lie in a folder that is named too."""
    whole = {os.path.abspath(root) for root in roots}
    kept: dict[str, str] = {}
    for root in roots:
        place = os.path.abspath(root)
        above, inner = os.path.dirname(place), False
        while not inner and above != os.path.dirname(above):
            inner, above = above in whole, os.path.dirname(above)
        if not inner:
            kept.setdefault(place, root)
    return list(kept.values())


def _entries(folder: str) -> list[tuple[str, bool]]:
    with os.scandir(folder) as entries:
        found = [(entry.path, entry.is_dir(follow_symlinks=False)) for entry in entries]
    return sorted(found, key=lambda one: os.fsencode(one[0]))


def _is_tar(path: str) -> bool:
    """Whether it is called a tar and begins as one does."""
    if not path.lower().endswith(".tar"):
        return False
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return False
        with open(path, "rb") as file:
            head = file.read(512)
        return tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape") is not None
    except (OSError, tarfile.TarError, ValueError):
        return False
