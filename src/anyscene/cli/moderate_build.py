"""``anyscene moderate build`` and ``audit``: a data set for detectors, and the shortcuts in it."""

from __future__ import annotations

from typing import Annotated

import typer

from anyscene.cli import backends as b
from anyscene.cli import options as o
from anyscene.errors import SpecError

BUILD = """Build a data set of real and generated pictures that differ in nothing but where they come from.

Each real picture is paired with generated ones of the same scene, the same file name or the same topic. A pair is cut to one size at places
that keep the grid of JPEG blocks, scaled by one factor, and encoded alike; before, generated pictures go through one encoding with the
photograph's own quantisation tables, as the photograph did. Metadata are dropped. Splits are by source image and scene, never by file.

Example: anyscene moderate build --real photos --generated sdxl=run-sdxl --generated flux=run-flux --out data
"""


def build(
    real: Annotated[
        str, typer.Option(help="Real pictures: a folder, .tar shards (several by *), a folder of datasets, or an evaluation's folder.")
    ],
    out: o.OutFolder,
    generated: Annotated[
        list[str] | None,
        typer.Option(
            "--generated", metavar="NAME=PATH", help="A generator's pictures: an evaluation's folder, or pictures. May be repeated."
        ),
    ] = None,
    n: Annotated[int | None, typer.Option("-n", help="At most so many real pictures.", show_default=False)] = None,
    scale: Annotated[str, typer.Option(help="Make pairs smaller by one factor, drawn between two: 1-2.")] = "1",
    largest: Annotated[int | None, typer.Option(help="Longest side in pixels; what is beyond is cut off.", show_default=False)] = None,
    smallest: Annotated[int, typer.Option(help="Pairs with a shorter side are left out.")] = 16,
    encoding: Annotated[str, typer.Option(help="real: that of each pair's photograph; png; or jpeg:QUALITY.")] = "real",
    shares: Annotated[str, typer.Option(help="Shares of training, validation and test.")] = "0.7,0.1,0.2",
    group_by: Annotated[str, typer.Option(help="What is one source image in a folder: each file, or all of a folder.")] = "file",
    licence: Annotated[str, typer.Option(help="What may be done with the real pictures, in your words; kept with the data.")] = "",
    seed: Annotated[int, typer.Option(help="Of pairing, cutting and splitting.")] = 0,
    quiet: b.Quiet = False,
) -> None:
    """Read, pair, write."""
    from anyscene.moderation import BuildOptions, build_dataset
    from anyscene.runs import say

    options = BuildOptions(
        seed=seed,
        shares=_shares(shares),
        n=n,
        scale=_scale(scale),
        largest=largest,
        smallest=smallest,
        encoding=encoding,
        group_by=group_by,
        licence=licence,
    )
    data = build_dataset(real, _named(generated), out, options=options, quiet=quiet)
    for side, splits in data.manifest["counts"].items():
        say(f"{side}: {', '.join(f'{number:,} {split}' for split, number in splits.items())}", quiet=quiet)
    for line in data.manifest["unequal"]:
        say(f"not equal: {line}", quiet=quiet)


def _named(given: list[str] | None) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in given or ():
        name, sign, path = text.partition("=")
        if not sign or not name.strip() or not path.strip():
            raise SpecError(f"--generated {text!r}: it must be NAME=PATH, like sdxl=run-sdxl")
        if name.strip() in found:
            raise SpecError(f"--generated {name.strip()} is given twice")
        found[name.strip()] = path
    return found


def _shares(text: str) -> tuple[float, float, float]:
    try:
        train, validation, test = (float(part) for part in text.split(","))
    except ValueError:
        raise SpecError(f"shares {text!r}: give three numbers with commas between, like 0.7,0.1,0.2") from None
    return train, validation, test


def _scale(text: str) -> tuple[float, float]:
    low, sign, high = text.partition("-")
    try:
        return float(low), float(high if sign else low)
    except ValueError:
        raise SpecError(f"scale {text!r}: give a factor, or two with a dash between, like 1-2") from None
