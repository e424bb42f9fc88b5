"""Models and judges on the command line: their options, and what the sandbox knows that others do not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anyscene.cli import options as o
from anyscene.errors import SpecError

if TYPE_CHECKING:
    from anyscene.engines import Engine
    from anyscene.engines.crew import Crew
    from anyscene.evaluation import EvaluationRun as EvaluationRun
    from anyscene.judges import Judge as Judge
    from anyscene.judges.canaries import Canary, DoctorReport
    from anyscene.language.question import Question
    from anyscene.models import Model as Model
    from anyscene.taxonomy import Taxonomy

else:
    EvaluationRun = Judge = Model = Any  # the real ones are imported when a command runs

SANDBOX = "sandbox"
WORTH_TIMING = 50
"""Media from which on the first is judged twice to say how long the rest will take, where that costs no money."""
ModelName = Annotated[str, typer.Option("--model", help="diffusers:NAME, autoregressive:NAME, openai:NAME, folder:PATH or sandbox:NAME.")]
ModelOptions = Annotated[
    list[str] | None,
    typer.Option("--model-option", "-m", metavar="KEY=VALUE", help="An option of the model: steps=30. Several may be given."),
]
JudgeName = Annotated[str, typer.Option("--judge", help="transformers:NAME, openai:NAME, human:FOLDER, stored:PATH or sandbox:pixels.")]
JudgeOptions = Annotated[
    list[str] | None,
    typer.Option("--judge-option", "-j", metavar="KEY=VALUE", help="An option of the judge: dtype=bfloat16. Several may be given."),
]
Forms = Annotated[str, typer.Option(help="Forms of the questions that are asked: yes_no, choice, open.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="With Ray: how many work side by side; by default as many as the cluster has room for.", show_default=False),
]
GpusPerWorker = Annotated[
    float | None, typer.Option(help="GPUs that Ray sets aside for a worker.  [default: 1; 0 for the sandbox]", show_default=False)
]


def parse_options(given: Sequence[str] | None) -> dict[str, str]:
    """``["steps=30"]`` -> ``{"steps": "30"}``.

    Raises:
        SpecError: one is not of the form key=value, or is given twice.
    """
    options: dict[str, str] = {}
    for text in given or ():
        key, sign, value = text.partition("=")
        key = key.strip().replace("-", "_")
        if not sign or not key.isidentifier():
            raise SpecError(f"option {text!r}: it must be KEY=VALUE, like steps=30")
        if key in options:
            raise SpecError(f"option {key} is given twice")
        options[key] = value
    return options


def make_model(name: str, options: Sequence[str] | None) -> Model:
    """The model that a command names."""
    from anyscene.models import load_model

    return load_model(name, **parse_options(options))


def make_judge(name: str, options: Sequence[str] | None) -> Judge:
    """The judge that a command names."""
    from anyscene.judges import load_judge

    return load_judge(name, **parse_options(options))


def engine_of(
    name: str,
    address: str | None,
    workers: int | None,
    cpus: float | None,
    gpus: float | None,
    *,
    model: str | None = None,
    judge: str | None = None,
) -> AbstractContextManager[Engine | None]:
    """The engine that the options ask for, to be opened by `with`; None for this process itself.

    Args:
        name: ``local`` or ``ray``.
        address: of the cluster.
        workers: how many there are to be.
        cpus: of a worker.
        gpus: likewise; by default one, unless the workers hold nothing but what the sandbox has.
        model: that workers are to hold.
        judge: likewise.

    Raises:
        SpecError: there is no such engine, an option of Ray's is given without it, or workers cannot have the model or the judge.
    """
    held = [one.partition(":")[0] for one in (model, judge) if one is not None]
    engine = o.engine_of(name, address, workers, cpus, gpus, default_gpus=float(any(one != SANDBOX for one in held)))
    if name == "local":
        if workers is not None:
            raise SpecError("--workers says something of a Ray cluster: give --engine ray as well, or leave it out")
        return nullcontext(None)
    from anyscene.judges.remote import check_remote as check_judge
    from anyscene.models.remote import check_remote as check_model

    if model is not None:
        check_model(model)
    if judge is not None:
        check_judge(judge)
    return engine


def on_workers(judge: str) -> bool:
    """Whether workers can have a judge; else it is asked from this process in any case."""
    from anyscene.judges.remote import stays_here

    return stays_here(judge) is None


@contextmanager
def model_on(engine: Engine | None, name: str, options: Sequence[str] | None, quiet: bool) -> Iterator[Model]:
    """The model that a command names, on the workers of an engine or here. At the end its workers end, and what they cost is said."""
    if engine is None:
        yield make_model(name, options)
        return
    from anyscene.models.remote import load_remote_model

    model = load_remote_model(engine, name, parse_options(options))
    try:
        yield model
    finally:
        model.close()
        _tell_cost(engine, model.crew, name, f"{model.served:,} media", quiet)


@contextmanager
def judge_on(engine: Engine | None, name: str, options: Sequence[str] | None, quiet: bool, number: int | None = None) -> Iterator[Judge]:
    """The judge that a command names, on the workers of an engine (on so many of them) or here; else as `model_on`."""
    if engine is None:
        yield make_judge(name, options)
        return
    from anyscene.judges.remote import load_remote_judge

    judge = load_remote_judge(engine, name, parse_options(options), number=number)
    try:
        yield judge
    finally:
        judge.close()
        _tell_cost(engine, judge.crew, name, f"{judge.served:,} questions", quiet)


def _tell_cost(engine: Engine, crew: Crew, name: str, what: str, quiet: bool) -> None:
    from anyscene.runs import say

    number, hours, gpus = min(crew.number, len(crew.workers)), crew.worker_seconds / 3600, getattr(engine, "gpus", 0)
    spent = f"{hours:.3g} worker-hours" + (f", {hours * gpus:.3g} GPU-hours" if gpus else "")
    say(f"{name}: {number} {'worker' if number == 1 else 'workers'}, {what}, {spent}", quiet=quiet)


def model_words(name: str, options: Sequence[str] | None, taxonomy: Path | None) -> list[str]:
    """What a run keeps of how its model was named."""
    from anyscene.evaluation import model_words as words
    from anyscene.sandbox import sandbox_taxonomy_path

    vocabulary = None if taxonomy is None else SANDBOX if taxonomy == sandbox_taxonomy_path() else str(taxonomy)
    return words(name, parse_options(options), vocabulary)


def judge_words(name: str, options: Sequence[str] | None, doctor: bool) -> list[str]:
    """What a run keeps of how its judge was named."""
    from anyscene.evaluation import judge_words as words

    return words(name, parse_options(options), examined=doctor)


def taxonomy_of(scenes: Path, given: Path | None) -> Taxonomy | None:
    """The vocabulary of a dataset: the one given, or whichever that ships has the digest in the dataset's manifest; else None."""
    from anyscene.runs import read_manifest
    from anyscene.sandbox import sandbox_taxonomy_path
    from anyscene.taxonomy import load_taxonomy

    if given is not None:
        return load_taxonomy(given)
    manifest = read_manifest(scenes if scenes.is_dir() else scenes.parent) or {}
    source = manifest.get("source")
    wanted = source.get("taxonomy", {}).get("digest") if isinstance(source, dict) else None
    if wanted is None:
        return None
    for path in (sandbox_taxonomy_path(), None):
        taxonomy = load_taxonomy(path)
        if taxonomy.digest == wanted:
            return taxonomy
    return None


def sandbox_truth(question: Question, details: Mapping[str, Any]) -> str | None:
    """The true answer to a question about a picture of the sandbox, by what its painter says of it; None where it has none."""
    from anyscene.sandbox.truth import read_seen, true_answer

    return true_answer(question, read_seen(details["seen"])) if "seen" in details else None


def canaries_for(judge: Judge) -> Sequence[Canary]:
    """Pictures with known answers: the sandbox's own for its judges, which know no other things; else the general ones."""
    from anyscene.judges.canaries import default_canaries

    if judge.name.partition(":")[0] == SANDBOX:
        from anyscene.sandbox.canaries import sandbox_canaries

        return sandbox_canaries()
    return default_canaries()


def examine(judge: Judge) -> DoctorReport:
    """Puts the canaries to a judge."""
    from anyscene.judges.canaries import run_doctor

    return run_doctor(judge, canaries_for(judge))


def insist(judge: Judge, quiet: bool) -> None:
    """Puts the canaries to a judge and refuses one that fails them.

    Raises:
        JudgeError: it fails; the message says at what.
    """
    from anyscene.errors import JudgeError
    from anyscene.runs import say

    if not getattr(judge, "examinable", True):  # people, and answers that were given before, know nothing of canaries
        return
    report = examine(judge)
    if report.refused:
        raise JudgeError(
            f"{judge.name} is refused: {'; '.join(report.errors)}. "
            f"See: anyscene doctor --judge {judge.name}; with --no-doctor it is asked all the same"
        )
    for warning in report.warnings:
        say(f"{judge.name}: {warning}", quiet=quiet)


def announce(run: EvaluationRun, judge: Judge, forms: Sequence[str], quiet: bool) -> None:
    """Says how much will be asked, and what it costs as far as that is known."""
    from anyscene.judges.cost import estimate_cost
    from anyscene.judges.judging import questions_of
    from anyscene.runs import say

    entries = [entry for entry in run.media.entries() if entry.status == "made"]
    if not entries:
        return
    asked = {record["id"]: questions_of(record, forms) for record in run.records}
    questions = sum(len(asked[entry.record_id]) for entry in entries)
    media = run.media.read(entries[0], run.model["modality"])
    own = asked[entries[0].record_id]
    timed = len(entries) >= WORTH_TIMING and judge.name.partition(":")[0] == "transformers" and own
    cost = estimate_cost(
        judge,
        len(entries),
        questions,
        media.image.size,
        frames=len(media.frames),
        probe=(lambda: judge.answer(media, own)) if timed else None,
    )
    say(f"{judge.name}: {questions:,} questions about {len(entries):,} media: {cost}", quiet=quiet)
