import errno

import numpy as np
import pytest

from anyscene.errors import AnySceneError, Interrupted, ModelError, RunError
from anyscene.media import Media, MediaFolder
from anyscene.models import Failure
from anyscene.models.painting import SEEDS, media_seed, paint


class SeedModel:
    """Pictures that show caption and seed as their colour."""

    name, revision, modality, batch_size, settings = "test:seed", "1", "image", 4, {}

    def __init__(self, stop_after=None, error=KeyboardInterrupt, fails=()):
        self.stop_after, self.error, self.fails, self.made = stop_after, error, set(fails), []

    def generate(self, captions, seeds):
        if self.stop_after is not None and len(self.made) >= self.stop_after:
            raise self.error
        self.made += list(zip(captions, seeds, strict=True))
        colours = [(len(caption) % 256, seed % 256, seed // 256 % 256) for caption, seed in zip(captions, seeds, strict=True)]
        return [
            Failure("refused", "not\nthis") if caption in self.fails else Media.of_image(np.full((3, 3, 3), colour, dtype=np.uint8))
            for caption, colour in zip(captions, colours, strict=True)
        ]


RECORDS = [{"id": f"r{i}", "index": i, "caption": f"caption {i}", "modality": "image"} for i in range(10)]


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_every_scene_gets_its_media_with_a_seed_of_its_own(tmp_path):
    report = paint(RECORDS, SeedModel(), tmp_path, samples=3, quiet=True)
    entries = MediaFolder(tmp_path).entries()
    assert (report.expected, report.made) == (30, 30)
    assert [(entry.record_id, entry.sample) for entry in entries] == [(f"r{i}", s) for i in range(10) for s in range(3)]
    assert len({entry.seed for entry in entries}) == 30
    assert all(entry.seed == media_seed(0, entry.record_id, entry.sample) < SEEDS for entry in entries)
    assert MediaFolder(tmp_path).read(entries[4]).array()[0, 0, 1] == entries[4].seed % 256


def test_another_seed_of_the_run_gives_other_seeds():
    assert media_seed(0, "r", 0) != media_seed(1, "r", 0) != media_seed(1, "r", 1)


@pytest.mark.parametrize("stop_after", [0, 4, 17, 28])
def test_a_run_stopped_anywhere_ends_with_the_bytes_of_an_unbroken_one(tmp_path, stop_after):
    paint(RECORDS, SeedModel(), tmp_path / "whole", samples=3, quiet=True)
    with pytest.raises(Interrupted, match="media are kept"):
        paint(RECORDS, SeedModel(stop_after), tmp_path / "broken", samples=3, quiet=True)
    model = SeedModel()
    paint(RECORDS, model, tmp_path / "broken", samples=3, quiet=True)
    assert files(tmp_path / "broken") == files(tmp_path / "whole")
    assert len(model.made) == 30 - -(-stop_after // 4) * 4


def test_the_size_of_the_batches_changes_nothing(tmp_path):
    for size in (1, 7):
        model = SeedModel()
        model.batch_size = size
        paint(RECORDS, model, tmp_path / str(size), quiet=True)
    assert files(tmp_path / "1") == files(tmp_path / "7")


def test_a_model_that_comes_to_like_smaller_batches_leaves_none_out(tmp_path):
    class Shrinking(SeedModel):
        def generate(self, captions, seeds):
            self.batch_size = max(self.batch_size // 2, 1)
            return super().generate(captions, seeds)

    model = Shrinking()
    assert paint(RECORDS, model, tmp_path, quiet=True).made == 10
    assert len(model.made) == 10


def test_a_damaged_file_is_named_and_made_again(tmp_path, capsys):
    paint(RECORDS, SeedModel(), tmp_path, quiet=True)
    before = files(tmp_path)
    victim = MediaFolder(tmp_path).entries()[3].file
    (tmp_path / victim).write_bytes(b"nothing")
    model = SeedModel()
    paint(RECORDS, model, tmp_path, quiet=False)
    assert [caption for caption, _ in model.made] == ["caption 3"]
    assert victim in capsys.readouterr().err
    assert files(tmp_path) == before


def test_a_failure_is_kept_apart_and_tried_again(tmp_path, capsys):
    report = paint(RECORDS, SeedModel(fails=["caption 2"]), tmp_path, quiet=False)
    assert (report.made, report.refused) == (9, 1)
    entry = MediaFolder(tmp_path).entries()[2]
    assert (entry.status, entry.reason, entry.sha256, entry.file) == ("refused", "not this", None, "")
    assert "missing, not as wrong" in capsys.readouterr().err
    model = SeedModel()
    assert paint(RECORDS, model, tmp_path, quiet=True).made == 10
    assert len(model.made) == 1


def test_an_error_of_the_model_stops_the_run_and_keeps_what_was_made(tmp_path):
    with pytest.raises(ModelError, match="no device"):
        paint(RECORDS, SeedModel(8, ModelError("no device")), tmp_path, quiet=True)
    assert len(MediaFolder(tmp_path).entries()) == 8


def test_a_full_disk_is_named_and_leaves_a_run_that_goes_on(tmp_path, monkeypatch):
    written = []

    def full(self, name, media, keep=MediaFolder.write):
        if len(written) == 5:
            raise RunError(f"Cannot write {name}: the disk is full")
        written.append(name)
        keep(self, name, media)

    paint(RECORDS, SeedModel(), tmp_path / "whole", quiet=True)
    with monkeypatch.context() as patch:
        patch.setattr(MediaFolder, "write", full)
        with pytest.raises(RunError, match="disk is full"):
            paint(RECORDS, SeedModel(), tmp_path / "full", quiet=True)
    paint(RECORDS, SeedModel(), tmp_path / "full", quiet=True)
    assert files(tmp_path / "full") == files(tmp_path / "whole")


def test_a_disk_that_is_really_full_is_told_by_the_system(tmp_path, monkeypatch):
    import os

    def write_fails(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", write_fails)
    with pytest.raises(RunError, match="the disk is full"):
        paint(RECORDS, SeedModel(), tmp_path, quiet=True)


def test_a_model_that_leaves_media_out_stops_the_run(tmp_path):
    model = SeedModel()
    model.generate = lambda captions, seeds: []
    with pytest.raises(AnySceneError, match="0 media for 4 captions"):
        paint(RECORDS, model, tmp_path, quiet=True)


def test_what_a_painter_knows_it_drew_is_kept_with_the_media(tmp_path):
    class Knows(SeedModel):
        def details(self, caption, seed):
            return {"truth": {"objects": [{"id": "o0", "name": caption}]}}

    paint(RECORDS, Knows(), tmp_path, quiet=True)
    assert '"name": "caption 4"' in MediaFolder(tmp_path).entries()[4].details


def test_a_model_that_finds_its_media_reads_files(tmp_path):
    (tmp_path / "here.png").write_bytes(Media.of_image(np.zeros((2, 2, 3), dtype=np.uint8)).data)
    (tmp_path / "bad.png").write_bytes(b"?")

    class Found(SeedModel):
        def find(self, record_id, index, caption, sample):
            return {0: tmp_path / "here.png", 1: tmp_path / "bad.png"}.get(index, Failure("missing", "no file"))

    report = paint(RECORDS, Found(), tmp_path / "out", quiet=True)
    assert (report.made, report.failed, report.missing) == (1, 1, 8)
