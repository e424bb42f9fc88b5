"""``anyscene bench``: other people's benchmarks: their items, their numbers, with the official faults and without."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anyscene.cli import backends as b
from anyscene.cli import bench_like
from anyscene.cli import options as o
from anyscene.cli.printing import print_json, printable
from anyscene.cli.score import AsJson, BootstrapSeed

if TYPE_CHECKING:
    from anyscene.benchmarks import Benchmark, BenchmarkResult, Items

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Name = Annotated[str, typer.Argument(help="Short name of the benchmark, see anyscene bench list.")]
GivenItems = Annotated[Path, typer.Argument(metavar="ITEMS", help="The benchmark's file, or a folder of anyscene bench import.")]
Limit = Annotated[int | None, typer.Option("-n", help="Only the first so many items.", show_default=False)]
RUN, RESULT_FILE, SIDE_FILE = "run.json", ".json", "benchmark.json"

HELP_LIST = """The benchmarks that there are: what they need, under which licence, how they are scored.

Example: anyscene bench list
"""
HELP_IMPORT = """Turn a benchmark's own file into a dataset that eval, paint, judge, score, compare, calibrate and rewards take.

Faults of the file are repaired where that is certain, counted and told; anything else is refused with file and line.

Example: anyscene bench import dpg dpg_bench.csv --out dpg
"""
HELP_RUN = """From a benchmark's file to its number in one run folder: import, paint (or take pictures that are there), judge, score.

Stopped at any moment, the same command goes on. RUN/result.json carries prompts, seeds, settings, answers and versions: whoever has it can
compute the number again. RUN is an ordinary evaluation: score, report and compare work on it.

Example: anyscene bench run dpg dpg_bench.csv --pictures my-grids --judge transformers:Qwen/Qwen3-VL-8B-Instruct --out run
"""
HELP_SCORE = """A benchmark's number, official and fixed, from a run, a result file, or answers in the benchmark's own format.

Every fault of the official script is named with how far it moves the number. No model and no judge is called.

Example: anyscene bench score dsg pali17b_dsg.csv --items dsg-1k-anns.csv --model sd2dot1
"""


@app.callback()
def _root() -> None:
    """Groups what is below."""


@app.command("list", help=HELP_LIST)
def list_(as_json: AsJson = False) -> None:
    """Look up, print."""
    from anyscene.benchmarks import benchmark_names, load_benchmark

    facts = [load_benchmark(name).about for name in benchmark_names()]
    if as_json:
        print_json([{field: getattr(one, field) for field in one.__slots__} for one in facts])
        return
    for one in facts:
        print(f"{one.name}\n  {one.title}\n  give:     {one.files} (from {one.home}; {one.licence})")
        print(f"  pictures: {one.samples} of each item ({one.modality}); folders laid out as {', '.join(one.layouts)}")
        print(f"  scored:   from {' or '.join(one.evidence)}; officially by {one.official_judge}")
        print(f"  stored:   bench score takes {one.stored}")


@app.command("import", help=HELP_IMPORT)
def import_(
    name: Name,
    path: Annotated[Path, typer.Argument(help="The file or folder that anyscene bench list names.")],
    out: o.OutFolder,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is in the folder.")] = False,
    as_json: AsJson = False,
) -> None:
    """Import, write, tell."""
    from anyscene.benchmarks import import_benchmark

    items = import_benchmark(name, path, out, overwrite=overwrite)
    if as_json:
        print_json(_import_facts(items))
        return
    print(f"{out}: {len(items.records):,} items of {items.benchmark} with {_questions(items):,} questions")
    for note in items.notes:
        print(f"  {printable(note.line())}")


@app.command("run", help=HELP_RUN)
def run(
    name: Name,
    items_path: GivenItems,
    judge: b.JudgeName,
    out: o.OutFolder,
    model: Annotated[
        str | None, typer.Option("--model", help="What paints: diffusers:NAME, folder:PATH, ... With --pictures: what they were made by.")
    ] = None,
    model_option: b.ModelOptions = None,
    judge_option: b.JudgeOptions = None,
    pictures: Annotated[
        Path | None, typer.Option(help="A folder of pictures in the benchmark's own layout, instead of painting.", show_default=False)
    ] = None,
    layout: Annotated[str | None, typer.Option(help="Of that folder; by default it is found out.", show_default=False)] = None,
    n: Limit = None,
    samples: Annotated[
        int | None, typer.Option(min=1, help="Pictures of each item; by default as the benchmark asks.", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option(help="Each picture has a seed of its own from this one.")] = 0,
    doctor: Annotated[
        bool, typer.Option("--doctor/--no-doctor", help="Put canaries to the judge first, and refuse it if it fails.")
    ] = True,
    as_json: AsJson = False,
    quiet: b.Quiet = False,
) -> None:
    """Import, paint, judge, score."""
    from anyscene.benchmarks import items_of, judge_benchmark, paint_benchmark, score_benchmark_run
    from anyscene.benchmarks.running import check_answerable
    from anyscene.errors import SpecError
    from anyscene.runs import say

    check_answerable(name)
    if model is None and pictures is None:
        raise SpecError("say what paints (--model), or where the pictures are (--pictures)")
    if pictures is None and layout is not None:
        raise SpecError(f"--layout {layout} is of a folder of pictures, which --pictures names; here --model paints")
    if pictures is not None and model_option:
        raise SpecError("--model-option is for a model that paints; with --pictures, --model only names who made them")
    items = items_of(name, items_path, n)
    for note in items.notes:
        say(f"{name}: {printable(note.line())}", quiet=quiet)
    judged_by = b.make_judge(judge, judge_option)  # before anything is painted: a wrong name should not cost hours
    if doctor:
        b.insist(judged_by, quiet)
    if pictures is not None:
        from anyscene.benchmarks.layouts import LayoutModel, read_layout

        found = read_layout(pictures, items, layout=layout or "auto", samples=samples)
        say(printable(found.line()), quiet=quiet)
        painter: Any = LayoutModel(found, model or "")
        words = None
    else:
        painter, words = b.make_model(str(model), model_option), b.model_words(str(model), model_option, None)
    opened = paint_benchmark(items, painter, out, seed=seed, samples=samples, words=words, quiet=quiet)
    del painter  # its memory is needed by the judge
    b.announce(opened, judged_by, ("yes_no", "choice", "open"), quiet)
    judge_benchmark(opened, judged_by, words=b.judge_words(judge, judge_option, doctor), quiet=quiet)
    result = score_benchmark_run(out, judged_by.name)
    _tell(result, as_json)
    say(f"result: {out / 'result.json'}", quiet=quiet)


@app.command("score", help=HELP_SCORE)
def score(
    name: Name,
    path: Annotated[Path, typer.Argument(help="A run's folder, a result.json, or answers (detections, scores) in the benchmark's format.")],
    items_path: Annotated[
        Path | None, typer.Option("--items", "--questions", help="The benchmark's file or imported folder, for a file of answers.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Whose pictures, where a file has several models'.", show_default=False)] = None,
    judge: Annotated[str | None, typer.Option(help="Whose answers, where several judges have answered.", show_default=False)] = None,
    encoder: Annotated[
        str | None,
        typer.Option(help="tifa: maps free answers to choices, as sentence-transformers/all-mpnet-base-v2.", show_default=False),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write a result file that anybody can score again.", show_default=False)] = None,
    seed: BootstrapSeed = 0,
    as_json: AsJson = False,
) -> None:
    """Read, score, print."""
    from anyscene.benchmarks import items_of, load_benchmark, result_document, score_benchmark_run, write_result
    from anyscene.benchmarks.running import RESULT
    from anyscene.errors import RecordError, SpecError
    from anyscene.runs import write_atomic

    benchmark = load_benchmark(name)
    if path.is_dir() and (path / RUN).is_file():
        for option, given in (("--items", items_path), ("--model", model), ("--encoder", encoder)):
            if given is not None:
                raise SpecError(f"{path} is a run, which has all that is needed: {option} is for a file of answers")
        _same(name, path)
        result = score_benchmark_run(path, judge, seed=seed)
        if out is not None:
            write_atomic(out, (path / RESULT).read_bytes())
        _tell(result, as_json)
        return
    if judge is not None:
        raise SpecError(f"--judge {judge}: {path} is no run in which several judges have answered")
    if not path.exists():
        raise RecordError(f"{path}: No such file or folder")
    again = _again(benchmark, path) if items_path is None else None
    if again is None and items_path is None:
        raise SpecError(_needs_items(benchmark, path))
    if again is not None:
        items, evidence, stated = again
    else:
        items = items_of(name, Path(str(items_path)))
        if path.is_dir() and benchmark.about.evidence[0] != "scores":
            raise SpecError(_needs_items(benchmark, path))
        evidence, stated = benchmark.read_evidence(path, items, model=model), None
    try:
        result = _score(benchmark, items, evidence, seed, encoder)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        if stated is None:
            raise
        raise RecordError(f"{path}: its items or evidence are none of {name} ({type(error).__name__}: {error})") from None
    if out is not None:
        write_result(out, result_document(items, evidence, result, seed=seed))
    _tell(result, as_json)
    if stated is not None and not as_json:
        _compare(stated, result)


def _needs_items(benchmark: Benchmark, path: Path) -> str:
    """What to do with evidence that cannot be scored as it was given."""
    name, stored = benchmark.about.name, benchmark.about.stored
    if not path.is_dir():
        return f"{path}: no result file; to score answers (or boxes, or scores) of others, name the benchmark's file too: --items FILE"
    if (path / SIDE_FILE).is_file():
        return f"{path}: imported items and no answers; anyscene bench run {name} {path} --model MODEL --judge JUDGE --out RUN makes them"
    how = f"anyscene bench run {name} ITEMS --pictures {path} --judge JUDGE --out RUN" if "answers" in benchmark.about.evidence else ""
    if "detections" in benchmark.about.evidence:
        how = f"anyscene bench detect {name} {path} --items ITEMS --detector DETECTOR" + (f", or {how}" if how else "")
    looked = f"; pictures are looked at with {how}" if how else ""
    return f"{path}: a folder and no run; bench score {name} takes, with --items, {stored}{looked}"


def _compare(stated: dict[str, Any], result: BenchmarkResult) -> None:
    """Says whether a result file has the numbers that come out of it."""
    found = result.to_dict()
    told = stated.get("result")
    old = [told.get(name, {}).get("headline", {}).get("value") if isinstance(told, dict) else None for name in ("official", "fixed")]
    new = [found[name]["headline"]["value"] for name in ("official", "fixed")]
    print(f"scored again: {'the numbers are those of the file' if old == new else f'the file says {old[0]} official, {old[1]} fixed'}")


def _score(benchmark: Benchmark, items: Items, evidence: Any, seed: int, encoder: str | None) -> BenchmarkResult:
    from anyscene.errors import SpecError

    if encoder is None:
        return benchmark.score(items, evidence, seed=seed)
    from anyscene.benchmarks.choices import load_encoder
    from anyscene.benchmarks.tifa import TifaBench

    if not isinstance(benchmark, TifaBench):
        raise SpecError(f"--encoder {encoder}: only tifa maps free answers to choices")
    return benchmark.score(items, evidence, seed=seed, encoder=load_encoder(encoder))


def _same(name: str, folder: Path) -> None:
    from anyscene.benchmarks import read_items
    from anyscene.errors import SpecError

    found = read_items(folder).benchmark
    if found != name:
        raise SpecError(f"{folder} is a run of {found}, not of {name}")


def _again(benchmark: Benchmark, path: Path) -> tuple[Items, Any, dict[str, Any]] | None:
    """What a result file holds; None where the file is none."""
    from anyscene.benchmarks import read_result
    from anyscene.errors import SpecError

    if path.suffix != RESULT_FILE or not path.is_file() or '"benchmark result"' not in path.read_bytes()[:200].decode(errors="replace"):
        return None
    items, evidence, document = read_result(path)
    if items.benchmark != benchmark.about.name:
        raise SpecError(f"{path} is a result of {items.benchmark}, not of {benchmark.about.name}")
    return items, evidence, document


def _questions(items: Items) -> int:
    return sum(len(record["questions"]) for record in items.records)


def _import_facts(items: Items) -> dict[str, Any]:
    notes = [{"what": note.what, "count": note.count, "examples": list(note.examples)} for note in items.notes]
    facts = {"benchmark": items.benchmark, "items": len(items.records), "questions": _questions(items), "digest": items.digest}
    return {**facts, "notes": notes}


def _tell(result: BenchmarkResult, as_json: bool) -> None:
    found = result.to_dict()
    if as_json:
        print_json(found)
    else:
        _draw(found)


def _draw(found: dict[str, Any]) -> None:
    from rich.table import Table

    from anyscene.cli.drawing import console

    digits = 2 if found["unit"] == "percent" else 4
    readings = ("official", "fixed")

    def shown(one: dict[str, Any] | None) -> str:
        if one is None or one["value"] is None:
            return "-"
        return f"{one['value']:.{digits}f}" + ("" if one["low"] is None else f"  {one['low']:.{digits}f} to {one['high']:.{digits}f}")

    def row(label: str, *path: str) -> None:
        cells = []
        for reading in readings:
            value: Any = found[reading]
            for part in path:
                value = value.get(part) if value else None
            cells.append(shown(value))
        table.add_row(printable(label), *cells)

    to = console()
    unit = "percent" if found["unit"] == "percent" else "of 1"
    whose = f"{found['model'] or 'a model without a name'}, judged by {found['judge']}"
    to.print(printable(f"{found['benchmark']}: {whose} ({unit}, {found['level']:.0%} intervals)"))
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("", *readings):
        table.add_column(heading)
    row(found["headline"], "headline")
    columns = {name: None for reading in readings for name in found[reading]["columns"] if name != found["headline"]}
    for name in columns:
        row(f"  {name}", "columns", name)
    for dimension in {name: None for reading in readings for name in found[reading]["by"]}:
        table.add_row(printable(dimension), "", "", style="dim")
        for name in {name: None for reading in readings for name in found[reading]["by"].get(dimension, {})}:
            row(f"  {name}", "by", dimension, name)
    to.print(table)
    for fault in found["faults"]:
        effect = "cannot be told here" if fault["effect"] is None else f"{fault['effect']:+.{digits}f}"
        to.print(printable(f"{fault['name']}: {effect}. {fault['what']}"))
    counts = found["counts"]
    said = f"{counts['items_scored']:,} of {counts['items']:,} items scored; {counts['media_found']:,} of {counts['media']:,} pictures"
    if counts["questions"]:
        said += f"; {counts['answered']:,} of {counts['questions']:,} questions answered, {counts['unparsed']:,} unreadable, "
        said += f"{counts['missing']:,} missing"
    to.print(said + (f"; {counts['unknown']:,} answers to what is not asked" if counts["unknown"] else ""))
    for note in found["notes"]:
        to.print(printable(note))
    if found["judge_note"]:
        to.print(printable(f"judge: officially {found['official_judge']}; here {found['judge_note']}"))


app.command("like", help=bench_like.HELP_LIKE)(bench_like.like)
app.command("audit", help=bench_like.HELP_AUDIT)(bench_like.audit)
app.command("check", help=bench_like.HELP_CHECK)(bench_like.check)
app.command("detect", help=bench_like.HELP_DETECT)(bench_like.detect)
