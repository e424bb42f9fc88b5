import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyscene.errors import MediaError, RunError
from anyscene.media import Media, MediaEntry, MediaFolder, media_schema


def made(folder, number):
    media = Media.of_image(np.full((4, 4, 3), number, dtype=np.uint8))
    name = folder.file_name(number, f"r{number}", 0, ".png")
    folder.write(name, media)
    return MediaEntry(f"r{number}", number, 0, 7 + number, name, media.sha256, "made", details='{"truth": {}}')


@pytest.fixture
def folder(tmp_path):
    return MediaFolder(tmp_path)


def test_entries_read_back_as_they_were_appended(folder):
    entries = [made(folder, number) for number in range(3)]
    folder.append(entries[:2])
    folder.append(entries[2:])
    assert folder.entries() == entries
    assert folder.table().schema == media_schema()
    assert folder.table().column("index").to_pylist() == [0, 1, 2]


def test_a_line_torn_by_a_crash_is_dropped_and_the_next_one_is_whole(folder):
    first, second = made(folder, 1), made(folder, 2)
    folder.append([first])
    with open(folder.manifest, "ab") as file:
        file.write(b'{"record_id": "r2", "ind')
    assert folder.entries() == [first]
    folder.append([second])
    assert folder.entries() == [first, second]


def test_a_later_line_on_the_same_media_replaces_an_earlier_one(folder):
    failed = MediaEntry("r1", 1, 0, 8, "", None, "failed", "no memory")
    folder.append([failed])
    again = made(folder, 1)
    folder.append([again])
    assert folder.entries() == [again]


def test_a_damaged_line_is_named_with_its_number(folder):
    folder.append([made(folder, 1)])
    folder.manifest.write_bytes(folder.manifest.read_bytes() + b"{}\n")
    with pytest.raises(RunError, match=r"manifest\.jsonl, line 2"):
        folder.entries()


words = st.text(max_size=8)
whole = st.integers(0, 2**40)
entries_of_any_kind = st.builds(
    MediaEntry, words, whole, st.integers(0, 3), whole, words, st.none() | words, st.sampled_from(["made", "failed"]), words, words
)


@given(st.lists(entries_of_any_kind, max_size=6))
def test_the_table_is_that_of_the_entries(tmp_path_factory, entries):
    folder = MediaFolder(tmp_path_factory.mktemp("media"))
    folder.append(entries)
    assert folder.table().equals(folder.table(folder.entries()))


@pytest.mark.parametrize(
    "line",
    [
        b'{"record_id": "r2", "index": 2, "sample": 0, "seed": 1, "file": "", "sha256": null, "status": "failed"}\n',  # no reason: fine
        b'{"record_id": "r2", "index": 2, "sample": 0, "seed": 1, "file": "", "sha256": null, "status": "failed", "reason": ""',  # torn
    ],
)
def test_the_table_takes_what_the_entries_take(folder, line):
    folder.append([made(folder, 1)])
    folder.manifest.write_bytes(folder.manifest.read_bytes() + line)
    table = folder.table()
    assert table.equals(folder.table(folder.entries()))
    assert table["record_id"].to_pylist() == (["r1", "r2"] if line.endswith(b"\n") else ["r1"])


@pytest.mark.parametrize(
    "line", [b"{}", b"", b"[]", b"{", b'{"record_id": "r2", "mood": 1}', b'{"record_id": "r2"} {"record_id": "r3"}', b"\xff"]
)
def test_a_damaged_line_is_named_by_the_table_too(folder, line):
    folder.append([made(folder, 1)])
    folder.manifest.write_bytes(folder.manifest.read_bytes() + line + b"\n")
    with pytest.raises(RunError, match=r"manifest\.jsonl, line 2"):
        folder.table()


@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_a_damaged_media_file_is_named_and_never_judged(folder, damage):
    entry = made(folder, 1)
    path = folder.path / entry.file
    data = bytearray(path.read_bytes())
    if damage == "remove":
        path.unlink()
    else:
        data[len(data) // 2] ^= 1
        path.write_bytes(bytes(data) if damage == "flip" else bytes(data[:20]))
    assert entry.file in str(folder.problem(entry))
    with pytest.raises(MediaError, match=r"r1-0\.png.*Paint the run again"):
        folder.read(entry)


def test_whole_media_have_no_problem_and_read_back(folder):
    entry = made(folder, 3)
    assert folder.problem(entry) is None
    assert folder.read(entry).array()[0, 0].tolist() == [3, 3, 3]


def test_an_entry_is_one_line_whatever_its_words(folder):
    entry = MediaEntry("r", 0, 0, 1, "", None, "failed", 'a "quote"\u2028 and é', json.dumps({"a": "\n"}))
    folder.append([entry])
    assert folder.entries() == [entry]
