from __future__ import annotations

import io
import json
import os
import random
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

if str(Path(__file__).parent) not in sys.path:
    sys.path.append(str(Path(__file__).parent))

from hostile import hostile, jpeg_of_size, moving, picture, pixels, png, png_of, saved, text_bomb, with_orientation

from anyscene.errors import RunError, SpecError
from anyscene.moderation.openers import Openers
from anyscene.moderation.opening import SCORED, VERDICTS, Opened, OpeningLimits, open_picture, read_file

HOSTILE = hostile()
MIB = 2**20


def shown(opened: Opened) -> np.ndarray:
    (only,) = opened.pictures
    assert only.mode == "RGB"
    return np.asarray(only)


# Verdicts


@pytest.mark.parametrize("name", HOSTILE)
def test_every_hostile_file_gets_its_verdict(name: str) -> None:
    data, verdict = HOSTILE[name]
    started = time.process_time()
    opened = open_picture(data, name=name)
    assert (opened.verdict, opened.notes if opened.verdict != verdict else ()) == (verdict, ())
    assert time.process_time() - started < 2
    assert bool(opened.pictures) == (verdict in SCORED)
    assert opened.size == len(data)
    assert len(opened.sha256) == 64
    assert all(one.isprintable() and len(one) < 300 for one in opened.notes)


def test_the_hostile_files_meet_every_verdict_that_a_file_alone_can_get() -> None:
    met = {verdict for _, verdict in HOSTILE.values()}
    assert set(VERDICTS) - met == {"unreadable", "not_a_file", "too_slow", "crashed", "not_scored"}


def test_processes_of_their_own_say_the_same_of_every_file(tmp_path: Path) -> None:
    with Openers(2) as openers:
        for name, (data, _) in HOSTILE.items():
            (tmp_path / name).write_bytes(data)
            here, there, of_bytes = open_picture(data, name=name), openers.open(tmp_path / name), openers.open(data, name=name)
            assert here == there == of_bytes, name
            assert [one.tobytes() for one in here.pictures] == [one.tobytes() for one in there.pictures], name


def test_a_name_that_promises_something_else_is_noted_and_the_content_counts() -> None:
    assert open_picture(HOSTILE["wrong.png"][0], name="x.PNG").notes == ("JPEG, named .png",)
    assert open_picture(HOSTILE["fine.png"][0], name="x.png").notes == ()
    assert open_picture(HOSTILE["two.mpo"][0], name="x.jpg").notes == ("holds several pictures; the first is taken",)
    assert open_picture(HOSTILE["page.jpg"][0], name="x.jpg").notes == ("HTML page, named .jpg",)


def test_heads_alone_say_what_decoding_would_give() -> None:
    for name, (data, verdict) in HOSTILE.items():
        head, whole = open_picture(data, name=name, decode=False), open_picture(data, name=name)
        assert not head.pictures
        if verdict in SCORED:
            assert head.verdict == verdict
            assert head.pixels == sum(one.width * one.height for one in whole.pictures)


def test_any_damage_to_any_picture_gives_a_verdict_and_no_more() -> None:
    """Bytes changed, cut out and doubled, from a fixed seed: a process may die of it, we may not."""
    draw, met = random.Random(5), set()
    good = [data for data, verdict in HOSTILE.values() if verdict in SCORED and len(data) < 20_000]
    with Openers(1, OpeningLimits(timeout_s=10)) as openers:
        for _ in range(600):
            data = bytearray(draw.choice(good))
            for _ in range(draw.choice((1, 1, 3, 20))):
                place = draw.randrange(len(data))
                kind = draw.random()
                if kind < 0.6:
                    data[place] = draw.randrange(256)
                elif kind < 0.8:
                    del data[place : place + draw.randrange(1, 60)]
                else:
                    data[place:place] = data[place : place + draw.randrange(1, 60)]
            met.add(openers.open(bytes(data)).verdict)
    assert met <= set(VERDICTS)
    assert {"ok", "truncated", "damaged"} <= met


# Pixels


def test_sixteen_bits_become_the_eight_that_they_stand_for() -> None:
    ramp = np.arange(40 * 48, dtype=np.uint16).reshape(40, 48, 1) * 34
    assert (shown(open_picture(png_of(ramp, 16, 0))) == (ramp >> 8)).all()
    assert (shown(open_picture(HOSTILE["grey16.tif"][0])) == (ramp >> 8)).all()
    assert (shown(open_picture(HOSTILE["grey16.pgm"][0])) == (ramp >> 8)).all()
    assert (shown(open_picture(HOSTILE["rgb16.png"][0])) == pixels()).all()


def test_what_is_transparent_is_put_on_white() -> None:
    clear = np.zeros((40, 48, 4), np.uint8)
    clear[:20, :, 3] = 255
    found = shown(open_picture(saved(Image.fromarray(clear))))
    assert (found[:20] == 0).all()
    assert (found[20:] == 255).all()
    quantized = picture().quantize(16)
    white = np.asarray(quantized) == 3
    found = shown(open_picture(saved(quantized, transparency=3)))
    assert (found[white] == 255).all()
    assert (found[~white] == np.asarray(quantized.convert("RGB"))[~white]).all()


def test_cmyk_and_bits_look_as_they_should() -> None:
    red = Image.new("RGB", (32, 32), (250, 10, 10))
    found = shown(open_picture(saved(red.convert("CMYK"), "JPEG", quality=95)))
    assert np.abs(found.astype(int) - [250, 10, 10]).max() < 12
    bits = picture().convert("1")
    assert (shown(open_picture(saved(bits))) == np.asarray(bits.convert("RGB"))).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_in_exif_is_applied(orientation: int) -> None:
    from PIL import ImageOps

    data = with_orientation(orientation)
    wanted = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    opened = open_picture(data)
    assert (shown(opened) == np.asarray(wanted)).all()
    assert bool(opened.notes) == (orientation > 1)
    assert (opened.width, opened.height) == (48, 40)


def test_a_colour_profile_changes_no_pixel_and_is_noted() -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    opened = open_picture(saved(picture(), icc_profile=profile))
    assert (shown(opened) == pixels()).all()
    assert opened.notes == ("colour profile ignored",)


def test_a_moving_picture_gives_its_first_frame_or_frames_from_all_over() -> None:
    data = moving("PNG", 5)
    assert shown(open_picture(data))[0, 0].tolist() == [0, 0, 0]
    three = open_picture(data, OpeningLimits(frames=3))
    assert [one.getpixel((0, 0)) for one in three.pictures] == [(0, 0, 0), (80, 0, 0), (160, 0, 0)]
    assert three.notes == ("3 of 5 frames taken",)
    assert three.pixels == 3 * 40 * 32
    both = open_picture(moving("GIF", 2), OpeningLimits(frames=9))
    assert len(both.pictures) == 2
    many = open_picture(moving("PNG", 5), OpeningLimits(frames=5, pixels=3 * 40 * 32))
    assert (many.verdict, many.notes, len(many.pictures)) == ("animated", ("3 of 5 frames taken",), 3)  # as many as there is room for
    one = open_picture(moving("PNG", 5), OpeningLimits(frames=5, pixels=40 * 32))
    assert (one.notes, [picture.getpixel((0, 0)) for picture in one.pictures]) == (("1 of 5 frames taken",), [(0, 0, 0)])
    assert open_picture(moving("PNG", 5), OpeningLimits(frames=5, pixels=40 * 31)).verdict in ("too_large", "bomb")


# Large pictures


def test_a_large_jpeg_is_decoded_smaller_and_others_are_refused() -> None:
    limits = OpeningLimits(pixels=100 * 100)
    opened = open_picture(saved(picture(390, 200), "JPEG"), limits)
    assert opened.pictures[0].size == (98, 50)
    assert (opened.verdict, opened.width, opened.height, opened.pixels) == ("ok", 390, 200, 98 * 50)
    assert opened.notes == ("decoded at 1/4 of its 390 x 200 pixels",)
    assert open_picture(saved(picture(100, 100), "JPEG"), limits).notes == ()
    assert open_picture(saved(picture(900, 900), "JPEG"), limits).verdict == "too_large"
    assert open_picture(saved(picture(101, 101)), limits).verdict == "too_large"
    assert open_picture(saved(Image.new("RGB", (2000, 2000))), limits).verdict == "bomb"


def test_a_jpeg_in_several_scans_is_held_to_the_memory_that_it_needs() -> None:
    limits = OpeningLimits(memory_bytes=3 * 100_000)
    assert open_picture(saved(picture(200, 150), "JPEG", progressive=True), limits).verdict == "ok"
    assert open_picture(saved(picture(400, 150), "JPEG", progressive=True), limits).verdict == "too_large"
    assert open_picture(saved(picture(400, 150), "JPEG"), limits).verdict == "ok"
    sneaky = saved(picture(400, 150), "JPEG")
    place = sneaky.index(b"\xff\xda")
    assert sneaky[place + 4] == 3
    assert open_picture(sneaky[: place + 4] + b"\1" + sneaky[place + 5 :], limits).verdict == "too_large"  # one component a scan


MEMORY = """
import json, re, sys
from pathlib import Path
from anyscene.moderation.openers import Openers

def peak(process):  # not ru_maxrss, which begins with what the process that started this one had
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+) kB", Path(f"/proc/{process}/status").read_text())[1])

with Openers(1) as openers:
    found = [openers.open(Path(name)) for name in sys.argv[1:]]
    (opening,) = (peak(one._process.pid) for one in openers._all)
said = [[one.verdict, [picture.size for picture in one.pictures], list(one.notes)] for one in found]
print(json.dumps([said, opening, peak("self")]))
"""


def peak_of(*files: Path) -> tuple[list[tuple[str, list[list[int]], list[str]]], int, int]:
    """Verdicts, and the most memory that the process which opened took, and the one that asked."""
    done = subprocess.run([sys.executable, "-c", MEMORY, *map(str, files)], capture_output=True, text=True, check=True)
    said, opening, asking = json.loads(done.stdout)
    return [tuple(one) for one in said], opening, asking


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peaks are read from /proc")
def test_bombs_and_a_hundred_megapixels_take_the_memory_that_was_stated(tmp_path: Path) -> None:
    """256 MiB in the process that opens (its limit is 768 MiB beyond itself), and here: 25 million pixels are 100 MB in Pillow."""
    Image.new("L", (10_000, 10_000), 100).save(tmp_path / "large.jpg", quality=30)
    rows = bytes(10_001 * 2_000)
    (tmp_path / "large.png").write_bytes(png(10_000, 10_000, 8, 0, rows))
    (tmp_path / "bits.png").write_bytes(png(60_000, 60_000, 1, 0, bytes(7_501 * 2_000)))
    for name in (b"zTXt", b"iTXt", b"iCCP"):
        (tmp_path / f"{name.decode()}.png").write_bytes(text_bomb(name))
    (tmp_path / "head.jpg").write_bytes(jpeg_of_size(10_000, 10_000, progressive=True))
    files = [tmp_path / name for name in ("large.jpg", "large.png", "bits.png", "zTXt.png", "iTXt.png", "iCCP.png", "head.jpg")]
    found, child, parent = peak_of(*files)
    assert [one[0] for one in found] == ["ok", "bomb", "bomb", "bomb", "bomb", "bomb", "too_large"]
    assert found[0][1:] == ([[5000, 5000]], ["decoded at 1/2 of its 10000 x 10000 pixels"])
    print(f"opening: {child / MIB:.0f} MiB, asking: {parent / MIB:.0f} MiB")
    assert child < 256 * MIB
    assert parent < 256 * MIB


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the limit of memory counts from what a process has already")
def test_more_memory_than_is_allowed_is_a_verdict_and_the_process_lives(tmp_path: Path) -> None:
    limits = OpeningLimits(memory_bytes=60 * MIB)
    with Openers(1, limits) as openers:
        large = openers.open(saved(Image.new("RGB", (4000, 4000)), compress_level=1))
        assert large.verdict == "too_large"
        assert "memory" in large.notes[0]
        assert openers.open(HOSTILE["fine.png"][0]).verdict == "ok"
        assert len(openers._all) == 1


# Files that are none


def test_pipes_folders_devices_and_links_in_circles_get_verdicts_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "one.png").symlink_to(tmp_path / "two.png")
    (tmp_path / "two.png").symlink_to(tmp_path / "one.png")
    (tmp_path / "good.png").write_bytes(HOSTILE["fine.png"][0])
    (tmp_path / "link.png").symlink_to(tmp_path / "good.png")
    found = {path.name: open_picture(path) for path in sorted(tmp_path.iterdir())}
    assert {name: (one.verdict, *one.notes) for name, one in found.items()} == {
        "pipe.png": ("not_a_file", "a pipe"),
        "folder.png": ("not_a_file", "a folder"),
        "one.png": ("unreadable", "links in a circle"),
        "two.png": ("unreadable", "links in a circle"),
        "good.png": ("ok",),
        "link.png": ("ok",),
    }
    assert open_picture(tmp_path / "gone.png").verdict == "unreadable"
    assert open_picture(Path("/dev/zero")).verdict == "not_a_file"
    assert open_picture(tmp_path / "nul\0.png").verdict == "unreadable"
    with socket.socket(socket.AF_UNIX) as listener:
        where = Path(os.path.relpath(tmp_path / "s"))
        listener.bind(str(where))
        assert open_picture(where).verdict == "not_a_file"


def test_a_file_that_may_not_be_read_is_said_to_be_so(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(HOSTILE["fine.png"][0])
    (tmp_path / "secret.png").chmod(0)
    code = f"""
import os, sys
from pathlib import Path
from anyscene.moderation.opening import open_picture
if os.geteuid() == 0:
    os.seteuid(65534)
print(open_picture(Path({str(tmp_path / "secret.png")!r})).verdict)
"""
    tmp_path.chmod(0o755)
    for folder in tmp_path.parents:  # as many as there are with or without several processes
        if "pytest-of-" in str(folder):
            folder.chmod(0o755)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "unreadable\n"


def test_a_file_larger_than_is_taken_is_not_read(tmp_path: Path) -> None:
    with open(tmp_path / "sparse.png", "wb") as file:
        file.truncate(10 * 2**30)
    opened = open_picture(tmp_path / "sparse.png")
    assert (opened.verdict, opened.size, opened.sha256) == ("too_large", 10 * 2**30, "")
    assert open_picture(bytes(101), OpeningLimits(file_bytes=100)).verdict == "too_large"
    assert isinstance(read_file(Path("/proc/self/maps"), OpeningLimits(file_bytes=10)), bytes)  # its size is said to be 0


def test_names_of_odd_bytes_are_opened(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9 \n\x07.png")
    path.write_bytes(HOSTILE["fine.png"][0])
    with Openers(1) as openers:
        assert openers.open(path).verdict == "ok"


# Processes that fail


def test_a_decoder_that_dies_or_hangs_costs_its_own_file_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The plugin of one format is replaced, in the processes alone, by one that does what the file says."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, sys, time\n"
        "if sys.argv[0] == '-c':\n"
        "    import threading\n"
        "    from PIL import PpmImagePlugin\n"
        "    plain = PpmImagePlugin.PpmImageFile.load\n"
        "    def load(self):\n"
        "        if self.size == (17, 16):\n"
        "            os.kill(os.getpid(), signal.SIGSEGV)\n"
        "        if self.size == (18, 16):\n"
        "            time.sleep(60)\n"
        "        return plain(self)\n"
        "    PpmImagePlugin.PpmImageFile.load = load\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    dies, hangs, fine = (saved(picture(width, 16), "PPM") for width in (17, 18, 19))
    with Openers(2, OpeningLimits(timeout_s=1.0)) as openers:
        jobs = [openers.submit(data, name="x") for data in (fine, dies, fine, hangs, fine, dies, fine)]
        found = [job.result() for job in jobs]
        assert [one.verdict for one in found] == ["ok", "crashed", "ok", "too_slow", "ok", "crashed", "ok"]
        assert found[1].notes == ("its decoder ended with signal 11",)
        assert found[3].notes == ("stopped after 1 s",)
        assert all(len(one.sha256) == 64 and one.size for one in found)  # known, though their process is gone


def test_a_known_file_is_read_and_not_opened(tmp_path: Path) -> None:
    (tmp_path / "bomb.png").write_bytes(HOSTILE["ztxt-bomb.png"][0])
    with Openers(1) as openers:
        first = openers.open(tmp_path / "bomb.png")
        assert first.verdict == "bomb"
        again = openers.open(tmp_path / "bomb.png", known=first.sha256)
        assert (again.verdict, again.pictures, again.sha256) == ("ok", (), first.sha256)
        assert openers.open(tmp_path / "bomb.png", known="0" * 64) == first


def test_closed_openers_open_nothing_and_leave_no_process() -> None:
    openers = Openers(2)
    assert openers.open(HOSTILE["fine.png"][0]).verdict == "ok"
    processes = [one._process for one in openers._all]
    openers.close()
    assert [one.returncode is not None for one in processes] == [True]
    with pytest.raises((RunError, RuntimeError)):
        openers.open(HOSTILE["fine.png"][0])
    with pytest.raises(SpecError):
        Openers(0)


def test_a_process_that_cannot_be_started_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anyscene.moderation.openers._CHILD", "raise SystemExit('no Pillow here')")
    with Openers(1) as openers:
        for _ in range(2):
            with pytest.raises(RunError, match="could not be started: no Pillow here"):
                openers.open(b"x")


def test_processes_end_with_the_one_that_started_them() -> None:
    code = (
        "import os\nfrom anyscene.moderation.openers import Openers\n"
        "openers = Openers(1)\nopeners.open(b'x')\nprint(next(iter(openers._all))._process.pid, flush=True)\nos._exit(0)"
    )
    pid = int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    end = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and "zombie" not in Path(f"/proc/{pid}/status").read_text():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("options", [{"pixels": 0}, {"timeout_s": 0}, {"frames": 0}, {"timeout_s": float("nan")}])
def test_limits_without_sense_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        OpeningLimits(**options)  # type: ignore[arg-type]
