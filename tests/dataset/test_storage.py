"""Datasets on file systems that are none of this machine's: the same bytes, and nothing half-written whatever happens."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from fake_source import FakeSource

from anyscene.dataset import FORMATS, count_rows, generate, read_record, read_records, read_table
from anyscene.dataset.places import RemotePath, path_or_uri
from anyscene.errors import MissingExtraError, RecordError, RunError

fsspec = pytest.importorskip("fsspec")
from fsspec.implementations.memory import MemoryFileSystem  # noqa: E402 - only where it is installed

SOURCE = FakeSource(num_questions=4)


class Bucket(MemoryFileSystem):  # type: ignore[misc]
    """An object store: an object appears when it is closed, nothing can be renamed. It fails when told to."""

    protocol = "bucket"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    cachable = False
    failing: ClassVar[dict[str, int]] = {}
    """How many bytes may still be written to files with this in their name."""

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path.replace("bucket://", "memory://")))

    def mv(self, *_: Any, **__: Any) -> None:
        raise NotImplementedError("there are no renames")

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        file = super()._open(path, mode, **options)
        if "b" in mode and "r" not in mode:
            limits = [name for name in self.failing if name in path]
            write = file.write

            def limited(data: Any) -> int:
                for name in limits:
                    self.failing[name] -= len(data)
                    if self.failing[name] < 0:
                        raise ConnectionResetError("the service has gone away\nand says so in two lines")
                return int(write(data))

            file.write = limited
        return file


@pytest.fixture(autouse=True)
def bucket() -> Iterator[type[Bucket]]:
    fsspec.register_implementation("bucket", Bucket, clobber=True)
    yield Bucket
    for kind in (Bucket, MemoryFileSystem):
        kind.store.clear()
        kind.pseudo_dirs[:] = [""]
    Bucket.failing.clear()


def here(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def there(folder: str, kind: type[MemoryFileSystem] = Bucket) -> dict[str, bytes]:
    """What the store holds below a folder."""
    return {
        path.removeprefix(f"/{folder}/"): file.getvalue() for path, file in sorted(kind.store.items()) if path.startswith(f"/{folder}/")
    }


@pytest.mark.parametrize("format", FORMATS)
def test_every_place_has_the_same_bytes_and_gives_the_same_rows(tmp_path: Path, format: str) -> None:
    local, uri = tmp_path / "local", f"file://{tmp_path}/uri"
    for place in (local, uri, "memory://a/b", "bucket://a/b"):
        info = generate(SOURCE, 97, place, format=format, shards=3, quiet=True)
        assert read_table(place).equals(read_table(local))
        assert list(read_records(place)) == list(read_records(local))
        assert (count_rows(place), count_rows(info.paths[1])) == (97, 32)
        assert read_record(place, 50) == read_record(local, 50)
        assert generate(SOURCE, 97, place, format=format, quiet=True).rows_made == 0
    assert here(local) == here(tmp_path / "uri") == there("a/b") == there("a/b", MemoryFileSystem)


def test_workers_write_to_a_shared_place_themselves(tmp_path: Path) -> None:
    generate(SOURCE, 30, tmp_path / "local", shards=3, quiet=True)
    generate(SOURCE, 30, f"file://{tmp_path}/uri", shards=3, workers=2, quiet=True)
    assert here(tmp_path / "local") == here(tmp_path / "uri")
    with pytest.raises(RunError, match="not to be seen from here"):  # the memory of a worker is its own
        generate(SOURCE, 30, "memory://a", shards=3, workers=2, quiet=True)


def test_a_run_cut_off_goes_on_and_ends_as_if_unbroken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    generate(SOURCE, 40, tmp_path, shards=4, quiet=True)
    with pytest.raises(ZeroDivisionError):
        generate(FakeSource(num_questions=4, fail_at=25), 40, "bucket://run", shards=4, quiet=True)
    left = there("run")
    shards = ["records-00000-of-00004.parquet", "records-00001-of-00004.parquet"]
    assert list(left) == [
        ".progress/records-00000-of-00004.parquet.json",
        ".progress/records-00001-of-00004.parquet.json",
        ".progress/run.json",
        *shards,
    ]
    with pytest.raises(RecordError, match="unfinished run"):
        read_table("bucket://run")
    assert generate(SOURCE, 40, "bucket://run").rows_made == 20
    assert "Going on with bucket://run: 20 of 40 rows are there." in capsys.readouterr().err
    assert there("run") == here(tmp_path)


@pytest.mark.parametrize("name", ["records-00002", "records-00002-of-00004.parquet.json", "run.json", ".progress/.run.json"])
@pytest.mark.parametrize("after", [0, 10])
def test_a_service_that_goes_away_is_one_line_and_leaves_nothing_half_written(tmp_path: Path, name: str, after: int) -> None:
    generate(SOURCE, 40, tmp_path, shards=4, quiet=True)
    Bucket.failing[name] = after
    with pytest.raises(RunError, match=r"Cannot use bucket://run\S*: the service has gone away and says so.*same command again") as caught:
        generate(SOURCE, 40, "bucket://run", shards=4, quiet=True)
    assert "\n" not in str(caught.value)
    whole = here(tmp_path)
    assert {key: content for key, content in there("run").items() if key.startswith("records") and content != whole[key]} == {}
    assert not [key for key in there("run") if key.endswith(".tmp")]
    Bucket.failing.clear()
    generate(SOURCE, 40, "bucket://run", shards=4, quiet=True)
    assert there("run") == whole


def test_what_a_killed_writer_left_is_cleared_and_what_it_did_not_finish_is_made_again(tmp_path: Path) -> None:
    generate(SOURCE, 40, tmp_path / "whole", shards=4, quiet=True)
    out = tmp_path / "out"
    with pytest.raises(ZeroDivisionError):
        generate(FakeSource(num_questions=4, fail_at=25), 40, f"file://{out}", shards=4, quiet=True)
    (out / ".records-00002-of-00004.parquet.0123456789abcdef.tmp").write_bytes(b"half")
    (out / "records-00003-of-00004.parquet").write_bytes(b"moved, and not on record")
    (out / "records-00001-of-00004.parquet").write_bytes(b"cut short")
    assert generate(SOURCE, 40, f"file://{out}", shards=4, quiet=True).rows_made == 30
    assert here(out) == here(tmp_path / "whole")


def test_a_missing_file_of_a_complete_run_is_made_again() -> None:
    generate(SOURCE, 40, "bucket://run", shards=4, quiet=True)
    before = there("run")
    del Bucket.store["/run/records-00002-of-00004.parquet"]
    assert generate(SOURCE, 40, "bucket://run", shards=4, quiet=True).rows_made == 10
    assert there("run") == before


def test_records_of_another_writer_are_not_mixed_in() -> None:
    with pytest.raises(ZeroDivisionError):
        generate(FakeSource(num_questions=4, fail_at=25), 40, "bucket://run", shards=4, quiet=True)
    header = json.loads(Bucket.store["/run/.progress/run.json"].getvalue())
    header["writer"]["pyarrow"] = "0"
    fsspec.filesystem("bucket").pipe("/run/.progress/run.json", json.dumps(header).encode())
    assert generate(SOURCE, 40, "bucket://run", shards=4, quiet=True).rows_made == 40


def test_another_run_is_refused_and_overwritten_on_demand() -> None:
    generate(SOURCE, 30, "bucket://run", shards=3, quiet=True)
    before = there("run")
    with pytest.raises(RunError, match=r"bucket://run belongs to another run \(n: 30 there, 31 asked for\).*--overwrite"):
        generate(SOURCE, 31, "bucket://run", shards=3, quiet=True)
    assert there("run") == before
    fsspec.filesystem("bucket").pipe("/run/notes.txt", b"mine")
    generate(SOURCE, 5, "bucket://run", format="jsonl", overwrite=True, quiet=True)
    assert list(there("run")) == ["notes.txt", "records-00000-of-00001.jsonl", "run.json"]
    fsspec.filesystem("bucket").pipe("/other/run.json", b'{"kind": "evaluation"}')
    for overwrite in (False, True):
        with pytest.raises(RunError, match="'evaluation'"):
            generate(SOURCE, 5, "bucket://other", overwrite=overwrite, quiet=True)
    fsspec.filesystem("bucket").pipe("/stray/records-00000-of-00001.parquet", b"?")
    with pytest.raises(RunError, match="unknown run"):
        generate(SOURCE, 5, "bucket://stray", quiet=True)


def test_a_file_that_is_not_all_there_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def lossy(self: Bucket, path: str, *_: Any, **__: Any) -> None:
        raise NotImplementedError

    monkeypatch.setattr(Bucket, "mv", lossy)
    monkeypatch.setattr("anyscene.dataset.storage._COPIED_AT_ONCE", 0)  # a copy that copies nothing
    with pytest.raises(RunError, match="bytes were written, and 0 are there"):
        generate(SOURCE, 5, "bucket://run", quiet=True)


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("s9://bucket/scenes", "Cannot use s9://bucket/scenes.*Unrecognized filesystem"),
        ("file://data/scenes", "three slashes"),
        ("memory://", "names no folder"),
        ("bucket://taken/file", "it is a file"),
    ],
)
def test_uris_that_name_no_folder_are_told(uri: str, message: str) -> None:
    fsspec.filesystem("bucket").pipe("/taken/file", b"mine")
    with pytest.raises(RunError, match=message) as caught:
        generate(SOURCE, 5, uri, quiet=True)
    assert "\n" not in str(caught.value)


def test_fsspec_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(MissingExtraError, match=r"anyscene\[fsspec\]"):
        generate(SOURCE, 5, "never://seen/before", quiet=True)


def test_keys_in_a_uri_are_never_shown() -> None:
    place = RemotePath("s3://KEY:SECRET@bucket/scenes?endpoint_override=host:9000") / "run.json"
    assert str(place) == "s3://bucket/scenes/run.json"
    assert place.path == "bucket/scenes/run.json"


@pytest.mark.parametrize("path", ["scenes", "C://scenes", "a/b://c", ".", "memory:/x"])
def test_a_path_is_a_path(path: str) -> None:
    assert path_or_uri(path) == Path(path)


@pytest.mark.parametrize("format", FORMATS)
def test_damaged_and_missing_files_are_told(format: str) -> None:
    info = generate(SOURCE, 20, "bucket://run", format=format, shards=2, quiet=True)
    fsspec.filesystem("bucket").pipe(f"/run/{info.files[1].name}", b"\x00?")
    with pytest.raises(RecordError, match=rf"bucket://run/{info.files[1].name}"):
        list(read_records("bucket://run"))
    del Bucket.store[f"/run/{info.files[1].name}"]
    with pytest.raises(RecordError, match="is missing"):
        read_table("bucket://run")
    with pytest.raises(RecordError, match="no file or folder bucket://nothing"):
        read_table("bucket://nothing")
    assert hashlib.sha256(there("run")[info.files[0].name]).hexdigest() == info.files[0].sha256
