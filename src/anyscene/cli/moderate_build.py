"""``anyscene moderate build`` and ``audit``: a data set for detectors, and the shortcuts in it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anyscene.cli import backends as b
from anyscene.cli import options as o
from anyscene.cli.score import AsJson
from anyscene.errors import RecordError, SpecError

BUILD = """Build a data set of real and generated pictures that differ in nothing but where they come from.

Each real picture is paired with generated ones of the same scene, the same file name or the same topic. A pair is cut to one size at places
that keep the grid of JPEG blocks, scaled by one factor, and encoded alike; before, generated pictures go through one encoding with the
photograph's own quantisation tables, as the photograph did. Metadata are dropped. Splits are by source image and scene, never by file.
With --model, scenes that share nouns with the real captions are painted first; --scenes says which, where there are no captions.

Example: anyscene moderate build --real photos --generated sdxl=run-sdxl --generated flux=run-flux --out data
"""

Generated = Annotated[
    list[str] | None,
    typer.Option("--generated", metavar="NAME=PATH", help="A generator's pictures: an evaluation's folder, or pictures. May be repeated."),
]
GroupBy = Annotated[str, typer.Option(help="What is one source image in a folder: each file, or all of a folder.")]


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
    model: Annotated[
        list[str] | None,
        typer.Option("--model", help="A model that paints scenes for this data set, as for anyscene paint. May be repeated."),
    ] = None,
    model_option: b.ModelOptions = None,
    scenes: Annotated[
        Path | None, typer.Option(help="Scenes that models paint, or choose from; else drawn for the captions of the real pictures.")
    ] = None,
    spec: Annotated[Path | None, typer.Option(help="A spec file of scenes that are drawn.")] = None,
    taxonomy: o.TaxonomyFolder = None,
    n: Annotated[int | None, typer.Option("-n", help="At most so many real pictures.", show_default=False)] = None,
    scale: Annotated[str, typer.Option(help="Make pairs smaller by one factor, drawn between two: 1-2.")] = "1",
    largest: Annotated[int | None, typer.Option(help="Longest side in pixels; what is beyond is cut off.", show_default=False)] = None,
    smallest: Annotated[int, typer.Option(help="Pairs with a shorter side are left out.")] = 16,
    encoding: Annotated[str, typer.Option(help="real: that of each pair's photograph; png; or jpeg:QUALITY.")] = "real",
    shares: Annotated[str, typer.Option(help="Shares of training, validation and test.")] = "0.7,0.1,0.2",
    group_by: GroupBy = "file",
    licence: Annotated[str, typer.Option(help="What may be done with the real pictures, in your words; kept with the data.")] = "",
    seed: Annotated[int, typer.Option(help="Of pairing, cutting and splitting.")] = 0,
    quiet: b.Quiet = False,
) -> None:
    """Read, pair, write."""
    from anyscene.evaluation import scenes_of
    from anyscene.moderation import BuildOptions, build_dataset
    from anyscene.runs import say
    from anyscene.taxonomy import load_taxonomy

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
    if spec is not None and (not model or scenes is not None):
        raise SpecError("--spec is for scenes that are drawn: name a --model, and leave out --scenes")
    data = build_dataset(
        real,
        _named(generated),
        out,
        models=[b.make_model(name, model_option) for name in model or ()],
        scenes=None if scenes is None else scenes_of(scenes),
        spec=None if spec is None else o.read_spec_file(spec),
        taxonomy=None if taxonomy is None else load_taxonomy(taxonomy),
        options=options,
        quiet=quiet,
    )
    for side, splits in data.manifest["counts"].items():
        say(f"{side}: {', '.join(f'{number:,} {split}' for split, number in splits.items())}", quiet=quiet)
    for line in data.manifest["unequal"]:
        say(f"not equal: {line}", quiet=quiet)


AUDIT = """Look for shortcuts: can simple numbers about files, and about what encoders left in them, tell real from generated pictures?

Each feature is held against the label, and so are all of them together, on groups that the regression was not fitted on. A data set is
refused where one separates by an AUROC above 0.6 that chance does not reach, unless --allow-biased; what separates is named with its cure.
With --real and --generated pictures are audited as they are, before a data set is built.

Example: anyscene moderate audit data
"""


def audit(
    data: Annotated[Path | None, typer.Argument(help="A data set, as anyscene moderate build wrote it.", show_default=False)] = None,
    real: Annotated[str | None, typer.Option(help="Instead of a data set: real pictures as they are.")] = None,
    generated: Generated = None,
    n: Annotated[int | None, typer.Option("-n", help="With --real: at most so many pictures of each.", show_default=False)] = None,
    group_by: GroupBy = "file",
    allow_biased: Annotated[bool, typer.Option("--allow-biased", help="Do not refuse; what was found is kept all the same.")] = False,
    seed: Annotated[int, typer.Option(help="Of swaps and folds.")] = 0,
    as_json: AsJson = False,
    quiet: b.Quiet = False,
) -> None:
    """Probe, tell, refuse."""
    import json

    from anyscene.moderation import audit as audit_data
    from anyscene.moderation import audit_sources, open_dataset

    if (data is None) == (real is None) or (data is not None and (generated or n is not None)):
        raise SpecError("audit what? Give the folder of a data set, or --real and --generated with pictures as they are")
    if data is not None:
        found = audit_data(open_dataset(data), seed=seed, quiet=quiet)[1]
    else:
        found = audit_sources(str(real), _named(generated), n=n, group_by=group_by, seed=seed, quiet=quiet)
    print(json.dumps(found.to_dict(), ensure_ascii=False, indent=1) if as_json else found.text())
    if found.biased and not allow_biased:
        first, *others = found.reasons()
        more = f" (and {len(others)} more)" if others else ""
        raise RecordError(f"{data or real} is refused: {first}{more}. With --allow-biased it is taken as it is")


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
