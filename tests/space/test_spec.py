"""A spec is a value: read back as it was written, and refused where it cannot be honoured."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyscene.errors import AnySceneError, GraphError, SpecError
from anyscene.scene import Attribute, Object, Relation, SceneGraph
from anyscene.scene.structure import MAX_COMPLEXITY
from anyscene.space import Holdout, SceneSpec

DOG = SceneGraph((Object("a", "dog", (Attribute("color", "red"),)), Object("b", "cup")), (Relation("a", "near", "b"),))


def ranges(low: int, high: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(low, high), st.integers(low, high)).map(lambda pair: (min(pair), max(pair)))


holdouts = st.integers(2, 100).flatmap(
    lambda parts: st.builds(
        Holdout,
        st.sampled_from(["element", "pair", "structure"]),
        st.sampled_from(["train", "test"]),
        st.integers(1, parts - 1),
        st.just(parts),
        st.integers(),
    )
)
names = st.lists(st.text(min_size=1, max_size=5), max_size=3).map(tuple)
specs = st.builds(
    SceneSpec,
    complexity=ranges(1, MAX_COMPLEXITY),
    scene_attributes=ranges(0, 4),
    modality=st.sampled_from(["image", "video", "3d"]),
    realism=st.floats(0, 1),
    familiar=st.booleans(),
    only=names,
    without=names,
    objects=st.none() | ranges(0, 9),
    attributes=st.none() | ranges(0, 9),
    relations=st.none() | ranges(0, 9),
    counts=st.booleans(),
    containing=st.none() | st.just(DOG),
    holdout=st.none() | holdouts,
)


@given(specs)
def test_a_spec_is_read_back_as_it_was_written(spec: SceneSpec) -> None:
    assert SceneSpec.from_dict(spec.to_dict()) == spec
    again = SceneSpec.from_dict(json.loads(json.dumps(spec.to_dict())))
    assert again == spec and again.to_dict() == spec.to_dict() and again.digest("x") == spec.digest("x")


@given(specs, specs)
def test_a_digest_names_a_spec(one: SceneSpec, other: SceneSpec) -> None:
    assert (one.digest("x") == other.digest("x")) == (one == other)
    assert one.digest("x") != one.digest("y") and len(one.digest("x")) == 16


@pytest.mark.parametrize(("written", "meant"), [({"realism": 0}, {"realism": 0.0}), ({"realism": 1}, {"realism": 1.0})])
def test_equal_specs_have_one_digest(written: dict[str, Any], meant: dict[str, Any]) -> None:
    one, other = SceneSpec(**written), SceneSpec(**meant)
    assert one == other and one.digest("x") == other.digest("x")


def test_only_what_is_given_is_needed() -> None:
    assert SceneSpec.from_dict({}) == SceneSpec()
    assert SceneSpec.from_dict({"complexity": [2, 3]}) == SceneSpec(complexity=(2, 3))


def test_a_spec_is_frozen_and_hashable() -> None:
    spec = SceneSpec(containing=DOG, holdout=Holdout("pair", "test"))
    with pytest.raises((FrozenInstanceError, AttributeError)):
        spec.realism = 1.0  # type: ignore[misc]
    assert len({spec, replace(spec), SceneSpec()}) == 2


def test_class_rules_are_put_aside_at_realism_0_alone() -> None:
    assert [SceneSpec(realism=realism).class_rules for realism in (0.0, 0.001, 0.5, 1.0)] == [False, True, True, True]


BAD: list[tuple[dict[str, Any], str]] = [
    ({"complexity": (0, 3)}, "complexity 0-3"),
    ({"complexity": (5, 3)}, "complexity 5-3"),
    ({"complexity": (1, MAX_COMPLEXITY + 1)}, str(MAX_COMPLEXITY)),
    ({"scene_attributes": (-1, 0)}, "scene attributes"),
    ({"scene_attributes": (0, 5)}, "at most 4"),
    ({"scene_attributes": (2, 1)}, "scene attributes 2-1"),
    ({"objects": (3, 2)}, "objects 3-2"),
    ({"objects": (-1, 2)}, "objects"),
    ({"attributes": (-1, 2)}, "attributes"),
    ({"relations": (2, 1)}, "relations"),
    ({"modality": "audio"}, "audio.*image, video, 3d"),
    ({"realism": -0.1}, "realism"),
    ({"realism": 1.1}, "realism"),
    ({"realism": float("nan")}, "realism"),
    ({"order": "random"}, "random.*balanced, uniform"),
    ({"order": "uniform", "realism": 0.8}, "uniform"),
]


@pytest.mark.parametrize(("options", "message"), BAD, ids=str)
def test_a_spec_that_cannot_be_honoured_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        SceneSpec(**options)
    with pytest.raises(SpecError, match=message):
        SceneSpec.from_dict(options)


@pytest.mark.parametrize("realism", [0.0, 0.5])
def test_uniform_goes_with_all_or_no_class_rules(realism: float) -> None:
    assert SceneSpec(order="uniform", realism=realism).order == "uniform"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("color", "train"), "color"),
        (("pair", "validation"), "validation"),
        (("pair", "train", 0, 5), "0 of 5"),
        (("pair", "train", 5, 5), "5 of 5"),
        (("pair", "train", 1, 101), "101"),
        (("pair", "train", -1, 5), "-1"),
    ],
)
def test_a_split_needs_two_sides(options: tuple[Any, ...], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        Holdout(*options)


@given(holdouts)
def test_a_part_is_on_one_side(holdout: Holdout) -> None:
    other = replace(holdout, side="test" if holdout.side == "train" else "train")
    sides = [(holdout.keeps(part), other.keeps(part)) for part in range(holdout.parts)]
    assert all(a != b for a, b in sides)
    assert sum(a for a, _ in sides) == (holdout.test_parts if holdout.side == "test" else holdout.parts - holdout.test_parts)


WRONG: list[dict[str, Any]] = [
    {"complexities": [1, 2]},
    {"complexity": 5},
    {"complexity": [1, 2, 3]},
    {"complexity": ["a", "b"]},
    {"complexity": [1.5, 2]},
    {"complexity": None},
    {"complexity": [True, 2]},
    {"objects": 3},
    {"only": "animal"},
    {"without": [3]},
    {"realism": "high"},
    {"realism": None},
    {"modality": 3},
    {"familiar": "no"},
    {"counts": 1.5},
    {"order": None},
    {"holdout": "pair"},
    {"holdout": {"kind": "pair"}},
    {"holdout": {"kind": "pair", "side": "test", "share": 0.2}},
    {"holdout": {"kind": "pair", "side": "test", "parts": "5"}},
    {"containing": "a dog"},
    {"containing": {"objects": []}},
]


@pytest.mark.parametrize("data", WRONG, ids=str)
def test_a_file_that_is_no_spec_is_an_error_of_ours(data: dict[str, Any]) -> None:
    """Whatever stands in a JSON file, the error is one of the tree and names the key or the value."""
    with pytest.raises(AnySceneError) as caught:
        SceneSpec.from_dict(data)
    assert isinstance(caught.value, (SpecError, GraphError))
    key, value = next(iter(data.items()))
    assert any(word in str(caught.value).replace("_", " ") for word in (key.replace("_", " "), str(value), "graph"))


def test_the_data_of_a_spec_are_left_as_they_are() -> None:
    data = SceneSpec(containing=DOG, holdout=Holdout("pair", "test")).to_dict()
    copy = json.loads(json.dumps(data))
    SceneSpec.from_dict(data)
    assert json.loads(json.dumps(data)) == copy
