from __future__ import annotations

import pickle
import re

import anyscene.errors as errors
from anyscene.errors import AnySceneError, MissingExtraError


def test_every_error_is_in_the_tree_as_drawn() -> None:
    """The tree in the docstring is the class hierarchy."""
    assert errors.__doc__ is not None
    drawn = re.findall(r"^    ([ │├└─]*)(\w+)", errors.__doc__, flags=re.MULTILINE)
    names = [name for _, name in drawn]
    assert sorted(names) == errors.__all__
    parents: list[str] = []
    for branch, name in drawn:
        parents = [*parents[: len(branch) // 4], name]
        base = getattr(errors, name).__bases__[0]
        assert base.__name__ == (parents[-2] if len(parents) > 1 else "Exception")


def test_errors_survive_a_trip_between_processes() -> None:
    for name in errors.__all__:
        kind = getattr(errors, name)
        error = kind("Reading", "datasets") if kind is MissingExtraError else kind("text")
        copy = pickle.loads(pickle.dumps(error))
        assert (type(copy), str(copy)) == (kind, str(error))
        assert isinstance(copy, AnySceneError)


def test_missing_extra_says_the_command() -> None:
    assert str(MissingExtraError("Reading", "datasets")) == (
        "Reading needs the extra 'datasets'. Install it with: pip install 'anyscene[datasets]'"
    )
