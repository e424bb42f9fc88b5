"""``anyscene generate``: a dataset of any size."""

from __future__ import annotations

from typing import Annotated

import typer

from anyscene.cli import options as o

HELP = """Write a dataset of scene graphs, captions and questions.

Row k depends on the options, the seed and k alone: shards and workers change nothing, --start goes on where another run
ended, and a run that was stopped goes on when the same command is given again.

Example: anyscene generate -n 1000000 --complexity 4-8 --scene-attributes 0-3 --realism 0.8 --without weapon --out scenes --workers 2

On many machines: anyscene generate -n 100000000 --engine ray --address auto --out s3://bucket/scenes
"""


@o.takes_spec
def run(
    scene_spec: o.SceneSpec,
    n: Annotated[int, typer.Option("-n", help="How many scenes.")],
    out: o.OutPlace,
    seed: Annotated[int, typer.Option(help="Which of the many orders of the space.")] = 0,
    taxonomy: o.TaxonomyFolder = None,
    style: Annotated[str, typer.Option(help="Captions: plain, dense, short or tags.")] = "plain",
    questions: Annotated[bool, typer.Option("--questions/--no-questions", help="Write questions with answers.")] = True,
    forms: Annotated[str, typer.Option(help="Forms of the questions: yes_no, choice, open.")] = "yes_no,choice,open",
    foils: Annotated[float, typer.Option(help="Share of yes/no questions whose answer is no, 0 to 0.5.")] = 1 / 3,
    only_one: Annotated[bool, typer.Option("--only-one", help="Ask of things in the singular whether there is exactly one.")] = False,
    format: Annotated[str, typer.Option(help="parquet, jsonl or webdataset.")] = "parquet",
    shards: Annotated[int | None, typer.Option(help="How many files; by default as many as the size asks for.", show_default=False)] = None,
    engine: o.EngineName = "local",
    address: o.Address = None,
    workers: o.Workers = None,
    cpus_per_worker: o.CpusPerWorker = None,
    start: Annotated[int, typer.Option(help="The first row.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace another run in the folder.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
) -> None:
    """Make the spec, then write."""
    from anyscene.dataset import RecordOptions, SceneSpace, generate
    from anyscene.language import QuestionOptions
    from anyscene.taxonomy import load_taxonomy

    opened = o.engine_of(engine, address, workers, cpus_per_worker)
    wording = RecordOptions(style, QuestionOptions(o.parse_names(forms, "forms"), foils, only_one=only_one))
    # The folder of a vocabulary is on this machine alone: to others goes what is in it.
    space = SceneSpace(scene_spec, taxonomy=load_taxonomy(taxonomy) if taxonomy and engine == "ray" else taxonomy)
    with opened as doing:
        generate(
            space.source(seed, wording),
            n,
            out,
            start=start,
            format=format,
            shards=shards,
            engine=doing,
            questions=questions,
            overwrite=overwrite,
            quiet=quiet,
        )
