"""``anyscene bench like``, ``audit``, ``check`` and ``detect``: beside a benchmark's number, what its prompts and pictures are good for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anyscene.cli import options as o
from anyscene.cli.printing import print_json, printable

Name = Annotated[str, typer.Argument(help="Short name of the benchmark, see anyscene bench list.")]
ItemsPath = Annotated[Path, typer.Option("--items", help="The benchmark's own file or folder, or a folder of anyscene bench import.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Threshold = Annotated[float, typer.Option(help="Similarity to a prompt, of groups of words, from which a text counts as near it.")]

HELP_LIKE = """Fresh scenes with the mix of skills and complexity of a benchmark's prompts, and none of its prompts among them.

For every prompt's profile (how many things, which kinds of attributes and relations) scenes are drawn from the space that has just so many;
what is a prompt of the benchmark, or near one, is left out. The same items, seed and number give the same bytes.

Example: anyscene bench like geneval --items evaluation_metadata.jsonl -n 10000 --out train
"""
HELP_AUDIT = """Find a benchmark's prompts in a training set: the same words, nearly the same words, or the same scene in other words.

TRAIN is a dataset folder, or a file of captions: .parquet, .jsonl, .json or .csv with a column caption, prompt or text, or .txt.

Example: anyscene bench audit scenes geneval --items evaluation_metadata.jsonl
"""
HELP_CHECK = """Whose pictures lie in a folder, and which are missing, left over, there twice, or damaged.

The folder is laid out as the benchmark wants it (grids, numbered folders, prompts as names, a JSON map); nothing is judged.

Example: anyscene bench check vbench videos --items VBench_full_info.json --strict
"""
HELP_DETECT = """Look at pictures made for a benchmark with a detector of transformers, and write the boxes for bench score.

geneval wants colours too: --colors openai/clip-vit-large-patch14 is its own. Nothing is put into boxes below 0.05.

Example: anyscene bench detect geneval pictures --items evaluation_metadata.jsonl --detector facebook/mask2former-swin-small-coco-instance
"""


def like(
    name: Name,
    items: ItemsPath,
    n: Annotated[int, typer.Option("-n", help="How many scenes.")],
    out: o.OutFolder,
    seed: Annotated[int, typer.Option(help="Which of the many.")] = 0,
    taxonomy: o.TaxonomyFolder = None,
    style: Annotated[str, typer.Option(help="Captions: plain, dense, short or tags.")] = "plain",
    all_objects: Annotated[bool, typer.Option("--all-objects", help="Also things that few people know.")] = False,
    threshold: Threshold = 0.63,
    format: Annotated[str, typer.Option(help="parquet, jsonl or webdataset.")] = "parquet",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace another run in the folder.")] = False,
    as_json: AsJson = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
) -> None:
    """Import, draw, write, tell."""
    from anyscene.benchmarks import items_of
    from anyscene.benchmarks.like import scenes_like
    from anyscene.dataset import FORMATS, RecordOptions, generate
    from anyscene.errors import SpecError
    from anyscene.runs import progress

    if format not in FORMATS:  # before anything is drawn, which may take minutes
        raise SpecError(f"There is no format {format!r}. The formats are {', '.join(map(repr, FORMATS))}.")
    found = items_of(name, items)
    with progress(n, "scenes", quiet=quiet) as advance:
        source, report = scenes_like(
            found,
            n,
            seed=seed,
            taxonomy=taxonomy,
            options=RecordOptions(style),
            familiar=not all_objects,
            threshold=threshold,
            advance=advance,
        )
    generate(source, n, out, format=format, overwrite=overwrite, quiet=True)
    facts = report.to_dict()
    if as_json:
        print_json(facts)
        return
    print(f"{out}: {report.scenes:,} scenes like {name}, {report.overlaps:,} left out for being near a prompt")
    print(f"  elements a scene: {report.complexity[1]:.2f}, of the benchmark {report.complexity[0]:.2f}")
    for skill, shares in facts["skills"].items():
        print(f"  {skill}: {shares['scenes']:.1%}, of the benchmark {shares['benchmark']:.1%}")
    for what, count in (
        ("prompts say too little to be followed", report.silent),
        ("prompts ask for more than a scene can hold; theirs are smaller", report.shrunk),
        ("scenes have attributes or relations of other kinds, there being none of the kinds asked for", report.loosened),
    ):
        if count:
            print(f"  {count:,} {what}")


def audit(
    train: Annotated[Path, typer.Argument(help="The training set.")],
    name: Name,
    items: ItemsPath,
    threshold: Threshold = 0.63,
    strict: Annotated[bool, typer.Option("--strict", help="Fail where anything leaks.")] = False,
    as_json: AsJson = False,
) -> None:
    """Read, compare, tell."""
    from anyscene.benchmarks import items_of
    from anyscene.benchmarks.leaks import audit_leaks, read_training
    from anyscene.errors import LeakageError

    found = items_of(name, items)
    report = audit_leaks(read_training(train), found, threshold=threshold)
    if as_json:
        print_json(report.to_dict())
    else:
        print(
            f"{train}: {report.leaked_items:,} of {report.items:,} prompts of {name} are in it, "
            f"in {report.leaked_rows:,} of {report.rows:,} captions"
        )
        for kind, count in report.rows_by_kind.items():
            if count:
                print(f"  {kind}: {count:,} captions, {report.items_by_kind[kind]:,} prompts")
        if report.with_graph < report.items:
            print(f"  {report.items - report.with_graph:,} prompts have no scene graph: of these only the words were compared")
        for one in report.examples[:5]:
            print(
                printable(f"  {one['row']}: {one['caption']!r} is {one['kind']} ({one['similarity']:.2f}) {one['item']}: {one['prompt']!r}")
            )
    if strict and report.leaked_items:
        raise LeakageError(f"{train}: {report.leaked_items:,} of {report.items:,} prompts of {name} are in it")


def check(
    name: Name,
    pictures: Annotated[Path, typer.Argument(help="A folder in the benchmark's own layout, or a JSON file that maps items to files.")],
    items: ItemsPath,
    layout: Annotated[str, typer.Option(help="Of the folder; auto finds it.")] = "auto",
    samples: Annotated[
        int | None, typer.Option(min=1, help="Pictures of each item; by default as the benchmark asks.", show_default=False)
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Fail where anything is missing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Read, tell."""
    from anyscene.benchmarks import items_of
    from anyscene.benchmarks.layouts import read_layout
    from anyscene.errors import MediaError

    found = read_layout(pictures, items_of(name, items), layout=layout, samples=samples)
    if as_json:
        print_json(found.to_dict())
    else:
        print(printable(f"{pictures}: {found.line()}"))
    if strict and not found.complete:
        raise MediaError(f"{pictures}: {len(found.units):,} of {found.expected:,} media of {name} are there and whole")


def detect(
    name: Name,
    pictures: Annotated[Path, typer.Argument(help="A folder of pictures in the benchmark's own layout.")],
    items: ItemsPath,
    detector: Annotated[str, typer.Option(help="A folder or a name on the hub: DETR and its kin, YOLOS, Mask2Former, OWL-ViT, OWLv2.")],
    out: Annotated[Path, typer.Option(help="The file to write.")] = Path("detections.jsonl"),
    colors: Annotated[str | None, typer.Option(help="A CLIP that tells the colours of things.", show_default=False)] = None,
    model: Annotated[str, typer.Option(help="What the pictures were made by.")] = "",
    layout: Annotated[str, typer.Option(help="Of the folder; auto finds it.")] = "auto",
    samples: Annotated[
        int | None, typer.Option(min=1, help="Pictures of each item; by default as the benchmark asks.", show_default=False)
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
    batch: Annotated[int, typer.Option(min=1, help="Pictures at a time.")] = 8,
    local_files_only: Annotated[bool, typer.Option("--local-files-only", help="Load nothing from the net.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
) -> None:
    """Find the pictures, look at them, write."""
    from anyscene.benchmarks import items_of
    from anyscene.benchmarks.boxes import write_detections
    from anyscene.benchmarks.detecting import ClipColors, ObjectDetector, classes_of, detect_items
    from anyscene.benchmarks.layouts import LayoutModel, read_layout
    from anyscene.errors import SpecError
    from anyscene.runs import progress, say

    found = items_of(name, items)
    if not any(classes_of(extra)[0] for extra in found.extras.values()):
        raise SpecError(f"{name}: its items name nothing to look for; geneval and t2i-compbench (spatial, numeracy) do")
    laid = read_layout(pictures, found, layout=layout, samples=samples)
    say(printable(laid.line()), quiet=quiet)
    eyes = ObjectDetector(detector, device=device, local_files_only=local_files_only)
    clip = ClipColors(colors, device=device, local_files_only=local_files_only) if colors else None
    source = LayoutModel(laid)
    stream = ((unit.record_id, unit.sample, source.media_of(unit).image) for unit in laid.units.values())
    with progress(len(laid.units), "pictures", quiet=quiet) as advance:
        seen = detect_items(found, stream, eyes, clip, model=model, samples=laid.samples, batch=batch, advance=advance)
    write_detections(out, seen, found)
    say(f"{out}: {sum(len(one.boxes) for one in seen.by_media.values()):,} boxes in {len(seen.by_media):,} pictures", quiet=quiet)
