"""``anyscene moderate hard-cases`` and ``harden``: what a detector misses, and a detector that learnt from more of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anyscene.cli import backends as b
from anyscene.cli import options as o
from anyscene.cli.moderate_train import AsJson, DataFolder, Device
from anyscene.errors import SpecError

if TYPE_CHECKING:
    from anyscene.models import Model

HARD_CASES = """Find what a detector misses more than the rest: kinds of objects, types of attributes, styles, complexities.

Looked for on the validation split, by scene, corrected for all that are looked at, and beyond what the complexity of scenes explains.

Example: anyscene moderate hard-cases detector data --taxonomy sandbox --out cases
"""
HARDEN = """Paint more of what a detector misses, train it again with the same budget, and show the change on held-out pictures.

Hard cases are found on the validation split; new scenes are drawn around them from the space that the scene options say, painted by every
generator that the detector learnt from, and added to its training. A control learns from as many plain new scenes instead. All are
compared on the test split, each at its own threshold. Stopped at any moment, the same command goes on.

What the captions of training never asked for is in no split of its data set. With --held-out cases are looked for, and the change is shown,
on another data set, whose captions ask for more.

Example: anyscene moderate harden detector data --generator sdxl=diffusers:stabilityai/sdxl-turbo --complexity 4-8 -n 500 --out loop
"""

DetectorFolder = Annotated[Path, typer.Argument(help="A detector that anyscene moderate train wrote.")]


def hard_cases(
    detector: DetectorFolder,
    data: DataFolder,
    out: o.OutFolder,
    taxonomy: o.TaxonomyFolder = None,
    split: Annotated[str, typer.Option(help="Whose pictures are looked at: validation or test.")] = "validation",
    seed: Annotated[int, typer.Option(help="Of the resampling behind the intervals.")] = 0,
    device: Device = "auto",
    as_json: AsJson = False,
    quiet: b.Quiet = False,
) -> None:
    """Look, write, print."""
    from anyscene.evaluation.run import json_bytes
    from anyscene.moderation import find_hard_cases, load_detector, open_dataset
    from anyscene.report.moderation_page import write_hard_cases_page
    from anyscene.runs import open_folder, write_atomic
    from anyscene.taxonomy import load_taxonomy

    judge, opened = load_detector(detector, device=device), open_dataset(data)
    open_folder(out)
    found = find_hard_cases(judge, opened, split=split, taxonomy=load_taxonomy(taxonomy), folder=out / "scores", seed=seed, quiet=quiet)
    result = {"detector": judge.name, "split": split, **found.to_dict()}
    write_atomic(out / "hard-cases.json", json_bytes(result))
    write_hard_cases_page(out / "report.html", result)
    if as_json:
        print(json.dumps(result, indent=1))
        return
    _say_cases(result)
    print(f"report: {out / 'report.html'}")


@o.takes_spec
def harden(
    scene_spec: o.SceneSpec,
    detector: DetectorFolder,
    data: DataFolder,
    generator: Annotated[
        list[str], typer.Option("--generator", metavar="NAME=MODEL", help="Who paints: its name in the data set, and diffusers:NAME, ...")
    ],
    n: Annotated[int, typer.Option("-n", help="New scenes.")],
    out: o.OutFolder,
    model_option: b.ModelOptions = None,
    taxonomy: o.TaxonomyFolder = None,
    held_out: Annotated[
        Path | None, typer.Option(help="Another data set, on whose validation and test splits to look instead.", show_default=False)
    ] = None,
    control: Annotated[bool, typer.Option("--control/--no-control", help="Train one on as many plain new scenes as well.")] = True,
    seed: Annotated[int, typer.Option(help="Of scenes, pictures and resampling.")] = 1,
    device: Device = "auto",
    as_json: AsJson = False,
    quiet: b.Quiet = False,
) -> None:
    """Make the space, run the loop, print."""
    from anyscene.dataset import SceneSpace
    from anyscene.moderation import harden as run
    from anyscene.taxonomy import load_taxonomy

    vocabulary = load_taxonomy(taxonomy)
    source = SceneSpace(scene_spec, taxonomy=vocabulary).source(seed)

    def rows(start: int, count: int) -> Sequence[dict[str, Any]]:
        found: list[dict[str, Any]] = source.table(min(start, source.capacity), min(start + count, source.capacity)).to_pylist()
        return found

    result = run(
        detector,
        data,
        out,
        painters=_painters(generator, model_option),
        rows=rows,
        n=n,
        control=control,
        held_out=held_out,
        taxonomy=vocabulary,
        seed=seed,
        device=device,
        quiet=quiet,
    )
    if as_json:
        print(json.dumps(result, indent=1))
        return
    _say_cases(result)
    for name, lines in result.get("after", {}).items():
        print(f"{name}, on held-out pictures:")
        for line in lines:
            print(f"  {_gap(line)}  {line['what']}")
    print(f"report: {out / 'report.html'}")


def _painters(given: Sequence[str], options: list[str] | None) -> dict[str, Callable[[], Model]]:
    found: dict[str, Callable[[], Model]] = {}
    for text in given:
        name, sign, model = text.partition("=")
        if not sign or not name.strip() or not model.strip():
            raise SpecError(f"--generator {text!r}: it must be NAME=MODEL, like sdxl=diffusers:stabilityai/sdxl-turbo")
        found[name.strip()] = partial(b.make_model, model.strip(), options)
    return found


def _say_cases(result: dict[str, Any]) -> None:
    missed = result["missed"]
    print(f"{100 * missed['value']:.1f} % of {result['pictures']:,} generated pictures are missed ({_ends(missed)})")
    if result["problem"]:
        print(result["problem"])
    hard = {one["skill"]: one for one in result["cases"]}
    for skill in result["hard"]:
        one = hard[skill]
        print(f"  {skill}: {100 * one['missed']['value']:.1f} % missed ({_ends(one['missed'])}), others {100 * one['rest']:.1f} %")
    if not result["hard"] and not result["problem"]:
        print("nothing is missed more than the rest, as far as can be told")


def _ends(one: dict[str, Any]) -> str:
    return f"{100 * one['low']:.1f} to {100 * one['high']:.1f}"


def _gap(one: dict[str, Any]) -> str:
    if one["difference"] is None:
        return "missing"
    return f"{100 * one['difference']:+6.1f} points ({100 * one['low']:+.1f} to {100 * one['high']:+.1f})"
