"""Scenes like a benchmark: profiles of its prompts, shares to one scene, no prompt among them, the same bytes again."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from anyscene.benchmarks.benchmark import Items, make_record
from anyscene.benchmarks.like import narrowed, quotas, scenes_like
from anyscene.benchmarks.skills import ANY, ATTRIBUTES, RELATIONS, Profile, fitted, profile_of, profiles_of, skill_shares
from anyscene.dataset import SceneSpace, generate, read_table, record_schema
from anyscene.errors import SpecError
from anyscene.sandbox import sandbox_taxonomy_path
from anyscene.taxonomy import RELATION_TYPES, load_taxonomy

SANDBOX = load_taxonomy(sandbox_taxonomy_path())


def item(objects: list[tuple[str, list[str]]], relations: list[str] = [], scene: int = 0) -> dict[str, Any]:  # noqa: B006
    return {
        "objects": [
            {"id": f"o{at}", "name": name, "attributes": [{"type": kind, "value": "x"} for kind in kinds]}
            for at, (name, kinds) in enumerate(objects)
        ],
        "relations": [{"subject": "o0", "predicate": one, "object": "o1"} for one in relations],
        "scene_attributes": [{"type": "style", "value": str(at)} for at in range(scene)],
    }


def items_of(*graphs: dict[str, Any], captions: list[str] | None = None) -> Items:
    records = [
        make_record("geneval", f"{at:05d}", at, captions[at] if captions else f"prompt number {at}", graph=graph)
        for at, graph in enumerate(graphs)
    ]
    return Items("geneval", tuple(records), {record["id"]: {"item_id": record["id"]} for record in records})


MIX = items_of(
    item([("cup", [])]),
    item([("cup", ["color"])]),
    item([("cup", ["color"])]),
    item([("cup", []), ("cow", ["colour"])], ["to the left of"]),
)


# ---- profiles ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("graph", "profile"),
    [
        (item([("cup", [])]), Profile(1, (), (), 0)),
        (item([("cup", ["color", "shape"])]), Profile(1, ("color", "shape"), (), 0)),
        (item([("cup", ["mood"])]), Profile(1, (ANY,), (), 0)),
        (item([("clock", []), ("clock", []), ("clock", [])]), Profile(1, ("count",), (), 0)),
        (item([("dog", []), ("dog", [])], ["chasing"]), Profile(2, (), ("action",), 0)),
        (item([("dog", []), ("cat", ["material"])], ["on top of"], 2), Profile(2, ("material",), ("spatial",), 2)),
    ],
)
def test_profiles_of_graphs(graph: dict[str, Any], profile: Profile) -> None:
    record = items_of(graph).records[0]
    assert profile_of(record, {}) == profile


def test_profiles_of_questions_and_tags() -> None:
    asked = [
        {"id": "q1", "kind": "count", "form": "choice", "text": "How many?", "answer": "two"},
        {"id": "q2", "kind": "attribute", "form": "yes_no", "text": "Red?", "answer": "yes"},
        {"id": "q3", "kind": "existence", "form": "yes_no", "text": "Dogs?", "answer": "yes"},
        {"id": "q4", "kind": "relation", "form": "yes_no", "text": "Beside it?", "answer": "yes"},
        {"id": "q5", "kind": "count", "form": "choice", "text": "How many?", "answer": "one"},
        {"id": "q6", "kind": "existence", "form": "yes_no", "text": "Cats?", "answer": "yes"},
    ]
    record = make_record("geneval2", "a", 0, "p", asked)
    skills = {"skills": ["count", "attribute", "object", "position", "count", "object"]}
    assert profile_of(record, skills) == Profile(2, (ANY, "count"), ("spatial",), 0)
    phrases = make_record("t2i-compbench", "a", 0, "p", [{**asked[1], "id": id} for id in ("q1", "q2")])
    assert profile_of(phrases, {"category": "texture"}) == Profile(2, ("texture", "texture"), (), 0)
    bare = make_record("genai-bench", "a", 0, "p")
    assert profile_of(bare, {}) is None and profile_of(bare, {"skills": ["attribute", "spatial relation", "scene"]}) == Profile(
        2, (ANY,), ("spatial",), 1
    )
    assert profile_of(make_record("vbench", "a", 0, "p", [{**asked[1], "kind": "motion"}]), {}) == Profile(1, ("state",), (), 0)


def test_profiles_are_fitted_into_what_a_scene_can_hold() -> None:
    assert fitted(Profile(1, (), ("spatial",), 0)) == Profile(1, (), (), 0)
    assert fitted(Profile(2, (), ("spatial", "spatial"), 9)) == Profile(2, (), ("spatial",), 3)
    large = fitted(Profile(20, ("color",) * 30, ("spatial",) * 10, 0))
    assert large.complexity == 14 and large.objects >= 3 and large.attributes and large.relations
    assert fitted(Profile(1, ("color", "count", "count"), (), 0)) == Profile(1, (ANY, "color", "count"), (), 0)
    small = Profile(3, ("color",), ("spatial",), 1)
    assert fitted(small) == small


def test_shares_are_rounded_so_that_the_sum_is_right() -> None:
    a, b, c = (Profile(number, (), (), 0) for number in (1, 2, 3))
    assert quotas({a: 1, b: 1, c: 1}, 10) == {a: 4, b: 3, c: 3}
    assert quotas({a: 99, b: 1}, 10) == {a: 10}
    assert sum(quotas({a: 5, b: 3, c: 7}, 1009).values()) == 1009
    assert skill_shares({Profile(1, ("color",), (), 0): 3, a: 1}) == {"attribute color": 0.75, "object": 1.0}


# ---- scenes -----------------------------------------------------------------------------------------------------------------


def test_a_narrowed_vocabulary_fits_only_its_kinds() -> None:
    small = narrowed(SANDBOX, frozenset({"color"}), frozenset({"spatial"}))
    assert small.digest != SANDBOX.digest and narrowed(SANDBOX, frozenset(), frozenset()) is SANDBOX
    kinds = {
        attribute["type"]
        for graph in _graphs(SceneSpace(complexity=(2, 4), taxonomy=small))
        for one in graph["objects"]
        for attribute in one["attributes"]
    }
    assert kinds == {"color"}


def _graphs(space: SceneSpace) -> list[dict[str, Any]]:
    return [record["graph"] for record in space.records(min(200, space.size))]


def test_the_mix_is_the_benchmarks_to_one_scene() -> None:
    source, report = scenes_like(MIX, 40, taxonomy=SANDBOX, familiar=False)
    rows = source.table(0, 40).to_pylist()
    found, silent = profiles_of(Items("x", tuple(rows), {}))
    shapes = Counter({(one.objects, one.attributes, len(one.relations)): number for one, number in found.items()})
    assert shapes == {(1, (), 0): 10, (1, ("color",), 0): 20, (2, ("color",), 1): 10} and not silent
    assert report.scenes == 40 and report.complexity == (2.25, 2.25) and not report.loosened
    assert report.wanted == report.got and report.got["attribute color"] == 0.75
    assert len({row["id"] for row in rows}) == 40 and [row["index"] for row in rows] == list(range(40))
    assert len({row["caption"] for row in rows}) == 40


def test_no_prompt_of_the_benchmark_is_among_them() -> None:
    free, _ = scenes_like(items_of(item([("cup", ["color"])])), 20, taxonomy=SANDBOX, familiar=False)
    taken = free.table(0, 20).to_pylist()
    items = items_of(*(row["graph"] for row in taken[:10]), captions=[row["caption"] for row in taken[:10]])
    source, report = scenes_like(items, 20, taxonomy=SANDBOX, familiar=False)
    captions = set(source.table(0, 20)["caption"].to_pylist())
    assert not captions & {row["caption"] for row in taken[:10]} and report.overlaps >= 10


def test_the_same_items_seed_and_number_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        source, _ = scenes_like(MIX, 24, seed=5, taxonomy=SANDBOX, familiar=False)
        generate(source, 24, tmp_path / name, quiet=True)
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in files) and "run.json" in files
    other, _ = scenes_like(MIX, 24, seed=6, taxonomy=SANDBOX, familiar=False)
    assert other.table(0, 24)["caption"].to_pylist() != read_table(tmp_path / "a")["caption"].to_pylist()
    assert other.table(3, 5, questions=False).schema == record_schema(False) and other.capacity == 24


def test_kinds_that_the_vocabulary_lacks_are_loosened_and_told() -> None:
    items = items_of(item([("cup", ["material"])]))
    _, report = scenes_like(items, 5, taxonomy=SANDBOX, familiar=False)
    assert report.loosened == (0 if "material" in SANDBOX.attribute_types.names else 5)
    assert report.scenes == 5 and "attribute material" in report.wanted


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(SpecError, match="0 scenes"):
        scenes_like(MIX, 0)
    silent = Items("vbench", (make_record("vbench", "a", 0, "p"),), {"a": {"item_id": "a"}})
    with pytest.raises(SpecError, match="say nothing of things"):
        scenes_like(silent, 3)


def test_kinds_name_types_of_the_shipped_vocabulary() -> None:
    shipped = load_taxonomy()
    assert {name for own in ATTRIBUTES.values() for name in own} - {"count"} <= set(shipped.attribute_types.names)
    assert {name for own in RELATIONS.values() for name in own} <= set(RELATION_TYPES)
