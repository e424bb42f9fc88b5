"""``anyscene cost``: what so many scenes come to, in records, pictures, questions, bytes and hours."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from anyscene.cli.printing import print_json
from anyscene.errors import RunError, SpecError

HELP = """What so many scenes cost: rows, disk, pictures, questions, CPU-hours, GPU-hours, money.

How long your model takes for a picture and your judge for a question is measured by you, on a hundred of them, and given here.

Example: anyscene cost --pictures 4 --picture-seconds 2.5 --question-seconds 0.05 --gpu-price 2
"""

SIZES = (10_000, 100_000, 1_000_000, 10_000_000, 100_000_000)
HOUR_S = 3600
COUNTED_ROWS = 20_000
ENGINE = "measured: scenes of complexity 4 to 8 with their questions, to Parquet, one core"
MEASURED: dict[str, tuple[float, str]] = {
    "rows_per_second": (67_800, ENGINE),
    "record_bytes": (266, f"{ENGINE}, 20,000 rows"),
    "questions": (14.24, f"{ENGINE}, 20,000 rows"),
    "pictures": (1, "one of each scene"),
}
"""What is assumed where nothing is given, and how it is known."""


@dataclass(frozen=True, slots=True)
class Rates:
    """What one scene, picture and question come to; None is not known.

    Attributes:
        pictures: of each scene.
        questions: about each picture.
        rows_per_second: records that one core makes.
        record_bytes: of a record on the disk.
        picture_bytes: of a picture on the disk.
        picture_seconds: of one GPU for a picture.
        question_seconds: of one GPU for a question.
        gpu_price: of one GPU for an hour.
    """

    pictures: float
    questions: float
    rows_per_second: float
    record_bytes: float
    picture_bytes: float | None = None
    picture_seconds: float | None = None
    question_seconds: float | None = None
    gpu_price: float | None = None

    def of(self, scenes: int) -> dict[str, float | None]:
        """What so many scenes come to; None where a rate is not known."""
        pictures = scenes * self.pictures
        questions = pictures * self.questions
        painting, judging = _times(pictures / HOUR_S, self.picture_seconds), _times(questions / HOUR_S, self.question_seconds)
        gpu = None if painting is None or judging is None else painting + judging
        return {
            "scenes": scenes,
            "record_bytes": scenes * self.record_bytes,
            "pictures": pictures,
            "picture_bytes": _times(pictures, self.picture_bytes),
            "questions": questions,
            "cpu_hours": scenes / self.rows_per_second / HOUR_S,
            "painting_gpu_hours": painting,
            "judging_gpu_hours": judging,
            "gpu_hours": gpu,
            "cost": None if gpu is None else _times(gpu, self.gpu_price),
        }


def run(
    n: Annotated[list[int] | None, typer.Option("-n", min=1, help="Scenes; may be given several times. Default: 10 K to 100 M.")] = None,
    like: Annotated[
        Path | None,
        typer.Option(
            help="A dataset or a run of eval, in which bytes, pictures and questions are counted. What is given beside it comes first."
        ),
    ] = None,
    pictures: Annotated[float | None, typer.Option(help="Pictures of each scene. Default: 1.")] = None,
    questions: Annotated[float | None, typer.Option(help="Questions about each picture. Default: 14.24, counted.")] = None,
    rows_per_second: Annotated[float | None, typer.Option(help="Records that one core makes. Default: 67,800, measured.")] = None,
    record_bytes: Annotated[float | None, typer.Option(help="Bytes of a record on the disk. Default: 266, measured.")] = None,
    picture_bytes: Annotated[float | None, typer.Option(help="Bytes of a picture on the disk.")] = None,
    picture_seconds: Annotated[float | None, typer.Option(help="Seconds of one GPU for a picture.")] = None,
    question_seconds: Annotated[float | None, typer.Option(help="Seconds of one GPU for a question.")] = None,
    gpu_price: Annotated[float | None, typer.Option(help="Price of one GPU for an hour.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """A table, a line for each number of scenes."""
    given = {
        "pictures": pictures,
        "questions": questions,
        "rows_per_second": rows_per_second,
        "record_bytes": record_bytes,
        "picture_bytes": picture_bytes,
        "picture_seconds": picture_seconds,
        "question_seconds": question_seconds,
        "gpu_price": gpu_price,
    }
    for name, value in given.items():
        if value is not None and not (math.isfinite(value) and value > 0):
            raise SpecError(f"--{name.replace('_', '-')} {value:g}: it must be above 0")
    known = {name: (value, source) for name, (value, source) in MEASURED.items()}
    known |= {name: (value, f"counted in {like}") for name, value in (_counted(like) if like is not None else {}).items()}
    known |= {name: (value, "given") for name, value in given.items() if value is not None}
    rates = Rates(**{name: value for name, (value, _) in known.items()})
    rows = [rates.of(one) for one in n or SIZES]
    if as_json:
        print_json({"assumed": {name: {"value": value, "source": source} for name, (value, source) in known.items()}, "rows": rows})
        return
    _print(rows, known)


def _times(count: float, rate: float | None) -> float | None:
    return None if rate is None else count * rate


# ---- what a folder tells --------------------------------------------------------------------------------------------------------


def _counted(folder: Path) -> dict[str, float]:
    """Bytes of a record and of a picture, and numbers of pictures and questions, as they are in a dataset or in a run of eval.

    Raises:
        RunError: it is neither, or not finished.
    """
    try:
        about = json.loads((folder / "run.json").read_text("utf-8"))
        if about.get("kind") == "dataset":
            files = about["files"]
            rows = sum(one["rows"] for one in files)
            return {"record_bytes": sum(one["bytes"] for one in files) / rows} | _counted_questions(folder / files[0]["name"])
        scenes = folder / "scenes.parquet"
        manifests = sorted(folder.glob("media/*/manifest.jsonl"))
        lines = [(one.parent, json.loads(line)) for one in manifests for line in one.read_bytes().splitlines()]
        sizes = [(place / one["file"]).stat().st_size for place, one in lines if one["status"] == "made"]
        found = {"record_bytes": scenes.stat().st_size / _rows(scenes), "pictures": about["samples"]} | _counted_questions(scenes)
        return found | ({"picture_bytes": sum(sizes) / len(sizes)} if sizes else {})
    except (OSError, ValueError, KeyError, TypeError, IndexError, ZeroDivisionError) as error:
        raise RunError(f"{folder}: no finished dataset or run of eval ({' '.join(str(error).split())[:160]})") from None


def _rows(path: Path) -> int:
    import pyarrow.parquet as pq

    return int(pq.ParquetFile(path).metadata.num_rows)


def _counted_questions(path: Path) -> dict[str, float]:
    """Questions of a record, in the first rows of a Parquet file; of other files nothing is known."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    if path.suffix != ".parquet":
        return {}
    opened = pq.ParquetFile(path)
    if "questions" not in opened.schema_arrow.names:
        return {}
    mean = pc.mean(pc.list_value_length(next(opened.iter_batches(COUNTED_ROWS, columns=["questions"])).column(0))).as_py()
    return {} if mean is None else {"questions": float(mean)}


# ---- the table ------------------------------------------------------------------------------------------------------------------

COLUMNS = ("scenes", "records", "pictures", "on disk", "questions", "CPU", "GPU painting", "GPU judging", "GPU", "cost")


def _print(rows: list[dict[str, Any]], known: dict[str, tuple[float, str]]) -> None:
    from rich.table import Table

    from anyscene.cli.drawing import console

    table = Table(box=None, header_style="bold")
    for name in COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            _count(row["scenes"]),
            _bytes(row["record_bytes"]),
            _count(row["pictures"]),
            _bytes(row["picture_bytes"]),
            _count(row["questions"]),
            *(_hours(row[name]) for name in ("cpu_hours", "painting_gpu_hours", "judging_gpu_hours", "gpu_hours")),
            "?" if row["cost"] is None else f"{row['cost']:,.2f}",
        )
    out = console()
    out.print(table)
    for name, (value, source) in known.items():
        out.print(f"{name.replace('_', ' ')}: {value:,.6g} ({source})", highlight=False, soft_wrap=True, style="dim")
    missing = [name for name in ("picture_seconds", "question_seconds", "picture_bytes", "gpu_price") if name not in known]
    if missing:
        named = ", ".join(f"--{name.replace('_', '-')}" for name in missing)
        out.print(f"not known, and so '?': {named}; measure them with your model and your judge, on your machine", soft_wrap=True)


def _count(value: float) -> str:
    """10 K, 14.2 M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "K")):
        if value >= size:
            return f"{value / size:.3g} {letter}"
    return f"{value:.3g}"


def _bytes(value: float | None) -> str:
    if value is None:
        return "?"
    for size, letter in ((1e15, "PB"), (1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= size:
            return f"{value / size:.3g} {letter}"
    return f"{value:.3g} B"


def _hours(value: float | None) -> str:
    """0.15 s, 25 min, 71 h."""
    if value is None:
        return "?"
    if value < 1 / 60:
        return f"{value * HOUR_S:.2g} s"
    return f"{value * 60:.2g} min" if value < 1 else f"{value:,.0f} h" if value >= 100 else f"{value:.3g} h"
