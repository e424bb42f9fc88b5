from __future__ import annotations

import csv
import importlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

if str(Path(__file__).parent) not in sys.path:
    sys.path.append(str(Path(__file__).parent))

from hostile import hostile, moving, saved
from standins import Redness, red_of

from anyscene.errors import AnySceneError, Interrupted, ModelError, RecordError, RunError, SpecError
from anyscene.moderation.findings import Finding, read_findings
from anyscene.moderation.listing import Listing
from anyscene.moderation.opening import SCORED, OpeningLimits, open_picture
from anyscene.moderation.scan import ScanSummary, check_scanner, scan, scan_pictures

HOSTILE = hostile()


def red(level: int, side: int = 32) -> bytes:
    return saved(Image.new("RGB", (side, side), (level, 0, 0)))


def fill(folder: Path, *levels: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for level in levels:
        (folder / f"{level:03}.png").write_bytes(red(level))


def lines_of(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.read_text().splitlines()]


@pytest.fixture
def uploads(tmp_path: Path) -> Path:
    folder = tmp_path / "uploads"
    folder.mkdir()
    for name, (data, _) in HOSTILE.items():
        (folder / name).write_bytes(data)
    os.mkfifo(folder / "pipe.png")
    (folder / "circle.png").symlink_to(folder / "circle.png")
    (folder / "self").symlink_to(folder)
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "deep" / "er" / os.fsdecode(b"caf\xe9.png")).write_bytes(red(255))
    return folder


# Every file its line


def test_every_hostile_file_gets_one_line_with_its_verdict(uploads: Path, tmp_path: Path) -> None:
    detector = Redness()
    summary = scan([uploads], detector, tmp_path / "results.jsonl", workers=2)
    found = {Path(line["path"]).name: line for line in lines_of(tmp_path / "results.jsonl")}
    assert summary.files == len(found) == len(HOSTILE) + 4
    assert {name: found[name]["verdict"] for name in HOSTILE} == {name: verdict for name, (_, verdict) in HOSTILE.items()}
    assert (found["pipe.png"]["verdict"], found["circle.png"]["verdict"], found["self"]["verdict"]) == (
        "not_a_file",
        "unreadable",
        "not_a_file",
    )
    assert (found["caf\\xe9.png"]["verdict"], found["caf\\xe9.png"]["score"], found["caf\\xe9.png"]["generated"]) == ("ok", 1.0, True)
    for name, line in found.items():
        assert (line["score"] is not None) == (line["verdict"] in SCORED) == (line["generated"] is not None), name
        if line["score"] is not None and name in HOSTILE:
            assert line["score"] == red_of(open_picture(HOSTILE[name][0]).pictures[0])
            assert line["generated"] == (line["score"] > 0.5)
    assert sum(summary.verdicts.values()) == summary.files
    assert summary.scored == sum(line["score"] is not None for line in found.values()) == sum(map(len, detector.asked))
    assert summary.generated == sum(line["generated"] is True for line in found.values())


def test_lines_come_in_one_order_whatever_the_workers_and_batches(uploads: Path, tmp_path: Path) -> None:
    outs = []
    for workers, batch in ((1, 1), (3, 7), (2, 64)):
        outs.append(tmp_path / f"{workers}.jsonl")
        scan([uploads], Redness(), outs[-1], workers=workers, batch=batch)
    assert len({out.read_bytes() for out in outs}) == 1
    paths = [line["path"] for line in lines_of(outs[0])]
    assert paths == sorted(paths, key=os.fsencode)
    assert len({out.with_name(out.name + ".scan.json").read_bytes() for out in outs}) == 1


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_results_read_back_as_they_were_found(uploads: Path, tmp_path: Path, suffix: str) -> None:
    scan([uploads], Redness(), tmp_path / f"results.{suffix}")
    assert list(read_findings(tmp_path / f"results.{suffix}")) == list(scan_pictures([uploads], Redness()))
    if suffix == "csv":
        with open(tmp_path / "results.csv", newline="") as file:
            assert next(csv.reader(file))[:5] == ["path", "sha256", "verdict", "score", "generated"]
    if suffix == "parquet":
        assert pq.read_table(tmp_path / "results.parquet").column_names[:5] == ["path", "sha256", "verdict", "score", "generated"]


def test_a_name_that_a_spreadsheet_would_run_is_a_text_in_csv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("=cmd|' c'!A0.png").write_bytes(red(9))
    scan(["=cmd|' c'!A0.png"], Redness(), Path("results.csv"))
    assert Path("results.csv").read_text().splitlines()[1].startswith("'=cmd")
    assert next(read_findings(Path("results.csv"))).path == "=cmd|' c'!A0.png"


def test_frames_of_a_moving_picture_are_scored_together(tmp_path: Path) -> None:
    (tmp_path / "moving.png").write_bytes(moving("PNG", 5))
    (first,) = scan_pictures([tmp_path], Redness())
    (all_of_them,) = scan_pictures([tmp_path], Redness(), limits=OpeningLimits(frames=5))
    assert (first.verdict, first.score) == ("animated", 0.0)
    assert all_of_them.score == pytest.approx(80 / 255)


# What is scanned


def test_files_folders_and_patterns_are_listed_once(tmp_path: Path) -> None:
    fill(tmp_path / "a" / "b", 1, 2)
    fill(tmp_path / "a", 3)
    (tmp_path / "a" / "[odd].png").write_bytes(red(4))

    def found(*paths: Path | str) -> list[str]:
        return [os.path.relpath(one.path, tmp_path) for one in Listing([str(path) for path in paths], 10**6)]

    assert found(tmp_path / "a") == ["a/003.png", "a/[odd].png", "a/b/001.png", "a/b/002.png"]
    assert found(tmp_path / "a" / "b", tmp_path / "a", tmp_path / "a") == found(tmp_path / "a")
    assert found(tmp_path / "a" / "b" / "*2.png", tmp_path / "a" / "b" / "001.png") == ["a/b/002.png", "a/b/001.png"]
    assert found(tmp_path / "**" / "*.png") == ["a/003.png", "a/[odd].png", "a/b/001.png", "a/b/002.png"]
    assert found(tmp_path / "a" / "[odd].png") == ["a/[odd].png"]
    assert Listing([tmp_path / "a"], 10**6).count() == 4


@pytest.mark.parametrize(("path", "said"), [("nowhere", "no such file"), ("*.png", "no file fits"), ("", "an empty name")])
def test_a_path_that_is_not_there_is_said_before_anything_is_scanned(tmp_path: Path, path: str, said: str) -> None:
    fill(tmp_path / "a", 1)
    with pytest.raises(SpecError, match=said):
        scan([tmp_path / "a", str(tmp_path / path) if path else ""], Redness(), tmp_path / "r.jsonl")
    with pytest.raises(SpecError, match="nothing is named"):
        scan([], Redness(), tmp_path / "r.jsonl")
    assert not (tmp_path / "r.jsonl").exists()


def test_a_folder_thousands_deep_and_one_that_may_not_be_listed_stop_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "closed", 1)
    fill(tmp_path / "open", 2)
    plain = os.scandir

    def scandir(path: str) -> Any:
        if os.path.basename(path) == "closed":
            raise PermissionError(13, "Permission denied")
        return plain(path)

    monkeypatch.setattr(os, "scandir", scandir)
    found = list(scan_pictures([tmp_path], Redness()))
    assert [(Path(one.path).name, one.verdict) for one in found] == [("closed", "unreadable"), ("002.png", "ok")]
    assert found[0].notes == ("a folder that cannot be listed: Permission denied",)


def tar_of(path: Path, members: dict[str, bytes]) -> bytes:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            about = tarfile.TarInfo(name)
            about.size = len(data)
            tar.addfile(about, io.BytesIO(data))
    return path.read_bytes()


def test_the_pictures_of_a_webdataset_are_scanned_and_their_captions_counted(tmp_path: Path) -> None:
    members = {"a/000.jpg": HOSTILE["fine.jpg"][0], "a/000.json": b"{}", "a/000.txt": b"words", "../../001.png": HOSTILE["cut.png"][0]}
    tar_of(tmp_path / "shard-0.tar", members)
    with tarfile.open(tmp_path / "shard-0.tar", "a") as tar:
        link = tarfile.TarInfo("002.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    summary = scan([tmp_path / "shard-0.tar"], Redness(), tmp_path / "r.jsonl")
    found = {line["path"].removeprefix(f"{tmp_path}/"): line["verdict"] for line in lines_of(tmp_path / "r.jsonl")}
    assert found == {"shard-0.tar/a/000.jpg": "ok", "shard-0.tar/../../001.png": "truncated", "shard-0.tar/002.png": "not_a_file"}
    assert summary.companions == 2
    assert Listing([tmp_path / "shard-0.tar"], 10**6).count() == 3


def test_a_damaged_tar_gives_what_it_can_and_says_where_it_breaks_off(tmp_path: Path) -> None:
    whole = tar_of(tmp_path / "s.tar", {f"{number}.png": red(number, 64) for number in range(3)})
    for end in (1500, 1600):  # in the head of the second member, in its data
        (tmp_path / "s.tar").write_bytes(whole[:end])
        found = list(scan_pictures([tmp_path / "s.tar"], Redness()))
        assert [one.verdict for one in found] == ["ok", "damaged"]
        assert found[1].path == str(tmp_path / "s.tar")
    (tmp_path / "s.tar").write_bytes(b"no tar at all")
    assert [one.verdict for one in scan_pictures([tmp_path / "s.tar"], Redness())] == ["not_a_picture"]


def test_a_tar_whose_heads_lie_of_their_length_takes_no_memory(tmp_path: Path) -> None:
    about = tarfile.TarInfo("x.png")
    about.size = 2**40
    head = tarfile.TarInfo("pax")
    head.type, head.size = tarfile.XHDTYPE, 2**40
    for one in (about, head):
        with open(tmp_path / "s.tar", "wb") as file:
            file.write(one.tobuf(tarfile.GNU_FORMAT))
            file.truncate(2**41)
        found = list(scan_pictures([tmp_path / "s.tar"], Redness(), limits=OpeningLimits(file_bytes=10**6)))
        assert [line.verdict for line in found][-1] in ("too_large", "damaged")


# Again


def test_a_second_scan_scores_only_what_is_new_or_has_changed(tmp_path: Path) -> None:
    fill(tmp_path / "in", *range(10, 16))
    (tmp_path / "in" / "words.png").write_bytes(b"words")
    out = tmp_path / "in" / "results.jsonl"
    first = scan([tmp_path / "in"], Redness(), out)
    assert (first.files, first.reused) == (7, 0)
    before = out.read_bytes()
    again = Redness()
    assert scan([tmp_path / "in"], again, out).reused == 7
    assert (again.asked, out.read_bytes()) == ([], before)
    fill(tmp_path / "in", 99)
    (tmp_path / "in" / "010.png").write_bytes(red(200, 40))
    (tmp_path / "in" / "011.png").unlink()
    changed = Redness()
    summary = scan([tmp_path / "in"], changed, out)
    assert changed.asked == [[(40, 40), (32, 32)]]
    assert (summary.files, summary.reused) == (7, 5)
    assert {Path(line["path"]).name: line["score"] for line in lines_of(out)}["010.png"] == pytest.approx(200 / 255)


def test_another_threshold_asks_nobody_again(tmp_path: Path) -> None:
    fill(tmp_path / "in", 50, 150, 250)
    out = tmp_path / "r.parquet"
    assert scan([tmp_path / "in"], Redness(), out).generated == 2
    detector = Redness()
    summary = scan([tmp_path / "in"], detector, out, threshold=0.9)
    assert (summary.generated, detector.asked, summary.expected) == (1, [], None)
    assert [one.generated for one in read_findings(out)] == [False, False, True]


def test_results_of_another_detector_or_of_nobody_are_not_overwritten(tmp_path: Path) -> None:
    fill(tmp_path / "in", 1)
    out = tmp_path / "r.jsonl"
    scan([tmp_path / "in"], Redness(), out)
    with pytest.raises(RunError, match="it differs in detector"):
        scan([tmp_path / "in"], Redness(digest="another"), out)
    with pytest.raises(RunError, match="it differs in limits"):
        scan([tmp_path / "in"], Redness(), out, limits=OpeningLimits(frames=2))
    assert scan([tmp_path / "in"], Redness(), out, limits=OpeningLimits(timeout_s=99)).reused == 1
    (tmp_path / "mine.csv").write_text("my own")
    with pytest.raises(RunError, match="was not written by a scan"):
        scan([tmp_path / "in"], Redness(), tmp_path / "mine.csv")
    assert (tmp_path / "mine.csv").read_text() == "my own"
    with pytest.raises(SpecError, match="must end with one of them"):
        scan([tmp_path / "in"], Redness(), tmp_path / "r.xlsx")
    out.write_text("{}\n")
    with pytest.raises(RecordError, match="no results of a scan"):
        scan([tmp_path / "in"], Redness(), out)


def test_what_may_go_better_is_tried_again(tmp_path: Path) -> None:
    class Failing(Redness):
        def score(self, pictures: Any) -> list[float | None]:
            if any(one.size == (33, 33) for one in pictures):
                raise ZeroDivisionError("a fault")
            return super().score(pictures)

    fill(tmp_path / "in", *range(1, 9))
    (tmp_path / "in" / "odd.png").write_bytes(red(5, 33))
    summary = scan([tmp_path / "in"], Failing(), tmp_path / "r.jsonl")
    assert (summary.verdicts, summary.scored) == ({"ok": 8, "not_scored": 1}, 8)
    assert lines_of(tmp_path / "r.jsonl")[-1]["notes"] == ["ZeroDivisionError: a fault"]
    detector = Redness()
    assert scan([tmp_path / "in"], detector, tmp_path / "r.jsonl").verdicts == {"ok": 9}
    assert detector.asked == [[(33, 33)]]


INTERRUPTED = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from standins import Redness
from anyscene.errors import Interrupted
from anyscene.moderation.scan import scan

class Slow(Redness):
    def score(self, pictures):
        time.sleep(0.1)
        print("asked", flush=True)
        return super().score(pictures)

try:
    scan([sys.argv[1]], Slow(), Path(sys.argv[2]), batch=2)
except Interrupted as stopped:
    print(stopped)
    sys.exit(130)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_scan_that_is_stopped_goes_on_and_ends_the_same(tmp_path: Path, number: int) -> None:
    fill(tmp_path / "in", *range(1, 41))
    out = tmp_path / "r.jsonl"
    command = [sys.executable, "-c", INTERRUPTED, str(tmp_path / "in"), str(out), str(Path(__file__).parent)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for _ in range(5):
        assert process.stdout.readline() == "asked\n"
    process.send_signal(number)
    said = process.stdout.read()
    assert process.wait() == (130 if number == signal.SIGINT else -number)
    assert ("the same command goes on" in said) == (number == signal.SIGINT)
    process.stdout.close()
    assert not out.exists()
    with open(tmp_path / "r.jsonl.parts" / "part-00000.jsonl", "ab") as part:
        part.write(b'{"path": "torn')
    detector = Redness()
    summary = scan([tmp_path / "in"], detector, out)
    assert summary.reused >= 8
    assert sum(map(len, detector.asked)) == 40 - summary.reused
    scan([tmp_path / "in"], Redness(), tmp_path / "whole.jsonl")
    assert out.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert not (tmp_path / "r.jsonl.parts").exists()


def test_two_scans_into_one_file_do_not_mix(tmp_path: Path) -> None:
    fill(tmp_path / "in", 1)
    slow = Redness()
    slow.gate.clear()
    other = threading.Thread(target=scan, args=([tmp_path / "in"], slow, tmp_path / "r.jsonl"))
    other.start()
    try:
        end = time.monotonic() + 10
        while not (tmp_path / "r.jsonl.parts" / "part-00000.jsonl").exists():
            assert time.monotonic() < end
            time.sleep(0.01)
        with pytest.raises(RunError, match="Another process"):
            scan([tmp_path / "in"], Redness(), tmp_path / "r.jsonl")
    finally:
        slow.gate.set()
        other.join()
    assert len(lines_of(tmp_path / "r.jsonl")) == 1


# Detectors


def test_a_detector_that_cannot_be_used_stops_the_scan_and_nothing_is_lost(tmp_path: Path) -> None:
    class Gone(Redness):
        def score(self, pictures: Any) -> list[float | None]:
            if len(self.asked) == 2:
                raise ModelError("no device")
            return super().score(pictures)

    class Broken(Redness):
        def score(self, pictures: Any) -> list[float | None]:
            raise RuntimeError("CUDA")

    fill(tmp_path / "in", *range(1, 41))
    with pytest.raises(ModelError, match="no device"):
        scan([tmp_path / "in"], Gone(), tmp_path / "r.jsonl", batch=4)
    assert scan([tmp_path / "in"], Redness(), tmp_path / "r.jsonl").reused == 8
    with pytest.raises(AnySceneError, match="20 pictures in a row; at the last: CUDA"):
        scan([tmp_path / "in"], Broken(), tmp_path / "s.jsonl", batch=4)


@pytest.mark.parametrize("score", [None, float("nan"), 1.5, -0.1])
def test_what_is_no_score_is_never_a_number(tmp_path: Path, score: float | None) -> None:
    class Odd(Redness):
        def score(self, pictures: Any) -> list[float | None]:
            return [score for _ in pictures]

    fill(tmp_path, 1)
    (found,) = scan_pictures([tmp_path], Odd())
    assert (found.verdict, found.score, found.generated, found.notes) == ("ok", None, None, ("the detector gives it no score",))


def test_the_detector_gets_batches_of_bounded_size(tmp_path: Path) -> None:
    fill(tmp_path, *range(1, 21))
    detector = Redness()
    assert len(list(scan_pictures([tmp_path], detector, batch=6))) == 20
    assert list(map(len, detector.asked)) == [6, 6, 6, 2]
    with pytest.raises(SpecError, match="batch = 0"):
        list(scan_pictures([tmp_path], detector, batch=0))


def test_large_pictures_go_to_the_detector_few_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        importlib.import_module("anyscene.moderation.scan"), "BATCH_PIXELS", 2500
    )  # the package has a function of that name
    fill(tmp_path, *range(1, 6))
    detector = Redness()
    assert len(list(scan_pictures([tmp_path], detector))) == 5
    assert list(map(len, detector.asked)) == [2, 2, 1]


def test_expected_false_positives_are_those_of_the_calibrated_rate(tmp_path: Path) -> None:
    fill(tmp_path / "in", *range(1, 51))
    summary = scan([tmp_path / "in"], Redness(), tmp_path / "r.jsonl")
    assert summary.expected is not None
    assert [summary.expected[name] for name in ("pictures", "pictures_low", "pictures_high")] == pytest.approx([0.5, 0.2, 1.05])
    facts = json.loads((tmp_path / "r.jsonl.scan.json").read_text())
    assert facts["expected"] == summary.expected
    assert (facts["kind"], facts["files"], facts["made_with"]["detector"]) == ("scan", 50, "redness")
    bare = scan([tmp_path / "in"], Redness(facts={}), tmp_path / "s.jsonl")
    assert bare.expected is None
    with pytest.raises(SpecError, match="from 0 to 1"):
        scan([tmp_path / "in"], Redness(), tmp_path / "t.jsonl", threshold=2)


def test_a_detector_of_encodings_is_refused() -> None:
    with pytest.raises(SpecError, match="how files are encoded"):
        check_scanner(Redness(facts={"backbone": {"name": "hand"}}))
    with pytest.raises(SpecError, match="how files are encoded"):
        next(scan_pictures(["."], Redness(facts={"backbone": {"name": "hand"}})))
    check_scanner(Redness())


def test_findings_are_values() -> None:
    one = Finding("a.png", "0" * 64, "ok", 0.5, None, ("note",), "PNG", 3, 4, 5)
    assert Finding.from_dict(one.to_dict()) == one
    assert (one.judged(0.5).generated, one.judged(0.4).generated) == (False, True)
    for wrong in ({"verdict": "fine"}, {"score": "0.5"}, {"path": 3}, {"verdict": "bomb"}):
        with pytest.raises((ValueError, TypeError)):
            Finding.from_dict({**one.to_dict(), **wrong})
    assert isinstance(Interrupted("x"), AnySceneError)
    assert ScanSummary(0, {}, 0, 0, 0, 0, 0.5, None).to_dict()["expected"] is None
