"""Numbered spaces of scenes: counted, indexed, drawn from."""

from anyscene.space.decode import graph_of_row
from anyscene.space.space import Space
from anyscene.space.spec import Holdout, SceneSpec
from anyscene.space.splitting import prove_split

__all__ = ["Holdout", "SceneSpec", "Space", "graph_of_row", "prove_split"]
