"""Speed, scaling, start-up and memory of the engine, all in one run, on one core, with one thread.

    python perf/bench.py [--rows N] [--rounds N] [--only NAME ...] [--long] [--reference DIR] [--json FILE]

Rates are rows per CPU second of the process: the best of several rounds after a warm-up, where no two timed calls make the same rows. The
spread of the rounds stands beside each; a difference smaller than it is none. Ways that are compared take turns, and ratios are of one
round each. With --reference DIR (or REFERENCE_CODE=DIR), a checkout of the paper's released code (RAIVNLab/GenerateAnyScene, never part of
this repository) is measured in the same run and compared with.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median

import numpy
import pyarrow
from rich.console import Console
from rich.table import Table

import anyscene
from anyscene import SceneSpace
from anyscene.dataset import ROWS_PER_CHUNK, RecordSource, generate
from engines import cost_of
from measure import best_wall_seconds, cpu_seconds, folder_bytes, in_turn, peak_mib, rate_of, restart_on_one_core

REFERENCE_COMPLEXITY = (4, 7)
REFERENCE_SCENE_ATTRIBUTES = (1, 4)
WARM_UP = 10**9  # the first of the rows that are made before the clock starts; no timed round makes them


@dataclass(frozen=True, slots=True)
class Measurement:
    """One number: what was measured, how much, of what; and what each round gave, where there were rounds."""

    part: str
    name: str
    value: float
    unit: str
    note: str = ""
    rounds: tuple[float, ...] = ()


def rate(part: str, name: str, found: Sequence[float], note: str = "") -> Measurement:
    """The best of the rounds, with their spread."""
    spread = f"rounds {min(found):,.0f} to {max(found):,.0f}"
    return Measurement(part, name, max(found), "rows/s", f"{note}; {spread}" if note else spread, tuple(found))


def read_arguments() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=100_000, metavar="N", help="rows of one round (default 100,000)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="rounds, of which the best counts (default 3)")
    parser.add_argument("--only", nargs="+", choices=sorted(PARTS), default=[*PARTS], metavar="NAME", help=f"of: {', '.join(PARTS)}")
    parser.add_argument("--memory-rows", type=int, default=1_000_000, metavar="N", help="rows of the long run (default 1,000,000)")
    parser.add_argument("--long", dest="memory_rows", action="store_const", const=10_000_000, help="a long run of 10,000,000 rows")
    parser.add_argument("--reference", default=os.environ.get("REFERENCE_CODE"), metavar="DIR", help="a checkout of the paper's code")
    parser.add_argument("--reference-python", default=sys.executable, metavar="FILE", help="the Python that has what that code needs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers here as well")
    return parser.parse_args()


def make_rows(source: RecordSource, rows: int, questions: bool, start: int) -> None:
    """Make rows in memory, in the chunks that `generate` makes."""
    for first in range(start, start + rows, ROWS_PER_CHUNK):
        source.table(first, min(first + ROWS_PER_CHUNK, start + rows), questions=questions)


def write_rows(source: RecordSource, rows: int, questions: bool, start: int) -> int:
    """Write rows to Parquet in a folder that is gone afterwards; the bytes written."""
    with tempfile.TemporaryDirectory() as folder:
        generate(source, rows, folder, start=start, questions=questions, quiet=True)
        return folder_bytes(Path(folder))


def first_row(complexity: tuple[int, int]) -> None:
    """Make one row of a space, from nothing."""
    SceneSpace(complexity=complexity).table(0, 1)


def ways(source: RecordSource, rows: int) -> dict[str, Callable[[int], float]]:
    """What can be made of rows, each as the function from the first row to rows per CPU second. Warmed up."""
    for questions in (True, False):
        write_rows(source, min(rows, ROWS_PER_CHUNK), questions, WARM_UP)
    return {
        "graph and caption, in memory": partial(rate_of, partial(make_rows, source, rows, False), rows),
        "graph and caption, to Parquet": partial(rate_of, partial(write_rows, source, rows, False), rows),
        "graph, caption and questions, in memory": partial(rate_of, partial(make_rows, source, rows, True), rows),
        "graph, caption and questions, to Parquet": partial(rate_of, partial(write_rows, source, rows, True), rows),
    }


def throughput(arguments: argparse.Namespace) -> Iterator[Measurement]:
    """Rows per CPU second at complexity 4 to 8, in memory and to Parquet."""
    yield Measurement("throughput", "the space and its first row, from nothing", cpu_seconds(partial(first_row, (4, 8))), "s")
    source = SceneSpace(complexity=(4, 8)).source()
    for name, found in in_turn(ways(source, arguments.rows), arguments.rows, arguments.rounds).items():
        yield rate("throughput", name, found)
    few = min(arguments.rows, ROWS_PER_CHUNK)
    for questions, what in ((False, "graph and caption"), (True, "graph, caption and questions")):
        yield Measurement("throughput", f"{what}, size in Parquet", write_rows(source, few, questions, WARM_UP) / few, "bytes/row")


def scaling(arguments: argparse.Namespace) -> Iterator[Measurement]:
    """Time per row and per element as scenes grow, in memory."""
    rows = min(arguments.rows, ROWS_PER_CHUNK)
    for complexity in range(4, 13):
        set_up = cpu_seconds(partial(first_row, (complexity, complexity)))
        source = SceneSpace(complexity=(complexity, complexity)).source()
        in_memory = {name: way for name, way in ways(source, rows).items() if name.endswith("in memory")}
        for name, found in in_turn(in_memory, rows, arguments.rounds).items():
            micros = sorted(1e6 / one for one in found)
            note = f"{micros[0] / complexity:.2f} µs an element; rounds {micros[0]:.1f} to {micros[-1]:.1f}; first row after {set_up:.2f} s"
            yield Measurement("scaling", f"complexity {complexity}, {name}", micros[0], "µs/row", note, tuple(micros))


def startup(arguments: argparse.Namespace) -> Iterator[Measurement]:
    """Wall time until something can be done."""
    rounds = max(arguments.rounds, 5)
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "import anyscene": [sys.executable, "-c", "import anyscene"],
        "from anyscene import SceneSpace": [sys.executable, "-c", "from anyscene import SceneSpace"],
        "anyscene --help": [sys.executable, "-c", "import sys; from anyscene.cli.main import main; sys.exit(main())", "--help"],
    }
    for name, command in commands.items():
        yield Measurement("startup", name, best_wall_seconds(command, rounds), "s wall")


def memory(arguments: argparse.Namespace) -> Iterator[Measurement]:
    """The peak of a long run, beside that of one a tenth as long: it should not grow."""
    code = (
        "import sys; from anyscene import SceneSpace; from anyscene.dataset import generate;"
        "space = SceneSpace(complexity=(4, 8), scene_attributes=(0, int(sys.argv[1])));"
        "generate(space.source(), int(sys.argv[2]), sys.argv[3], quiet=True)"
    )
    for most, what in ((0, "full records"), (4, "full records with 0 to 4 scene attributes")):
        for rows in (arguments.memory_rows // 10, arguments.memory_rows):
            with tempfile.TemporaryDirectory() as folder:
                peak = peak_mib([sys.executable, "-c", code, str(most), str(rows), folder])
                size = folder_bytes(Path(folder))
            yield Measurement("memory", f"{rows:,} {what} to Parquet", peak, "MiB peak", f"{size / 2**20:,.0f} MiB of files")


def reference_rate(arguments: argparse.Namespace, _start: int) -> float:
    """Captions per CPU second of the paper's released code, in one round of its own process."""
    spans = ["-".join(map(str, span)) for span in (REFERENCE_COMPLEXITY, REFERENCE_SCENE_ATTRIBUTES)]
    script = str(Path(__file__).with_name("reference.py"))
    command = [arguments.reference_python, script, arguments.reference, *spans, "160"]
    return float(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)["captions_per_cpu_s"])


def reference(arguments: argparse.Namespace) -> Iterator[Measurement]:
    """The paper's released code at complexity 4 to 7 with 1 to 4 scene attributes, and ours on the same."""
    if not arguments.reference:
        return
    rows = arguments.rows
    theirs = "the paper's code, graph and caption in memory"
    source = SceneSpace(complexity=REFERENCE_COMPLEXITY, scene_attributes=REFERENCE_SCENE_ATTRIBUTES).source()
    found = in_turn({theirs: partial(reference_rate, arguments), **ways(source, rows)}, rows, arguments.rounds)
    yield rate("reference", theirs, found[theirs])
    for name, ours in found.items():
        if name != theirs:
            ratios = [mine / yours for mine, yours in zip(ours, found[theirs], strict=True)]
            note = f"{median(ratios):,.0f} times the paper's code (round by round {min(ratios):,.0f} to {max(ratios):,.0f})"
            yield rate("reference", f"Anyscene, {name}", ours, note)


def engines(arguments: argparse.Namespace) -> Iterator[Measurement]:
    """Rows per second with one worker process and with two, of this machine and of Ray, start and end included; on all cores."""
    rows = max(arguments.rows, 500_000)
    cores = os.cpu_count() or 1
    spent: dict[str, dict[int, float]] = {"local": {}, "ray": {}}
    for workers in (1, 2):
        for name, cpu_s in spent.items():
            with tempfile.TemporaryDirectory() as folder:
                words = [
                    "generate",
                    "-n",
                    str(rows),
                    "--shards",
                    "8",
                    "--engine",
                    name,
                    "--workers",
                    str(workers),
                    "--out",
                    f"{folder}/out",
                ]
                cost = cost_of([sys.executable, "-m", "anyscene.cli.main", *words])
            cpu_s[workers] = cost.cpu_s
            note = f"{cost.cpu_s:.0f} CPU s of {cores} cores; command {cost.own_mib:,.0f} MiB, worker {cost.worker_mib:,.0f} MiB"
            yield Measurement("engines", f"{name}, {workers} workers, full records to Parquet", rows / cost.wall_s, "rows/s wall", note)
        ratio = spent["ray"][workers] / spent["local"][workers]
        yield Measurement("engines", f"Ray over local, {workers} workers, CPU seconds", ratio, "times", f"{rows:,} rows")


PARTS = {
    "throughput": throughput,
    "scaling": scaling,
    "startup": startup,
    "memory": memory,
    "engines": engines,
    "reference": reference,
}


def machine() -> dict[str, object]:
    """What the numbers depend on."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "anyscene": anyscene.__version__,
        "numpy": numpy.__version__,
        "pyarrow": pyarrow.__version__,
        "cores": sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "load_average": list(os.getloadavg()),
    }


def show(console: Console, measurements: Iterable[Measurement]) -> list[Measurement]:
    """Print each number as soon as it is there, and all of them as a table at the end."""
    title = "On one core; rows/s are per CPU second, best of the rounds; no rows are made twice"
    table = Table("part", "what", "value", "unit", "note", title=title)
    table.columns[2].justify = "right"
    kept: list[Measurement] = []
    for one in measurements:
        if kept and kept[-1].part != one.part:
            table.add_section()
        value = f"{one.value:,.0f}" if one.value >= 100 else f"{one.value:,.3g}"
        console.print(f"{one.part}: {one.name}: {value} {one.unit} {one.note}", highlight=False, soft_wrap=True)
        table.add_row(one.part, one.name, value, one.unit, one.note)
        kept.append(one)
    console.print(table)
    return kept


def main() -> None:
    """Measure what was asked for, print it, and write it down."""
    arguments = read_arguments()
    restart_on_one_core()
    pyarrow.set_cpu_count(1)
    pyarrow.set_io_thread_count(1)
    before = machine()
    console = Console(width=None if sys.stdout.isatty() else 160)
    measurements = show(console, (one for name in PARTS if name in arguments.only for one in PARTS[name](arguments)))
    if arguments.json:
        options = {"rows": arguments.rows, "rounds": arguments.rounds, "memory_rows": arguments.memory_rows}
        numbers = [asdict(one) for one in measurements]
        arguments.json.write_text(json.dumps({"machine": before, "options": options, "measurements": numbers}, indent=2) + "\n")


if __name__ == "__main__":
    main()
