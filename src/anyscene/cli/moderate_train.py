"""``anyscene moderate train`` and ``eval``: detectors, and how well they do on generators that they know and that they do not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anyscene.cli import backends as b
from anyscene.cli import options as o

if TYPE_CHECKING:
    from anyscene.moderation.training import TrainOptions

TRAIN = """Train a detector of generated pictures.

Backbones: vit-tiny, vit-small and vit-base from scratch, regnet and resnet for tiny pictures, transformers:NAME and timm:NAME pretrained,
frozen:NAME (a linear model on the features of CLIP or DINOv2), hand (a linear model on the audit's features, as a baseline). Real and
generated pictures come in equal numbers and are augmented alike. The threshold is set on validation photographs at a stated false-positive
rate; too few of them for it are refused. Stopped at any moment, the same command goes on and ends in the same weights.

Example: anyscene moderate train data --backbone vit-tiny --out detector
"""
EVAL = """Test detectors on every generator of every data set, clean and degraded, beside baselines and each other.

AUROC, average precision, recall at 1 % false alarms (5 % below 1,000 photographs), and accuracies at each detector's own threshold, all
with intervals by source image and scene. Several detectors are compared on the same pictures. Pictures that a detector has seen in training
are refused.

Example: anyscene moderate eval detector --data data --data other-data --out evaluation
"""

DataFolder = Annotated[Path, typer.Argument(help="A data set that anyscene moderate build wrote.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Backbone = Annotated[str | None, typer.Option(help="What looks at pictures.  [default: vit-tiny]")]
Size = Annotated[int | None, typer.Option(help="Side of the square that it sees, in pixels; its own by default.", show_default=False)]
Steps = Annotated[int | None, typer.Option(help="Updates at most.  [default: 2000]")]
Rate = Annotated[float | None, typer.Option(help="False alarms that the threshold allows.  [default: 0.01]")]
Widen = Annotated[bool, typer.Option("--widen", help="With too few photographs for that rate, take the smallest that they bear.")]
Seed = Annotated[int | None, typer.Option(help="Of everything that is drawn.  [default: 0]")]
AllowBiased = Annotated[bool, typer.Option("--allow-biased", help="Train though the audit found a shortcut, or was not made.")]


def train(
    data: DataFolder,
    out: o.OutFolder,
    backbone: Backbone = None,
    size: Size = None,
    generator: Annotated[
        list[str] | None, typer.Option(help="Learn from this generator's pictures alone. May be repeated; by default all.")
    ] = None,
    extra: Annotated[list[Path] | None, typer.Option(help="Learn from this data set's generated pictures too. May be repeated.")] = None,
    steps: Steps = None,
    false_positive_rate: Rate = None,
    widen: Widen = False,
    seed: Seed = None,
    setting: o.Settings = None,
    device: Device = "auto",
    allow_biased: AllowBiased = False,
    as_json: AsJson = False,
    quiet: b.Quiet = False,
) -> None:
    """Read the options, train."""
    from anyscene.moderation import train_detector

    given: dict[str, Any] = {"backbone": backbone, "size": size, "steps": steps, "false_positive_rate": false_positive_rate, "seed": seed}
    options = options_of(given | {"generators": generator, "widen": widen or None}, setting)
    detector = train_detector(data, out, options, extra=extra or (), device=device, allow_biased=allow_biased, quiet=quiet)
    if as_json:
        print(json.dumps(detector.facts, indent=1))
        return
    found = detector.facts["validation"]
    print(f"validation: AUROC {area(found['auroc'])}, {found['fakes']:,} generated and {found['reals']:,} real pictures")
    print(f"threshold {detector.threshold:.4g}: {detector.facts['calibration']['words']}")


def options_of(given: dict[str, Any], setting: list[str] | None) -> TrainOptions:
    """The options of a training from flags and ``--set``."""
    from anyscene.moderation.training import read_options

    return read_options({name: value for name, value in given.items() if value is not None} | o.parse_settings(setting))


def area(one: dict[str, Any]) -> str:
    """An estimate in words."""
    if one["value"] is None:
        return "missing"
    return f"{one['value']:.3f} ({one['low']:.3f} to {one['high']:.3f})"


def evaluate(
    detectors: Annotated[list[Path], typer.Argument(help="Detectors that anyscene moderate train wrote.")],
    data: Annotated[list[Path], typer.Option("--data", help="A data set to test on. May be repeated.")],
    out: o.OutFolder,
    degrade: Annotated[
        str | None, typer.Option(help='Degradations, with commas between: jpeg:75,resize:0.5,blur:1; "" is none.', show_default=False)
    ] = None,
    split: Annotated[str, typer.Option(help="Which part of the data sets: test or validation.")] = "test",
    baselines: Annotated[bool, typer.Option("--baselines/--no-baselines", help="Train hand features on the same data beside it.")] = True,
    drop_seen: Annotated[bool, typer.Option("--drop-seen", help="Leave out pictures that a detector has seen.")] = False,
    batch: Annotated[int, typer.Option(min=1, help="Pictures at a time.")] = 64,
    seed: Annotated[int, typer.Option(help="Of the resampling behind the intervals.")] = 0,
    device: Device = "auto",
    as_json: AsJson = False,
    quiet: b.Quiet = False,
) -> None:
    """Test, write, print."""
    from anyscene.moderation import evaluate_matrix
    from anyscene.moderation.degrade import SWEEP

    names = SWEEP if degrade is None else o.parse_names(degrade, "degrade") if degrade.strip() else ()
    result = evaluate_matrix(
        detectors,
        data,
        out,
        degradations=names,
        split=split,
        baselines=baselines,
        drop_seen=drop_seen,
        batch=batch,
        device=device,
        seed=seed,
        quiet=quiet,
    )
    if as_json:
        print(json.dumps(result, indent=1))
    elif not quiet:
        _draw(result)
    if not as_json:
        print(f"report: {out / 'report.html'}")


def _draw(result: dict[str, Any]) -> None:
    from rich.table import Table

    from anyscene.cli.drawing import console

    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("detector", "tested on", "learnt from it", "AUROC", "found at threshold", "real called real"):
        table.add_column(name)
    for cell in result["cells"]:
        if not cell["degradation"]:
            where = f"{cell['generator'] or 'all generators'} of {cell['data']}"
            known = {True: "yes", False: "no", None: ""}[cell["trained_on_generator"]]
            table.add_row(
                cell["detector"],
                where,
                known,
                cell["problem"] if cell["auroc"]["value"] is None else area(cell["auroc"]),
                area(cell["fake_accuracy"]),
                area(cell["real_accuracy"]),
            )
    console().print(table)
    for note in result["notes"]:
        console().print(note)
