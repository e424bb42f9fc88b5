"""Small vocabularies, written as any user would write them, and the shipped one read once."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = str(Path(__file__).parent)
if HERE not in sys.path:
    sys.path.insert(0, HERE)

from brute_force import VOCABULARIES, Vocabulary  # noqa: E402

from anyscene.taxonomy import Taxonomy, load_taxonomy  # noqa: E402


@pytest.fixture(scope="session")
def load(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Vocabulary], Taxonomy]:
    """Write a vocabulary as a folder and read it; each is read once."""
    known: dict[Vocabulary, Taxonomy] = {}

    def read(vocabulary: Vocabulary) -> Taxonomy:
        if vocabulary not in known:
            folder = tmp_path_factory.mktemp("vocabulary")
            vocabulary.write(folder)
            known[vocabulary] = load_taxonomy(folder)
        return known[vocabulary]

    return read


@pytest.fixture(scope="session")
def small(load: Callable[[Vocabulary], Taxonomy]) -> dict[str, Taxonomy]:
    """The vocabularies of ``brute_force`` by name."""
    return {name: load(vocabulary) for name, vocabulary in VOCABULARIES.items()}


@pytest.fixture(scope="session")
def shipped() -> Taxonomy:
    return load_taxonomy()
