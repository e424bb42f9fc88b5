"""The second protocol of the loop in docs/results/moderation.md: photographs of everything, captions of single objects. What does the
detector miss, and does the hard-case loop find and mend it?

    python tools/sandbox/hard_cases_experiment.py OUT
    python tools/sandbox/hard_cases_experiment.py --summary OUT        (the figures again, from the finished runs)

Every step is an ``anyscene`` command on one thread, one seed after the other. Stopped, the same command goes on. OUT gets a folder for each
seed, and loop-2.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from detector_experiment import CAPTIONS, anyscene, make_data, of_loop, points, train

from anyscene.moderation import SceneSkills, load_detector, open_dataset
from anyscene.moderation.matrix import HeldOut, compare_recall, scores_of
from anyscene.sandbox import load_sandbox_taxonomy

PHOTOGRAPHS, SIMPLE, VARIED, NEW, MORE = range(5)
"""What scenes are drawn for; each has a seed of its own."""


def seed_of(seed: int, what: int) -> int:
    """None of the first protocol's seeds."""
    return 10_000 + 10 * seed + what


def paint(folder: Path, captions: str, seed: int, scenes: int, of: str, strength: float) -> Path:
    """A run: scenes, and photographs of them or of what a model draws of them."""
    log, run, scenes_at = folder / "log", folder / of, folder / "scenes"
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "painted").is_file():
        words: list[object] = ["generate", "-n", scenes, "--taxonomy", "sandbox", "--seed", seed, *CAPTIONS[captions]]
        anyscene(log, *words, "--out", scenes_at, "-q")
        words = ["paint", scenes_at, "--model", "sandbox:camera", "-m", f"of={of}", "-m", f"strength={strength}"]
        words += ["-m", "size=32"] if of == "renderer" else []
        anyscene(log, *words, "--taxonomy", "sandbox", "--seed", seed, "--out", run, "-q")
        (folder / "painted").touch()
    return run


def build(log: Path, real: Path, generated: Path, shares: str, out: Path) -> Path:
    """A data set of photographs and of whatever pictures stand beside them."""
    if not (out / "dataset.json").is_file():
        words = ["moderate", "build", "--real", real, "--generated", f"diffusion={generated}", "--shares", shares, "--encoding", "png"]
        anyscene(log, *words, "--out", out, "-q")
        anyscene(log, "moderate", "audit", out, "-q", "--allow-biased")
    return out


def run_one(out: Path, seed: int, options: argparse.Namespace) -> None:
    """The detector of a seed, its hard cases, the loop, and one that learnt from more scenes of the kind that it knew."""
    folder, strength = out / f"seed-{seed}", options.strength
    log = folder / "log"
    real = paint(folder / "photographs", "all", seed_of(seed, PHOTOGRAPHS), options.scenes, "renderer", strength)
    simple = paint(folder / "simple", "one", seed_of(seed, SIMPLE), options.scenes, "diffusion", strength)
    data = build(log, real, simple, "0.74,0.25,0.01", folder / "data")
    varied = make_data(folder / "varied", "all", seed_of(seed, VARIED), options.varied, "0.01,0.495,0.495", strength, ["diffusion"])
    train(log, data, "diffusion", seed, options, folder / "before")
    for name, looked in (("own", data), ("varied", varied)):
        anyscene(log, "moderate", "hard-cases", folder / "before", looked, "--taxonomy", "sandbox", "-q", "--out", folder / f"cases-{name}")
    words = ["moderate", "harden", folder / "before", data, "--held-out", varied, "--taxonomy", "sandbox", *CAPTIONS["all"]]
    words += ["--generator", "diffusion=sandbox:camera", "-m", "of=diffusion", "-m", f"strength={strength}", "-n", options.more]
    anyscene(log, *words, "--seed", seed_of(seed, NEW), "--device", "cpu", "-q", "--out", folder / "loop")
    same = paint(folder / "more", "one", seed_of(seed, MORE), options.more, "diffusion", strength)
    more = build(log, data / "pictures" / "real", same, "0.98,0.01,0.01", folder / "more" / "data")
    train(log, data, "diffusion", seed, options, folder / "same-kind", "--extra", more)


def of_same_kind(folder: Path) -> dict[str, Any]:
    """Recall on the named cases of the test split: what more scenes of the kind that training had do, and the loop against that."""
    loop = json.loads((folder / "loop" / "hardened.json").read_text("utf-8"))
    data, skills = open_dataset(folder / "varied" / "data"), SceneSkills.of(load_sandbox_taxonomy())
    named = [one for one in data.select(split="test") if skills.of_scene(data.records[one.record_id]) & set(loop["hard"])]
    if not named:
        return {}
    held = HeldOut("varied", data, tuple(named))
    found = {}
    for name, place in {"before": "before", "same kind": "same-kind", "hardened": "loop/hardened"}.items():
        detector = load_detector(folder / place, device="cpu")
        found[name] = held.scored(scores_of(detector, held, "", None, quiet=True)), detector.threshold
    pairs = {"same kind minus before": ("before", "same kind"), "hardened minus same kind": ("same kind", "hardened")}
    return {
        pair: compare_recall(found[a][0], found[b][0], found[a][1], found[b][1]).to_dict() | {"what": "found: the named cases together"}
        for pair, (a, b) in pairs.items()
    }


def figures(folders: Sequence[Path]) -> dict[str, Any]:
    """The loop of each seed, what was missed, and means over the seeds."""
    found = of_loop(folders)
    again: dict[str, list[dict[str, Any]]] = {}
    for folder in folders:
        own = found["seeds"][folder.name]
        for name in ("own", "varied"):
            cases = json.loads((folder / f"cases-{name}" / "hard-cases.json").read_text("utf-8"))
            own[f"cases of {name}"] = {
                "pictures": cases["pictures"],
                "missed": cases["missed"],
                "hard": [one for one in cases["cases"] if one["skill"] in cases["hard"]],
            }
        for pair, row in of_same_kind(folder).items():
            own[pair] = {row["what"]: {key: row[key] for key in ("a", "b", "difference", "low", "high", "n")}}
            again.setdefault(pair, []).append(row)
    for pair, rows in again.items():
        value = float(np.mean([row["difference"] for row in rows]))
        half = float(np.sqrt(sum(((row["high"] - row["low"]) / 2) ** 2 for row in rows))) / len(rows)
        mean = {"value": value, "low": value - half, "high": value + half, "seeds": len(rows)}
        found["all"][pair] = {rows[0]["what"]: mean}
    return found


def main() -> None:
    """Run what is not there yet, then the figures."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("out", type=Path)
    options.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    options.add_argument("--scenes", type=int, default=1300, help="photographs, and as many generated pictures of single objects")
    options.add_argument("--varied", type=int, default=1600, help="scenes of the other data set")
    options.add_argument("--steps", type=int, default=800, help="of each detector")
    options.add_argument("--strength", type=float, default=0.4, help="of the camera, on both sides")
    options.add_argument("--more", type=int, default=400, help="new scenes")
    options.add_argument("--summary", action="store_true", help="run nothing")
    chosen = options.parse_args()
    if not chosen.summary:
        for seed in chosen.seeds:
            run_one(chosen.out, seed, chosen)
    found = figures(sorted(one.parent for one in chosen.out.glob("seed-*/same-kind")))
    (chosen.out / "loop-2.json").write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    for pair, rows in found["all"].items():
        for what, one in rows.items():
            print(f"{pair}, {what}: {points(one)}, {one['seeds']} seeds")


if __name__ == "__main__":
    main()
