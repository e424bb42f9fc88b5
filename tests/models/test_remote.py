import threading

import numpy as np
import pytest

from anyscene.engines import LocalEngine
from anyscene.errors import ModelError, SpecError
from anyscene.media import Media, MediaFolder
from anyscene.models import Failure, Model, load_model, remote
from anyscene.models.painting import model_facts, paint
from anyscene.models.protocol import KnowsTruth
from anyscene.models.remote import check_remote, load_remote_model

CAPTIONS = ["There are three purple stars.", "There is a diamond, along with a star.", "There are three stars."]
RECORDS = [{"id": f"r{i}", "index": i, "caption": CAPTIONS[i % 3], "modality": "image"} for i in range(40)]


class Plain:
    """A model of which more than one may be at work; what it makes depends on caption and seed alone."""

    name, revision, modality, settings = "test:plain", "1", "image", {"steps": 3}

    def __init__(self):
        self.batch_size = 4

    def generate(self, captions, seeds):
        return [
            Failure("failed", "odd one") if seed % 11 == 0 else Media.of_image(np.full((3, 3, 3), seed % 256, dtype=np.uint8))
            for _, seed in zip(captions, seeds, strict=True)
        ]


@pytest.fixture
def made_by(monkeypatch):
    """`load_model` on workers gives what this is told to make."""

    def tell(make):
        monkeypatch.setattr(remote, "load_model", lambda name, **options: make(**options))

    return tell


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("workers", [1, 3])
def test_a_model_on_workers_is_the_model_and_paints_the_same_files(tmp_path, workers):
    options = {"refuse": "0.1", "size": "32"}
    there = load_remote_model(LocalEngine(workers), "sandbox:flawed", options)
    here = load_model("sandbox:flawed", **options)
    assert isinstance(there, Model) and isinstance(there, KnowsTruth)
    assert model_facts(there) == model_facts(here)
    assert (there.workers, there.batch_size) == (workers, here.batch_size)
    few = RECORDS[:14]
    assert paint(few, there, tmp_path / "there", samples=2, quiet=True) == paint(few, here, tmp_path / "here", samples=2, quiet=True)
    assert files(tmp_path / "there") == files(tmp_path / "here")
    assert '"truth"' in MediaFolder(tmp_path / "there").entries()[0].details
    assert there.served == 28


def test_media_come_as_files_and_are_looked_at_only_when_somebody_looks():
    there, here = load_remote_model(LocalEngine(), "sandbox:renderer", {}), load_model("sandbox:renderer")
    (one,), (other,) = there.generate(CAPTIONS[:1], [5]), here.generate(CAPTIONS[:1], [5])
    assert "frames" not in vars(one)
    assert one.sha256 == other.sha256
    assert (one.array() == other.array()).all()
    assert there.details(CAPTIONS[0], 5) == here.details(CAPTIONS[0], 5) == there.details(CAPTIONS[0], 5)  # known, then asked for


def test_a_model_that_does_not_know_what_it_drew_is_not_asked(made_by, tmp_path):
    made_by(Plain)
    model = load_remote_model(LocalEngine(2), "sandbox:plain", {})
    assert not isinstance(model, KnowsTruth)
    report = paint(RECORDS, model, tmp_path, quiet=True)
    assert report.made + report.failed == 40
    assert {entry.details for entry in MediaFolder(tmp_path).entries()} == {""}


def test_a_failure_of_one_picture_fails_no_other(made_by, tmp_path):
    made_by(Plain)
    report = paint(RECORDS, load_remote_model(LocalEngine(2), "sandbox:plain", {}), tmp_path, samples=5, quiet=True)
    failed = [entry for entry in MediaFolder(tmp_path).entries() if entry.status == "failed"]
    assert (report.made, report.failed) == (200 - len(failed), len(failed))
    assert failed and all(entry.seed % 11 == 0 and entry.reason == "odd one" for entry in failed)


def test_workers_that_hold_different_weights_are_refused_by_name(made_by, tmp_path):
    revisions = iter("aab")

    def make():
        model = Plain()
        model.revision = next(revisions)
        return model

    made_by(make)
    model = load_remote_model(LocalEngine(3), "sandbox:plain", {})
    with pytest.raises(ModelError, match=r"sandbox:plain is not the same on all nodes: its revision is 'a' on .* and 'b' on"):
        paint(RECORDS, model, tmp_path, quiet=True)
    assert len(MediaFolder(tmp_path).entries()) < 40


def test_a_worker_that_can_make_nothing_more_stops_the_run_and_loses_nothing(made_by, tmp_path):
    class Budget(Plain):
        left, stopped, lock = 12, None, threading.Lock()

        def generate(self, captions, seeds):
            with Budget.lock:
                Budget.left -= len(captions)
                if Budget.left <= 0:
                    self.stopped = ModelError("the budget is used up")
            return super().generate(captions, seeds)

    made_by(Budget)
    with pytest.raises(ModelError, match="budget is used up"):
        paint(RECORDS, load_remote_model(LocalEngine(2), "sandbox:plain", {}), tmp_path, quiet=True)
    assert len(MediaFolder(tmp_path).entries()) == 12 - Budget.left  # all that was asked for


def test_smaller_batches_of_one_worker_are_those_of_all(made_by):
    class Shrinking(Plain):
        def generate(self, captions, seeds):
            self.batch_size = 2
            return super().generate(captions, seeds)

    made_by(Shrinking)
    model = load_remote_model(LocalEngine(2), "sandbox:plain", {})
    model.generate(CAPTIONS, [1, 2, 3])
    assert model.batch_size == 2


def test_a_model_that_cannot_be_loaded_says_so_in_one_line(made_by):
    def make():
        raise ModelError("no such weights")

    made_by(make)
    with pytest.raises(ModelError, match=r"model sandbox:plain cannot be used on a worker: on .*: no such weights"):
        load_remote_model(LocalEngine(), "sandbox:plain", {})


@pytest.mark.parametrize("name", ["folder:pictures", "openai:gpt-image-1"])
def test_a_model_that_works_here_alone_is_refused_before_anything_is_loaded(name):
    with pytest.raises(SpecError, match="does not run on other machines"):
        check_remote(name)


def test_a_model_of_a_plugin_that_finds_its_pictures_is_refused(made_by):
    class Finding(Plain):
        def find(self, record_id, index, caption, sample):
            return Failure("missing", "no file")

    made_by(Finding)
    with pytest.raises(SpecError, match="finds its pictures"):
        load_remote_model(LocalEngine(), "sandbox:finding", {})


def test_a_back_end_that_is_none_is_refused_and_the_others_named():
    with pytest.raises(SpecError, match=r"no back-end 'difusers'; there are .*diffusers"):
        check_remote("difusers:x")
