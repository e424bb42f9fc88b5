"""What tests of rewards share: scenes of the sandbox, and pictures of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from anyscene.dataset import SceneSpace
from anyscene.media import Media
from anyscene.sandbox import load_model, load_sandbox_taxonomy

Records = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="session")
def sandbox_records() -> Records:
    """Records of the sandbox's vocabulary: ``sandbox_records(100, seed=1, complexity=(4, 8))``."""

    def make(n: int, seed: int = 0, **fields: Any) -> list[dict[str, Any]]:
        options: dict[str, Any] = {"complexity": (3, 6), "scene_attributes": (0, 1), "counts": True, **fields}
        return list(SceneSpace(taxonomy=load_sandbox_taxonomy(), **options).records(n, seed=seed))

    return make


@pytest.fixture(scope="session")
def painted() -> Callable[..., list[Media]]:
    """Pictures of records by the flawed painter."""

    def make(records: Sequence[Mapping[str, Any]], seed: int = 0, **flaws: float) -> list[Media]:
        model = load_model("flawed", **flaws)
        made = model.generate([one["caption"] for one in records], [seed * 1000 + place for place in range(len(records))])
        assert all(isinstance(one, Media) for one in made)
        return made  # type: ignore[return-value]

    return make
