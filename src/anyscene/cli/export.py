"""``anyscene export``: scenes as a training set of another trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anyscene.cli import backends as b

HELP = """Write scenes as a training set that another trainer reads, with all that our rewards need.

Formats: trl (JSON lines; also T2I-R1, Flow-Factory), verl (Parquet; also verl-omni), flow_grpo (a folder), simplear (JSON), imagefolder (a
folder with the pictures of a run).

Example: anyscene export scenes --format trl --out train.jsonl --prompt "A photo of {caption}"
"""

FORMATS = ("trl", "verl", "flow_grpo", "simplear", "imagefolder")


def run(
    source: Annotated[Path, typer.Argument(help="A folder or file of scenes, or a run.")],
    out: Annotated[Path, typer.Option(help="The file to write; a folder for flow_grpo and imagefolder.")],
    format: Annotated[str, typer.Option("--format", help=f"One of {', '.join(FORMATS)}.")],
    prompt: Annotated[str, typer.Option(help="What the model reads, with {caption} where the caption goes.")] = "{caption}",
    split: Annotated[str, typer.Option(help="train or test; for verl and flow_grpo.")] = "train",
    pictures: Annotated[Path | None, typer.Option(help="RUN/media/MODEL, for imagefolder and simplear; found by itself in a run.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace what is there.")] = False,
    quiet: b.Quiet = False,
) -> None:
    """Read, write, say how many."""
    from anyscene.dataset import read_records
    from anyscene.errors import SpecError
    from anyscene.media import MediaFolder
    from anyscene.rewards import exporters
    from anyscene.runs import say

    if format not in FORMATS:
        raise SpecError(f"format {format!r}: it must be one of {', '.join(FORMATS)}")
    if format == "simplear" and prompt != exporters.PLAIN_PROMPT:
        raise SpecError("--prompt: SimpleAR puts its own words around the captions of its file")
    if split != "train" and format not in ("verl", "flow_grpo"):
        raise SpecError(f"--split: only verl and flow_grpo have splits in their files; {format} has not")
    if pictures is not None and format not in ("imagefolder", "simplear"):
        raise SpecError(f"--pictures: {format} takes no pictures")
    scenes = source / "scenes.parquet"
    records = read_records(scenes if scenes.is_file() else source)
    if pictures is None and format in ("imagefolder", "simplear"):
        found = sorted(path.parent for path in (source / "media").glob("*/manifest.jsonl")) if source.is_dir() else []
        if len(found) > 1 or (format == "imagefolder" and not found):
            raise SpecError(f"{source} has pictures of {len(found)} models; say which with --pictures RUN/media/MODEL")
        pictures = found[0] if found else None
    media = None if pictures is None else MediaFolder(pictures)
    if media is not None and not media.manifest.is_file():
        raise SpecError(f"{pictures}: there is no manifest.jsonl of pictures")
    if format == "trl":
        rows = exporters.export_trl(records, out, prompt=prompt, overwrite=overwrite)
    elif format == "verl":
        rows = exporters.export_verl(records, out, prompt=prompt, split=split, overwrite=overwrite)
    elif format == "flow_grpo":
        rows = exporters.export_flow_grpo(records, out, prompt=prompt, split=split, overwrite=overwrite)
    elif format == "simplear":
        rows = exporters.export_simplear(records, out, media=media, overwrite=overwrite)
    else:
        assert media is not None
        rows = exporters.export_imagefolder(records, media, out, prompt=prompt, overwrite=overwrite)
    say(f"{rows:,} rows written to {out}", quiet=quiet)
