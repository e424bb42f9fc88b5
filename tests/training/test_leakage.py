"""The audit finds every structure, pair, scene and caption that is on both sides, however it is dressed up, and nothing else."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyscene.dataset import SceneSpace
from anyscene.errors import LeakageError, RecordError, RunError, SpecError
from anyscene.sandbox import load_sandbox_taxonomy
from anyscene.scene import SceneGraph, enumerate_structures
from anyscene.scene.structure import Structure, identify
from anyscene.space import Holdout
from anyscene.space.splitting import parts_of
from anyscene.training.leakage import LeakageReport, audit_leakage

Rows = list[dict[str, Any]]


def graph_of(
    objects: Sequence[tuple[str, Sequence[str]]], relations: Iterable[tuple[int, str, int]] = (), scene: Sequence[str] = ()
) -> Any:
    return {
        "objects": [
            {"id": f"o{place}", "name": name, "attributes": [{"type": "t", "value": value} for value in values]}
            for place, (name, values) in enumerate(objects)
        ],
        "relations": [{"subject": f"o{a}", "predicate": word, "object": f"o{b}"} for a, word, b in relations],
        "scene_attributes": [{"type": "weather", "value": value} for value in scene],
    }


def record(name: str, *args: Any, caption: str | None = None) -> dict[str, Any]:
    return {"id": name, "caption": caption or f"the caption of {name}", "graph": graph_of(*args)}


def renamed(row: Mapping[str, Any], rng: random.Random) -> dict[str, Any]:
    """The same scene with other ids, in another order, under another caption."""
    graph = row["graph"]
    order = rng.sample(range(len(graph["objects"])), len(graph["objects"]))
    ids = {graph["objects"][old]["id"]: f"thing-{new}" for new, old in enumerate(order)}
    objects = [graph["objects"][old] for old in order]
    return {
        "id": f"{row['id']}-again",
        "caption": "words that stand nowhere else",
        "graph": {
            "objects": [
                {"id": ids[one["id"]], "name": one["name"], "attributes": rng.sample(one["attributes"], len(one["attributes"]))}
                for one in objects
            ],
            "relations": [
                {"subject": ids[one["subject"]], "predicate": one["predicate"], "object": ids[one["object"]]}
                for one in rng.sample(graph["relations"], len(graph["relations"]))
            ],
            "scene_attributes": graph["scene_attributes"],
        },
    }


def leaking(report: LeakageReport) -> dict[str, list[tuple[str, str]]]:
    found: dict[str, list[tuple[str, str]]] = {}
    for one in report.leaks:
        found.setdefault(one.kind, []).append((one.trained, one.held_out))
    return found


TRAINED = [
    record("t0", [("dog", ["red"]), ("cat", [])], [(0, "near", 1)]),
    record("t1", [("dog", ["red", "big"])]),
    record("t2", [("cat", []), ("cow", [])], [], ["fog"]),
]
HELD_OUT = [record("h0", [("dog", ["blue"]), ("cat", []), ("cow", [])], [(0, "near", 1), (1, "near", 2)])]


@pytest.fixture(scope="module")
def sides() -> tuple[Rows, Rows]:
    """Real records of a real split, whose scenes have scene attributes and numerals."""
    found = []
    for side, count in (("train", 600), ("test", 150)):
        holdout = Holdout.of_share("structure+pair", side, 0.2)
        space = SceneSpace(taxonomy=load_sandbox_taxonomy(), complexity=(1, 6), scene_attributes=(0, 1), counts=True, holdout=holdout)
        found.append(space.table(0, count, questions=False).to_pylist())
    return found[0], found[1]


def test_both_sides_of_a_split_are_clean(sides: tuple[Rows, Rows]) -> None:
    report = audit_leakage(*sides)
    assert report.clean and not report.findings
    report.require_clean()
    assert report.records == {"trained": 600, "held_out": 150, "captions": 0}
    assert all(report.checked[kind]["shared"] == 0 for kind in ("pair", "structure", "scene", "caption"))
    assert report.checked["element"]["shared"] > 10  # which this split lets them share
    assert report.checked["scene"]["trained"] == 600


@pytest.mark.parametrize("place", [0, 77, 149])
def test_a_planted_scene_is_found_with_its_pair_and_structure(sides: tuple[Rows, Rows], place: int) -> None:
    trained, held_out = sides
    planted = held_out[place]
    report = audit_leakage([*trained[:300], planted, *trained[300:]], held_out)
    pair = (planted["id"], planted["id"])
    assert leaking(report)["scene"] == [pair] and leaking(report)["caption"] == [pair]
    assert report.checked["structure"]["shared"] == 1
    with pytest.raises(LeakageError, match=rf"1 held-out scene trained on: .*{planted['id']} was trained on, {planted['id']} is held out"):
        report.require_clean()


def test_a_planted_structure_is_found_though_every_word_differs() -> None:
    other = record("planted", [("x", []), ("y", []), ("z", ["w"])], [(2, "over", 0), (0, "over", 1)])
    report = audit_leakage([*TRAINED, other], HELD_OUT)
    assert leaking(report) == {"structure": [("planted", "h0")]}
    assert report.findings[0].startswith("1 held-out structure trained on: 3 objects with 0, 0, 1 attributes and 2 > 0, 0 > 1")
    assert audit_leakage([*TRAINED, other], HELD_OUT, by="pair").clean


def test_a_structure_of_the_same_counts_is_not_the_same_structure() -> None:
    turned = record("turned", [("x", []), ("y", []), ("z", ["w"])], [(0, "over", 2), (0, "over", 1)])
    assert audit_leakage([*TRAINED, turned], HELD_OUT).clean


def test_a_planted_pair_is_found_in_another_scene_and_another_case() -> None:
    report = audit_leakage([*TRAINED, record("planted", [("Dog", ["big", "Blue"])])], HELD_OUT)
    assert leaking(report) == {"pair": [("planted", "h0")]}
    assert "(dog, blue)" in report.findings[0]


def test_a_word_on_another_object_is_no_pair() -> None:
    assert audit_leakage([*TRAINED, record("other", [("cat", ["blue"])]), record("again", [("dog", [])])], HELD_OUT).clean


def test_elements_count_only_where_the_split_is_by_elements() -> None:
    assert audit_leakage(TRAINED, HELD_OUT).clean
    report = audit_leakage(TRAINED, HELD_OUT, by="element")
    assert [one.what for one in report.leaks] == ["object 'cat'", "object 'dog'", "relation 'near'", "object 'cow'"]
    assert audit_leakage([record("t", [("ant", ["wet"])], [], ["fog"])], HELD_OUT, by="element").clean


def test_the_same_scene_under_other_ids_order_and_words_is_found(sides: tuple[Rows, Rows]) -> None:
    trained, held_out = sides
    rng = random.Random(0)
    for row in rng.sample([one for one in held_out if len(one["graph"]["objects"]) > 1], 25):
        report = audit_leakage([*trained[:5], renamed(row, rng)], held_out)
        assert leaking(report)["scene"] == [(f"{row['id']}-again", row["id"])]
        assert "caption" not in leaking(report)


def test_a_scene_with_one_scene_attribute_more_is_another_scene() -> None:
    row = HELD_OUT[0]
    foggy = {**renamed(row, random.Random(1)), "graph": {**row["graph"], "scene_attributes": [{"type": "weather", "value": "fog"}]}}
    assert "scene" not in leaking(audit_leakage([foggy], HELD_OUT))


@pytest.mark.parametrize("text", ["The caption of H0", "the  caption\nof h0!", "Caption of (h0)", "THE CAPTION OF \uff280"])
def test_a_users_caption_is_found_whatever_its_case_and_punctuation(text: str) -> None:
    report = audit_leakage(TRAINED, HELD_OUT, captions=["something else", text, "caption of h1"])
    assert leaking(report) == {"caption": [("caption 1", "h0")]}
    assert report.records["captions"] == 3


def test_users_captions_alone_can_be_audited_and_empty_ones_match_nothing() -> None:
    empty = {**HELD_OUT[0], "caption": "..."}
    assert audit_leakage([], [empty], captions=["", "!", "the"]).clean


def test_what_a_graph_that_all_scenes_contain_brings_is_no_leak() -> None:
    contained = SceneGraph.from_dict(graph_of([("dog", ["blue"])]))
    trained = [record("t", [("dog", ["blue"]), ("cow", ["old"])])]
    assert leaking(audit_leakage(trained, HELD_OUT)) == {"pair": [("t", "h0")]}
    assert audit_leakage(trained, HELD_OUT, given=contained).clean
    other = [
        record("t", [("dog", ["blue"]), ("cow", ["old"])]),
        record("u", [("dog", ["blue"]), ("x", []), ("y", [])], [(0, "a", 1), (1, "b", 2)]),
    ]
    assert leaking(audit_leakage(other, HELD_OUT, given=contained)) == {"structure": [("u", "h0")]}


def test_many_leaks_are_counted_and_some_are_named() -> None:
    rows = [record(f"r{place}", [("dog", [f"color {place}"]), *[("cat", [])] * (place % 3)]) for place in range(100)]
    report = audit_leakage(rows, rows)
    assert report.checked["pair"]["shared"] == 100 and len(leaking(report)["pair"]) == 20
    finding = next(one for one in report.findings if "pair" in one)
    assert finding.startswith("100 held-out (object, attribute) pairs trained on:") and finding.endswith("; and 97 more")


def test_the_first_offenders_of_both_sides_are_named() -> None:
    planted = [record(name, [("dog", ["blue"])]) for name in ("p0", "p1")]
    held_out = [*HELD_OUT, record("h1", [("dog", ["blue", "old", "wet"])])]
    assert leaking(audit_leakage([*TRAINED[:1], *planted], held_out)) == {"pair": [("p0", "h0")]}


def test_nothing_is_proved_of_nothing() -> None:
    with pytest.raises(SpecError, match="no record of the evaluation"):
        audit_leakage(TRAINED, [])
    with pytest.raises(SpecError, match="no record that was trained on"):
        audit_leakage([], HELD_OUT)
    with pytest.raises(SpecError, match="leakage by 'caption'"):
        audit_leakage(TRAINED, HELD_OUT, by="structure+caption")


@pytest.mark.parametrize("wrong", [{"graph": None}, {"caption": None}, {"graph": {"objects": []}}, {"graph": {"objects": "dog"}}])
def test_a_record_that_cannot_be_audited_is_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(RecordError, match="record t1"):
        audit_leakage([TRAINED[0], TRAINED[1] | wrong], HELD_OUT)


def test_the_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    for report in (audit_leakage(TRAINED, HELD_OUT), audit_leakage(HELD_OUT, HELD_OUT)):
        assert report.write(tmp_path).name == "leakage.json"
        assert LeakageReport.read(tmp_path) == report
    text = (tmp_path / "leakage.json").read_text().replace('"clean": false', '"clean": true')
    (tmp_path / "leakage.json").write_text(text)
    with pytest.raises(RunError, match=r"leakage\.json is missing or damaged"):
        LeakageReport.read(tmp_path)


def test_the_section_says_the_verdict_and_escapes_what_it_names() -> None:
    anchor, _, _, clean = audit_leakage(TRAINED, HELD_OUT).section()
    assert anchor == "leakage" and "Nothing that is held out was trained on" in clean and "<ul>" not in clean
    bad = record("<script>", [("<b>", ["<i>"])])
    _, _, _, shown = audit_leakage([bad], [bad]).section()
    assert "no figure here says anything" in shown
    assert "<script>" not in shown and "&lt;script&gt;" in shown


# ---- what structures are ------------------------------------------------------------------------------------------------------------


def graph_of_structure(structure: Structure, order: Sequence[int]) -> SceneGraph:
    """The structure with its objects numbered anew and words that say nothing."""
    objects = [(f"n{place}", [f"v{i}" for i in range(structure.attributes[old])]) for place, old in enumerate(order)]
    new = {old: place for place, old in enumerate(order)}
    return SceneGraph.from_dict(graph_of(objects, [(new[a], f"r{i}", new[b]) for i, (a, b) in enumerate(structure.edges)]))


def test_structures_are_told_apart_as_the_enumeration_tells_them_apart() -> None:
    rng, seen = random.Random(0), {}
    for complexity in range(1, 7):
        for structure in enumerate_structures(complexity):
            order = rng.sample(range(structure.num_objects), structure.num_objects)
            (key,) = parts_of(graph_of_structure(structure, order))["structure"]
            assert key not in seen
            seen[key] = structure.code
    assert len(seen) == 1 + 2 + 4 + 8 + 17 + 37


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_two_graphs_share_a_structure_exactly_if_they_are_identified_as_one(data: st.DataObject) -> None:
    found = []
    for _ in range(2):
        size = data.draw(st.integers(1, 4))
        attributes = data.draw(st.lists(st.integers(0, 1), min_size=size, max_size=size))
        couples = [(a, b) for a in range(size) for b in range(a)]
        edges = [couple if data.draw(st.booleans()) else couple[::-1] for couple in couples if data.draw(st.booleans())]
        place = identify(tuple(attributes), tuple(edges))
        graph = graph_of([(f"n{i}", ["v"] * count) for i, count in enumerate(attributes)], [(a, "r", b) for a, b in edges])
        found.append((place and place[0].code, parts_of(SceneGraph.from_dict(graph))["structure"]))
    if None not in (found[0][0], found[1][0]):  # in a circle
        assert (found[0][0] == found[1][0]) == (found[0][1] == found[1][1])
