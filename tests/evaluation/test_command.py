"""The command that a run's report shows makes the same run again."""

import csv
import hashlib
import html
import json
import os
import re
import shlex

import pyarrow.parquet as pq
import pytest

from anyscene.cli import backends
from anyscene.cli.main import app
from anyscene.evaluation import (
    command_of,
    judge_run,
    judge_words,
    model_words,
    open_run,
    paint_run,
    report_run,
    scenes_of,
    score_evaluation,
)
from anyscene.sandbox import load_judge, load_model

EVAL = ("eval", "scenes", "--model", "sandbox:flawed", "--judge", "sandbox:pixels", "-q")
RUN = {"scenes": {"n": 7}, "samples": 2, "seed": 3, "command": model_words("sandbox:flawed", {"drop": 0.5})}
JUDGE = {"name": "sandbox:pixels", "forms": ["yes_no"], "command": judge_words("sandbox:pixels")}


def anyscene(folder, *words):
    before = os.getcwd()
    os.chdir(folder)
    try:
        assert not app([*map(str, words)], standalone_mode=False), words
    finally:
        os.chdir(before)


def digests(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def shown(report):
    found = re.search(r"The same run again</h3>\s*<pre[^>]*><code>(.*?)</code>", report.read_text(), re.DOTALL)
    return html.unescape(found[1]) if found else None


def write_csv(run, path):
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, ["media_sha256", "question_key", "answer"])
        writer.writeheader()
        writer.writerows(pq.read_table(run / "labels.parquet").to_pylist())


@pytest.fixture(autouse=True, scope="module")
def doctor_once():
    """Canaries take longer than these runs: the doctor is asked once, and its report kept."""
    with pytest.MonkeyPatch.context() as patch:
        report = backends.examine(load_judge("pixels"))
        patch.setattr(backends, "examine", lambda judge: report)
        yield


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("work")
    spec = ("-n", 12, "--taxonomy", "sandbox", "--complexity", "2-5", "--counts", "-q")
    anyscene(folder, "generate", *spec, "--out", "scenes")
    return folder


# Each: how the first run is made, in a folder `first`; the others say what may be forgotten if a command is put together carelessly.
WAYS = {
    "plain": [EVAL],
    "options": [(*EVAL, "-m", "fail=0.1", "-m", "drop=0.4", "-n", 9, "--samples", 2, "--seed", 5, "--labels", 0.6)],
    "without truth": [(*EVAL, "--labels", 0)],
    "a bad judge, open questions": [
        ("eval", "scenes", "--model", "sandbox:flawed", "--judge", "sandbox:yes", "--no-doctor", "--forms", "open,yes_no", "-q")
    ],
    "a vocabulary by name": [(*EVAL, "--taxonomy", "sandbox")],
    "step by step": [
        ("paint", "scenes", "--model", "sandbox:flawed", "-m", "drop=0.3", "-q"),
        ("judge", "first", "--judge", "sandbox:pixels", "-q"),
        ("calibrate", "first", "--from", "sandbox", "--share", 0.1, "-q"),
        ("calibrate", "first", "--from", "sandbox", "--share", 0.5, "-q"),
        ("report", "first", "-q"),
    ],
    "another resampling": [EVAL, ("score", "first", "--seed", 9, "-q"), ("report", "first", "-q")],
}


@pytest.mark.parametrize("way", WAYS)
def test_the_command_in_the_report_makes_the_same_run(work, tmp_path, way):
    (tmp_path / "scenes").symlink_to(work / "scenes")
    for words in WAYS[way]:
        out = ("--out", "first") if words[0] in ("eval", "paint") else ()
        anyscene(tmp_path, *words, *out)
    for line in shown(tmp_path / "first" / "report.html").splitlines():
        program, *words = shlex.split(line)
        assert program == "anyscene"
        anyscene(tmp_path, *words, "-q")
    assert digests(tmp_path / "run") == digests(tmp_path / "first")


def test_true_answers_from_elsewhere_are_brought_in_as_a_file(work, tmp_path):
    (tmp_path / "scenes").symlink_to(work / "scenes")
    anyscene(tmp_path, *EVAL, "--out", "first")
    write_csv(tmp_path / "first", tmp_path / "people.csv")
    anyscene(tmp_path, "calibrate", "first", "--from", "people.csv", "-q")
    write_csv(tmp_path / "first", tmp_path / "labels.csv")
    commands = shown(tmp_path / "first" / "report.html").splitlines()
    assert commands[1:] == ["anyscene calibrate run --from labels.csv"]
    for line in commands:
        anyscene(tmp_path, *shlex.split(line)[1:], "-q")
    assert digests(tmp_path / "run") == digests(tmp_path / "first")


def test_other_words_for_the_same_run_are_no_reason_to_refuse_it(work, tmp_path):
    (tmp_path / "scenes").symlink_to(work / "scenes")
    anyscene(tmp_path, *EVAL, "--out", "first")
    before = digests(tmp_path / "first")
    anyscene(tmp_path, *EVAL, "-m", "drop=0.10", "--no-doctor", "--out", "first")  # 0.1 is what it drops anyway
    assert digests(tmp_path / "first") == before


def test_a_run_made_from_python_shows_no_command_unless_it_is_given_the_words(work, tmp_path):
    scenes = scenes_of(work / "scenes", 5)
    for name, given in (("silent", (None, None)), ("told", (model_words("sandbox:renderer"), judge_words("sandbox:pixels")))):
        run, _ = paint_run(scenes, load_model("renderer"), tmp_path / name, words=given[0], quiet=True)
        judge_run(run, load_judge("pixels"), words=given[1], quiet=True)
        score_evaluation(run)
        assert (shown(report_run(run)) is None) == (given[0] is None)
    with pytest.raises(KeyError):
        open_run(tmp_path / "silent").manifest["command"]


def test_a_run_from_before_commands_were_kept_goes_on_and_shows_none(work, tmp_path):
    (tmp_path / "scenes").symlink_to(work / "scenes")
    anyscene(tmp_path, *EVAL, "--out", "first")
    for path in (tmp_path / "first/run.json", tmp_path / "first/answers/sandbox-pixels/judge.json"):
        facts = json.loads(path.read_text())
        facts.pop("forms", None)
        del facts["command"]
        path.write_text(json.dumps(facts))
    anyscene(tmp_path, *EVAL, "--out", "first")
    assert shown(tmp_path / "first" / "report.html") is None


def test_what_a_killed_step_left_half_written_is_removed_by_the_next(work, tmp_path):
    (tmp_path / "scenes").symlink_to(work / "scenes")
    anyscene(tmp_path, *EVAL, "--out", "first")
    before = digests(tmp_path / "first")
    for step in ((*EVAL, "--out", "first"), ("judge", "first", "--judge", "sandbox:pixels", "-q")):
        (tmp_path / "first" / ".scores.parquet.0123456789abcdef.tmp").write_bytes(b"half")
        anyscene(tmp_path, *step)
        assert digests(tmp_path / "first") == before


def test_values_are_quoted_for_the_shell():
    words = model_words("folder:my pictures", {"prefix": "it's $HOME", "folders": True, "body": {"a": [1]}, "size": None})
    (line,) = command_of({**RUN, "command": words}, JUDGE).splitlines()
    assert shlex.split(line)[5:] == [
        *("--model", "folder:my pictures", "-m", 'body={"a": [1]}', "-m", "folders=true", "-m", "prefix=it's $HOME"),
        *("--judge", "sandbox:pixels", "--forms", "yes_no", "--samples", "2", "--seed", "3", "--labels", "0", "--out", "run"),
    ]


@pytest.mark.parametrize("path", ["/weights/of/mine/lora", "D:\\weights\\lora", "\\\\server\\share\\lora"])
def test_paths_of_a_machine_are_not_kept(path):
    words = [*model_words("sandbox:flawed", {"lora": path}, path), *judge_words("sandbox:pixels", {"system": path})]
    assert words.count("lora") == 1 and words.count("lora=lora") == 1 and words.count("system=lora") == 1
    assert model_words("x", {"lora": "weights/lora"})[-1] == "lora=weights/lora"


def test_the_order_of_options_makes_no_other_run():
    assert model_words("x", {"b": "1", "a": "2"}) == model_words("x", {"a": "2", "b": "1"})


def test_a_run_that_does_not_say_how_it_was_made_has_no_command():
    assert command_of(RUN, JUDGE)
    assert command_of({key: value for key, value in RUN.items() if key != "command"}, JUDGE) is None
    assert command_of(RUN, {"name": "sandbox:pixels"}) is None
