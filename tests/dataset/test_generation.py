from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from fake_source import FakeSource

from anyscene.dataset import FORMATS, generate, read_records, read_table
from anyscene.errors import CapacityError, RecordError, RunError, SpecError
from anyscene.runs import lock_folder

SOURCE = FakeSource(num_questions=4)


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("format", FORMATS)
def test_workers_do_not_change_a_byte(tmp_path: Path, format: str) -> None:
    for workers in (1, 2):
        generate(SOURCE, 501, tmp_path / str(workers), format=format, shards=3, workers=workers, quiet=True)
    assert digests(tmp_path / "1") == digests(tmp_path / "2")
    assert len(digests(tmp_path / "1")) == 4  # three shards and run.json


@pytest.mark.parametrize("format", FORMATS)
def test_shards_do_not_change_a_row(tmp_path: Path, format: str) -> None:
    generate(SOURCE, 97, tmp_path / "one", format=format, quiet=True)
    generate(SOURCE, 97, tmp_path / "many", format=format, shards=10, quiet=True)
    assert list(read_records(tmp_path / "one")) == list(read_records(tmp_path / "many"))


def test_shards_are_contiguous_and_balanced(tmp_path: Path) -> None:
    info = generate(SOURCE, 97, tmp_path, start=5, shards=10, quiet=True)
    assert [path.name for path in info.paths][::9] == ["records-00000-of-00010.parquet", "records-00009-of-00010.parquet"]
    assert {file.rows for file in info.files} == {9, 10}
    assert [file.start for file in info.files][:3] == [5, 14, 24]
    assert read_table(tmp_path)["index"].to_pylist() == list(range(5, 102))


def test_two_halves_are_the_whole(tmp_path: Path) -> None:
    generate(SOURCE, 100, tmp_path / "whole", quiet=True)
    generate(SOURCE, 40, tmp_path / "first", quiet=True)
    generate(SOURCE, 60, tmp_path / "second", start=40, quiet=True)
    assert [*read_records(tmp_path / "first"), *read_records(tmp_path / "second")] == list(read_records(tmp_path / "whole"))


def test_rows_of_many_chunks_are_those_of_the_source(tmp_path: Path) -> None:
    generate(SOURCE, 40_000, tmp_path, questions=False, quiet=True)
    table = read_table(tmp_path)
    assert table.equals(SOURCE.table(0, 40_000, questions=False).cast(table.schema))


@pytest.mark.parametrize("format", FORMATS)
def test_encoding_in_memory_does_not_change_a_row(tmp_path: Path, format: str) -> None:
    for name, dictionaries in (("dictionaries", True), ("plain", False)):
        generate(FakeSource(dictionaries=dictionaries), 50, tmp_path / name, format=format, quiet=True)
    assert read_table(tmp_path / "dictionaries").equals(read_table(tmp_path / "plain"))


def test_complete_run_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = generate(SOURCE, 30, tmp_path, shards=3, quiet=True)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    second = generate(SOURCE, 30, tmp_path, shards=3)
    assert (first.rows_made, second.rows_made) == (30, 0)
    assert first.files == second.files
    assert times == {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert "already complete: 30 rows in 3 files" in capsys.readouterr().err


def test_number_of_shards_left_open_is_taken_from_the_folder(tmp_path: Path) -> None:
    generate(SOURCE, 30, tmp_path, shards=3, quiet=True)
    assert generate(SOURCE, 30, tmp_path, quiet=True).rows_made == 0


def test_damaged_and_missing_files_are_made_again(tmp_path: Path) -> None:
    info = generate(SOURCE, 30, tmp_path, shards=3, quiet=True)
    before = digests(tmp_path)
    info.paths[0].write_bytes(b"x" * info.files[0].bytes)
    info.paths[2].unlink()
    assert generate(SOURCE, 30, tmp_path, shards=3, quiet=True).rows_made == 20
    assert digests(tmp_path) == before


def test_folder_of_another_run_is_refused_and_overwritten_on_demand(tmp_path: Path) -> None:
    generate(SOURCE, 30, tmp_path, shards=3, quiet=True)
    before = digests(tmp_path)
    with pytest.raises(RunError, match=r"seed: 7 there, 8 asked for.*--overwrite"):
        generate(FakeSource(seed=8, num_questions=4), 30, tmp_path, shards=3, quiet=True)
    with pytest.raises(RunError, match="n: 30 there, 31 asked for"):
        generate(SOURCE, 31, tmp_path, shards=3, quiet=True)
    assert digests(tmp_path) == before
    (tmp_path / "notes.txt").write_text("mine")
    generate(FakeSource(seed=8), 5, tmp_path, format="jsonl", overwrite=True, quiet=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt", "records-00000-of-00001.jsonl", "run.json"]


def test_records_of_an_unknown_run_are_refused(tmp_path: Path) -> None:
    (tmp_path / "records-00000-of-00001.parquet").write_bytes(b"?")
    with pytest.raises(RunError, match="unknown run"):
        generate(SOURCE, 30, tmp_path, quiet=True)
    generate(SOURCE, 30, tmp_path, overwrite=True, quiet=True)
    assert len(list(read_records(tmp_path))) == 30


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", ["run.json", ".progress"])
def test_run_of_another_kind_is_never_touched(tmp_path: Path, name: str, overwrite: bool) -> None:
    (tmp_path / name).write_text('{"kind": "evaluation"}\n')
    with pytest.raises(RunError, match="'evaluation'"):
        generate(SOURCE, 30, tmp_path, overwrite=overwrite, quiet=True)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("entry", [None, {}, {"name": "../x", "start": 0, "rows": 1, "bytes": 1, "sha256": ""}])
def test_damaged_list_of_files_is_refused(tmp_path: Path, entry: object) -> None:
    generate(SOURCE, 5, tmp_path, quiet=True)
    manifest = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps({**manifest, "files": [entry]}))
    with pytest.raises(RunError, match="describes no file"):
        generate(SOURCE, 5, tmp_path, quiet=True)
    with pytest.raises(RecordError, match=r"run\.json.*describes no file"):
        list(read_records(tmp_path))


def test_damaged_manifest_is_refused_and_overwritten_on_demand(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(RunError, match=r"Cannot read .*run\.json"):
        generate(SOURCE, 30, tmp_path, quiet=True)
    assert generate(SOURCE, 30, tmp_path, overwrite=True, quiet=True).rows_made == 30


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"n": 0}, SpecError, "n is 0"),
        ({"start": -1}, SpecError, "start is -1"),
        ({"workers": 0}, SpecError, "workers is 0"),
        ({"shards": 0}, SpecError, "0 shards"),
        ({"shards": 11}, SpecError, "11 shards"),
        ({"format": "csv"}, SpecError, "'csv'.*'parquet', 'jsonl', 'webdataset'"),
        ({"start": 95}, CapacityError, "at most 5"),
        ({"start": 200}, CapacityError, "at most 0"),
    ],
)
def test_bad_options_are_refused_before_anything_is_written(
    tmp_path: Path, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    out = tmp_path / "out"
    with pytest.raises(error, match=message):
        generate(FakeSource(rows=100), options.pop("n", 10), out, quiet=True, **options)
    assert not out.exists()


def test_paths_that_cannot_be_folders_are_one_clear_error(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(RunError, match="it is a file"):
        generate(SOURCE, 10, file, quiet=True)
    with pytest.raises(RunError, match="Not a directory"):
        generate(SOURCE, 10, file / "below", quiet=True)
    assert file.read_text() == "mine"


def test_two_runs_in_one_folder_are_refused(tmp_path: Path) -> None:
    with lock_folder(tmp_path), pytest.raises(RunError, match="Another process"):
        generate(SOURCE, 10, tmp_path, quiet=True)


def test_stale_temporaries_and_shards_are_cleared(tmp_path: Path) -> None:
    generate(SOURCE, 10, tmp_path, quiet=True)
    (tmp_path / ".records-00000-of-00001.parquet.0123456789abcdef.tmp").write_bytes(b"half")
    generate(SOURCE, 10, tmp_path, quiet=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["records-00000-of-00001.parquet", "run.json"]


def test_shards_of_another_writer_version_are_not_mixed_in(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        generate(FakeSource(fail_at=25), 30, tmp_path, shards=3, quiet=True)
    journal = tmp_path / ".progress"
    header, *entries = [json.loads(line) for line in journal.read_text().splitlines()]
    assert len(entries) == 2
    header["writer"]["pyarrow"] = "0"
    journal.write_text("".join(json.dumps(value) + "\n" for value in (header, *entries)))
    assert generate(FakeSource(), 30, tmp_path, shards=3, quiet=True).rows_made == 30


def test_what_a_failing_source_finished_is_kept(tmp_path: Path) -> None:
    generate(FakeSource(), 30, tmp_path / "whole", shards=3, quiet=True)
    with pytest.raises(ZeroDivisionError):
        generate(FakeSource(fail_at=25), 30, tmp_path / "out", shards=3, quiet=True)
    assert sorted(path.name for path in (tmp_path / "out").iterdir())[0] == ".progress"
    assert len(list((tmp_path / "out").iterdir())) == 3
    with (tmp_path / "out" / ".progress").open("a") as journal:
        journal.write('{"name": "records-00002-of')  # as a crash would leave it
    assert generate(FakeSource(), 30, tmp_path / "out", shards=3, quiet=True).rows_made == 10
    assert digests(tmp_path / "out") == digests(tmp_path / "whole")


def test_overwrite_goes_on_with_its_own_unfinished_run(tmp_path: Path) -> None:
    generate(FakeSource(seed=9), 5, tmp_path, quiet=True)
    with pytest.raises(ZeroDivisionError):
        generate(FakeSource(fail_at=25), 30, tmp_path, shards=3, overwrite=True, quiet=True)
    assert generate(FakeSource(), 30, tmp_path, shards=3, overwrite=True, quiet=True).rows_made == 10
    assert generate(FakeSource(), 30, tmp_path, shards=3, overwrite=True, quiet=True).rows_made == 30


class Wrong(FakeSource):
    """Gives the rows of another range."""

    def table(self, start: int, stop: int, *, questions: bool = True) -> pa.Table:
        return super().table(start + 1, stop + 1, questions=questions)


class Short(FakeSource):
    """Drops a row."""

    def table(self, start: int, stop: int, *, questions: bool = True) -> pa.Table:
        return super().table(start, stop - 1, questions=questions)


class Untyped(FakeSource):
    """Gives a column another type."""

    def table(self, start: int, stop: int, *, questions: bool = True) -> pa.Table:
        table = super().table(start, stop, questions=questions)
        return table.set_column(4, "complexity", table["complexity"].cast(pa.int64()))


class Holed(FakeSource):
    """Leaves a value out."""

    def table(self, start: int, stop: int, *, questions: bool = True) -> pa.Table:
        table = super().table(start, stop, questions=questions)
        return table.set_column(2, "caption", pa.array([None, *table["caption"].to_pylist()[1:]]))


class Extra(FakeSource):
    """Gives a column too many."""

    def table(self, start: int, stop: int, *, questions: bool = True) -> pa.Table:
        table = super().table(start, stop, questions=questions)
        return table.append_column("more", table["index"])


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (Wrong(), "rows 0 to 9"),
        (Short(), "gave 9 rows"),
        (Untyped(), "'complexity' as int64"),
        (Extra(), "'more'"),
        (Holed(), "without caption"),
    ],
)
def test_source_that_breaks_its_word_is_found_out(tmp_path: Path, source: FakeSource, message: str) -> None:
    with pytest.raises(RecordError, match=message):
        generate(source, 10, tmp_path, quiet=True)
    assert [path.name for path in tmp_path.iterdir()] == [".progress"]
