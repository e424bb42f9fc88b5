"""A run that is scored in parts has the scores of the whole, whatever lies where in its files and whoever does it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from anyscene import SceneSpace
from anyscene.cli.backends import sandbox_truth
from anyscene.engines import Engine, LocalEngine
from anyscene.errors import AnySceneError
from anyscene.evaluation import EvaluationRun, judge_run, label_run, open_run, paint_run, score_evaluation, scores_of
from anyscene.evaluation import parts as module
from anyscene.evaluation.parts import score_in_parts
from anyscene.evaluation.run import ROWS
from anyscene.judges import load_judge
from anyscene.judges.store import read_answers
from anyscene.models import load_model
from anyscene.sandbox import load_sandbox_taxonomy

SCENES, PER_PART = 90, 13


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with two pictures a scene, some of them missing, and true answers for a share of them."""
    out = tmp_path_factory.mktemp("parts") / "run"
    taxonomy = load_sandbox_taxonomy()
    scenes = SceneSpace(taxonomy=taxonomy, complexity=(2, 6), scene_attributes=(0, 1), counts=True).table(0, SCENES)
    run, _ = paint_run(scenes, load_model("sandbox:flawed", refuse=0.05, fail=0.02), out, samples=2, taxonomy=taxonomy, quiet=True)
    judge_run(run, load_judge("sandbox:pixels"), forms=("yes_no", "choice"), quiet=True)
    label_run(run, sandbox_truth, share=0.2, forms=("yes_no", "choice"))
    return out


@pytest.fixture
def run(made: Path, tmp_path: Path) -> EvaluationRun:
    """A copy to be changed; without its pictures, which scoring never sees."""
    shutil.copytree(made, tmp_path / "run", ignore=shutil.ignore_patterns("*.png"))
    return open_run(tmp_path / "run")


def store_of(run: EvaluationRun) -> Path:
    return run.store_of()[0]


def close(one: Any, other: Any) -> bool:
    """Equal up to the rounding of sums in another order."""
    if isinstance(one, dict):
        return list(one) == list(other) and all(close(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(close, one, other))
    return one == other or (isinstance(one, float) and isinstance(other, float) and abs(one - other) < 1e-12)


def check(run: EvaluationRun, scenes: int = PER_PART, engine: Engine | None = None) -> None:
    """Scores by parts are those of the whole."""
    found = score_in_parts(run, engine=engine or LocalEngine(), scenes=scenes, quiet=True)
    whole = scores_of(run)
    assert close(found, json.loads(json.dumps(whole.to_dict())))
    assert pq.read_table(run.folder / ROWS).equals(whole.rows_table())


def leave_as_it_is(run: EvaluationRun) -> None: ...


def one_shuffled_file(run: EvaluationRun) -> None:
    """As if it came from another machine."""
    table = read_answers(store_of(run))
    for path in store_of(run).glob("*.parquet"):
        path.unlink()
    order = np.random.default_rng(0).permutation(table.num_rows)
    pq.write_table(table.take(pa.array(order)), store_of(run) / "all.parquet", row_group_size=50)


def answers_twice(run: EvaluationRun) -> None:
    """Each answer failed once before, under a name that comes first, and was given otherwise under one that comes last."""
    table = read_answers(store_of(run))
    failed = table.set_column(table.column_names.index("status"), "status", pa.array(["failed"] * table.num_rows))
    pq.write_table(failed, store_of(run) / "a.parquet")
    some = table.slice(0, table.num_rows // 2)
    pq.write_table(
        some.set_column(some.column_names.index("p_yes"), "p_yes", pa.array([0.25] * some.num_rows)), store_of(run) / "z.parquet"
    )


def strangers(run: EvaluationRun) -> None:
    """Answers about pictures of another run."""
    table = read_answers(store_of(run)).slice(0, 20)
    other = pa.array([f"{number:064x}" for number in range(20)])
    pq.write_table(table.set_column(0, "media_sha256", other), store_of(run) / "other.parquet")


def the_same_picture_everywhere(run: EvaluationRun) -> None:
    """Pictures of scenes in all parts have the same bytes."""
    entries = run.media.entries()
    made = [entry for entry in entries if entry.sha256]
    first = made[0].sha256
    assert first
    run.media.rewrite([replace(one, sha256=first) if one in made[::7] else one for one in entries])


def no_answers_at_first(run: EvaluationRun) -> None:
    """Nobody has judged the first parts yet: of which forms questions were asked, only later ones tell."""
    table = read_answers(store_of(run))
    seen = {entry.sha256 for entry in run.media.entries()[: 4 * PER_PART]}
    for path in store_of(run).glob("*.parquet"):
        path.unlink()
    kept = pc.invert(pc.is_in(table["media_sha256"], value_set=pa.array(sorted(filter(None, seen)))))
    pq.write_table(table.filter(kept), store_of(run) / "part-00001.parquet")


def labels_of_another_run(run: EvaluationRun) -> None:
    table = pq.read_table(run.folder / "labels.parquet")
    other = pa.array([f"{number:064x}" for number in range(table.num_rows)])
    pq.write_table(table.set_column(table.column_names.index("media_sha256"), "media_sha256", other), run.folder / "labels.parquet")


def no_labels(run: EvaluationRun) -> None:
    (run.folder / "labels.parquet").unlink()


def media_in_another_order(run: EvaluationRun) -> None:
    run.media.rewrite(run.media.entries()[::-1])


@pytest.mark.parametrize(
    "change",
    [
        leave_as_it_is,
        one_shuffled_file,
        answers_twice,
        strangers,
        the_same_picture_everywhere,
        no_answers_at_first,
        labels_of_another_run,
        no_labels,
        media_in_another_order,
    ],
)
def test_the_parts_have_the_scores_of_the_whole(change: Callable[[EvaluationRun], None], run: EvaluationRun) -> None:
    before = scores_of(run).to_dict()
    change(run)
    after = scores_of(run).to_dict()
    assert (before == after) == (change in (leave_as_it_is, one_shuffled_file, strangers, media_in_another_order))
    check(run)


@pytest.mark.parametrize("scenes", [1, SCENES - 1, SCENES, 10 * SCENES])
def test_the_size_of_parts_does_not_matter(scenes: int, run: EvaluationRun) -> None:
    check(run, scenes)


def test_in_units_the_parts_have_the_scores_of_the_whole(run: EvaluationRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where there are many scenes."""
    monkeypatch.setattr("anyscene.scoring.statistics.MANY_SCENES", 50)
    for where in ("scoring.statistics", "scoring.run", "evaluation.parts"):
        monkeypatch.setattr(f"anyscene.{where}.UNITS", 32)
    before = scores_of(run).to_dict()
    check(run)
    monkeypatch.undo()
    assert scores_of(run).to_dict() != before


class Backwards(LocalEngine):
    """An engine whose first item is done last."""

    def imap_unordered(self, function: Any, common: Any, items: Any, *, ahead: int = 0) -> Any:
        yield from reversed(list(super().imap_unordered(function, common, items, ahead=ahead)))


def test_neither_workers_nor_their_order_change_a_byte(run: EvaluationRun) -> None:
    def scored(engine: Engine) -> tuple[dict[str, Any], bytes]:
        return score_in_parts(run, engine=engine, scenes=PER_PART, quiet=True), (run.folder / ROWS).read_bytes()

    alone = scored(LocalEngine())
    assert scored(LocalEngine(2)) == alone
    assert scored(Backwards()) == alone
    assert not [path for path in run.folder.iterdir() if path.name.startswith((".", "tmp"))]


def test_a_large_run_is_scored_in_parts(run: EvaluationRun, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = score_evaluation(run)
    monkeypatch.setattr(module, "MANY_SCENES", 26)
    monkeypatch.setattr(module, "LEAST_SCENES", 1)
    seen: list[int] = []
    real = module.score_part

    def counted(common: Any, part: Any) -> Any:
        seen.append(part.records.num_rows)
        return real(common, part)

    monkeypatch.setattr(module, "score_part", counted)
    torn = run.folder / f".{ROWS}.{'0' * 16}.tmp"
    torn.write_bytes(b"what a killed run had written")
    assert close(score_evaluation(run), whole)
    assert seen == [13] * 6 + [12]
    assert not torn.exists()


def two_judges(run: EvaluationRun) -> None:
    table = read_answers(store_of(run)).slice(0, 5)
    pq.write_table(table.set_column(table.column_names.index("revision"), "revision", pa.array(["other"] * 5)), store_of(run) / "z.parquet")


def no_answers(run: EvaluationRun) -> None:
    for path in store_of(run).glob("*.parquet"):
        pq.write_table(pq.read_table(path).slice(0, 0), path)


def a_torn_file(run: EvaluationRun) -> None:
    path = sorted(store_of(run).glob("*.parquet"))[1]
    path.write_bytes(path.read_bytes()[:-100])


def no_probability(run: EvaluationRun) -> None:
    """In a file that lies in several parts."""
    path = sorted(store_of(run).glob("*.parquet"))[0]
    table = pq.read_table(path)
    values = [2.0, *table["p_yes"].to_pylist()[1:]]
    pq.write_table(table.set_column(table.column_names.index("p_yes"), "p_yes", pa.array(values)), path)


def no_probability_of_a_stranger(run: EvaluationRun) -> None:
    strangers(run)
    path = store_of(run) / "other.parquet"
    table = pq.read_table(path)
    pq.write_table(table.set_column(table.column_names.index("p_yes"), "p_yes", pa.array([2.0] * 20)), path)


def other_columns(run: EvaluationRun) -> None:
    pq.write_table(pa.table({"x": [1]}), store_of(run) / "z.parquet")


def a_changed_scene(run: EvaluationRun) -> None:
    path = run.folder / "scenes.parquet"
    path.write_bytes(path.read_bytes()[:-1] + b"x")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (two_judges, "several judges"),
        (no_answers, "holds no answers"),
        (a_torn_file, "not a readable file of answers"),
        (no_probability, "no probabilities"),
        (no_probability_of_a_stranger, "no probabilities"),
        (other_columns, "lacks the columns"),
        (a_changed_scene, "missing or damaged"),
    ],
)
def test_what_is_damaged_is_told_as_of_the_whole(change: Callable[[EvaluationRun], None], said: str, run: EvaluationRun) -> None:
    score_in_parts(run, engine=LocalEngine(), scenes=PER_PART, quiet=True)
    before = (run.folder / ROWS).read_bytes()
    change(run)
    run = open_run(run.folder)
    with pytest.raises(AnySceneError, match=said):
        scores_of(run)
    with pytest.raises(AnySceneError, match=said):
        score_in_parts(run, engine=LocalEngine(), scenes=PER_PART, quiet=True)
    assert (run.folder / ROWS).read_bytes() == before
