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

With --engine ray, workers of a Ray cluster load the model and paint, each with a GPU of its own; the files are the same.
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
    engine: o.EngineName = "local",
    address: o.Address = None,
    workers: b.Workers = None,
    cpus_per_worker: o.CpusPerWorker = None,
    gpus_per_worker: b.GpusPerWorker = None,
    quiet: b.Quiet = False,
) -> None:
    """Read, load, paint."""
    from anyscene.evaluation import paint_run, scenes_of

    opened = b.engine_of(engine, address, workers, cpus_per_worker, gpus_per_worker, model=model)
    table, vocabulary = scenes_of(scenes, n), b.taxonomy_of(scenes, taxonomy)
    words = b.model_words(model, model_option, taxonomy)
    with opened as doing, b.model_on(doing, model, model_option, quiet) as painter:
        paint_run(table, painter, out, seed=seed, samples=samples, taxonomy=vocabulary, words=words, quiet=quiet)
