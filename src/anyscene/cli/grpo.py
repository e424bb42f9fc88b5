"""``anyscene grpo``: train a text-to-image policy against a reward, and show whether it got better."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from anyscene.cli import backends as b
from anyscene.cli import options as o
from anyscene.cli.judge import Doctor
from anyscene.errors import SpecError

HELP = """Train a text-to-image policy by reinforcement learning (GRPO) against a scene-graph reward.

Autoregressive policies learn through TRL; diffusion and flow policies by policy gradients along a noisy sampler (flow_grpo) or on the
forward process (nft). Before and after, the policy is evaluated on scenes that share no structure and no (object, attribute) pair with
training. Stopped at any moment, the same command goes on. Several GPUs: accelerate launch -m anyscene.cli.main grpo ...

Example: anyscene grpo --model sandbox:autoregressive --judge sandbox:pixels --taxonomy sandbox --set scenes.complexity=[1,4] --out run
"""


def run(
    out: o.OutFolder,
    config: Annotated[Path | None, typer.Option(help="A TOML file, or one that ships (simplear-0.5b); options come first.")] = None,
    model: Annotated[str | None, typer.Option(help="The policy: autoregressive:NAME, diffusers:NAME, sandbox:NAME.")] = None,
    model_option: b.ModelOptions = None,
    judge: Annotated[str | None, typer.Option(help="Who answers the questions of the scene reward.")] = None,
    judge_option: b.JudgeOptions = None,
    scenes: Annotated[Path | None, typer.Option(help="Which scenes: a spec file (JSON), not split; the split is made here.")] = None,
    taxonomy: Annotated[str | None, typer.Option(help='A vocabulary of your own: a folder of TSV files; or "sandbox".')] = None,
    reward: Annotated[
        str | None, typer.Option(help="scene, clip, a metric with its weights, or several with weights: scene=1,clip=0.3.")
    ] = None,
    algorithm: Annotated[str | None, typer.Option(help="auto, grpo, flow_grpo or nft.")] = None,
    updates: Annotated[int | None, typer.Option(help="Updates of the policy.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of everything that is drawn.")] = None,
    setting: o.Settings = None,
    doctor: Doctor = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    quiet: b.Quiet = False,
) -> None:
    """Read the config, run the recipe."""
    from anyscene.taxonomy import load_taxonomy
    from anyscene.training import GrpoConfig, read_config
    from anyscene.training.grpo import run_grpo

    given: dict[str, Any] = {
        "model": model,
        "judge": judge,
        "reward": _reward(reward),
        "algorithm": algorithm,
        "updates": updates,
        "seed": seed,
        "taxonomy": taxonomy,
    }
    given |= {f"model_options.{key}": value for key, value in b.parse_options(model_option).items()}
    given |= {f"judge_options.{key}": value for key, value in b.parse_options(judge_option).items()}
    if scenes is not None:
        given["scenes"] = o.read_spec_file(scenes).to_dict()
    chosen = read_config(config, given | o.parse_settings(setting), GrpoConfig)
    vocabulary = load_taxonomy(o.taxonomy_path(chosen.taxonomy)) if chosen.taxonomy is not None else None
    result = run_grpo(chosen, out, taxonomy=vocabulary, quiet=quiet, examine=(lambda one: b.insist(one, quiet)) if doctor else None)
    if as_json:
        print(json.dumps(result, indent=1))
    elif "difference" in result:
        for name, one in result["difference"].items():
            a, after, low, high = (100 * one[key] for key in ("a", "b", "low", "high"))
            print(f"{name:<12} {a:5.1f} % -> {after:5.1f} %   difference {after - a:+.1f} points ({low:+.1f} to {high:+.1f})")
        print(f"report: {out / 'report.html'}")


def _reward(text: str | None) -> str | dict[str, float] | None:
    """``scene``, or ``scene=1,clip=0.3`` as weights."""
    if text is None or "=" not in text:
        return text
    found = {}
    for part in text.split(","):
        name, _, weight = part.partition("=")
        try:
            found[name.strip()] = float(weight)
        except ValueError:
            raise SpecError(f"reward {text!r}: the weight of {name.strip()} must be a number, like scene=1,clip=0.3") from None
    return found
