"""``anyscene improve``: a model learns from the best of its own pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from anyscene.cli import backends as b
from anyscene.cli import options as o
from anyscene.cli.judge import Doctor
from anyscene.errors import SpecError

HELP = """Have a diffusers model learn from the best of its own pictures, and show whether it got better.

Each round paints fresh scenes several times, has the pictures judged, chooses the best, and fine-tunes on them. Before and after, the model
is evaluated on scenes that share no structure and no (object, attribute) pair with training; nothing is claimed whose interval holds 0.
Baselines learn from as many pictures in as many updates: unselected ones, or your own (an imagefolder or WebDataset). Stopped at any
moment, the same command goes on. Several GPUs: accelerate launch -m anyscene.cli.main improve ...

Example: anyscene improve --config run.toml --model sandbox:diffusion --judge sandbox:pixels --baseline unselected --out run
"""


def run(
    out: o.OutFolder,
    config: Annotated[Path | None, typer.Option(help="A TOML file; options come first.")] = None,
    model: Annotated[str | None, typer.Option(help="What is improved: diffusers:NAME or sandbox:diffusion.")] = None,
    model_option: b.ModelOptions = None,
    judge: Annotated[str | None, typer.Option(help="Who answers the questions by which pictures are chosen.")] = None,
    judge_option: b.JudgeOptions = None,
    second_judge: Annotated[
        str | None, typer.Option(help="Who answers as well and chooses nothing; a claim must hold with it too.")
    ] = None,
    scenes: Annotated[Path | None, typer.Option(help="Which scenes: a spec file (JSON), not split; the split is made here.")] = None,
    taxonomy: Annotated[str | None, typer.Option(help='A vocabulary of your own: a folder of TSV files; or "sandbox".')] = None,
    rounds: Annotated[int | None, typer.Option(help="Of painting, choosing and learning.  [default: 3]")] = None,
    scenes_per_round: Annotated[int | None, typer.Option(help="Fresh scenes of a round.  [default: 500]")] = None,
    images_per_scene: Annotated[int | None, typer.Option(help="Pictures of each to choose from.  [default: 8]")] = None,
    start: Annotated[
        str | None, typer.Option(help="A round learns from the base model or from the previous round: base, previous.")
    ] = None,
    baseline: Annotated[
        list[str] | None, typer.Option(help="Compared with: unselected, images=PATH. May be repeated.", metavar="NAME")
    ] = None,
    updates: Annotated[int | None, typer.Option(help="Gradient steps of a round.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of everything that is drawn.")] = None,
    setting: o.Settings = None,
    doctor: Doctor = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    quiet: b.Quiet = False,
) -> None:
    """Read the config, run the recipe."""
    from anyscene.taxonomy import load_taxonomy
    from anyscene.training import read_config
    from anyscene.training.improve import run_improve
    from anyscene.training.improve_config import ImproveConfig

    given: dict[str, Any] = {
        "model": model,
        "judge": judge,
        "second_judge": second_judge,
        "taxonomy": taxonomy,
        "rounds": rounds,
        "scenes_per_round": scenes_per_round,
        "images_per_scene": images_per_scene,
        "start": start,
        "fine_tuning.updates": updates,
        "seed": seed,
    }
    for name, options in (("model", model_option), ("judge", judge_option)):
        given |= {f"{name}_options.{key}": value for key, value in b.parse_options(options).items()}
    given |= _baselines(baseline)
    if scenes is not None:
        given["scenes"] = o.read_spec_file(scenes).to_dict()
    chosen = read_config(config, given | o.parse_settings(setting), ImproveConfig)
    vocabulary = load_taxonomy(o.taxonomy_path(chosen.taxonomy)) if chosen.taxonomy is not None else None
    result = run_improve(chosen, out, taxonomy=vocabulary, quiet=quiet, examine=(lambda one: b.insist(one, quiet)) if doctor else None)
    if as_json:
        print(json.dumps(result, indent=1))
    elif result:
        _print(result, out)


def _baselines(given: list[str] | None) -> dict[str, Any]:
    """``["unselected", "images=photos"]`` as keys of the config."""
    found: dict[str, Any] = {}
    for text in given or ():
        name, sign, path = text.partition("=")
        if text == "unselected":
            found["baselines.unselected"] = True
        elif name == "images" and sign and path:
            found["baselines.images"] = path
        else:
            raise SpecError(f"--baseline {text!r}: it must be unselected or images=PATH")
    return found


def _print(result: Mapping[str, Any], out: Path) -> None:
    """The closing table: what differs, and what may be claimed."""
    from rich.table import Table

    from anyscene.cli.drawing import console

    shown = Table(box=None, header_style="bold")
    for name in ("on held-out scenes", "before", "after", "points", "shown"):
        shown.add_column(name, justify="left" if name in ("on held-out scenes", "shown") else "right")
    for name, one in result["claim"]["scores"].items():
        shown.add_row(name, *_cells(one))
    score = result["claim"]["score"]
    for name, baseline in result["baselines"].items():
        shown.add_row(f"{score}, than {name}", *_cells(baseline["against"]["scores"][score]))
    console().print(shown)
    print(result["claim"]["sentence"])
    for name, baseline in result["baselines"].items():
        print(f"Against {name}: {baseline['against']['claim']}.")
    print(f"report: {out / 'report.html'}")


def _cells(one: Mapping[str, Any]) -> list[str]:
    if one["difference"] is None:
        return ["", "", "", "no question"]
    between = f" ({100 * one['low']:+.1f} to {100 * one['high']:+.1f})" if one["low"] is not None else ""
    return [f"{100 * one['a']:.1f} %", f"{100 * one['b']:.1f} %", f"{100 * one['difference']:+.1f}{between}", str(one["claim"])]
