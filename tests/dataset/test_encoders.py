from __future__ import annotations

import io
import json
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fake_source import FakeSource

from anyscene.dataset import FORMATS, record_schema
from anyscene.dataset.source import records_between
from anyscene.errors import RecordError


def encoded(format: str, *tables: pa.Table) -> bytes:
    encoder = FORMATS[format].encoder()
    parts = [bytes(part) for table in tables for part in encoder.encode(table)]
    return b"".join([*parts, *(bytes(part) for part in encoder.finish())])


def test_parquet_holds_plain_strings_and_a_row_group_per_table() -> None:
    source = FakeSource()
    file = pq.ParquetFile(io.BytesIO(encoded("parquet", source.table(0, 50), source.table(50, 70))))
    assert file.num_row_groups == 2
    assert file.schema_arrow.equals(record_schema(), check_metadata=True)
    assert file.metadata.metadata is None
    assert file.read().equals(FakeSource(dictionaries=False).table(0, 70).cast(record_schema()))


def test_parquet_takes_tables_of_changing_encodings() -> None:
    first, second = FakeSource(), FakeSource(dictionaries=False)
    for sources in ((first, second), (second, first)):
        data = encoded("parquet", *(source.table(i * 20, i * 20 + 20) for i, source in enumerate(sources)))
        assert pq.read_table(io.BytesIO(data)).equals(second.table(0, 40).cast(record_schema()))


class Odd(FakeSource):
    """Dictionaries with a null entry, and one per chunk of rows."""

    def table(self, start: int, stop: int, *, questions: bool = True) -> pa.Table:
        tables = []
        for i in range(start, stop):
            table = super().table(i, i + 1, questions=questions)
            names = pa.DictionaryArray.from_arrays(pa.array([1], pa.int32()), pa.array([None, f"m{i}"]))
            tables.append(table.set_column(5, "modality", names))
        return pa.concat_tables(tables)


@pytest.mark.parametrize("format", FORMATS)
def test_odd_dictionaries_are_written(format: str) -> None:
    table = records_between(Odd(), 0, 6, questions=True)
    assert len(encoded(format, table)) > 1000
    read = pq.read_table(io.BytesIO(encoded("parquet", table)))
    assert read["modality"].to_pylist() == ["m0", "m1", "m2", "m3", "m4", "m5"]


def test_tar_is_as_python_reads_it_and_knows_no_clock() -> None:
    table = FakeSource().table(0, 40)
    data = encoded("webdataset", table)
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:", errorlevel=2) as archive:
        members = archive.getmembers()
        contents = [archive.extractfile(member).read().decode() for member in members]  # type: ignore[union-attr]
    ids = table["id"].to_pylist()
    assert [member.name for member in members] == [name for id in ids for name in (f"{id}.txt", f"{id}.json")]
    assert {(member.mtime, member.uid, member.gid, member.mode, member.uname, member.isfile()) for member in members} == {
        (0, 0, 0, 0o644, "", True)
    }
    assert contents[::2] == table["caption"].to_pylist()
    assert [json.loads(text)["graph"] for text in contents[1::2]] == table["graph"].to_pylist()
    assert [json.loads(text)["questions"] for text in contents[1::2]] == table["questions"].to_pylist()
    assert len(data) % 512 == 0 and data.endswith(bytes(1024))


def test_header_is_what_python_would_write() -> None:
    table = FakeSource().table(3, 4)
    member = tarfile.TarInfo(f"{table['id'][0]}.txt")
    member.size = len(table["caption"][0].as_py().encode())
    assert encoded("webdataset", table)[:512] == member.tobuf(tarfile.USTAR_FORMAT)


@pytest.mark.parametrize("id", ["a.b", "a/b", "", "x" * 91, "é"])
def test_ids_that_cannot_name_a_member_are_refused(id: str) -> None:
    table = FakeSource().table(0, 2)
    table = table.set_column(0, "id", pa.array(["fine", id]))
    with pytest.raises(RecordError, match="1 to 90"):
        encoded("webdataset", table)
