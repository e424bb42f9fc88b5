"""The experiments of docs/results/improve.md and docs/results/distill.md: does a model of the sandbox get better, and than what?

    python tools/sandbox/recipe_experiment.py improve docs/results/improve/improve.toml OUT --web 8000
    python tools/sandbox/recipe_experiment.py distill docs/results/distill/distill.toml OUT
    python tools/sandbox/recipe_experiment.py improve --summary OUT        (the figures again, from the finished runs)

Each run is one ``anyscene improve`` or ``anyscene distill`` on one thread; as many go on at a time as --jobs says. Stopped, the same
command goes on. OUT gets a folder for each seed and summary.json. ``--web`` makes the baseline's own pictures first, in OUT/web: so many
of the sandbox's training distribution, with captions that are partly wrong (``captions.py``), of seeds that no model was trained with,
without those whose caption a held-out scene has.
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
from captions import training_pairs
from grpo_experiment import RESAMPLES, SCORES, by_scene, difference, draw
from numpy.typing import NDArray
from PIL import Image

from anyscene.evaluation import open_run, scores_of
from anyscene.evaluation.skills import SkillNames, ask, question_values
from anyscene.judges.prompts import plain_words
from anyscene.sandbox import load_sandbox_taxonomy
from anyscene.training import read_config
from anyscene.training.held_out import asked, split_scenes
from anyscene.training.improve_config import ImproveConfig

WEB_SEED = 900
"""Of the pictures with partly wrong captions; the models' own training pairs have seeds below 10."""
ARMS = {"selected": "after", "unselected": "after-unselected", "images": "after-images"}


def run_one(recipe: str, config: Path, out: Path, seed: int, more: Sequence[str]) -> None:
    """One run, unless it is finished."""
    folder = out / f"seed-{seed}"
    if (folder / "result.json").is_file():
        return
    command = [sys.executable, "-m", "anyscene.cli.main", recipe, "--config", str(config), "--seed", str(seed), "--out", str(folder)]
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    with open(out / f"{folder.name}.log", "ab") as log:
        done = subprocess.run([*command, *more], env={**os.environ, **threads}, stdout=log, stderr=log)
    if done.returncode:
        raise SystemExit(f"{folder.name} failed; see {log.name}")


def make_web(config: ImproveConfig, folder: Path, count: int) -> None:
    """An imagefolder of pictures with partly wrong captions, none of them a held-out scene's."""
    if (folder / "metadata.jsonl").is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    sides = split_scenes(config.scenes, config.held_out, load_sandbox_taxonomy())
    there = sides.held_out.source(config.held_out.seed, asked(config.questions))
    held_out = {plain_words(one) for one in there.table(0, config.held_out.n + config.validation)["caption"].to_pylist()}
    images, captions, _ = training_pairs(WEB_SEED, count)
    lines = []
    for place, (image, caption) in enumerate(zip(images, captions, strict=True)):
        if plain_words(caption) not in held_out:
            Image.fromarray(image).save(folder / f"{place:05d}.png")
            lines.append(json.dumps({"file_name": f"{place:05d}.png", "text": caption}))
    (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n", "utf-8")


# ---- figures --------------------------------------------------------------------------------------------------------------------


def of_improve(runs: Sequence[Path]) -> dict[str, Any]:
    """Before and after, and after against the baselines: every seed, and all together."""
    found: dict[str, Any] = {"seeds": {}, "all": {}, "rounds": {}}
    exams: dict[str, dict[str, NDArray[np.float64]]] = {}
    for name, folder in {"before": "before", **ARMS}.items():
        if all((run / folder).is_dir() for run in runs):
            exams[name] = {score: np.stack([by_scene(run / folder, score) for run in runs]) for score in SCORES}
    pairs = {f"{name} over before": ("before", name) for name in exams if name != "before"}
    pairs |= {f"selected over {name}": (name, "selected") for name in exams if name not in ("before", "selected")}
    for words, (first, second) in pairs.items():
        found["all"][words] = {score: difference(exams[first][score], exams[second][score]) for score in SCORES}
        for place, run in enumerate(runs):
            own = slice(place, place + 1)
            each = {score: difference(exams[first][score][own], exams[second][score][own]) for score in SCORES}
            found["seeds"].setdefault(run.name, {})[words] = each
    for run in runs:
        result = json.loads((run / "result.json").read_text("utf-8"))
        course = [None if result["start"] is None else result["start"]["score"]["value"]]
        course += [one["validation"]["score"]["value"] for one in result["rounds"] if one["validation"]]
        others = {arm: [one["validation"]["score"]["value"] for one in each["rounds"]] for arm, each in result["baselines"].items()}
        found["rounds"][run.name] = {"validation": course, "best_round": result["best_round"], **others}
    return found


def of_distill(runs: Sequence[Path]) -> dict[str, Any]:
    """What was taught and everything else, before and after: every seed, and all together (scenes drawn again, the mean over seeds)."""
    found: dict[str, Any] = {"seeds": {}, "all": {}}
    names = SkillNames.of(load_sandbox_taxonomy())
    sums: dict[str, list[tuple[NDArray[np.float64], NDArray[np.float64]]]] = {"taught": [], "elsewhere": []}
    for run in runs:
        result = json.loads((run / "result.json").read_text("utf-8"))
        found["seeds"][run.name] = {key: result[key] for key in ("chosen", "taught", "elsewhere", "lessons", "to_teacher") if key in result}
        before, after = open_run(run / "before"), open_run(run / "after")
        questions = ask(before.records, names)
        change = question_values(scores_of(after)) - question_values(scores_of(before))
        taught = questions.any_of([skill for skill in result["chosen"] if skill in questions.members])
        for name, mask in (("taught", taught), ("elsewhere", ~taught)):
            own = mask & ~np.isnan(change)
            scenes, size = questions.record[own], questions.records
            sums[name].append((np.bincount(scenes, change[own], size), np.bincount(scenes, minlength=size).astype(float)))
    for name, each in sums.items():
        draws = np.random.default_rng(0).integers(0, len(each[0][0]), (RESAMPLES, len(each[0][0])))
        again = np.mean([total[draws].sum(1) / count[draws].sum(1) for total, count in each], axis=0)
        low, high = np.quantile(again, [0.025, 0.975])
        value = float(np.mean([total.sum() / count.sum() for total, count in each]))
        found["all"][name] = {"difference": value, "low": float(low), "high": float(high)}
    scores = {score: [np.stack([by_scene(run / side, score) for run in runs]) for side in ("before", "after")] for score in SCORES}
    found["all"] |= {score: difference(*both) for score, both in scores.items()}
    return found


def curves(recipe: str, runs: Sequence[Path], found: Mapping[str, Any]) -> str:
    """``improve``: the validation score at the start and after each round, by arm. ``distill``: the loss, means of 100 updates. As SVG."""
    lines: dict[str, list[float]] = {}
    for run in runs:
        seed = run.name.rpartition("-")[2]
        if recipe == "improve":
            course = found["rounds"][run.name]
            lines[f"selected-{seed}"] = course["validation"]
            lines |= {f"{arm}-{seed}": [course["validation"][0], *course[arm]] for arm in ARMS if arm in course}
        else:
            losses = [json.loads(line)["loss"] for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]
            lines[f"loss-{seed}"] = [float(np.mean(losses[at : at + 100])) for at in range(0, len(losses), 100)]
    if recipe == "improve":
        return draw(lines, "Validation soft", "start and rounds", "selected")
    return draw(lines, "Training", "means of 100 updates")


def show(found: Mapping[str, Any]) -> None:
    """The pooled figures, in points."""

    def walk(path: str, one: Any) -> None:
        if isinstance(one, Mapping) and "difference" in one:
            print(f"{path:<44} {100 * one['difference']:+6.1f} ({100 * one['low']:+.1f} to {100 * one['high']:+.1f})")
        elif isinstance(one, Mapping):
            for key, value in one.items():
                walk(f"{path} {key}", value)

    walk("", found["all"])


def main() -> None:
    """Run what is not there yet, then the figures."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("recipe", choices=["improve", "distill"])
    options.add_argument("config", type=Path, nargs="?")
    options.add_argument("out", type=Path)
    options.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    options.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options.add_argument("--web", type=int, default=0, metavar="N", help="compare with learning from N pictures with partly wrong captions")
    options.add_argument("--summary", action="store_true", help="run nothing")
    chosen = options.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    if not chosen.summary:
        more = ["--quiet", "--no-doctor"]
        if chosen.web:
            make_web(read_config(chosen.config, {}, ImproveConfig), chosen.out / "web", chosen.web)
            more += ["--baseline", f"images={chosen.out / 'web'}"]
        with ThreadPoolExecutor(chosen.jobs) as pool:
            list(pool.map(lambda seed: run_one(chosen.recipe, chosen.config, chosen.out, seed, more), chosen.seeds))
    runs = sorted(one.parent for one in chosen.out.glob("seed-*/result.json"))
    summary = of_improve(runs) if chosen.recipe == "improve" else of_distill(runs)
    (chosen.out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", "utf-8")
    (chosen.out / "curves.svg").write_text(curves(chosen.recipe, runs, summary), "utf-8")
    show(summary)


if __name__ == "__main__":
    main()
