from __future__ import annotations

from pathlib import Path

import pytest

from anyscene.errors import RunError
from anyscene.runs import append_journal, read_journal, start_journal


def test_entries_come_back_in_order(tmp_path: Path) -> None:
    assert read_journal(tmp_path) is None
    start_journal(tmp_path, {"kind": "dataset"}, [{"name": "a"}])
    append_journal(tmp_path, {"name": "b"})
    assert read_journal(tmp_path) == ({"kind": "dataset"}, [{"name": "a"}, {"name": "b"}])
    start_journal(tmp_path, {"kind": "other"})
    assert read_journal(tmp_path) == ({"kind": "other"}, [])
    assert [path.name for path in tmp_path.iterdir()] == [".progress"]


def test_cut_off_anywhere_gives_the_whole_entries_before(tmp_path: Path) -> None:
    start_journal(tmp_path, {"kind": "dataset"})
    header_end = (tmp_path / ".progress").stat().st_size
    for name in ("gîte", "b"):
        append_journal(tmp_path, {"name": name})
    data = (tmp_path / ".progress").read_bytes()
    for end in range(header_end, len(data) + 1):
        (tmp_path / ".progress").write_bytes(data[:end])
        found = read_journal(tmp_path)
        assert found is not None
        assert found[1] == [{"name": "gîte"}, {"name": "b"}][: data[header_end:end].count(b"\n")]


def test_journal_without_a_header_is_a_run_error(tmp_path: Path) -> None:
    for data in (b"", b"noise", b"{\n"):
        (tmp_path / ".progress").write_bytes(data)
        with pytest.raises(RunError, match="no journal"):
            read_journal(tmp_path)


def test_journal_that_cannot_be_written_is_a_run_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="No such file or directory"):
        append_journal(tmp_path / "none", {})
