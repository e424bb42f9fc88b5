"""``anyscene split``: training and test specs that provably share nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from anyscene.cli import options as o
from anyscene.errors import RunError, SpecError

HELP = """Write a training and a test spec that share no element, no (object, attribute) pair, or no structure, and prove it.

Give the files to generate with --spec.

Example: anyscene split --by pair --test 0.2 --complexity 3-6 --out split && anyscene generate --spec split/train.json -n 1000 --out train
"""


@o.takes_spec
def run(
    whole: o.SceneSpec,
    by: Annotated[str, typer.Option(help="What the two sides must not share: element, pair or structure.")],
    out: Annotated[Path, typer.Option(help="The folder to write train.json, test.json and proof.json into.")],
    test: Annotated[float, typer.Option(help="Share of the test side.")] = 0.2,
    key: Annotated[int, typer.Option(help="Which of the many splits.")] = 0,
    taxonomy: o.TaxonomyFolder = None,
) -> None:
    """Make both specs, prove the split, write."""
    from anyscene.dataset import SceneSpace
    from anyscene.runs import write_atomic
    from anyscene.space import Holdout, prove_split

    if not 0.0 < test < 1.0:
        raise SpecError(f"a test share of {test}: it must be between 0 and 1")
    parts = 10 if round(test * 10) == test * 10 else 100
    shares = max(1, min(parts - 1, round(test * parts)))
    sides = {
        side: SceneSpace(replace(whole, holdout=Holdout(by, side, shares, parts, key)), taxonomy=taxonomy) for side in ("train", "test")
    }
    proof = prove_split(sides["train"].space, sides["test"].space)
    for side, scenes in sides.items():
        if scenes.size == 0:
            raise SpecError(f"the {side} side has no scene: take another --key or a wider space")
    try:
        out.mkdir(parents=True, exist_ok=True)
        for side, scenes in sides.items():
            write_atomic(out / f"{side}.json", (json.dumps(scenes.spec.to_dict(), indent=1) + "\n").encode())
        write_atomic(out / "proof.json", (json.dumps(proof, indent=1) + "\n").encode())
    except OSError as error:
        raise RunError(f"{out}: cannot be written ({error.strerror})") from None
    print(f"wrote {out / 'train.json'}, {out / 'test.json'} and {out / 'proof.json'}")
    for line in (f"{name}: {', '.join(f'{k} {v:,}' for k, v in numbers.items())}" for name, numbers in proof["checked"].items()):
        print(f"  {line}")
    print(f"shared {proof['by']}s: 0")
