"""Distillation in the sandbox, from the exam to the report: what is chosen, what is learnt from, and what is refused."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("accelerate")
pytest.importorskip("peft")

from anyscene.errors import LeakageError, RunError, SpecError
from anyscene.evaluation import open_run
from anyscene.evaluation.skills import Drawn
from anyscene.media import Media
from anyscene.models import load_model
from anyscene.sandbox.loading import load_sandbox_taxonomy
from anyscene.scene.graph import SceneGraph
from anyscene.space.splitting import parts_of
from anyscene.training import distill
from anyscene.training.config import read_config
from anyscene.training.distill import run_distill
from anyscene.training.distill_config import DistillConfig
from anyscene.training.examples import read_examples
from anyscene.training.held_out import asked, split_scenes
from anyscene.training.lessons import marked
from anyscene.training.policies import Trained

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

TAXONOMY = load_sandbox_taxonomy()
BUDGET, HELD_OUT = 12, 24
SMALL: dict[str, Any] = {
    "student": "sandbox:diffusion",
    "student_options": {"steps": 2},
    "teacher": "sandbox:renderer",
    "teacher_options": {"size": 32},
    "judge": "sandbox:pixels",
    "taxonomy": "sandbox",
    "checkpoint_every": 1,
    "scenes": {"complexity": [1, 3]},
    "exam.n": 80,
    "exam.least": 15,
    "lessons.budget": BUDGET,
    "fine_tuning.updates": 3,
    "fine_tuning.batch_size": 4,
    "optimization.learning_rate": 1e-4,
    "lora.rank": 0,
    "held_out.n": HELD_OUT,
}


def configure(**given: Any) -> DistillConfig:
    return read_config(None, {**SMALL, **given}, DistillConfig)


def go(out: Path, **given: Any) -> dict[str, Any]:
    return run_distill(configure(**given), out, taxonomy=TAXONOMY, quiet=True)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


NOISY = {"second_judge": "sandbox:noisy", "second_judge_options": {"sensitivity": 0.9, "specificity": 0.9}}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert go(folder, **NOISY) == json.loads((folder / "result.json").read_text())
    return folder


def result_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return found


# ---- a whole run ----------------------------------------------------------------------------------------------------------------


def test_the_skills_with_a_true_gap_are_chosen(run: Path) -> None:
    result = result_of(run)
    assert result["trained"] and result["chosen"]
    for one in result["reach"]:
        chosen = one["skill"] in result["chosen"]
        assert not chosen or (one["difference"] > 0 and one["p_adjusted"] < 0.05)
        assert one["p_adjusted"] is None or one["p_adjusted"] >= 0.05 or chosen or one["difference"] <= 0 or one["own"] is not None
        assert (one["p_adjusted"] is None) == (one["n"] < 15)


def test_the_budget_is_exact_and_every_lesson_is_a_picture_of_the_teacher_that_passed(run: Path) -> None:
    result = result_of(run)
    examples = read_examples(run / "examples.jsonl")
    assert len(examples) == BUDGET == result["lessons"]["kept"] == len({one.scene for one in examples})
    passed = {}
    for part in (run / "lessons").iterdir():
        opened = open_run(part)
        assert opened.model["name"] == "sandbox:renderer"
        passed |= {str(one.record["id"]): one for one in marked(opened, "sandbox:pixels", 0.5)[0]}
    assert all(one.path.read_bytes() == passed[one.scene].paths[0].read_bytes() for one in examples)
    assert {one.caption for one in examples} == {str(passed[one.scene].record["caption"]) for one in examples}


def test_of_many_skills_those_with_the_largest_difference_are_taught(run: Path, tmp_path: Path) -> None:
    everything, one = result_of(run), go(tmp_path / "one", **{"exam.most": 1, "lessons.samples": 2, "lessons.keep": 2})
    low = {gap["skill"]: gap["low"] for gap in everything["reach"] if gap["skill"] in everything["chosen"]}
    assert len(low) > 1
    assert one["chosen"] == sorted(low, key=lambda skill: -low[skill])[:1] == everything["chosen"][:1]
    assert one["lessons"]["kept"] == BUDGET and one["lessons"]["pictures"] == 2 * BUDGET
    with pytest.raises(SpecError, match=r"lessons.keep 2: the teacher makes 1 \(lessons.samples\) of each scene"):
        configure(**{"lessons.keep": 2})


def test_what_the_autoencoder_of_the_student_loses_is_no_reason_to_teach_a_skill(run: Path, tmp_path: Path) -> None:
    result = result_of(run)
    gap, reach = ({one["skill"]: one for one in result[name]} for name in ("gap", "reach"))
    assert gap.keys() == reach.keys()
    assert all(reach[skill]["a"] == gap[skill]["a"] for skill in gap)  # the same student
    # Patterns of few pixels do not survive 8 x 8 latents, colours do.
    assert gap["attribute:pattern"]["b"] > 0.9 > 0.6 > reach["attribute:pattern"]["b"]
    assert reach["attribute:color"]["b"] > 0.8
    back, teacher = open_run(run / "exam" / "reach"), open_run(run / "exam" / "teacher")
    assert back.model["name"] == "sandbox:renderer through sandbox:diffusion"
    entries = zip(back.media.entries(), teacher.media.entries(), strict=True)
    for one, other in list(entries)[:5]:
        assert one.key == other.key
        pixels, drawn = (run.media.read(entry, "image").array().astype(int) for run, entry in ((back, one), (teacher, other)))
        assert 0 < abs(pixels - drawn).mean() < 12
    whole = go(tmp_path / "whole", **{"exam.reach": False, "exam.most": 1})
    assert "reach" not in whole and not (tmp_path / "whole" / "exam" / "reach").exists()
    compared = [one for one in result["gap"] if one["p_adjusted"] is not None]
    assert whole["chosen"] == [max(compared, key=lambda one: one["low"])["skill"]]


def test_lessons_ask_for_the_chosen_skills_far_more_often_than_scenes_do(run: Path) -> None:
    result = result_of(run)
    held = result["holding"]
    shares = [sum(held[skill][side] for skill in result["chosen"]) for side in ("lessons", "fresh")]
    assert shares[0] > 1.3 * shares[1]  # of three complexities one can have no relation; test_skills has the wider space


def test_lessons_share_no_structure_no_pair_and_no_scene_with_what_is_held_out(run: Path) -> None:
    learnt = [record for part in (run / "lessons").iterdir() for record in open_run(part).records]
    held = open_run(run / "before").records
    assert len(learnt) >= BUDGET and len(held) == HELD_OUT
    for kind in ("structure", "pair"):
        ours, theirs = (
            {key for record in side for key in parts_of(SceneGraph.from_dict(record["graph"]))[kind]} for side in (learnt, held)
        )
        assert ours and theirs and not ours & theirs
    assert not {one["caption"] for one in learnt} & {one["caption"] for one in held}
    audit = json.loads((run / "leakage.json").read_text())
    assert audit["clean"] and audit["records"] == {"trained": BUDGET, "held_out": HELD_OUT, "captions": 0}


def test_before_and_after_are_told_for_every_skill_with_intervals_and_the_worst_elsewhere_is_named(run: Path) -> None:
    result = result_of(run)
    for name in ("taught", "elsewhere"):
        one = result[name]
        assert one["b"] - one["a"] == pytest.approx(one["difference"]) and one["low"] <= one["difference"] <= one["high"]
        assert one["claim"] == "no difference shown" or one["low"] > 0 or one["high"] < 0
    assert {one["skill"] for one in result["skills"] if one["taught"]} | set(result["not_asked"]) == set(result["chosen"])
    elsewhere = [one for one in result["skills"] if not one["taught"] and one["difference"] is not None]
    worst = min(elsewhere, key=lambda one: one["difference"])
    lost = [one["skill"] for one in elsewhere if one["claim"] == "worse"]
    assert all(skill in result["conclusion"] for skill in lost or [worst["skill"]])
    assert {"before", "after"} == set(result["to_teacher"])
    assert result["to_teacher"]["before"]["taught"]["difference"] > 0.2  # the renderer draws what the student cannot


def test_a_second_judge_that_chose_nothing_must_bear_the_claim_out(run: Path) -> None:
    result = result_of(run)
    assert result["claim"]["second"]["judge"] == "sandbox:noisy"
    for name in ("taught", "elsewhere"):
        one = result[name]
        assert one["second"]["claim"] == one["claim"] or one["claim"] == "no difference shown"


def test_the_trained_student_is_loaded_from_its_folder_and_is_another(run: Path) -> None:
    trained = Trained.read(run / "policy")
    made, before = (load_model(name, **options) for name, options in ((trained.load, trained.options), ("sandbox:diffusion", {"steps": 2})))
    pictures = [one.generate(["There is a red circle."], [1])[0] for one in (made, before)]
    assert all(isinstance(one, Media) for one in pictures)
    assert pictures[0].sha256 != pictures[1].sha256  # type: ignore[union-attr]
    assert open_run(run / "after").model["name"] == "sandbox:diffusion, distilled"
    card = (run / "policy" / "README.md").read_text()
    assert "sandbox:renderer" in card and "## On held-out scenes" in card


def test_the_report_shows_the_gap_the_lessons_the_skills_and_the_audit(run: Path) -> None:
    page = (run / "report.html").read_text()
    for title in (
        "What the teacher does better",
        "What was taught",
        "What was learnt, and what was lost",
        "Was anything held out trained on?",
    ):
        assert title in page
    assert "<script src" not in page and str(run) not in page


def test_the_same_run_again_changes_nothing_and_paints_nothing(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = files(run)
    go(run, **NOISY)
    assert files(run) == before


def test_another_run_does_not_write_into_the_folder(run: Path) -> None:
    with pytest.raises(RunError, match="seed: 0 there, 1 asked for"):
        go(run, **NOISY, seed=1)


# ---- runs that train nothing ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("teacher", "options"),
    [("sandbox:diffusion", {"steps": 2, "guidance": 2.0}), ("sandbox:flawed", {"size": 32, "drop": 1.0})],
    ids=["as good", "worse"],
)
def test_without_a_gap_nothing_is_trained_and_the_run_says_so(teacher: str, options: dict[str, Any], tmp_path: Path) -> None:
    result = go(tmp_path / "run", teacher=teacher, teacher_options=options)
    assert not result["trained"] and result["chosen"] == [] and len(result["gap"]) > 10
    assert "The teacher is not better anywhere that shows" in result["conclusion"]
    assert "not better anywhere that shows" in (tmp_path / "run" / "report.html").read_text()
    names = {one.name for one in (tmp_path / "run").iterdir()}
    assert not names & {"lessons", "examples.jsonl", "policy", "checkpoints", "after"}


def test_a_teacher_none_of_whose_pictures_passes_teaches_nothing(tmp_path: Path) -> None:
    result = go(tmp_path / "run", **{"lessons.threshold": 1.0, "lessons.tries": 1.0})
    assert not result["trained"] and result["chosen"] and result["lessons"]["failed"] == BUDGET == result["lessons"]["short"]
    assert "none passed its own questions (12 failed one; lessons.threshold is 1)" in result["conclusion"]
    assert not (tmp_path / "run" / "policy").exists()


def test_a_planted_leak_is_refused_and_claims_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configure()
    held = split_scenes(config.scenes, config.held_out, TAXONOMY).held_out
    honest = distill.draw_around

    def leak(*args: Any, **given: Any) -> Drawn:
        drawn = honest(*args, **given)
        planted = next(iter(held.records(1, config.held_out.seed, 3, options=asked())))
        return Drawn((*drawn.records[:-1], planted), drawn.looked, drawn.ended)

    monkeypatch.setattr(distill, "draw_around", leak)
    with pytest.raises(LeakageError, match=r"held-out structure trained on.*held-out scene trained on"):
        go(tmp_path / "run")
    result = result_of(tmp_path / "run")
    assert not result["trained"] and result["claim"]["claim"] is None and result["conclusion"].startswith("Nothing is claimed")
    assert not (tmp_path / "run" / "examples.jsonl").exists() and not (tmp_path / "run" / "policy").exists()
    assert not json.loads((tmp_path / "run" / "leakage.json").read_text())["clean"]


def test_a_leak_that_comes_into_the_lessons_after_the_training_is_found_by_the_second_audit(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    honest = distill.audit_leakage
    monkeypatch.setattr(distill, "audit_leakage", lambda mine, theirs, **given: honest([*mine, theirs[0]], theirs, **given))
    with pytest.raises(LeakageError):
        go(copy, **NOISY)


# ---- other teachers and methods ---------------------------------------------------------------------------------------------------


def test_a_folder_teaches_with_the_pictures_that_it_has(tmp_path: Path) -> None:
    config = configure()
    source = split_scenes(config.scenes, config.held_out, TAXONOMY).train.source(config.seed)
    records = source.table(200, 300).to_pylist()
    painter = load_model("sandbox:renderer", size=32)
    folder = tmp_path / "pictures"
    folder.mkdir()
    for record, one in zip(records, painter.generate([one["caption"] for one in records], list(range(100))), strict=True):
        assert isinstance(one, Media)
        (folder / f"{record['id']}.png").write_bytes(one.data)
    result = go(tmp_path / "run", teacher=f"folder:{folder}", teacher_options={})
    assert result["trained"] and "to_teacher" not in result
    known = {one["id"] for one in records}
    assert {one["id"] for one in open_run(tmp_path / "run" / "exam" / "student").records} <= known
    assert {one.scene for one in read_examples(tmp_path / "run" / "examples.jsonl")} <= known
    assert not (tmp_path / "run" / "teacher").exists()


def test_a_folder_of_other_scenes_is_refused_before_anything_is_painted(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    picture = load_model("sandbox:renderer", size=32).generate(["There is a red circle."], [0])[0]
    assert isinstance(picture, Media)
    (folder / "a photograph of a dog.png").write_bytes(picture.data)
    with pytest.raises(SpecError, match="has pictures of 0 training scenes, by id or caption"):
        go(tmp_path / "run", teacher=f"folder:{folder}", teacher_options={})
    assert not list((tmp_path / "run").rglob("*.png"))


def test_by_preference_the_students_own_picture_is_the_worse_one(tmp_path: Path) -> None:
    result = go(tmp_path / "run", **{"fine_tuning.method": "dpo", "lora.rank": 2})
    examples = read_examples(tmp_path / "run" / "examples.jsonl")
    assert result["trained"] and 0 < len(examples) <= BUDGET
    assert all(one.rejected is not None and "student" in one.rejected.parts and "student" not in one.path.parts for one in examples)
    assert (tmp_path / "run" / "policy" / "pytorch_lora_weights.safetensors").is_file()
    assert Trained.read(tmp_path / "run" / "policy").load == "sandbox:diffusion"


# ---- what is wrong is found before anything is painted ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"student": "sandbox:flawed", "student_options": {}}, "only diffusers models can learn from pictures"),
        ({"fine_tuning.method": "weighted"}, "all lessons passed the same questions"),
        ({"held_out.n": 0}, "without held-out scenes nothing could be said"),
        ({"held_out.judge": "sandbox:yes"}, "one judge for everything"),
        ({"second_judge": "sandbox:pixels"}, "it has the name of the judge"),
        ({"exam.n": 10**9}, "the lessons need some too"),
        ({"held_out.n": 10**9}, "held-out scenes: there are only"),
        ({"scenes": {"complexity": [1, 3], "modality": "video"}}, "the scenes ask for video"),
        ({"lessons.budgets": 4}, "there is no such key"),
        ({"optimization.kl": 0.1}, "no effect on sft"),
    ],
)
def test_what_is_wrong_is_found_before_anything_is_painted(given: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=said):
        go(tmp_path / "run", **given)
    assert not list(tmp_path.rglob("*.png"))


# ---- killed -----------------------------------------------------------------------------------------------------------------------

SCRIPT = """
import json, sys
from pathlib import Path
from anyscene.sandbox.loading import load_sandbox_taxonomy
from anyscene.training.config import read_config
from anyscene.training.distill import run_distill
from anyscene.training.distill_config import DistillConfig
import torch
torch.set_num_threads(1)
run_distill(read_config(None, json.loads(sys.argv[1]), DistillConfig), sys.argv[2], taxonomy=load_sandbox_taxonomy(), quiet=True)
"""
Start = Callable[[Path], "subprocess.Popen[str]"]


def start(out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SCRIPT, json.dumps(SMALL), str(out)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


def grown(out: Path) -> int:
    """How much a run has written, as a clock that a slow machine slows down too."""
    return sum(1 for path in out.rglob("*") if path.is_file()) if out.exists() else 0


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_ends_in_the_same_result_and_weights(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "run"
    process = start(broken)
    _, said = process.communicate(timeout=400)
    assert process.returncode == 0, said[-2000:]
    broken.rename(whole)  # the second one has the same place: a policy says where it is
    total, moments = grown(whole), random.Random(5)
    killed = 0
    for target in sorted(moments.uniform(0.05, 0.98) for _ in range(4)):
        process = start(broken)
        while process.poll() is None and grown(broken) < target * total:
            time.sleep(0.01)
        if process.poll() is None:
            time.sleep(moments.uniform(0, 0.3))
            process.send_signal(signal.SIGKILL)
            killed += 1
        _, said = process.communicate(timeout=60)
        assert process.returncode in (0, -signal.SIGKILL), said[-2000:]
    assert killed >= 3
    process = start(broken)
    _, said = process.communicate(timeout=400)
    assert process.returncode == 0, said[-2000:]
    ours, theirs = files(whole), files(broken)
    assert set(ours) == set(theirs)
    assert "policy/transformer/diffusion_pytorch_model.safetensors" in ours and "report.html" in ours
    for name in ours:
        assert ours[name] == theirs[name], name
