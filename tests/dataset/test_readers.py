from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from fake_source import FakeSource

from anyscene.dataset import FORMATS, count_rows, generate, read_record, read_records, read_table, record_schema
from anyscene.errors import RecordError

SOURCE = FakeSource(num_questions=4)


@pytest.fixture(params=FORMATS)
def dataset(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Rows 10 to 109 in three files."""
    generate(SOURCE, 100, tmp_path / "dataset", start=10, format=request.param, shards=3, quiet=True)
    return tmp_path / "dataset"


def files(dataset: Path) -> list[Path]:
    return sorted(dataset.glob("records-*"))


def test_write_then_read_is_identity(dataset: Path) -> None:
    expected = SOURCE.table(10, 110).to_pylist()
    rows = list(read_records(dataset))
    assert [list(row) for row in rows] == [record_schema().names] * 100
    for row, wanted in zip(rows, expected, strict=True):
        assert np.float32(row.pop("plausibility")) == np.float32(wanted.pop("plausibility"))
    assert rows == expected


def test_table_is_that_of_the_source(dataset: Path) -> None:
    table = read_table(dataset)
    assert table.equals(SOURCE.table(10, 110).cast(record_schema()))
    assert table.schema == record_schema()


def test_single_files_read_like_their_folder(dataset: Path) -> None:
    rows = [row for path in files(dataset) for row in read_records(path)]
    assert rows == list(read_records(str(dataset)))
    assert [count_rows(path) for path in files(dataset)] == [33, 33, 34]
    assert count_rows(dataset) == 100
    assert read_table(files(dataset)[1])["index"].to_pylist() == list(range(43, 76))


@pytest.mark.parametrize("index", [10, 42, 43, 77, 109])
def test_one_record_by_its_index(dataset: Path, index: int) -> None:
    expected = list(read_records(dataset))[index - 10]
    assert read_record(dataset, index) == expected
    [path] = [path for path in files(dataset) if index in read_table(path)["index"].to_pylist()]
    assert read_record(path, index) == expected


@pytest.mark.parametrize("index", [-1, 9, 110, 10**12])
def test_record_that_is_not_there_is_an_error(dataset: Path, index: int) -> None:
    with pytest.raises(RecordError, match="10 to 109"):
        read_record(dataset, index)
    with pytest.raises(RecordError, match="no record of index"):
        read_record(files(dataset)[0], index)


def test_missing_and_cut_off_files_are_named(dataset: Path) -> None:
    path = files(dataset)[1]
    data = path.read_bytes()
    for kept in (len(data) - 1500, len(data) // 2, 100, 0):
        path.write_bytes(data[:kept])
        with pytest.raises(RecordError, match=path.name):
            list(read_records(dataset))
        with pytest.raises(RecordError, match=path.name):
            read_table(dataset)
    path.unlink()
    with pytest.raises(RecordError, match=rf"{path.name} is missing"):
        list(read_records(dataset))


def test_files_of_noise_are_errors(dataset: Path) -> None:
    path = files(dataset)[0]
    path.write_bytes(b"\x93\x00noise\n" * 500)
    for read in (lambda: list(read_records(path)), lambda: read_table(path), lambda: read_record(path, 10)):
        with pytest.raises(RecordError, match=path.name):
            read()


def test_paths_that_are_no_dataset(tmp_path: Path) -> None:
    for path, message in ((tmp_path / "none", "no file or folder"), (tmp_path, "not a dataset")):
        with pytest.raises(RecordError, match=message):
            list(read_records(path))
    (tmp_path / "a.csv").write_text("id")
    with pytest.raises(RecordError, match=r"\.parquet, \.jsonl, \.tar"):
        count_rows(tmp_path / "a.csv")
    (tmp_path / ".progress").write_text("{}\n")
    with pytest.raises(RecordError, match="unfinished run"):
        count_rows(tmp_path)
    (tmp_path / "run.json").write_text('{"kind": "evaluation"}')
    with pytest.raises(RecordError, match="'evaluation'"):
        count_rows(tmp_path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not valid JSON"),
        ("[1]", "this is a list"),
        ("null", "this is a NoneType"),
        ("", "not valid JSON"),
        ('{"id": "a"}', "lacks index, caption"),
        ("\udc80", "not valid JSON"),
    ],
)
def test_bad_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    [path] = generate(SOURCE, 5, tmp_path, format="jsonl", quiet=True).paths
    lines = path.read_bytes().split(b"\n")
    lines[2] = line.encode(errors="surrogateescape")
    path.write_bytes(b"\n".join(lines))
    for read in (lambda: list(read_records(path)), lambda: read_table(path)):
        with pytest.raises(RecordError, match=rf"{path.name}, line 3: .*{message}"):
            read()


def test_filtered_lines_are_still_found_by_index(tmp_path: Path) -> None:
    [path] = generate(SOURCE, 20, tmp_path, format="jsonl", quiet=True).paths
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[3::5]))
    assert [read_record(path, index)["index"] for index in (3, 8, 18)] == [3, 8, 18]
    with pytest.raises(RecordError):
        read_record(path, 9)


def test_parquet_without_the_columns_of_a_record(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(SOURCE.table(0, 5).drop_columns(["caption", "index"]), path)
    for read in (lambda: list(read_records(path)), lambda: read_table(path), lambda: read_record(path, 0)):
        with pytest.raises(RecordError, match="index, caption"):
            read()


def test_more_columns_than_a_record_has_are_left_out(tmp_path: Path) -> None:
    table = SOURCE.table(0, 5)
    pq.write_table(table.append_column("split", table["id"]), tmp_path / "a.parquet")
    assert read_table(tmp_path / "a.parquet").schema == record_schema()
    [path] = generate(SOURCE, 5, tmp_path / "out", format="jsonl", quiet=True).paths
    path.write_text("".join(json.dumps({**json.loads(line), "split": "train"}) + "\n" for line in path.read_text().splitlines()))
    assert list(read_records(path)) == list(read_records(tmp_path / "a.parquet"))
    assert read_table(path).equals(read_table(tmp_path / "a.parquet"))
