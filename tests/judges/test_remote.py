import json

import pytest

from anyscene.engines import LocalEngine
from anyscene.errors import JudgeError, MediaError, SpecError
from anyscene.evaluation import judge_run, paint_run
from anyscene.judges import Answer, Judge, load_judge, remote
from anyscene.judges.judging import judge_facts
from anyscene.judges.remote import load_remote_judge, stays_here
from anyscene.models import load_model


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    from anyscene.dataset import RecordOptions, SceneSpace
    from anyscene.sandbox import sandbox_taxonomy_path
    from anyscene.space import SceneSpec

    space = SceneSpace(SceneSpec(complexity=(2, 5)), taxonomy=sandbox_taxonomy_path())
    table = space.source(0, RecordOptions()).table(0, 72)
    return paint_run(table, load_model("sandbox:flawed", size=32), tmp_path_factory.mktemp("remote") / "run", quiet=True)[0]


class Fixed:
    """Says the same of everything, and which kind of media it was given."""

    revision, template, workers, mode = "1", "t", 1, "plain"

    def __init__(self, name="test:fixed"):
        self.name, self.asked = name, []

    def answer(self, media, questions):
        self.asked.append((type(media).__name__, media.image.size))
        return [Answer(0.5, 1.0, "yes", "answered", (0.5, 0.5) if one.form == "choice" else ()) for one in questions]


def test_a_judge_on_workers_is_the_judge_and_writes_the_same_store(run):
    here, there = load_judge("sandbox:noisy", seed=3), load_remote_judge(LocalEngine(3), "sandbox:noisy", {"seed": "3"})
    assert isinstance(there, Judge)
    assert judge_facts(there) == judge_facts(here)
    assert there.workers == 3
    report = judge_run(run, here, quiet=True)
    store = run.judges["sandbox:noisy"]
    written = {path.name: path.read_bytes() for path in store.iterdir()}
    for path in store.iterdir():
        path.unlink()
    assert judge_run(run, there, quiet=True) == report
    assert {path.name: path.read_bytes() for path in store.iterdir()} == written
    assert there.served == report.asked


def test_it_has_what_those_who_reckon_its_cost_ask_of_the_judge(monkeypatch):
    monkeypatch.setattr(remote, "load_judge", lambda name, **options: Fixed(name))
    judge = load_remote_judge(LocalEngine(), "transformers:fixed", {})
    assert judge.mode == "plain"
    assert not hasattr(judge, "max_pixels")


def test_workers_that_hold_different_judges_are_refused_by_name(run, monkeypatch):
    revisions = iter("ab")

    def make(name, **options):
        judge = Fixed()
        judge.revision = next(revisions)
        return judge

    monkeypatch.setattr(remote, "load_judge", make)
    judge = load_remote_judge(LocalEngine(2), "transformers:fixed", {})
    with pytest.raises(JudgeError, match=r"transformers:fixed is not the same on all nodes: its revision is '.' on .* and '.' on"):
        judge_run(run, judge, quiet=True)


def test_a_damaged_media_file_is_found_before_it_is_sent(run, monkeypatch):
    monkeypatch.setattr(remote, "load_judge", lambda name, **options: Fixed(name))
    entry = run.media.entries()[66]
    path = run.media.path / entry.file
    whole = path.read_bytes()
    path.write_bytes(whole[:50])
    try:
        with pytest.raises(MediaError, match=path.name):
            judge_run(run, load_remote_judge(LocalEngine(2), "transformers:damaged", {}), quiet=True)
    finally:
        path.write_bytes(whole)


def test_judges_that_are_asked_from_here_are_refused_with_what_to_do_instead():
    assert stays_here("transformers:x") is stays_here("sandbox:pixels") is None
    for name, said in (("openai:vlm", "base_url=URL1,URL2"), ("human:folder", "people"), ("stored:run", "store of this machine")):
        assert said in json.dumps(stays_here(name))
        with pytest.raises(SpecError, match=said):
            load_remote_judge(LocalEngine(), name, {})
