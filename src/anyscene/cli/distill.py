"""``anyscene distill``: a student takes over what a teacher does better."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from anyscene.cli import backends as b
from anyscene.cli import options as o
from anyscene.cli.judge import Doctor

HELP = """Have a student model take over what a teacher does better, from few captions.

Both sit the same exam; where the teacher is truly better (attribute and relation types, object classes, counts, complexity, rarity), it
paints new scenes around these skills. Pictures that fail their own questions are dropped, the student learns the others, and an evaluation
on scenes that share no structure and no (object, attribute) pair with them shows what was learnt and what was lost. If the teacher is not
better anywhere that shows, nothing is trained. Stopped at any moment, the same command goes on.

Example: anyscene distill --config run.toml --student sandbox:diffusion --teacher sandbox:renderer -t size=32 --budget 800 --out run
"""
SHOWN = 12
"""Skills in the closing table."""


def run(
    out: o.OutFolder,
    config: Annotated[Path | None, typer.Option(help="A TOML file; options come first.")] = None,
    student: Annotated[str | None, typer.Option(help="The model that learns: diffusers:NAME or sandbox:diffusion.")] = None,
    student_option: Annotated[
        list[str] | None, typer.Option("--student-option", "-s", metavar="KEY=VALUE", help="An option of the student. May be repeated.")
    ] = None,
    teacher: Annotated[str | None, typer.Option(help="The model it learns from: diffusers:NAME, openai:NAME, folder:PATH, ...")] = None,
    teacher_option: Annotated[
        list[str] | None, typer.Option("--teacher-option", "-t", metavar="KEY=VALUE", help="An option of the teacher. May be repeated.")
    ] = None,
    judge: Annotated[str | None, typer.Option(help="Who answers the questions about the pictures of both.")] = None,
    judge_option: b.JudgeOptions = None,
    scenes: Annotated[Path | None, typer.Option(help="Which scenes: a spec file (JSON), not split; the split is made here.")] = None,
    taxonomy: Annotated[str | None, typer.Option(help='A vocabulary of your own: a folder of TSV files; or "sandbox".')] = None,
    budget: Annotated[int | None, typer.Option(help="Captions that are learnt from.  [default: 800]")] = None,
    updates: Annotated[int | None, typer.Option(help="Gradient steps.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of everything that is drawn.")] = None,
    setting: o.Settings = None,
    doctor: Doctor = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    quiet: b.Quiet = False,
) -> None:
    """Read the config, run the recipe."""
    from anyscene.taxonomy import load_taxonomy
    from anyscene.training import read_config
    from anyscene.training.distill import run_distill
    from anyscene.training.distill_config import DistillConfig

    given: dict[str, Any] = {
        "student": student,
        "teacher": teacher,
        "judge": judge,
        "taxonomy": taxonomy,
        "lessons.budget": budget,
        "fine_tuning.updates": updates,
        "seed": seed,
    }
    for name, options in (("student", student_option), ("teacher", teacher_option), ("judge", judge_option)):
        given |= {f"{name}_options.{key}": value for key, value in b.parse_options(options).items()}
    if scenes is not None:
        given["scenes"] = o.read_spec_file(scenes).to_dict()
    chosen = read_config(config, given | o.parse_settings(setting), DistillConfig)
    vocabulary = load_taxonomy(o.taxonomy_path(chosen.taxonomy)) if chosen.taxonomy is not None else None
    result = run_distill(chosen, out, taxonomy=vocabulary, quiet=quiet, examine=(lambda one: b.insist(one, quiet)) if doctor else None)
    if not result:  # another process of several has it
        return
    if as_json:
        print(json.dumps(result, indent=1))
    else:
        _print(result, out)


def _print(result: Mapping[str, Any], out: Path) -> None:
    """The closing table: what was taught first, then what changed most."""
    from rich.table import Table

    from anyscene.cli.drawing import console
    from anyscene.report.distill_page import skill_label

    if "skills" in result:
        shown = Table(box=None, header_style="bold")
        for name in ("on held-out scenes", "before", "after", "points", "shown"):
            shown.add_column(name, justify="left" if name in ("on held-out scenes", "shown") else "right")
        for name, words in (("taught", "all that was taught"), ("elsewhere", "all others")):
            shown.add_row(words, *_cells(result[name]), style="bold")
        rows = [one for one in result["skills"] if one["difference"] is not None]
        rows.sort(key=lambda one: (not one["taught"], -abs(one["difference"])))
        for one in rows[:SHOWN]:
            shown.add_row(skill_label(one["skill"]) + (" *" if one["taught"] else ""), *_cells(one))
        console().print(shown)
    print(result["conclusion"])
    print(f"report: {out / 'report.html'}")


def _cells(one: Mapping[str, Any]) -> list[str]:
    if one["difference"] is None:
        return ["", "", "", "no question"]
    between = f" ({100 * one['low']:+.1f} to {100 * one['high']:+.1f})" if one["low"] is not None else ""
    return [f"{100 * one['a']:.1f} %", f"{100 * one['b']:.1f} %", f"{100 * one['difference']:+.1f}{between}", str(one["claim"])]
