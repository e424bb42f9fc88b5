"""Building: two sides in, alike in all that does not matter; the same bytes whatever happens on the way."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anyscene.dataset import SceneSpace
from anyscene.errors import Interrupted, RunError, SpecError
from anyscene.evaluation import paint_run
from anyscene.models import load_model
from anyscene.moderation import BuildOptions, DetectorData, build_dataset
from anyscene.moderation import build as building
from anyscene.moderation.encoding import quality_tables, read_head
from anyscene.moderation.hand_features import features_of
from anyscene.sandbox import sandbox_taxonomy_path
from anyscene.taxonomy import load_taxonomy

from .photographs import saved, write_folder, write_sides


def digest_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def build(root: Path, n: int = 12, out: str = "data", **options: object) -> DetectorData:
    real, fake = root / "real", root / "fake"
    if not real.exists():
        write_sides(root, n)
    return build_dataset(real, {"model": fake}, root / out, options=BuildOptions(**options), quiet=True)  # type: ignore[arg-type]


def test_both_sides_have_the_sizes_and_tables_of_the_photographs(tmp_path: Path) -> None:
    data = build(tmp_path)
    sides = {
        side: Counter((one.width, one.height, one.format, one.encoding) for one in data.select(label=side))
        for side in ("real", "generated")
    }
    assert sides["real"] == sides["generated"]
    assert len({one.encoding for one in data.pictures}) > 1  # each photograph its own
    originals = {read_head(path.read_bytes(), "a").encoding.digest for path in (tmp_path / "real").glob("*.jpg")}
    assert {one.encoding for one in data.pictures} == originals
    for one in data.pictures:
        head = read_head(data.data(one), one.file)
        assert (head.width, head.height, head.encoding.digest, head.traces) == (one.width, one.height, one.encoding, ())
    assert data.manifest["pairing"] == {"model": {"record": 0, "name": 12, "topic": 0, "any": 0}}
    assert data.manifest["unequal"] == []


def test_a_generated_picture_goes_through_the_photographs_tables_first(tmp_path: Path) -> None:
    """Written as PNG in the end, it still shows the traces of a JPEG; without, it shows none."""
    data = build(tmp_path, encoding="png")
    traces = [
        sum(features_of(data.data(one))[f"quality_{quality}"] > 0 for quality in (80, 85, 90)) for one in data.select(label="generated")
    ]  # type: ignore[operator]
    bare = [
        sum(features_of(path.read_bytes())[f"quality_{quality}"] > 0 for quality in (80, 85, 90))
        for path in (tmp_path / "fake").glob("*.png")
    ]  # type: ignore[operator]
    assert sum(map(bool, traces)) > len(traces) / 2
    assert sum(map(bool, bare)) <= 1


def test_different_sizes_are_cut_alike_and_what_is_not_equal_is_said(tmp_path: Path) -> None:
    dice = np.random.default_rng(0)
    real = {f"{n}.jpg": saved(Image.fromarray(dice.integers(0, 255, (80 + n, 100, 3), dtype=np.uint8)), quality=80) for n in range(8)}
    fake = {f"{n}.jpg": saved(Image.fromarray(dice.integers(0, 255, (64, 64 + 8 * n, 3), dtype=np.uint8)), quality=80) for n in range(8)}
    write_folder(tmp_path / "real", real, [])
    write_folder(tmp_path / "fake", fake, [])
    data = build(tmp_path, scale=(1.0, 1.5))
    by_pair = defaultdict(set)
    for one in data.pictures:
        by_pair[Path(one.file).name[:16]].add((one.width, one.height))
    assert len(by_pair) == 8 and all(len(sizes) == 1 for sizes in by_pair.values())
    assert max(one.height for one in data.pictures) <= 64
    said = " ".join(data.manifest["unequal"])
    assert "8 of 8 pictures of model had been through a lossy encoder" in said and "field of view" in said


def test_a_grey_photograph_makes_its_partner_grey(tmp_path: Path) -> None:
    colours = Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8))
    write_folder(tmp_path / "real", {"a.jpg": saved(colours.convert("L")), "b.jpg": saved(colours)}, [])
    write_folder(tmp_path / "fake", {"a.png": saved(colours, "PNG"), "b.png": saved(colours, "PNG")}, [])
    data = build(tmp_path)
    modes = Counter(("L" if read_head(data.data(one), one.file).grey else "RGB", one.label) for one in data.pictures)
    assert modes == {("L", "real"): 1, ("L", "generated"): 1, ("RGB", "real"): 1, ("RGB", "generated"): 1}


def test_one_encoding_for_all_may_be_asked_for(tmp_path: Path) -> None:
    data = build(tmp_path, encoding="jpeg:77")
    assert {one.encoding for one in data.pictures} == {quality_tables(77).digest}
    assert {one.format for one in build(tmp_path, out="png", encoding="png").pictures} == {"png"}


def test_no_group_is_split_and_groups_join_what_shares_a_source(tmp_path: Path) -> None:
    data = build(tmp_path, n=60)
    splits = defaultdict(set)
    for one in data.pictures:
        splits[one.group].add(one.split)
    assert all(len(found) == 1 for found in splits.values())
    assert 1 < len(splits) < 60  # tiles of one source are together
    assert len({split for found in splits.values() for split in found}) == 3


def test_pictures_of_one_scene_are_one_group_whoever_painted_them(tmp_path: Path) -> None:
    scenes = SceneSpace(complexity=(1, 3), taxonomy=sandbox_taxonomy_path()).table(0, 12, seed=0)
    for name, model, samples in (("real", "sandbox:renderer", 1), ("a", "sandbox:flawed", 2), ("b", "sandbox:renderer", 1)):
        paint_run(scenes, load_model(model, size=32), tmp_path / name, samples=samples, seed=len(name), quiet=True)
    data = build_dataset(tmp_path / "real", {"a": tmp_path / "a", "b": tmp_path / "b"}, tmp_path / "data", quiet=True)
    groups = defaultdict(set)
    for one in data.pictures:
        groups[one.record_id].add((one.group, one.split))
    assert len(groups) == 12 and all(len(found) == 1 for found in groups.values())
    assert len({group for found in groups.values() for group, _ in found}) == 12
    assert data.manifest["counts"]["a"]["train"] == 2 * data.manifest["counts"]["real"]["train"]
    assert set(data.records) == set(groups)
    assert data.records[next(iter(groups))]["graph"]["objects"]


def test_a_caption_graph_that_two_runs_share_under_two_ids_is_one_group(tmp_path: Path) -> None:
    space = SceneSpace(complexity=(1, 1), taxonomy=sandbox_taxonomy_path())
    for seed, name in ((0, "real"), (1, "fake")):  # all scenes there are, in two orders with two sets of ids
        paint_run(space.table(0, 11, seed=seed), load_model("sandbox:renderer", size=32 + 16 * seed), tmp_path / name, quiet=True)
    data = build(tmp_path)
    assert data.manifest["pairing"]["model"]["record"] == 0
    by_caption = defaultdict(set)
    for one in data.pictures:
        by_caption[one.caption].add(one.group)
    assert all(len(groups) == 1 for groups in by_caption.values())


def test_names_and_order_of_files_change_nothing_but_what_is_said_of_them(tmp_path: Path) -> None:
    build(tmp_path)
    (tmp_path / "again").mkdir()
    for side in ("real", "fake"):  # the same files, written in another order
        for path in sorted((tmp_path / side).iterdir(), reverse=True):
            (tmp_path / "again" / side).mkdir(exist_ok=True)
            shutil.copy(path, tmp_path / "again" / side / path.name)
    build(tmp_path / "again")
    assert digest_of(tmp_path / "data") == digest_of(tmp_path / "again" / "data")


def test_another_seed_cuts_and_splits_otherwise(tmp_path: Path) -> None:
    one, other = build(tmp_path, n=40), build(tmp_path, out="other", seed=1)
    assert {p.file: p.split for p in one.pictures} != {p.file: p.split for p in other.pictures}


def test_a_build_that_was_stopped_goes_on_to_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(tmp_path)
    monkeypatch.setattr(building, "AT_ONCE", 2)
    made = building._Build.make
    calls: list[building._Pair] = []

    def stopping(self: building._Build, pair: building._Pair) -> list[dict[str, object]]:
        calls.append(pair)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return made(self, pair)

    monkeypatch.setattr(building._Build, "make", stopping)
    with pytest.raises(Interrupted, match="4 of 12 pairs are kept"):
        build(tmp_path, out="stopped")
    (tmp_path / "stopped" / "pictures" / "real" / f"{calls[0].id}.jpg").write_bytes(b"torn")
    build(tmp_path, out="stopped")
    assert len(calls) == 6 + 9 and digest_of(tmp_path / "data") == digest_of(tmp_path / "stopped")  # 8 that were missing, 1 damaged
    build(tmp_path, out="stopped")
    assert len(calls) == 15  # nothing to do


@pytest.mark.slow
def test_killed_builds_go_on_to_the_same_bytes(tmp_path: Path) -> None:
    build(tmp_path, n=60)
    code = (
        "import sys, time; from pathlib import Path; import anyscene.moderation.build as b\n"
        "b.AT_ONCE = 4; made = b._Build.make\n"
        "b._Build.make = lambda self, pair: (time.sleep(0.02), made(self, pair))[1]\n"
        "root = Path(sys.argv[1]); b.build_dataset(root / 'real', {'model': root / 'fake'}, root / 'killed', quiet=True)"
    )
    for wait in (1.0, 0.5, 0.3):
        process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
        until = time.monotonic() + 60
        while not (tmp_path / "killed" / "pictures").exists() and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(wait)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    build(tmp_path, out="killed")
    assert digest_of(tmp_path / "data") == digest_of(tmp_path / "killed")


def test_a_damaged_data_set_is_made_whole_by_the_same_command(tmp_path: Path) -> None:
    data = build(tmp_path)
    before = digest_of(tmp_path / "data")
    data.path(data.pictures[0]).write_bytes(b"torn")
    data.path(data.pictures[1]).unlink()
    build(tmp_path)
    assert digest_of(tmp_path / "data") == before


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    build(tmp_path)
    with pytest.raises(RunError, match=r"another data set \(options\.seed: 0 there, 7 asked for"):
        build(tmp_path, seed=7)
    (tmp_path / "other" / "pictures").mkdir(parents=True)
    (tmp_path / "other" / "pictures" / "mine.jpg").write_bytes(b"mine")
    with pytest.raises(RunError, match="no data set's"):
        build(tmp_path, out="other")
    assert (tmp_path / "other" / "pictures" / "mine.jpg").read_bytes() == b"mine"


def test_unusable_pictures_are_counted_and_named(tmp_path: Path) -> None:
    real, fake = write_sides(tmp_path, 12)
    shutil.copy(real / "0000.jpg", real / "twin.jpg")
    (real / "0001.jpg").write_bytes((real / "0001.jpg").read_bytes()[:200])
    (real / "0002.jpg").write_bytes(saved(Image.new("RGB", (96, 96)), "WEBP"))
    (fake / "0003.png").write_bytes(b"no picture")
    body = (fake / "0004.png").read_bytes()
    (fake / "0004.png").write_bytes(body[: len(body) // 2])  # its head is whole
    data = build(tmp_path)
    said = data.manifest["real"]
    assert said["pictures"] == 10 and said["not_used"] == 3
    assert any("the same file" in line for line in said["first_problems"]) and any("WEBP" in line for line in said["first_problems"])
    assert "0003.png" in data.manifest["generators"]["model"]["first_problems"][0]
    assert sum(data.manifest["counts"]["real"].values()) == sum(data.manifest["counts"]["model"].values())
    assert data.manifest["pairs"] == len(data.select(label="real"))


def test_models_paint_scenes_of_the_captions(tmp_path: Path) -> None:
    taxonomy = load_taxonomy(sandbox_taxonomy_path())
    scenes = SceneSpace(complexity=(1, 3), taxonomy=taxonomy).table(0, 10, seed=3)
    paint_run(scenes, load_model("sandbox:renderer", size=32), tmp_path / "seen", quiet=True)
    captions = scenes["caption"].to_pylist()
    files = {f"{place}.png": path.read_bytes() for place, path in enumerate(sorted((tmp_path / "seen").rglob("*.png")))}
    write_folder(tmp_path / "real", files, [{"file_name": name, "text": caption} for name, caption in zip(files, captions, strict=True)])
    painter = load_model("sandbox:flawed", size=32)
    data = build_dataset(tmp_path / "real", {}, tmp_path / "data", models=[painter], taxonomy=taxonomy, spec=None, quiet=True)
    assert data.generators == ("sandbox:flawed",)
    assert data.manifest["topics"]["shared"] == 10
    nouns = {noun: sum(noun in one.caption for one in data.select(label="real")) for noun in taxonomy.objects.names}
    painted = {noun: sum(noun in one.caption for one in data.select(label="generated")) for noun in taxonomy.objects.names}
    assert sum(abs(nouns[noun] - painted[noun]) for noun in nouns) <= 10
    assert (tmp_path / "data" / "painted" / "sandbox-flawed" / "run.json").is_file()
    assert {one.record_id for one in data.select(label="generated")} == set(data.records)


def test_options_that_cannot_be_honoured_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    for wrong in ({"encoding": "webp"}, {"encoding": "jpeg:101"}, {"scale": (0.5, 1.0)}, {"n": 0}, {"shares": (1, 0, 0)}, {"largest": 4}):
        with pytest.raises(SpecError):
            BuildOptions(**wrong)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="no generated pictures"):
        build_dataset(tmp_path, {}, tmp_path / "out")
    with pytest.raises(SpecError, match="take a name"):
        build_dataset(tmp_path, {"real": tmp_path}, tmp_path / "out")
    assert replace(BuildOptions(), n=3).n == 3
