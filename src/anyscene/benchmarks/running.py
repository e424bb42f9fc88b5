"""A benchmark from its file to its number in one run folder: import, paint, judge, score. Stopped at any moment, it goes on.

The folder is an ordinary evaluation (`anyscene.evaluation`), so every other command works on it; ``benchmark.json`` stands beside its
scenes, and ``result.json`` is the result with all that it rests on.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from anyscene.benchmarks.benchmark import BenchmarkResult, Items, Replies, Reply, load_benchmark
from anyscene.benchmarks.folders import SIDE_FILE, items_table, read_items, read_side, side_bytes
from anyscene.benchmarks.results import result_document, write_result
from anyscene.errors import RunError, SpecError
from anyscene.evaluation import EvaluationRun, judge_run, open_run, paint_run
from anyscene.judges import Judge
from anyscene.models import Model
from anyscene.runs import write_atomic

__all__ = [
    "FORMS",
    "RESULT",
    "check_answerable",
    "items_of",
    "judge_benchmark",
    "paint_benchmark",
    "replies_of_run",
    "run_facts",
    "run_items",
    "score_benchmark_run",
]

RESULT = "result.json"
FORMS = ("yes_no", "choice", "open")
"""Questions of a benchmark are asked in whatever form they have."""


def check_answerable(name: str) -> None:
    """Refuses a benchmark that cannot be scored from a judge's answers.

    Raises:
        SpecError: it is one.
    """
    about = load_benchmark(name).about
    if "answers" not in about.evidence:
        raise SpecError(
            f"{name} has no number from a judge's answers; score what its own scripts wrote ({about.stored}): "
            f"anyscene bench score {name} FILE --items ITEMS"
        )


def items_of(name: str, path: Path, limit: int | None = None) -> Items:
    """The items of a benchmark, from a folder of `anyscene bench import` or from the user's own file.

    Args:
        name: of the benchmark.
        path: a folder with ``benchmark.json``, or what the importer takes.
        limit: only the first so many.

    Raises:
        RecordError: they cannot be read.
        SpecError: the folder holds another benchmark's, or the limit is below 1.
    """
    load_benchmark(name)  # a wrong name before a wrong file
    if (path / SIDE_FILE).is_file():
        items = read_items(path)
        if items.benchmark != name:
            raise SpecError(f"{path} holds items of {items.benchmark}, not of {name}")
    else:
        items = load_benchmark(name).import_items(path)
    if limit is None:
        return items
    if limit < 1:
        raise SpecError(f"{limit} items: ask for at least 1")
    kept = items.records[:limit]
    return Items(items.benchmark, kept, {record["id"]: items.extras[record["id"]] for record in kept}, items.notes)


def paint_benchmark(
    items: Items,
    model: Model,
    out: Path,
    *,
    seed: int = 0,
    samples: int | None = None,
    words: Sequence[str] | None = None,
    quiet: bool = False,
) -> EvaluationRun:
    """Paints the items into a run folder that keeps what the benchmark says of them.

    Args:
        items: of the benchmark.
        model: what paints.
        out: the run's folder.
        seed: of the run.
        samples: pictures of each item; by default as many as the benchmark asks for.
        words: how the command line names the model.
        quiet: show no progress.

    Raises:
        RunError: the folder holds another run.
        SpecError: the model makes another modality.
        ModelError: the model cannot be used.
    """
    side = out / SIDE_FILE
    if side.exists() and (found := read_side(side))["digest"] != items.digest:
        raise RunError(f"{out} holds a run of other items ({found['benchmark']}). Take another folder for another run.")
    number = load_benchmark(items.benchmark).about.samples if samples is None else samples
    run, _ = paint_run(items_table(items), model, out, seed=seed, samples=number, words=words, quiet=quiet)
    write_atomic(side, side_bytes(items))
    if run.media.entries() and not any(entry.status == "made" for entry in run.media.entries()):
        first = next(iter(run.media.entries()))
        raise RunError(f"{out}: none of its {len(run.media.entries()):,} media was made; the first: {first.status} ({first.reason})")
    return run


def run_items(folder: Path) -> tuple[EvaluationRun, Items]:
    """A run of a benchmark, and its items.

    Raises:
        RunError: it is no run.
        RecordError: it keeps no benchmark's items.
    """
    return open_run(folder), read_items(folder)


def replies_of_run(run: EvaluationRun, items: Items, judge: str | None = None) -> Replies:
    """A judge's answers about the pictures of a run; pictures that were not made are not in it.

    Args:
        run: an evaluation of the items.
        items: the benchmark.
        judge: whose answers; by default the only one's.

    Raises:
        SpecError: no judge has answered, or several have and none is named.
        RecordError: a file of answers is damaged.
    """
    from anyscene.language.question import question_key

    answers, facts = run.answers(judge)
    said: dict[str, dict[str, Reply]] = {}
    for row in answers.to_pylist():
        reply = Reply(row["text"], row["p_yes"], row["status"], tuple(row["probabilities"] or ()))
        own = said.setdefault(row["media_sha256"], {})
        if row["question_key"] not in own or reply.status != "failed":
            own[row["question_key"]] = reply
    keys = {
        record["id"]: {one["id"]: question_key(one["form"], one["text"], tuple(one["choices"])) for one in record["questions"]}
        for record in items.records
    }
    by_media: dict[tuple[str, int], dict[str, Reply]] = {}
    for entry in run.media.entries():
        if entry.status != "made" or entry.sha256 is None or entry.record_id not in keys:
            continue
        known = said.get(entry.sha256, {})
        own = {id: known[key] for id, key in keys[entry.record_id].items() if key in known}
        if own:
            by_media[entry.key] = own
    return Replies(by_media, str(run.model["name"]), str(facts["name"]), int(run.manifest["samples"]))


def score_benchmark_run(folder: Path, judge: str | None = None, *, seed: int = 0) -> BenchmarkResult:
    """Scores a run of a benchmark from its stored answers and writes ``result.json``. No judge is called.

    Args:
        folder: of the run.
        judge: whose answers; by default the only one's.
        seed: of the intervals.

    Raises:
        RunError: it is no run.
        RecordError: it is no benchmark's, nothing was answered, or a file is damaged.
        SpecError: several judges have answered and none is named, or the benchmark is not scored from answers.
    """
    run, items = run_items(folder)
    benchmark = load_benchmark(items.benchmark)
    check_answerable(items.benchmark)
    replies = replies_of_run(run, items, judge)
    result = benchmark.score(items, replies, seed=seed)
    write_result(folder / RESULT, result_document(items, replies, result, seed=seed, run=run_facts(run, judge)))
    return result


def run_facts(run: EvaluationRun, judge: str | None) -> dict[str, Any]:
    """Model, judge, settings and media of a run, for its result file."""
    _, facts = run.answers(judge)
    return {
        "model": dict(run.model),
        "judge": facts,
        "settings": {name: run.manifest[name] for name in ("seed", "samples", "command", "versions") if name in run.manifest},
        "media": [
            {"id": one.record_id, "sample": one.sample, "seed": one.seed, "sha256": one.sha256, "status": one.status, "reason": one.reason}
            for one in run.media.entries()
        ],
    }


def judge_benchmark(run: EvaluationRun, judge: Judge, *, words: Sequence[str] | None = None, quiet: bool = False) -> None:
    """Asks a judge every question of a run that it has not answered yet."""
    judge_run(run, judge, forms=FORMS, words=words, quiet=quiet)
