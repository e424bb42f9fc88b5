"""The experiment of docs/results/moderation.md: do captions of all skills make a better detector than captions of single objects, and does
the hard-case loop find what it missed?

    python tools/sandbox/detector_experiment.py OUT
    python tools/sandbox/detector_experiment.py --summary OUT        (the figures again, from the finished runs)

Every step is an ``anyscene`` command on one thread; as many seeds go on at a time as --jobs says. Stopped, the same command goes on. OUT
gets a folder for each seed, the test set, and summary.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anyscene.moderation import load_detector, open_dataset

GENERATORS = ("diffusion", "autoregressive")
CAPTIONS = {
    "all": ("--complexity", "1-4", "--objects", "1-2", "--scene-attributes", "0-1"),
    "one": ("--complexity", "1-4", "--objects", "1", "--scene-attributes", "0"),
}
"""All skills of the vocabulary that the models learnt, and single objects with all their attributes."""
TEST_SEED = 1000
RATE = 0.05
"""Of false alarms, for which every threshold is set."""
RESAMPLES = 10_000
Floats = NDArray[np.float64]


def anyscene(log: Path, *words: object) -> None:
    """One command, on one thread."""
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    command = [sys.executable, "-m", "anyscene.cli.main", *map(str, words)]
    with open(log, "ab") as file:
        done = subprocess.run(command, env={**os.environ, **threads}, stdout=file, stderr=file)
    if done.returncode:
        raise SystemExit(f"failed: anyscene {' '.join(map(str, words))}; see {log}")


def make_data(
    folder: Path, captions: str, seed: int, scenes: int, shares: str, strength: float, generators: Sequence[str] = GENERATORS
) -> Path:
    """A data set: scenes, photographs of what they say, and photographs of what each model draws of them, all by the same camera."""
    log, data = folder / "log", folder / "data"
    folder.mkdir(parents=True, exist_ok=True)
    if (data / "dataset.json").is_file():
        return data
    anyscene(log, "generate", "-n", scenes, "--taxonomy", "sandbox", "--seed", seed, *CAPTIONS[captions], "--out", folder / "scenes", "-q")
    generated = []
    for of in ("renderer", *generators):
        camera = ["--model", "sandbox:camera", "-m", f"of={of}", "-m", f"strength={strength}"]
        size = ["-m", "size=32"] if of == "renderer" else []
        words = ["paint", folder / "scenes", *camera, *size, "--taxonomy", "sandbox", "--seed", seed, "--out", folder / of, "-q"]
        anyscene(log, *words)
        generated += [] if of == "renderer" else ["--generated", f"{of}={folder / of}"]
    words = ["moderate", "build", "--real", folder / "renderer", *generated, "--shares", shares, "--encoding", "png", "--out", data, "-q"]
    anyscene(log, *words)
    anyscene(log, "moderate", "audit", data, "-q", "--allow-biased")
    return data


def train(log: Path, data: Path, generator: str, seed: int, options: argparse.Namespace, out: Path, *more: object) -> None:
    """A detector of one generator's pictures; ``more`` are words of the command."""
    words = ["moderate", "train", data, "--generator", generator, "--backbone", "regnet", "--size", 32, "--seed", seed, "--allow-biased"]
    words += ["--steps", options.steps, "--false-positive-rate", RATE, "--device", "cpu", "-q", "--out", out]
    for setting in ("validate_every=100", "patience=0", "augmentation.jpeg=0", "augmentation.blur=0", "augmentation.resize=0"):
        words += ["--set", setting]
    anyscene(log, *words, *more)


def run_one(out: Path, seed: int, options: argparse.Namespace) -> None:
    """Both data sets of a seed and a detector of each for each generator; then the loop, with a data set and a detector of its own."""
    folder = out / f"seed-{seed}"
    log = folder / "log"
    for number, captions in enumerate(CAPTIONS):
        data = make_data(folder / captions, captions, 3 * seed + number, options.scenes, "0.74,0.25,0.01", options.strength)
        for generator in GENERATORS:
            train(log, data, generator, seed, options, folder / f"{captions}-{generator}")
    if not (folder / "loop" / "hardened.json").is_file():
        data = make_data(folder / "cases", "all", 3 * seed + 2, options.loop_scenes, "0.5,0.25,0.25", options.loop_strength, GENERATORS[:1])
        train(log, data, "diffusion", seed, options, folder / "before")
        words = ["moderate", "harden", folder / "before", data, "--taxonomy", "sandbox", *CAPTIONS["all"], "-n", options.more]
        words += ["--generator", "diffusion=sandbox:camera", "-m", "of=diffusion", "-m", f"strength={options.loop_strength}"]
        anyscene(log, *words, "--device", "cpu", "-q", "--out", folder / "loop")


# ---- figures --------------------------------------------------------------------------------------------------------------------


def scores_of(detector: Path, test: Path) -> dict[str, Any]:
    """The scores of a detector on the test set, kept beside it: of photographs and generated pictures by scene."""
    kept = detector / "test-scores.json"
    if not kept.is_file():
        data, loaded = open_dataset(test), load_detector(detector, device="cpu")
        found: dict[str, Any] = {"threshold": loaded.threshold}
        for name in ("", *GENERATORS):
            pictures = sorted(data.select(generator=name) if name else data.select(label="real"), key=lambda one: one.group)
            scores = loaded.score([data.path(one) for one in pictures])
            found[name or "real"] = {one.group: score for one, score in zip(pictures, scores, strict=True)}
        kept.write_text(json.dumps(found), "utf-8")
    value: dict[str, Any] = json.loads(kept.read_text("utf-8"))
    return value


def above(real: Floats, generated: Floats) -> Floats:
    """``(generated, real)``: is the generated picture's score the higher one? A half where they are alike."""
    gap = generated[:, None] - real[None, :]
    return (gap > 0) + 0.5 * (gap == 0)


def estimate(value: float, again: Floats) -> dict[str, float]:
    """A value with the middle 95 % of what the resamples gave."""
    low, high = np.quantile(again, [0.025, 0.975])
    return {"value": float(value), "low": float(low), "high": float(high)}


def of_captions(folders: Sequence[Path], test: Path) -> dict[str, Any]:
    """All skills against single objects, on the generator that was not learnt from and on the one that was. Scenes are drawn again."""
    found: dict[str, Any] = {"seeds": {}, "all": {}}
    first = scores_of(folders[0] / f"all-{GENERATORS[0]}", test)
    scenes = sorted(set(first["real"]) & set(first[GENERATORS[0]]) & set(first[GENERATORS[1]]))
    draws = np.random.default_rng(0).multinomial(len(scenes), np.full(len(scenes), 1 / len(scenes)), RESAMPLES).astype(np.float32)
    pools: dict[str, list[tuple[float, Floats]]] = {}
    for folder in folders:
        for learnt in GENERATORS:
            for tested in GENERATORS:
                where = "held-out generator" if learnt != tested else "same generator"
                rows: dict[str, list[tuple[float, Floats]]] = {}
                for captions in CAPTIONS:
                    scores = scores_of(folder / f"{captions}-{learnt}", test)
                    real, generated = (np.array([scores[name][scene] for scene in scenes]) for name in ("real", tested))
                    wins = above(real, generated).astype(np.float32)
                    auroc = np.einsum("di,di->d", draws @ wins, draws) / len(scenes) ** 2
                    hit, false = (one > scores["threshold"] for one in (generated, real))
                    rows.setdefault("auroc", []).append((float(wins.mean()), auroc))
                    rows.setdefault("found", []).append((float(hit.mean()), draws @ hit / len(scenes)))
                    rows.setdefault("false alarms", []).append((float(false.mean()), draws @ false / len(scenes)))
                own = found["seeds"].setdefault(folder.name, {}).setdefault(f"{learnt} to {tested}", {})
                for name, ((a, draws_a), (b, draws_b)) in rows.items():
                    own[name] = {"all": estimate(a, draws_a), "one": estimate(b, draws_b), "difference": estimate(a - b, draws_a - draws_b)}
                    for key, value in {"all": (a, draws_a), "one": (b, draws_b), "difference": (a - b, draws_a - draws_b)}.items():
                        for pool in (where, f"{learnt} to {tested}"):
                            pools.setdefault(f"{pool}|{name}|{key}", []).append(value)
    for path, each in pools.items():
        pool, name, key = path.split("|")
        value, again = np.mean([one for one, _ in each]), np.mean([draws for _, draws in each], axis=0)
        found["all"].setdefault(pool, {}).setdefault(name, {})[key] = estimate(float(value), again)
    return found


def of_loop(folders: Sequence[Path]) -> dict[str, Any]:
    """The loop: each seed as its report says it, and the mean over the seeds that named cases (normal interval; their scenes differ)."""
    found: dict[str, Any] = {"seeds": {}, "all": {}}
    pools: dict[str, list[tuple[float, float]]] = {}
    for folder in folders:
        loop = json.loads((folder / "loop" / "hardened.json").read_text("utf-8"))
        own = found["seeds"].setdefault(folder.name, {"named": loop["hard"]})
        for pair, rows in loop.get("after", {}).items():
            own[pair] = {row["what"]: {key: row[key] for key in ("a", "b", "difference", "low", "high", "n")} for row in rows}
            for row in rows:
                if row["what"].endswith(("together", "pictures", "called real")):
                    pools.setdefault(f"{pair}|{row['what']}", []).append((row["difference"], (row["high"] - row["low"]) / 3.92))
    for path, each in pools.items():
        pair, what = path.split("|")
        value, error = np.mean([one for one, _ in each]), np.sqrt(sum(error**2 for _, error in each)) / len(each)
        found["all"].setdefault(pair, {})[what] = {
            "value": float(value), "low": float(value - 1.96 * error), "high": float(value + 1.96 * error), "seeds": len(each)
        }  # fmt: skip
    return found


def points(one: dict[str, float]) -> str:
    """A value with its interval, in points."""
    return f"{100 * one['value']:.1f} ({100 * one['low']:.1f} to {100 * one['high']:.1f})"


def show(summary: dict[str, Any]) -> None:
    """The pooled figures, in points."""
    for pool, names in summary["captions"]["all"].items():
        for name, keys in names.items():
            text = ", ".join(
                f"{key} {100 * one['value']:.1f} ({100 * one['low']:.1f} to {100 * one['high']:.1f})" for key, one in keys.items()
            )
            print(f"{pool}, {name}: {text}")
    for pair, rows in summary["loop"]["all"].items():
        for what, one in rows.items():
            print(f"{pair}, {what}: {points(one)}, {one['seeds']} seeds")


def main() -> None:
    """Run what is not there yet, then the figures."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("out", type=Path)
    options.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    options.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options.add_argument("--scenes", type=int, default=1200, help="of each data set of a seed")
    options.add_argument("--test", type=int, default=800, help="scenes of the test set")
    options.add_argument("--steps", type=int, default=800, help="of each detector")
    options.add_argument("--strength", type=float, default=1.0, help="of the camera, on both sides")
    options.add_argument("--loop-scenes", type=int, default=1600, help="of the loop's data set")
    options.add_argument("--loop-strength", type=float, default=0.4, help="of the loop's camera, on both sides")
    options.add_argument("--more", type=int, default=400, help="new scenes of the loop")
    options.add_argument("--summary", action="store_true", help="run nothing")
    chosen = options.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    test = chosen.out / "test" / "data"
    if not chosen.summary:
        make_data(chosen.out / "test", "all", TEST_SEED, chosen.test, "0.005,0.005,0.99", chosen.strength)
        with ThreadPoolExecutor(chosen.jobs) as pool:
            list(pool.map(lambda seed: run_one(chosen.out, seed, chosen), chosen.seeds))
    folders = sorted(one.parent.parent for one in chosen.out.glob("seed-*/loop/hardened.json"))
    summary = {"captions": of_captions(folders, test), "loop": of_loop(folders)}
    (chosen.out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", "utf-8")
    show(summary)


if __name__ == "__main__":
    main()
