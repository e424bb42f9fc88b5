from __future__ import annotations

import errno
import hashlib
import io
from pathlib import Path
from typing import Any

import pytest

from anyscene.errors import RunError
from anyscene.runs import AtomicFile, lock_folder, open_folder, remove_temporaries, sha256_of, write_atomic


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    with AtomicFile(tmp_path / "a") as file:
        file.write(b"one")
        file.write(memoryview(b"two"))
        assert names(tmp_path)[0].endswith(".tmp") and len(names(tmp_path)) == 1
    assert names(tmp_path) == ["a"]
    assert (tmp_path / "a").read_bytes() == b"onetwo"
    assert (file.size, file.sha256) == (6, hashlib.sha256(b"onetwo").hexdigest())
    assert sha256_of(tmp_path / "a") == file.sha256


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_broken_off_file_leaves_the_old_one(tmp_path: Path, error: type[BaseException]) -> None:
    write_atomic(tmp_path / "a", b"old")
    with pytest.raises(error), AtomicFile(tmp_path / "a") as file:
        file.write(b"new")
        raise error
    assert names(tmp_path) == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"


class FullDisk(io.FileIO):
    """Takes three bytes and no more."""

    def write(self, data: Any, /) -> int:
        if self.tell() >= 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(bytes(data)[:2])


def test_full_disk_says_what_to_do_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builtins.open", lambda path, mode, **_: FullDisk(path, mode.replace("b", "")))
    with pytest.raises(RunError, match=r"the disk is full.*make room"):
        write_atomic(tmp_path / "a", b"too much")
    assert names(tmp_path) == []


def test_folder_that_is_not_there_is_a_run_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="No such file or directory"):
        write_atomic(tmp_path / "none" / "a", b"")


def test_open_folder_makes_parents_and_refuses_files(tmp_path: Path) -> None:
    open_folder(tmp_path / "a" / "b")
    open_folder(tmp_path / "a" / "b")
    write_atomic(tmp_path / "file", b"")
    for path, message in ((tmp_path / "file", "it is a file"), (tmp_path / "file" / "x", "Not a directory")):
        with pytest.raises(RunError, match=message):
            open_folder(path)


def test_only_our_temporaries_are_removed(tmp_path: Path) -> None:
    kept = [".a.tmp", "a.0123456789abcdef.tmp", ".a.0123456789abcdeF.tmp", ".progress", "run.json"]
    for name in [*kept, ".a.0123456789abcdef.tmp", ".run.json.ffffffffffffffff.tmp"]:
        (tmp_path / name).write_bytes(b"")
    assert remove_temporaries(tmp_path) == 2
    assert names(tmp_path) == sorted(kept)


def test_lock_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    with lock_folder(tmp_path), pytest.raises(RunError, match="Another process"), lock_folder(tmp_path):
        pass
    with lock_folder(tmp_path):
        pass
    assert names(tmp_path) == []
