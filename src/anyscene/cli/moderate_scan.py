"""``anyscene moderate scan`` and ``anyscene moderate serve``: what a detector says of strangers' pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anyscene.cli import backends as b
from anyscene.cli.printing import print_json
from anyscene.errors import SpecError

if TYPE_CHECKING:
    from anyscene.moderation.opening import OpeningLimits as OpeningLimits
    from anyscene.moderation.scan import ScanSummary as ScanSummary
else:
    OpeningLimits = ScanSummary = Any  # the real ones are imported when a command runs

SCAN = """Say of every picture how likely it is generated: one line a file, whatever the file is.

Folders with all below them, files, quoted patterns, tar files of a WebDataset. What cannot be scored gets a verdict: truncated, bomb,
not_a_picture... The same command goes on after Ctrl-C, and later scores what is new or has changed.

Example: anyscene moderate scan uploads --detector detector --out results.parquet
"""
SERVE = """Serve a detector over HTTP: pictures in, what `scan` says of them out.

POST /scan with a picture as the body, or with JSON: {"images": ["<base64>", ...]}. Beyond this machine a token is needed.

Example: anyscene moderate serve --detector detector --port 8766
"""
DetectorFolder = Annotated[Path, typer.Option("--detector", help="A folder that anyscene moderate train wrote.")]
Threshold = Annotated[
    float | None, typer.Option(help="Call a picture generated above this score.  [default: the detector's]", show_default=False)
]
Device = Annotated[str, typer.Option(help="Where the detector runs: auto, cpu, cuda.")]
Workers = Annotated[int | None, typer.Option(help="Processes that open files.  [default: one for each core]", show_default=False)]
MaxMegabytes = Annotated[float, typer.Option("--max-mb", help="Largest file that is opened, in megabytes.")]
MaxMegapixels = Annotated[float, typer.Option(help="Largest picture; larger JPEGs are decoded smaller, others refused.")]
MaxMemory = Annotated[int, typer.Option("--max-memory-mb", help="Memory that decoding one file may take, in megabytes.")]
FileTimeout = Annotated[float, typer.Option(help="Seconds that opening one file may take.")]
Frames = Annotated[int, typer.Option(help="Frames that are scored of a picture that moves; the score is their mean.")]
Batch = Annotated[int, typer.Option(help="Pictures that go to the detector together.")]


def scan(
    paths: Annotated[list[str], typer.Argument(help="Folders, files, quoted patterns, tar files.", show_default=False)],
    detector: DetectorFolder,
    out: Annotated[Path, typer.Option(help="The results: .jsonl, .csv or .parquet.")],
    threshold: Threshold = None,
    device: Device = "auto",
    workers: Workers = None,
    max_megabytes: MaxMegabytes = 100.0,
    max_megapixels: MaxMegapixels = 25.0,
    max_memory: MaxMemory = 768,
    file_timeout: FileTimeout = 20.0,
    frames: Frames = 1,
    batch: Batch = 64,
    as_json: Annotated[bool, typer.Option("--json", help="Print the closing table as JSON.")] = False,
    quiet: b.Quiet = False,
) -> None:
    """Load, scan, print what it came to."""
    from anyscene.moderation.detector import load_detector
    from anyscene.moderation.scan import scan as run

    limits = _limits(max_megabytes, max_megapixels, max_memory, file_timeout, frames)
    loaded = load_detector(detector, device=device)
    summary = run(paths, loaded, out, threshold=threshold, limits=limits, workers=workers, batch=batch, quiet=quiet)
    if as_json:
        print_json(summary.to_dict())
    else:
        _draw(summary, out)


def serve(
    detector: DetectorFolder,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen at; 0 takes a free one.")] = 8766,
    token_env: Annotated[str, typer.Option(help="Environment variable that holds the token; needed beyond this machine.")] = "",
    threshold: Threshold = None,
    device: Device = "auto",
    workers: Workers = None,
    batch: Batch = 32,
    max_wait_ms: Annotated[float, typer.Option(help="How long a picture waits for others while the detector is free.")] = 10.0,
    max_queue: Annotated[int, typer.Option(help="Pictures that may wait; more are told to come back (503).")] = 1024,
    max_body_mb: Annotated[float, typer.Option(help="Most megabytes of one request, and so of one picture.")] = 64.0,
    max_total_mb: Annotated[float, typer.Option(help="Most megabytes of all requests that are being served.")] = 512.0,
    max_images: Annotated[int, typer.Option(help="Most pictures of one request.")] = 64,
    max_megapixels: MaxMegapixels = 25.0,
    max_memory: MaxMemory = 768,
    file_timeout: FileTimeout = 5.0,
    frames: Frames = 1,
    timeout: Annotated[float, typer.Option(help="Seconds that a request may take.")] = 120.0,
    quiet: b.Quiet = False,
) -> None:
    """Load, listen."""
    from anyscene.moderation.detector import load_detector
    from anyscene.moderation.service import ScanServer
    from anyscene.rewards.server import ServerConfig
    from anyscene.rewards.wire import Limits
    from anyscene.runs import say

    config = ServerConfig(
        host=host,
        port=port,
        token_env=token_env,
        limits=Limits(body_bytes=int(max_body_mb * 1e6), images=max_images),
        max_batch=batch,
        max_wait_s=max_wait_ms / 1000,
        max_queue=max_queue,
        max_bytes=int(max_total_mb * 1e6),
        timeout_s=timeout,
    )
    config.token()  # before the detector is loaded
    limits = _limits(max_body_mb, max_megapixels, max_memory, file_timeout, frames)
    loaded = load_detector(detector, device=device)
    server = ScanServer(loaded, config, threshold=threshold, limits=limits, workers=workers)
    server.run(lambda url: say(f"{loaded.name} is served at {url}/scan; Ctrl-C stops it", quiet=quiet))


def _limits(megabytes: float, megapixels: float, memory_mb: int, timeout_s: float, frames: int) -> OpeningLimits:
    from anyscene.moderation.opening import OpeningLimits

    try:
        return OpeningLimits(
            file_bytes=int(megabytes * 1e6),
            pixels=int(megapixels * 1e6),
            frames=frames,
            memory_bytes=memory_mb * 1_000_000,
            timeout_s=timeout_s,
        )
    except (ValueError, OverflowError):
        raise SpecError("--max-mb, --max-megapixels, --max-memory-mb, --file-timeout and --frames must be above 0") from None


def _draw(summary: ScanSummary, out: Path) -> None:
    from rich.table import Table

    from anyscene.cli.drawing import console
    from anyscene.moderation.opening import VERDICTS

    to = console()
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(justify="right")
    table.add_column()
    table.add_column(style="dim")
    for verdict, number in summary.verdicts.items():
        table.add_row(f"{number:,}", verdict, VERDICTS[verdict])
    table.add_row(f"{summary.files:,}", "files", f"in {out}", style="bold")
    to.print(table)
    share = f" ({summary.generated / summary.scored:.2%})" if summary.scored else ""
    to.print(f"{summary.generated:,} of {summary.scored:,} scored pictures{share} are above the threshold {summary.threshold:.4g}.")
    if (expected := summary.expected) is not None:
        middle, low, high = (f"{expected[name]:,.1f}" for name in ("pictures", "pictures_low", "pictures_high"))
        to.print(
            f"Were all of them real, {middle} would be expected above it at the calibrated false-positive rate of {expected['rate']:.2%} "
            f"(from {low} to {high}, as sure as that rate is known)."
        )
    else:
        to.print("How many real pictures would be above it is not known: the threshold is not the one that was calibrated.")
    if summary.reused:
        to.print(f"{summary.reused:,} lines are those of an earlier scan: their files have not changed.")
    if summary.companions:
        to.print(f"{summary.companions:,} members of tar files that belong to pictures (captions, classes) were left out.")
