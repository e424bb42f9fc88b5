from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from anyscene.dataset import SceneSpace
from anyscene.sandbox import load_sandbox_taxonomy

Records = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="session")
def sandbox_records() -> Records:
    """Records of the sandbox's vocabulary: ``sandbox_records(100, seed=1, modality="video", complexity=(4, 8))``."""

    def make(n: int, seed: int = 0, **fields: Any) -> list[dict[str, Any]]:
        options: dict[str, Any] = {"complexity": (4, 8), "scene_attributes": (0, 3), "counts": True, **fields}
        return list(SceneSpace(taxonomy=load_sandbox_taxonomy(), **options).records(n, seed=seed))

    return make
