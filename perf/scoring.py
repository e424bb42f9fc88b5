"""How long scoring takes: a run's folder with stored answers to all scores with their intervals, in a process of its own.

    python perf/scoring.py [--answers N] [--samples N] [--keep FOLDER | --folder FOLDER] [--engine ray] [--workers N ...]

The answers are drawn, not judged: random probabilities to every yes/no question and every question with choices of generated scenes.
They lie in the folder as `anyscene judge` leaves them, in one file for every block of media.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from anyscene import SceneSpace
from anyscene.evaluation.run import _words, json_bytes, parquet_bytes
from anyscene.judges.judging import MEDIA_PER_BLOCK
from anyscene.judges.store import answer_schema, part_name, write_answers
from anyscene.media import MediaEntry, MediaFolder, media_schema
from anyscene.runs import write_manifest
from anyscene.scoring.question_bank import QuestionBank, question_bank
from anyscene.taxonomy import load_taxonomy
from engines import cost_of


def make_run(answers: int, samples: int, seed: int = 0) -> tuple[pa.Table, pa.Table, pa.Table]:
    """(records, media, answers) with at least so many answers."""
    space = SceneSpace(complexity=(4, 8))
    scenes, records = 1000, space.table(0, 1000)
    per_scene = _asked(question_bank(records)).sum() * samples / scenes
    scenes = int(answers / per_scene * 1.01) + 1
    records = pa.concat_tables([space.table(start, min(start + 10_000, scenes)) for start in range(0, scenes, 10_000)]).unify_dictionaries()
    bank = question_bank(records)
    rng = np.random.default_rng(seed)
    digests = [hashlib.sha256(f"{seed} {scene} {sample}".encode()).hexdigest() for scene in range(scenes) for sample in range(samples)]
    ids = pc.cast(records["id"], pa.string()).to_pylist()
    count = scenes * samples
    media = pa.table(
        {
            "record_id": [one for one in ids for _ in range(samples)],
            "index": np.repeat(np.arange(scenes), samples),
            "sample": np.tile(np.arange(samples), scenes),
            "seed": np.arange(count),
            "file": pa.array(["x.png"] * count),
            "sha256": digests,
            "status": pa.array(["made"] * count),
            "reason": pa.array([""] * count),
            "details": pa.array([""] * count),
        }
    ).cast(media_schema())
    asked = np.flatnonzero(_asked(bank))
    question = np.repeat(asked, samples)
    owner = bank.record[question] * samples + np.tile(np.arange(samples), len(asked))
    size = np.diff(bank.choices)[question]
    choices = rng.exponential(size=int(size.sum()))
    starts = np.append(0, np.cumsum(size))
    sums = np.add.reduceat(np.append(choices, 0.0), np.minimum(starts[:-1], len(choices)))
    choices /= np.repeat(np.maximum(sums, 1e-9), size)
    yes_no = bank.form_is("yes_no")[question]
    p_yes = np.where(bank.gold_yes[question], rng.beta(4, 1, len(question)), rng.beta(1, 4, len(question)))
    order = rng.permutation(len(question))
    status = np.array(["answered", "unsure", "failed"])[rng.choice(3, len(question), p=[0.96, 0.03, 0.01])]
    table = pa.table(
        {
            "media_sha256": pa.array(digests).take(pa.array(owner)),
            "question_key": bank.key.take(question).text().cast(pa.string()),
            "judge": pa.array(["drawn"] * len(question)),
            "revision": pa.array([""] * len(question)),
            "template": pa.array(["t1"] * len(question)),
            "p_yes": pa.array(p_yes, mask=~yes_no),
            "label_mass": pa.array(rng.uniform(0.5, 1, len(question))),
            "text": pa.array(np.where(p_yes > 0.5, "yes", "no")),
            "status": pa.array(status),
            "probabilities": pa.ListArray.from_arrays(pa.array(starts.astype(np.int32)), pa.array(choices)),
        }
    ).cast(answer_schema())
    return records, media, table.take(pa.array(order))


def _asked(bank: QuestionBank) -> NDArray[np.bool_]:
    asked: NDArray[np.bool_] = bank.form_is("yes_no") | bank.form_is("choice")
    return asked


def write_run(folder: Path, records: pa.Table, media: pa.Table, answers: pa.Table, samples: int) -> None:
    """The folder of a run, as the steps before scoring leave it."""
    data = parquet_bytes(records)
    model = {"name": "drawn", "revision": "", "modality": "image", "settings": {}}
    scenes = {"n": records.num_rows, "sha256": hashlib.sha256(data).hexdigest()}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "scenes.parquet").write_bytes(data)
    (folder / "words.json").write_bytes(json_bytes(_words(records, load_taxonomy())))
    write_manifest(folder, {"kind": "evaluation", "scenes": scenes, "model": model, "seed": 0, "samples": samples})
    store = folder / "answers" / "drawn"
    for path in (folder / "media" / "drawn", store):
        path.mkdir(parents=True)
    MediaFolder(folder / "media" / "drawn").rewrite([MediaEntry(**row) for row in media.to_pylist()])
    (store / "judge.json").write_bytes(json_bytes({"name": "drawn", "revision": "", "template": "t1"}))
    block = np.asarray(pc.index_in(answers["media_sha256"], value_set=media["sha256"].combine_chunks())) // MEDIA_PER_BLOCK
    answers = answers.take(pa.array(np.argsort(block, kind="stable")))
    ends = np.cumsum(np.bincount(block)).tolist()
    for number, (start, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
        write_answers(store / part_name(number, 0), answers.slice(start, end - start))


def score_folder(folder: Path, engine: str, workers: int) -> dict[str, object]:
    """Scores a run by the command line; what it took, with all processes, and the digests of what it wrote."""
    command = [sys.executable, "-m", "anyscene.cli.main", "score", str(folder), "--engine", engine, "--workers", str(workers), "-q"]
    cost = cost_of(command, every_s=0.1)
    found = json.loads((folder / "scores.json").read_text("utf-8"))
    digests = [hashlib.sha256((folder / name).read_bytes()).hexdigest()[:12] for name in ("scores.json", "scores.parquet")]
    return {"answers": found["questions"]["expected"], "scenes": found["scenes"], "took": str(cost), "digests": " ".join(digests)}


def main() -> None:
    """Make a run, score it by a command of its own, say what it took."""
    parser = argparse.ArgumentParser(description="How long scoring takes.")
    parser.add_argument("--answers", type=int, default=1_000_000)
    parser.add_argument("--samples", type=int, default=1)
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="make the run in this folder and leave it there")
    parser.add_argument("--folder", type=Path, help="score the run in this folder, made before")
    parser.add_argument("--workers", type=int, nargs="+", default=[1], metavar="N", help="score it once with each number of workers")
    parser.add_argument("--engine", choices=("local", "ray"), default="local")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = options.folder or options.keep or Path(name) / "run"
        if not options.folder:
            write_run(folder, *make_run(options.answers, options.samples), options.samples)
        for workers in options.workers:
            print(f"{options.engine}, {workers} workers: {json.dumps(score_folder(folder, options.engine, workers))}", flush=True)


if __name__ == "__main__":
    main()
