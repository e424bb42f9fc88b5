"""``anyscene split``: training and test specs that provably share nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Annotated

import typer

from anyscene.cli import options as o
from anyscene.errors import RunError, SpecError

HELP = """Write a training and a test spec that share no element, no (object, attribute) pair, or no structure, and prove it.

The folder gets train.json, test.json and proof.json. Give the first two to generate with --spec.

Example: anyscene split --by pair --test 0.2 --complexity 3-6 --out split && anyscene generate --spec split/train.json -n 1000 --out train
"""


@o.takes_spec
def run(
    whole: o.SceneSpec,
    by: Annotated[str, typer.Option(help="What the two sides must not share: element, pair or structure; pair+structure for both.")],
    out: o.OutFolder,
    test: Annotated[float, typer.Option(help="Share of the test side.")] = 0.2,
    key: Annotated[int, typer.Option(help="Which of the many splits.")] = 0,
    taxonomy: o.TaxonomyFolder = None,
) -> None:
    """Make both specs, prove the split, write."""
    from anyscene.dataset import SceneSpace
    from anyscene.runs import open_folder, write_atomic
    from anyscene.space import Holdout, prove_split

    if whole.holdout:
        raise SpecError(f"the spec is the {whole.holdout.side} side of a split already: split the whole that it came from")
    sides = {
        side: SceneSpace(replace(whole, holdout=Holdout.of_share(by, side, test, key)), taxonomy=taxonomy) for side in ("train", "test")
    }
    proof = prove_split(sides["train"].space, sides["test"].space)
    for side, scenes in sides.items():
        if scenes.size == 0:
            raise SpecError(f"the {side} side has no scene: take another --key or a wider space")
    texts = {**{side: scenes.spec.to_dict() for side, scenes in sides.items()}, "proof": proof}
    files = {out / f"{name}.json": (json.dumps(value, indent=1) + "\n").encode() for name, value in texts.items()}
    open_folder(out)
    for path, data in files.items():
        if path.exists() and not (path.is_file() and path.read_bytes() == data):
            raise RunError(f"{path} is there already, and is not of this split. Choose another folder, or remove it.")
    for path, data in files.items():
        write_atomic(path, data)
    print(f"wrote {out / 'train.json'}, {out / 'test.json'} and {out / 'proof.json'}")
    for line in (f"{name}: {', '.join(f'{k} {v:,}' for k, v in numbers.items())}" for name, numbers in proof["checked"].items()):
        print(f"  {line}")
    print(f"shared {' and '.join(f'{kind}s' for kind in proof['by'].split('+'))}: 0")
