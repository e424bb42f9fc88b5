"""Skills on synthetic answer stores: what is planted is found and nothing else; scenes drawn around skills hold them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from anyscene.dataset import SceneSpace
from anyscene.dataset.scene_space import RecordOptions
from anyscene.errors import RecordError, SpecError
from anyscene.evaluation.skills import (
    Asked,
    SkillGap,
    SkillNames,
    ask,
    compare_skills,
    draw_around,
    estimate_skills,
    pool,
    question_values,
)
from anyscene.language import QuestionOptions
from anyscene.language.question import Question
from anyscene.sandbox.loading import load_sandbox_taxonomy
from anyscene.scoring import score_run

SCENES = 900
SPACE = SceneSpace(complexity=(1, 5), counts=True, scene_attributes=(0, 1), taxonomy=load_sandbox_taxonomy())
NAMES = SkillNames.of(load_sandbox_taxonomy())
OPTIONS = RecordOptions(questions=QuestionOptions(forms=("yes_no",)))


@pytest.fixture(scope="module")
def table() -> pa.Table:
    return SPACE.source(3, OPTIONS).table(0, SCENES)


@pytest.fixture(scope="module")
def asked(table: pa.Table) -> Asked:
    return ask(table.to_pylist(), NAMES)


def answered(table: pa.Table, asked: Asked, extra: Mapping[str, float], seed: int, base: float = 0.5) -> Any:
    """Scores of a store in which questions are right with a probability of their own: the base, and more where they ask for a skill.

    Scenes differ, as they do: what is hard for one model is hard for the other.
    """
    chance = np.full(len(asked.record), base)
    for skill, more in extra.items():
        chance[asked.members[skill]] += more
    generator = np.random.default_rng(seed)
    hard = np.random.default_rng(99).normal(0, 0.15, asked.records)[asked.record]
    right = generator.random(len(chance)) < np.clip(chance + hard, 0.02, 0.98)
    p_right = np.where(right, 0.9, 0.1)
    rows: dict[str, list[Any]] = {name: [] for name in ("media_sha256", "question_key", "p_yes", "label_mass", "text", "status")}
    media: dict[str, list[Any]] = {name: [] for name in ("record_id", "sample", "sha256", "status")}
    place = 0
    for record in table.to_pylist():
        digest = hashlib.sha256(record["id"].encode()).hexdigest()
        for column, value in zip(media.values(), (record["id"], 0, digest, "made"), strict=True):
            column.append(value)
        for one in record["questions"]:
            p_yes = float(p_right[place] if one["answer"] == "yes" else 1 - p_right[place])
            for column, value in zip(rows.values(), (digest, Question.from_dict(one).key, p_yes, 1.0, "", "answered"), strict=True):
                column.append(value)
            place += 1
    answers = pa.table({**rows, "probabilities": pa.array([None] * place, pa.list_(pa.float64()))})
    return score_run(table, pa.table(media), answers, model="m", judge="j", resamples=50)


def gaps(table: pa.Table, asked: Asked, extra: Mapping[str, float], seed: int) -> list[SkillGap]:
    student, teacher = answered(table, asked, {}, seed), answered(table, asked, extra, seed + 1000)
    return compare_skills(asked, question_values(student), question_values(teacher))


def better(found: Sequence[SkillGap]) -> list[str]:
    return [one.skill for one in found if one.better]


# ---- names ----------------------------------------------------------------------------------------------------------------------


def test_every_element_asks_for_its_concept_and_its_circumstances() -> None:
    names = SkillNames({"above": "spatial"}, {"dog": "animal", "axolotl": "animal"}, frozenset({"axolotl"}))
    record = {
        "graph": {
            "objects": [
                {"id": "a", "name": "dog", "attributes": [{"type": "count", "value": "three"}, {"type": "color", "value": "red"}]},
                {"id": "b", "name": "axolotl", "attributes": []},
                {"id": "c", "name": "thingumajig", "attributes": []},
            ],
            "relations": [{"subject": "a", "predicate": "above", "object": "b"}, {"subject": "a", "predicate": "near", "object": "a"}],
            "scene_attributes": [{"type": "weather", "value": "icy"}],
        },
        "complexity": 6,
        "plausibility": -0.2,
    }
    around = ("complexity:6", "rarity:unlikely combination")
    everyday, uncommon = ("rarity:everyday object", *around), ("rarity:uncommon object", *around)
    assert names.of_record(record) == {
        "o0": ("object:animal", *everyday),
        "o0.a0": ("count", *everyday),
        "o0.a1": ("attribute:color", *everyday),
        "o1": ("object:animal", *uncommon),
        "o2": ("object", *everyday),
        "r0": ("relation:spatial", *uncommon),
        "r1": ("relation", *everyday),
        "s0": ("scene:weather", *around),
    }


def test_a_vocabulary_of_everyday_objects_alone_has_no_rarity_of_objects() -> None:
    assert not NAMES.uncommon
    assert not any(skill.startswith("rarity") for record in SPACE.records(20) for own in NAMES.of_record(record).values() for skill in own)


def test_the_shipped_vocabulary_tells_uncommon_objects_and_unlikely_combinations() -> None:
    space = SceneSpace(complexity=(3, 5))
    names = SkillNames.of(space.taxonomy)
    found = Counter(skill for record in space.records(200) for own in names.of_record(record).values() for skill in own)
    assert {"rarity:everyday object", "rarity:uncommon object", "rarity:likely combination", "rarity:unlikely combination"} <= set(found)
    assert {skill.partition(":")[0] for skill in found} <= {"object", "attribute", "relation", "complexity", "rarity"}


def test_a_record_without_a_graph_is_refused() -> None:
    with pytest.raises(RecordError, match="record x: it has no graph"):
        NAMES.of_record({"id": "x"})


def test_concepts_part_the_questions_as_the_scores_do(table: pa.Table, asked: Asked) -> None:
    bank = answered(table, asked, {}, 0).rows.bank
    assert (bank.record == asked.record).all()
    of_concepts = sum(asked.members[concept].astype(int) for concept in asked.concepts)
    assert (of_concepts == 1).all()
    types = bank.attribute_type.take(np.flatnonzero(asked.members["attribute:color"]))
    assert {types.words[place] for place in types.index} == {"color"}
    kinds = {skill: {bank.kind.words[place] for place in bank.kind.index[mask]} for skill, mask in asked.members.items()}
    assert kinds["count"] == {"count"} and kinds["relation:spatial"] == {"relation"} and kinds["object:round"] == {"existence"}
    assert list(asked.members)[:1] == ["attribute:color"] and "complexity:5" in asked.members


def test_whether_there_is_exactly_one_is_counting() -> None:
    source = SPACE.source(3, RecordOptions(questions=QuestionOptions(forms=("yes_no",), only_one=True)))
    records = source.table(0, 50).to_pylist()
    found = ask(records, NAMES)
    of_questions = [one for record in records for one in record["questions"]]
    counting = [one["kind"] == "count" for one in of_questions]
    assert any(one["kind"] == "count" and one["elements"] == ["o0"] for one in of_questions)
    assert found.members["count"].tolist() == counting


# ---- estimates and differences --------------------------------------------------------------------------------------------------


def test_estimates_of_skills_by_question_are_means_over_their_questions(asked: Asked) -> None:
    values = np.random.default_rng(1).random(len(asked.record))
    values[::7] = np.nan
    found = estimate_skills(asked, values)
    for skill, mask in asked.members.items():
        one = found[skill]
        assert one.value == pytest.approx(np.nanmean(values[mask]))
        assert one.low is not None and one.high is not None and one.low <= one.value <= one.high
        assert one.n == len(np.unique(asked.record[mask & ~np.isnan(values)]))


def test_estimates_by_scene_count_each_scene_once_for_every_skill_that_it_asks_for(asked: Asked) -> None:
    values = np.random.default_rng(1).random(asked.records)
    found = estimate_skills(asked, values)
    for skill, mask in asked.members.items():
        own = np.unique(asked.record[mask])
        assert found[skill].value == pytest.approx(values[own].mean()) and found[skill].n == len(own)


def test_values_of_something_else_are_refused(asked: Asked) -> None:
    with pytest.raises(SpecError, match=r"7 values for [\d,]+ questions about 900 scenes"):
        estimate_skills(asked, np.zeros(7))
    with pytest.raises(SpecError, match="7 values"):
        compare_skills(asked, np.zeros(7), np.zeros(7))


@pytest.mark.parametrize("seed", range(6))
def test_a_gap_planted_in_two_skills_is_found_in_exactly_those(seed: int, table: pa.Table, asked: Asked) -> None:
    assert better(gaps(table, asked, {"attribute:color": 0.3, "count": 0.4}, seed)) == ["attribute:color", "count"]


@pytest.mark.parametrize("seed", range(6))
def test_without_a_gap_no_skill_is_chosen(seed: int, table: pa.Table, asked: Asked) -> None:
    assert better(gaps(table, asked, {}, seed)) == []


def test_a_teacher_that_is_worse_is_never_better(table: pa.Table, asked: Asked) -> None:
    found = {one.skill: one for one in gaps(table, asked, {"attribute:color": -0.4}, 0)}
    assert found["attribute:color"].holds and not found["attribute:color"].better


def test_a_circumstance_is_no_reason_where_its_concepts_explain_it(table: pa.Table, asked: Asked) -> None:
    """Complex scenes count more, so a teacher that counts better is better on them; counting is what there is to learn."""
    found = {one.skill: one for one in gaps(table, asked, {"count": 0.45, "attribute:color": 0.45, "relation:spatial": 0.45}, 4)}
    five = found["complexity:5"]
    assert (five.difference or 0) > 0.06 and (five.low or 0) > 0 and five.own is not None and abs(five.own) < 0.04
    assert not five.better and found["count"].own is None


def test_a_circumstance_of_its_own_is_found(table: pa.Table, asked: Asked) -> None:
    found = better(gaps(table, asked, {"complexity:5": 0.35}, 0))
    assert "complexity:5" in found


def test_skills_on_few_scenes_are_not_compared(table: pa.Table, asked: Asked) -> None:
    student, teacher = (question_values(answered(table, asked, extra, seed)) for seed, extra in ((0, {}), (1, {"count": 0.4})))
    number = {one.skill: one.n for one in compare_skills(asked, student, teacher)}
    found = compare_skills(asked, student, teacher, least=number["count"] + 1)
    assert all((one.p_adjusted is None) == (one.n <= number["count"]) for one in found)
    assert not next(one for one in found if one.skill == "count").better


def test_questions_without_an_answer_of_both_are_left_out(asked: Asked) -> None:
    a, b = np.full(len(asked.record), 0.2), np.full(len(asked.record), 0.6)
    b[asked.members["count"]] = np.nan
    found = {one.skill: one for one in compare_skills(asked, a, b)}
    assert found["count"].difference is None and found["count"].n == 0 and not found["count"].better
    assert found["attribute:color"].difference == pytest.approx(0.4)
    both = pool(asked, a, b, {"all": np.ones(len(a), dtype=np.bool_), "count": asked.members["count"]})
    assert both["all"].difference == pytest.approx(0.4) and both["count"].difference is None


def test_a_pool_counts_a_question_once_though_it_asks_for_two_of_the_skills(asked: Asked) -> None:
    a, b = np.zeros(len(asked.record)), np.random.default_rng(0).random(len(asked.record))
    mask = asked.any_of(["count", "complexity:4"])
    assert mask.sum() < asked.members["count"].sum() + asked.members["complexity:4"].sum()
    assert pool(asked, a, b, {"both": mask})["both"].difference == pytest.approx(b[mask].mean())


# ---- drawing around skills ------------------------------------------------------------------------------------------------------


def rows(start: int, count: int) -> list[dict[str, Any]]:
    source = SPACE.source(5, OPTIONS)
    found: list[dict[str, Any]] = source.table(start, start + count).to_pylist()
    return found


def share(records: Sequence[Mapping[str, Any]], skill: str) -> float:
    return sum(any(skill in own for own in NAMES.of_record(one).values()) for one in records) / len(records)


def test_scenes_drawn_around_skills_hold_them_far_more_often() -> None:
    drawn = draw_around(rows, {"count": 0.3, "attribute:pattern": 0.3}, 200, NAMES, start=1000)
    fresh = rows(1000, 800)
    assert len(drawn.records) == 200 and drawn.looked == 800 and not drawn.ended
    for skill in ("count", "attribute:pattern"):
        assert share(drawn.records, skill) > 2.4 * share(fresh, skill)
    assert [one["index"] for one in drawn.records] == sorted({one["index"] for one in drawn.records})
    assert {one["index"] for one in drawn.records} <= {one["index"] for one in fresh}


def test_each_complexity_stays_as_frequent_where_it_can_ask_for_the_skill() -> None:
    drawn = draw_around(rows, {"attribute:color": 0.3}, 300, NAMES, look=8)
    found, fresh = (Counter(one["complexity"] for one in some) for some in (drawn.records, rows(0, 2400)))
    assert found[1] == 0  # one object, and nothing said of it
    possible = sum(fresh[level] for level in (2, 3, 4, 5))
    for level in (2, 3, 4, 5):
        assert found[level] / 300 == pytest.approx(fresh[level] / possible, abs=0.01)


def test_a_complexity_among_the_skills_is_drawn_more_often() -> None:
    drawn = draw_around(rows, {"complexity:5": 0.3, "attribute:color": 0.1}, 200, NAMES)
    assert share(drawn.records, "complexity:5") > 0.7


def test_a_skill_with_more_to_learn_gets_more_scenes() -> None:
    drawn = draw_around(rows, {"count": 0.4, "scene:frame": 0.1}, 200, NAMES, look=10)
    assert share(drawn.records, "count") > 2.5 * share(drawn.records, "scene:frame") > 0.3


def test_a_share_of_the_scenes_comes_as_it_is() -> None:
    weights = {"scene:frame": 0.1}
    assert share(draw_around(rows, weights, 100, NAMES, look=8).records, "scene:frame") == 1.0
    mixed = draw_around(rows, weights, 100, NAMES, look=8, others=0.5).records
    assert len(mixed) == 100 and len({one["id"] for one in mixed}) == 100
    assert share(mixed, "scene:frame") == pytest.approx(0.55, abs=0.06)


def test_a_source_that_ends_gives_what_it_has() -> None:
    few = rows(0, 30)
    drawn = draw_around(lambda start, count: few[start : start + count], {"count": 1.0}, 20, NAMES)
    holding = [one for one in few if share([one], "count")]
    assert drawn.ended and drawn.looked == 30 and list(drawn.records) == holding[:20] and len(holding) < 20


def test_nothing_is_drawn_around_nothing() -> None:
    for weights in ({}, {"count": 0.0}, {"count": -1.0}):
        with pytest.raises(SpecError, match="weights of skills"):
            draw_around(rows, weights, 10, NAMES)
    for given in ({"n": 0}, {"n": 5, "look": 0}, {"n": 5, "others": 1.0}):
        with pytest.raises(SpecError, match="scenes of"):
            draw_around(rows, {"count": 1.0}, names=NAMES, **given)  # type: ignore[arg-type]
