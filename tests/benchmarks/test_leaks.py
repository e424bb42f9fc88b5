"""Leaks of a benchmark into a training set: what is planted is found, by its surest kind, and nothing else."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyscene.benchmarks.benchmark import Items, make_record
from anyscene.benchmarks.leaks import LeakIndex, TrainingRow, audit_leaks, plain_words, read_training, scene_key
from anyscene.dataset import SceneSpace, generate
from anyscene.errors import RecordError, SpecError

LONG = "an old fisherman mends a torn net beside his small wooden boat at dawn"


def graph(*objects: tuple[str, str] | str, relation: str = "", scene: str = "") -> dict[str, Any]:
    made = []
    for at, one in enumerate(objects):
        name, value = (one, "") if isinstance(one, str) else one
        kind = "count" if value in ("two", "three") else "color"
        made.append({"id": f"o{at}", "name": name, "attributes": [{"type": kind, "value": value}] if value else []})
    relations = [{"subject": "o0", "predicate": relation, "object": "o1"}] if relation else []
    return {"objects": made, "relations": relations, "scene_attributes": [{"type": "style", "value": scene}] if scene else []}


def items_of(*prompts: str, graphs: dict[str, dict[str, Any]] | None = None) -> Items:
    records = [make_record("geneval", f"{at:05d}", at, prompt, graph=(graphs or {}).get(prompt)) for at, prompt in enumerate(prompts)]
    return Items("geneval", tuple(records), {record["id"]: {"item_id": record["id"]} for record in records})


INDEX = LeakIndex(items_of("a photo of a red bench", LONG, "Two cats!", graphs={"a photo of a red bench": graph(("bench", "red"))}))


@pytest.mark.parametrize(
    ("caption", "kind", "item"),
    [
        ("a photo of a red bench", "exact", "00000"),
        (" a photo of a red bench\n", "exact", "00000"),
        ("A photo of the RED bench.", "normalized", "00000"),
        ("two cats", "normalized", "00002"),
        (f"In the morning {LONG}, photographed in colour", "contained", "00001"),
        (LONG.replace("small", "little"), "near", "00001"),
        ("an old fisherman mends a torn net beside his small wooden boat at dusk", "near", "00001"),
    ],
)
def test_each_kind_is_found(caption: str, kind: str, item: str) -> None:
    leak = INDEX.look(caption)
    assert leak is not None and (leak.kind, leak.record_id) == (kind, item)
    assert (leak.similarity == 1) == (kind != "near")


@pytest.mark.parametrize(
    "caption", ["a photo of a blue bench", "a photo of a red bench and a dog", "an old fisherman sleeps", "", "cats", "..."]
)
def test_what_is_like_no_prompt_is_left_alone(caption: str) -> None:
    assert INDEX.look(caption) is None


def test_the_same_scene_in_other_words() -> None:
    leak = INDEX.look("There is a bench. It is red.", graph(("Bench", "red")))
    assert leak is not None and leak.kind == "same_graph"
    assert INDEX.look("There is a bench. It is blue.", graph(("bench", "blue"))) is None


def test_scenes_are_the_same_whatever_ids_types_and_words_around_a_relation() -> None:
    a = graph("dog", ("cat", "red"), relation="left of")
    b = {
        "objects": [
            {"id": "x", "name": "Cat", "attributes": [{"type": "colour", "value": "Red"}]},
            {"id": "y", "name": "dog", "attributes": []},
        ],
        "relations": [{"subject": "y", "predicate": "to the left of", "object": "x"}],
        "scene_attributes": [],
    }
    assert scene_key(a) == scene_key(b)
    assert scene_key(a) != scene_key({**b, "relations": [{"subject": "x", "predicate": "left of", "object": "y"}]})
    assert scene_key(a) != scene_key(graph("dog", ("cat", "red"), relation="right of"))
    assert scene_key(a) != scene_key(graph("dog", ("cat", "red"), relation="left of", scene="noir"))
    assert scene_key(graph("clock", "clock")) == scene_key(graph(("clock", "two"))) != scene_key(graph("clock"))
    assert scene_key(graph()) is None


def jaccard(a: str, b: str) -> float:
    def grams(text: str) -> set[tuple[str, ...]]:
        words = plain_words(text)
        return {words[at : at + 2] for at in range(len(words) - 1)} if len(words) > 1 else ({words} if words else set())

    one, two = grams(a), grams(b)
    return len(one & two) / len(one | two) if one | two else 0.0


@settings(max_examples=150, deadline=None)
@given(st.randoms(use_true_random=False), st.sampled_from([0.5, 0.7, 0.9]))
def test_near_ones_are_found_exactly_as_by_comparing_with_all(rng: random.Random, threshold: float) -> None:
    words = "red blue dog cat cup on under sits old net boat sea".split()
    prompts = [" ".join(rng.choices(words, k=rng.randint(2, 14))) for _ in range(8)]
    prompts = list(dict.fromkeys(prompts))
    index = LeakIndex(items_of(*prompts), threshold)
    changed = prompts[0].split()
    changed[rng.randrange(len(changed))] = rng.choice(words)
    caption = " ".join(changed)
    best = max(jaccard(prompt, caption) for prompt in prompts)
    leak = index.look(caption)
    if leak is None:
        assert best < threshold
    elif leak.kind == "near":
        assert leak.similarity == pytest.approx(best) and best >= threshold - 1e-9


def test_planted_leaks_among_thousands_of_scenes(tmp_path: Path) -> None:
    clean = list(SceneSpace(complexity=(4, 5)).records(500))
    prompts = [record["caption"] for record in clean[:40]]
    items = items_of(*prompts)
    rows = [TrainingRow(record["id"], record["caption"], record["graph"]) for record in clean[40:]]
    assert audit_leaks(rows, items).leaked_rows == 0
    planted = [TrainingRow("planted-1", prompts[3].upper()), TrainingRow("planted-2", prompts[7]), TrainingRow("planted-3", prompts[7])]
    report = audit_leaks([*rows[:200], *planted, *rows[200:]], items)
    assert (report.rows, report.leaked_rows, report.leaked_items) == (463, 3, 2)
    assert report.rows_by_kind["exact"] == 2 and report.rows_by_kind["normalized"] == 1
    assert [one["row"] for one in report.examples] == ["planted-2", "planted-3", "planted-1"]
    assert report.to_dict()["items_by_kind"]["exact"] == 1


def test_an_empty_training_set_or_a_wrong_threshold_is_refused() -> None:
    with pytest.raises(RecordError, match="no rows"):
        audit_leaks([], items_of("a"))
    for threshold in (0, 1.5):
        with pytest.raises(SpecError, match="threshold"):
            LeakIndex(items_of("a"), threshold)


# ---- training files ---------------------------------------------------------------------------------------------------------


def test_captions_are_read_from_whatever_holds_them(tmp_path: Path) -> None:
    space = SceneSpace(complexity=(2, 3))
    generate(space.source(), 5, tmp_path / "data", quiet=True)
    records = list(space.records(5))
    wanted = [record["caption"] for record in records]
    rows = list(read_training(tmp_path / "data"))
    assert [row.caption for row in rows] == wanted and rows[0].graph == records[0]["graph"] and rows[0].place == records[0]["id"]
    texts = {
        "a.txt": "\ufeff" + "\r\n".join(wanted),
        "a.jsonl": "".join(json.dumps({"prompt": one, "graph": {"objects": [{"id": 1}]}}) + "\n" for one in wanted),
        "b.jsonl": "".join(json.dumps(record) + "\n" for record in records),
        "a.json": json.dumps(wanted),
        "a.csv": "id,caption\n" + "".join(f'{at},"{one}"\n' for at, one in enumerate(wanted)),
    }
    for name, text in texts.items():
        (tmp_path / name).write_bytes(text.encode())
    pq.write_table(pa.table({"text": wanted}), tmp_path / "a.parquet")
    for name in [*texts, "a.parquet"]:
        assert [row.caption for row in read_training(tmp_path / name)] == wanted, name
    assert next(read_training(tmp_path / "a.jsonl")).graph is None  # no graph of a record
    assert next(read_training(tmp_path / "b.jsonl")).graph == records[0]["graph"]


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.csv", b"x,y\n1,2\n", "no column caption"),
        ("a.jsonl", b'{"caption": "a"}\n{"x": 1}\n', "line 2: no text under"),
        ("a.json", b'{"a": 1}', "a list of captions"),
        ("a.parquet", b"PAR1", "cannot be read as Parquet"),
        ("a.docx", b"x", "captions are read from"),
        ("a.txt", b"caf\xe9\n", "line 1: byte 0xe9"),
    ],
)
def test_files_without_captions_are_refused(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(RecordError) as caught:
        list(read_training(tmp_path / name))
    assert said in str(caught.value) and name in str(caught.value)


def test_a_folder_that_is_no_dataset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="a folder without"):
        list(read_training(tmp_path))
    with pytest.raises(RecordError, match="no such file"):
        list(read_training(tmp_path / "gone"))


def test_a_row_whose_things_are_all_alike_does_not_take_for_ever() -> None:
    things = [{"id": f"o{at}", "name": "dog", "attributes": []} for at in range(30)]
    near = [{"subject": a["id"], "predicate": "near", "object": b["id"]} for a in things for b in things if a is not b]
    assert INDEX.look("dogs", {"objects": things, "relations": near, "scene_attributes": []}) is None
