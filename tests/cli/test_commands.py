"""Every command and option on its good day."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from command_line import GRAPH, digests, run_here

from anyscene import __version__
from anyscene.cli.main import app

COMMANDS = [
    ("generate",),
    ("show",),
    ("space",),
    ("describe",),
    ("split",),
    ("eval",),
    ("paint",),
    ("judge",),
    ("label",),
    ("score",),
    ("report",),
    ("compare",),
    ("calibrate",),
    ("doctor",),
    ("export",),
    ("cost",),
    ("distill",),
    ("grpo",),
    ("improve",),
    ("reward", "serve"),
    ("bench", "score", "dsg"),
    ("taxonomy", "check"),
    ("taxonomy", "stats"),
    ("taxonomy", "search"),
]
RECORD = {"id", "index", "caption", "graph", "complexity", "modality", "plausibility", "spec_digest", "seed", "questions"}


def test_no_command_is_forgotten_here() -> None:
    top = {one.name for one in app.registered_commands}
    assert {names[0] for names in COMMANDS} == top | {"taxonomy", "reward", "bench"}


@pytest.mark.parametrize("names", [(), ("taxonomy",), *COMMANDS], ids=" ".join)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_explains(names: tuple[str, ...], flag: str) -> None:
    found = run_here(*names, flag)
    assert (found.code, found.err) == (0, "")
    assert " ".join(("anyscene", *names)) in found.out
    if names != ("taxonomy",):
        assert "Example: anyscene" in found.out


@pytest.mark.parametrize("names", [(), ("taxonomy",)], ids=["anyscene", "taxonomy"])
def test_no_arguments_shows_the_help(names: tuple[str, ...]) -> None:
    found = run_here(*names)
    assert found.code == 2
    assert "Commands:" in found.err


def test_version() -> None:
    assert run_here("--version").out == f"{__version__}\n"


def test_space_counts(words: Path) -> None:
    found = run_here("space", "--taxonomy", words, "--complexity", "1-4", "--json")
    counts = json.loads(found.out)
    assert list(counts) == ["structures", "scenes", "total"]
    assert counts["structures"] == {"1": 1, "2": 2, "3": 4, "4": 8}
    assert counts["scenes"]["1"] == 11
    assert sum(counts["scenes"].values()) == counts["total"]
    table = run_here("space", "--taxonomy", words, "--complexity", "1-4").out
    assert f"{counts['total']:,}" in table


def test_space_numbers_and_finds_scenes(words: Path, tmp_path: Path) -> None:
    options = ("--taxonomy", words, "--complexity", "1-4")
    for number in (0, 77, 4000):
        scene = json.loads(run_here("space", *options, "--at", number, "--json").out)
        assert scene["index"] == number
        (tmp_path / "scene.json").write_text(json.dumps(scene["graph"]))
        assert run_here("space", *options, "--find", tmp_path / "scene.json").out == f"{number}\n"
        assert json.loads(run_here("space", *options, "--find", tmp_path / "scene.json", "--json").out) == {"index": number}
    assert scene["caption"] in run_here("space", *options, "--at", 4000).out


@pytest.mark.parametrize(
    "options",
    [
        "--scene-attributes 0-1",
        "--modality video",
        "--realism 0",
        "--realism 1",
        "--familiar",
        "--all-objects",
        "--only animal",
        "--without tool,sand",
        "--objects 2 --attributes 0-1 --relations 1",
        "--counts",
        "--no-counts",
        "--order uniform",
    ],
)
def test_every_option_of_a_spec_is_taken(words: Path, tmp_path: Path, options: str) -> None:
    common = ("--taxonomy", words, "--complexity", "3", *options.split())
    assert json.loads(run_here("space", *common, "--json").out)["total"] > 10
    assert run_here("generate", *common, "-n", 10, "-q", "--out", tmp_path / "out") == (
        run_here("generate", *common, "-n", 10, "-q", "--out", tmp_path / "out")
    )
    assert len(run_here("show", tmp_path / "out", "--json", "--count", 10).out.splitlines()) == 10


def test_every_scene_contains_what_was_asked_for(words: Path, graph: Path, tmp_path: Path) -> None:
    common = ("--taxonomy", words, "--complexity", "5-6", "--containing", graph)
    assert run_here("generate", *common, "-n", 20, "-q", "--out", tmp_path / "out").code == 0
    for line in run_here("show", tmp_path / "out", "--json", "--count", 20).out.splitlines():
        assert {"dog", "cat"} <= {one["name"] for one in json.loads(line)["graph"]["objects"]}


def test_describe(words: Path, graph: Path) -> None:
    record = json.loads(run_here("describe", graph, "--taxonomy", words, "--json").out)
    assert record["caption"] == "A red dog is chasing a cat."
    assert set(record) == {"caption", "captions", "graph", "complexity", "modality", "plausibility", "questions"}
    assert [one["name"] for one in record["graph"]["objects"]] == [one["name"] for one in GRAPH["objects"]]
    assert {"id", "text", "answer", "depends_on"} <= set(record["questions"][0])
    drawn = run_here("describe", graph, "--taxonomy", words).out
    assert "chasing → cat" in drawn
    assert record["caption"] in drawn


@pytest.mark.parametrize("style", ["plain", "dense", "short", "tags"])
def test_describe_in_every_style(words: Path, graph: Path, style: str) -> None:
    record = json.loads(run_here("describe", graph, "--taxonomy", words, "--style", style, "--json", "--modality", "3d").out)
    assert record["caption"] == record["captions"][style]
    assert record["modality"] == "3d"


def test_describe_asks_as_told(words: Path, graph: Path) -> None:
    common = ("describe", graph, "--taxonomy", words, "--json")
    questions = json.loads(run_here(*common, "--forms", "yes_no", "--foils", "0").out)["questions"]
    assert {one["answer"] for one in questions} == {"yes"}
    assert run_here(*common, "--seed", 1).out != run_here(*common, "--seed", 2).out


@pytest.mark.parametrize("format", ["parquet", "jsonl", "webdataset"])
def test_show_reads_every_format(datasets: dict[str, Path], format: str) -> None:
    shown = run_here("show", datasets[format], "--json", "--count", 40)
    rows = [json.loads(line) for line in shown.out.splitlines()]
    assert [row["index"] for row in rows] == list(range(40))
    assert set(rows[0]) == RECORD
    assert set(rows[0]["graph"]) == {"objects", "relations", "scene_attributes"}
    assert shown == run_here("show", datasets["parquet"], "--json", "--count", 40)
    assert json.loads(run_here("show", datasets[format], "--index", 17, "--json").out) == rows[17]
    file = sorted(datasets[format].glob("records-*"))[1]
    assert rows[17]["caption"] in run_here("show", file, "--index", 17).out


def test_show_takes_rows_from_all_over(datasets: dict[str, Path]) -> None:
    found = re.findall(r"^scene (\d+) ", run_here("show", datasets["parquet"]).out, re.MULTILINE)
    assert found == ["0", "8", "16", "24", "32"]
    assert run_here("show", datasets["parquet"], "--count", 10**30, "--json").out.count("\n") == 40


@pytest.mark.parametrize("by", ["element", "pair", "structure"])
def test_split_then_generate(words: Path, tmp_path: Path, by: str) -> None:
    split = ("split", "--taxonomy", words, "--by", by, "--complexity", "2-4", "--test", "0.3", "--key", 3, "--out", tmp_path / "split")
    first = run_here(*split)
    assert first.code == 0
    assert f"shared {by}s: 0" in first.out
    before = digests(tmp_path / "split")
    assert set(before) == {"train.json", "test.json", "proof.json"}
    assert run_here(*split) == first
    assert digests(tmp_path / "split") == before
    proof = json.loads((tmp_path / "split" / "proof.json").read_text())
    assert proof["checked"][f"{by}s"]["shared"] == 0
    for side in ("train", "test"):
        made = run_here(
            "generate", "--taxonomy", words, "--spec", tmp_path / "split" / f"{side}.json", "-n", 5, "-q", "--out", tmp_path / side
        )
        assert made.code == 0


def test_options_change_a_spec_file(words: Path, tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_text('{"complexity": [2, 3], "only": ["animal"]}')
    counts = json.loads(run_here("space", "--taxonomy", words, "--spec", tmp_path / "spec.json", "--complexity", 1, "--json").out)
    assert counts == {"structures": {"1": 1}, "scenes": {"1": 6}, "total": 6}


def test_taxonomy_commands(words: Path) -> None:
    stats = json.loads(run_here("taxonomy", "stats", "--taxonomy", words, "--json").out)
    assert (stats["objects"]["all"], stats["attributes"]["all"], stats["relations"]["all"]) == (11, 5, 2)
    assert "objects: all 11" in run_here("taxonomy", "stats", "--taxonomy", words).out
    assert run_here("taxonomy", "check", words).out == f"{words}: no mistakes\n"
    assert run_here("taxonomy", "search", "DOG", "--taxonomy", words).out.startswith("object     dog (count, animal")
    assert run_here("taxonomy", "search", "o", "--taxonomy", words, "--limit", 1).out.count("object ") == 1
    assert run_here("taxonomy", "search", "zzz", "--taxonomy", words).refused


def test_the_vocabulary_that_ships_has_no_mistakes() -> None:
    found = run_here("taxonomy", "stats", "--json")
    assert json.loads(found.out)["objects"]["visible"] > 10_000
