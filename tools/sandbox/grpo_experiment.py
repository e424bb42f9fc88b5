"""The experiment of docs/results/grpo.md: do policies of the sandbox follow captions better after training, and better than with CLIP?

    python tools/sandbox/grpo_experiment.py docs/results/grpo/autoregressive.toml OUT --rewards scene clip --seeds 0 1 2
    python tools/sandbox/grpo_experiment.py --summary OUT                                     (the figures again, from the finished runs)

Each run is one ``anyscene grpo`` on one thread; as many go on at a time as --jobs says. Stopped, the same command goes on. OUT gets a
folder for each run, summary.json and curves.svg.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anyscene.evaluation import open_run, scores_of
from anyscene.report.markup import el

SCORES = ("all_correct", "strict", "soft")
RESAMPLES = 10_000


def name_of(reward: str, seed: int) -> str:
    return f"{reward.replace(':', '-')}-{seed}"


def run_one(config: Path, out: Path, reward: str, seed: int, more: Sequence[str]) -> None:
    """One run, unless it is finished."""
    folder = out / name_of(reward, seed)
    if (folder / "result.json").is_file():
        return
    command = [sys.executable, "-m", "anyscene.cli.main", "grpo", "--config", str(config), "--reward", reward, "--seed", str(seed)]
    command += ["--out", str(folder), *more]
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    with open(out / f"{folder.name}.log", "ab") as log:
        done = subprocess.run(command, env={**os.environ, **threads}, stdout=log, stderr=log)
    if done.returncode:
        raise SystemExit(f"{folder.name} failed; see {log.name}")


def by_scene(folder: Path, score: str) -> NDArray[np.float64]:
    """A score of every held-out scene, in their order."""
    return np.asarray(scores_of(open_run(folder)).by_scene[score], dtype=float)


def difference(a: NDArray[np.float64], b: NDArray[np.float64]) -> dict[str, float]:
    """The second minus the first, ``(seeds, scenes)`` each: the mean, and its 95 % interval when scenes are drawn again."""
    gaps = (b - a)[:, ~np.isnan(b - a).all(axis=0)]  # without scenes that no judge could answer anything about
    gaps = np.nanmean(gaps, axis=0)
    draws = np.random.default_rng(0).integers(0, len(gaps), (RESAMPLES, len(gaps)))
    means = np.nanmean(gaps[draws], axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return {
        "a": float(np.nanmean(a)),
        "b": float(np.nanmean(b)),
        "difference": float(np.nanmean(gaps)),
        "low": float(low),
        "high": float(high),
    }


def summarize(out: Path) -> dict[str, Any]:
    """All figures from the finished runs."""
    runs = sorted(one.parent for one in out.glob("*/result.json"))
    rewards: dict[str, list[Path]] = {}
    for run in runs:
        rewards.setdefault(run.name.rpartition("-")[0], []).append(run)
    found: dict[str, Any] = {"runs": {}, "pooled": {}, "against": {}}
    after: dict[str, dict[str, NDArray[np.float64]]] = {}
    for reward, folders in rewards.items():
        found["pooled"][reward], after[reward] = {}, {}
        for score in SCORES:
            before = np.stack([by_scene(one / "before", score) for one in folders])
            after[reward][score] = np.stack([by_scene(one / "after", score) for one in folders])
            found["pooled"][reward][score] = difference(before, after[reward][score])
            for place, one in enumerate(folders):
                own = slice(place, place + 1)
                found["runs"].setdefault(one.name, {})[score] = difference(before[own], after[reward][score][own])
    names = sorted(rewards, key=lambda name: name != "scene")
    for other in names[1:]:
        if len(rewards[other]) == len(rewards[names[0]]):
            pairs = {score: difference(after[other][score], after[names[0]][score]) for score in SCORES}
            each = [difference(after[other]["all_correct"][[k]], after[names[0]]["all_correct"][[k]]) for k in range(len(rewards[other]))]
            found["against"][f"{names[0]} over {other}"] = {**pairs, "all_correct_by_seed": each}
    return found


def curves(out: Path) -> dict[str, list[float]]:
    """Mean reward of every 5 updates, for each run."""
    found = {}
    for path in sorted(out.glob("*/metrics.jsonl")):
        rewards = [json.loads(line).get("reward") for line in path.read_text("utf-8").splitlines()]
        values = np.array([np.nan if one is None else one for one in rewards], dtype=float)
        parts = [values[start : start + 5] for start in range(0, len(values), 5)]
        found[path.parent.name] = [round(float(np.nanmean(part)), 4) for part in parts]
    return found


def draw(found: Mapping[str, Sequence[float]], what: str = "Training reward", along: str = "", first: str = "scene") -> str:
    """Curves as SVG: a panel for each name before the last hyphen (a reward's), since scales differ, a line for each run."""
    panels: dict[str, dict[str, Sequence[float]]] = {}
    for name, values in found.items():
        panels.setdefault(name.rpartition("-")[0], {})[name] = values
    width, height, parts = 460, 260, []
    for place, (reward, runs) in enumerate(sorted(panels.items(), key=lambda one: one[0] != first)):
        low, high = min(map(min, runs.values())), max(map(max, runs.values()))
        longest = max(map(len, runs.values()))
        left, right, top, bottom = place * width + 50, (place + 1) * width - 20, 40, height - 40
        parts.append(el("text", f"{what}: {reward}", x=left, y=22, font_size=15))
        for value in np.linspace(low, high, 5):
            y = bottom - (bottom - top) * (value - low) / (high - low)
            parts.append(el("line", x1=left, x2=right, y1=float(y), y2=float(y), stroke="#ddd"))
            parts.append(el("text", f"{value:.2f}", x=left - 6, y=float(y) + 4, font_size=11, text_anchor="end"))
        for color, (name, values) in zip(("#0b5cad", "#b4500f", "#2f7d32", "#7b3fa0"), sorted(runs.items()), strict=False):
            points = [
                (left + (right - left) * k / max(1, longest - 1), bottom - (bottom - top) * (one - low) / (high - low))
                for k, one in enumerate(values)
            ]
            parts.append(el("path", d="M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points), fill="none", stroke=color, stroke_width=1.8))
            parts.append(el("text", name, x=right, y=points[-1][1] - 6, font_size=11, text_anchor="end", fill=color))
        parts.append(el("text", along or f"updates 1 to {5 * longest}, means of 5", x=left, y=height - 14, font_size=11))
    size = {"width": width * len(panels), "height": height}
    back = el("rect", **size, fill="white")
    return el("svg", back, parts, xmlns="http://www.w3.org/2000/svg", font_family="sans-serif", **size) + "\n"


def show(summary: dict[str, Any]) -> None:
    """The figures as Markdown tables."""
    print("| run | score | before | after | difference |\n| --- | --- | --- | --- | --- |")
    for name, scores in [*summary["runs"].items(), *((f"all {name}", one) for name, one in summary["pooled"].items())]:
        for score in ("all_correct", "soft"):
            print(f"| {name} | {score} | {line_of(scores[score])} |")
    for name, scores in summary["against"].items():
        for score in SCORES:
            print(f"| {name} | {score} | {line_of(scores[score])} |")


def line_of(one: dict[str, float]) -> str:
    a, b, gap, low, high = (100 * one[key] for key in ("a", "b", "difference", "low", "high"))
    return f"{a:.1f} | {b:.1f} | {gap:+.1f} ({low:+.1f} to {high:+.1f})"


def main() -> None:
    """Run what is not there yet, then the figures."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("config", type=Path, nargs="?")
    options.add_argument("out", type=Path)
    options.add_argument("--rewards", nargs="+", default=["scene"])
    options.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    options.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of anyscene grpo")
    options.add_argument("--summary", action="store_true", help="run nothing")
    chosen = options.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    if not chosen.summary:
        more = ["--quiet", *(part for one in chosen.set for part in ("--set", one))]
        wanted = [(reward, seed) for seed in chosen.seeds for reward in chosen.rewards]
        with ThreadPoolExecutor(chosen.jobs) as pool:
            list(pool.map(lambda one: run_one(chosen.config, chosen.out, *one, more), wanted))
    summary = {**summarize(chosen.out), "curves": curves(chosen.out)}
    (chosen.out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", "utf-8")
    (chosen.out / "curves.svg").write_text(draw(summary["curves"]), "utf-8")
    show(summary)


if __name__ == "__main__":
    main()
