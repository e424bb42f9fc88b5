"""``anyscene paint``: a model's pictures of the scenes of a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anyscene.cli import backends as b
from anyscene.cli import options as o

HELP = """Let a model paint every scene of a dataset.

The run's folder keeps each picture with its seed and digest. Stopped at any moment, the same command goes on with what is missing, and
makes again what is damaged or failed.

Example: anyscene paint scenes --model diffusers:stabilityai/sdxl-turbo -m steps=4 --samples 2 --out run
"""

Scenes = Annotated[Path, typer.Argument(help="A dataset: its folder, or one of its files.")]
Limit = Annotated[int | None, typer.Option("-n", help="Only the first so many scenes.", show_default=False)]
Samples = Annotated[int, typer.Option(min=1, help="Pictures of each scene.")]
Seed = Annotated[int, typer.Option(help="Each picture has a seed of its own from this one.")]


def run(
    scenes: Scenes,
    model: b.ModelName,
    out: o.OutFolder,
    model_option: b.ModelOptions = None,
    n: Limit = None,
    samples: Samples = 1,
    seed: Seed = 0,
    taxonomy: o.TaxonomyFolder = None,
    quiet: b.Quiet = False,
) -> None:
    """Read, load, paint."""
    from anyscene.evaluation import paint_run, scenes_of

    table = scenes_of(scenes, n)
    paint_run(
        table,
        b.make_model(model, model_option),
        out,
        seed=seed,
        samples=samples,
        taxonomy=b.taxonomy_of(scenes, taxonomy),
        words=b.model_words(model, model_option, taxonomy),
        quiet=quiet,
    )
