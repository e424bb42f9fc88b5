"""``anyscene space``: how many scenes there are, and which is which."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anyscene.cli import options as o
from anyscene.cli.printing import print_json

HELP = """Count the scenes of a space exactly, find a scene by its number, or the number of a scene.

Example: anyscene space --complexity 1-6 --json
"""


@o.takes_spec
def run(
    scene_spec: o.SceneSpec,
    taxonomy: o.TaxonomyFolder = None,
    at: Annotated[int | None, typer.Option(help="Print the scene with this number.")] = None,
    find: Annotated[Path | None, typer.Option(help="Print the number of the scene in this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Count, or look up."""
    from anyscene.dataset import SceneSpace
    from anyscene.errors import SpecError

    if at is not None and find is not None:
        raise SpecError("--at and --find were given: give one of them")
    scenes = SceneSpace(scene_spec, taxonomy=taxonomy)
    if at is not None:
        _print_scene(scenes, at, as_json)
    elif find is not None:
        from anyscene.scene import load_graph

        number = scenes.index(load_graph(find))
        if as_json:
            print_json({"index": number})
        else:
            print(number)
    else:
        _print_counts(scenes, as_json)


def _print_scene(scenes: object, at: int, as_json: bool) -> None:
    from anyscene.dataset import SceneSpace, describe
    from anyscene.errors import SpecError

    assert isinstance(scenes, SceneSpace)
    try:
        graph = scenes[at]
    except IndexError as error:
        raise SpecError(str(error)) from None
    record = describe(graph, taxonomy=scenes.taxonomy, modality=scenes.spec.modality)
    if as_json:
        print_json(
            {"index": at, **{key: record[key] for key in ("caption", "graph", "complexity", "modality", "plausibility", "questions")}}
        )
        return
    from anyscene.cli.drawing import console, draw_record

    draw_record({"index": at, **record}, console())


def _print_counts(scenes: object, as_json: bool) -> None:
    from anyscene.dataset import SceneSpace

    assert isinstance(scenes, SceneSpace)
    structures, counts = scenes.space.structure_counts, scenes.space.scene_counts
    if as_json:
        print_json(
            {
                "structures": {str(c): n for c, n in structures.items()},
                "scenes": {str(c): n for c, n in counts.items()},
                "total": scenes.size,
            }
        )
        return
    from rich.table import Table

    from anyscene.cli.drawing import console

    table = Table(box=None, header_style="bold")
    for name in ("complexity", "structures", "scenes"):
        table.add_column(name, justify="right")
    for c, n in counts.items():
        table.add_row(str(c), f"{structures[c]:,}", f"{n:,}")
    table.add_row("all", f"{sum(structures.values()):,}", f"{scenes.size:,}", style="bold")
    console().print(table)
