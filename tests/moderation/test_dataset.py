"""The data set's folder: read back as written, damage named, splits that never move."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from anyscene.dataset.schema import record_schema
from anyscene.errors import RecordError, RunError, SpecError
from anyscene.moderation import DetectorData, Picture, open_dataset
from anyscene.moderation.dataset import check_shares, pictures_schema, split_of, store_audit, write_dataset


def small(folder: Path) -> DetectorData:
    pictures = []
    for place in range(6):
        file = f"pictures/{'real' if place % 2 else 'm'}/{place}.png"
        data = f"bytes {place}".encode()
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(data)
        split = ("train", "train", "test")[place // 2]
        label, generator = ("real", "") if place % 2 else ("generated", "m")
        pictures.append(Picture(hashlib.sha256(data).hexdigest(), file, label, generator, split, f"g{place // 2}", "", "", 8, 8, "png", ""))
    return write_dataset(folder, pictures[::-1], record_schema().empty_table(), {"real": {}, "generators": {"m": {}}})


def test_what_is_written_is_read_back_in_the_order_of_files(tmp_path: Path) -> None:
    data = small(tmp_path)
    again = open_dataset(tmp_path)
    assert again.pictures == data.pictures
    assert [one.file for one in again.pictures] == sorted(one.file for one in again.pictures)
    assert pq.read_schema(tmp_path / "pictures.parquet").equals(pictures_schema())
    assert set(asdict(again.pictures[0])) == set(pictures_schema().names)
    assert again.generators == ("m",) and again.records == {}
    assert again.manifest["counts"] == {"real": {"train": 2, "validation": 0, "test": 1}, "m": {"train": 2, "validation": 0, "test": 1}}


def test_pictures_are_chosen_by_label_generator_and_split(tmp_path: Path) -> None:
    data = small(tmp_path)
    assert len(data.select(label="real")) == 3
    assert len(data.select(generator="m", split="train")) == 2
    assert data.select(split="validation") == ()
    for wrong in ({"label": "fake"}, {"generator": "other"}, {"split": "dev"}):
        with pytest.raises(SpecError, match=next(iter(wrong))):
            data.select(**wrong)


def test_a_changed_picture_table_or_manifest_is_named(tmp_path: Path) -> None:
    data = small(tmp_path)
    assert data.data(data.pictures[0]) == b"bytes 0"
    data.path(data.pictures[0]).write_bytes(b"others")
    data.path(data.pictures[1]).unlink()
    for one in data.pictures[:2]:
        with pytest.raises(RecordError, match=one.file.rpartition("/")[2]):
            data.data(one)
    (tmp_path / "pictures.parquet").write_bytes(b"nothing")
    with pytest.raises(RecordError, match=r"pictures\.parquet is missing or damaged"):
        _ = open_dataset(tmp_path).pictures
    (tmp_path / "dataset.json").write_text('{"kind": "dataset"}')
    with pytest.raises(RunError, match="its kind is 'dataset'"):
        open_dataset(tmp_path)


def test_an_unfinished_folder_and_a_missing_one_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "a" / "pictures").mkdir(parents=True)
    with pytest.raises(RunError, match="not finished"):
        open_dataset(tmp_path / "a")
    with pytest.raises(RunError, match="no such folder"):
        open_dataset(tmp_path / "b")


def test_an_audit_is_kept_without_changing_what_data_these_are(tmp_path: Path) -> None:
    data = small(tmp_path)
    assert data.audit is None
    audited = store_audit(data, {"biased": False})
    assert audited.digest == data.digest
    assert audited.audit is not None and audited.audit["biased"] is False
    text = (tmp_path / "dataset.json").read_text().replace('"m": {}', '"m": {"pictures": 3}')
    (tmp_path / "dataset.json").write_text(text)
    changed = open_dataset(tmp_path)
    assert changed.digest != data.digest
    assert changed.audit is None  # it was of other data


def test_groups_fall_into_splits_by_their_shares_and_never_move() -> None:
    shares = (0.7, 0.1, 0.2)
    found = {f"group {number}": split_of(f"group {number}", shares, seed=3) for number in range(5000)}
    counts = Counter(found.values())
    assert counts["train"] / 5000 == pytest.approx(0.7, abs=0.02)
    assert counts["validation"] / 5000 == pytest.approx(0.1, abs=0.02)
    assert all(split_of(group, shares, seed=3) == split for group, split in found.items())
    other = [split_of(group, shares, seed=4) for group in found]
    assert 0.4 < sum(one == two for one, two in zip(other, found.values(), strict=True)) / 5000 < 0.7


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.9, 0.2, 0.2), (0, 0.5, 0.5), (1, -0.5, 0.5), (0.8, 0.2, 0.0)])
def test_shares_that_are_none_are_refused(shares: tuple[float, ...]) -> None:
    with pytest.raises(SpecError, match="shares"):
        check_shares(shares)
