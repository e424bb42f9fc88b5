"""Training sets: exact schemas, read back by the libraries that are installed and by readers written as the trainers' own."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner

from anyscene.cli import export as export_command
from anyscene.dataset import SceneSpace, generate
from anyscene.errors import MediaError, RecordError, RunError, SpecError
from anyscene.media import MediaEntry, MediaFolder
from anyscene.rewards import SceneReward, as_flow_grpo, as_trl
from anyscene.rewards.exporters import (
    SIMPLEAR_PROMPT,
    VERL_SCHEMA,
    export_flow_grpo,
    export_imagefolder,
    export_simplear,
    export_trl,
    export_verl,
)
from anyscene.rewards.verl_omni import compute_score, use_reward
from anyscene.runs import sha256_of
from anyscene.sandbox import load_judge, load_sandbox_taxonomy

sys.path.insert(0, str(Path(__file__).parent))
from scripted import flat


@pytest.fixture(scope="module")
def records(sandbox_records):
    return sandbox_records(20, seed=8)


@pytest.fixture(scope="module")
def media(records, painted, tmp_path_factory):
    folder = MediaFolder(tmp_path_factory.mktemp("media"))
    entries = []
    for sample in range(2):
        for place, (record, one) in enumerate(zip(records, painted(records, seed=sample), strict=True)):
            if (place, sample) == (3, 1):
                entries.append(MediaEntry(record["id"], record["index"], sample, 0, "", None, "failed", "no"))
                continue
            name = folder.file_name(place, record["id"], sample, ".png")
            folder.write(name, one)
            entries.append(MediaEntry(record["id"], record["index"], sample, 0, name, one.sha256, "made"))
    folder.rewrite(entries)
    return folder


def expected_scores(records, pictures):
    return [one.value for one in SceneReward(load_judge("pixels")).score(pictures, records)]


def test_trl_rows_reach_the_reward_through_datasets(records, painted, tmp_path):
    datasets = pytest.importorskip("datasets")
    assert export_trl(records, tmp_path / "train.jsonl", prompt=SIMPLEAR_PROMPT) == 20
    read = datasets.load_dataset("json", data_files=str(tmp_path / "train.jsonl"), split="train", cache_dir=str(tmp_path / "cache"))
    assert read.column_names[:3] == ["prompt", "id", "caption"]
    assert read[0]["prompt"] == f"<|t2i|>A photo of {records[0]['caption']}<|soi|>"
    rows = list(read)  # as the trainer's batches: a list of dictionaries
    columns = {name: [row[name] for row in rows] for name in read.column_names if name != "prompt"}
    pictures = painted(records)
    found = as_trl(SceneReward(load_judge("pixels")))(
        prompts=list(read["prompt"]), completions=[""] * 20, generated_image=pictures, **columns
    )
    assert found == pytest.approx(expected_scores(records, pictures))


def test_trl_columns_have_one_type_even_where_the_first_rows_have_empty_lists(tmp_path, records):
    plain = [{**one, "id": f"{place}-{one['id']}", "questions": []} for place in range(100) for one in records]
    export_trl([*plain, *records], tmp_path / "train.jsonl")
    types = {type(json.loads(line)["questions"]) for line in (tmp_path / "train.jsonl").read_text().splitlines()}
    assert types == {str}


def test_verl_parquet_has_its_schema_and_feeds_compute_score(records, painted, tmp_path):
    assert export_verl(records, tmp_path / "train.parquet", negative_prompt="blurry") == 20
    table = pq.read_table(tmp_path / "train.parquet")
    assert table.schema.equals(VERL_SCHEMA)
    row = table.to_pylist()[7]
    assert row["prompt"] == [{"role": "user", "content": records[7]["caption"]}]
    assert row["negative_prompt"] == [{"role": "user", "content": "blurry"}]
    assert row["reward_model"] == {"style": "model", "ground_truth": records[7]["caption"]}
    assert json.loads(row["extra_info"]["record"]) == records[7] and row["extra_info"]["index"] == records[7]["index"]
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_parquet(tmp_path / "train.parquet")
    pictures = painted(records)
    use_reward(SceneReward(load_judge("pixels")))

    async def score():
        return await asyncio.gather(
            *(
                compute_score(one.data_source, np.moveaxis(picture.array(), -1, 0), one.reward_model["ground_truth"], one.extra_info)
                for one, picture in zip(frame.itertuples(), pictures, strict=True)
            )
        )

    found = [one["score"] for one in asyncio.run(score())]
    use_reward(None)
    assert found == pytest.approx(expected_scores(records, pictures))


def test_verl_parquet_opens_with_datasets(records, tmp_path):
    datasets = pytest.importorskip("datasets")
    export_verl(records, tmp_path / "train.parquet")
    read = datasets.load_dataset("parquet", data_files=str(tmp_path / "train.parquet"), split="train", cache_dir=str(tmp_path / "cache"))
    assert read[0]["prompt"][0]["content"] == records[0]["caption"] and len(read) == 20


def test_flow_grpo_lines_are_prompt_and_metadata(records, painted, tmp_path):
    for split in ("train", "test"):
        assert export_flow_grpo(records, tmp_path, split=split) == 20
    metadata = [
        json.loads(line) for line in (tmp_path / "train_metadata.jsonl").read_text(encoding="utf-8").splitlines()
    ]  # as its data set reads
    assert [one["prompt"] for one in metadata] == [one["caption"] for one in records]
    pictures = painted(records)
    pixels = np.stack([one.array() for one in pictures])
    scores, _ = as_flow_grpo(SceneReward(load_judge("pixels")))(pixels, [one["prompt"] for one in metadata], metadata)
    assert scores["avg"] == pytest.approx(expected_scores(records, pictures))
    with pytest.raises(SpecError, match="split"):
        export_flow_grpo(records, tmp_path, split="dev")


def test_simplear_is_one_list(records, media, tmp_path):
    assert export_simplear(records, tmp_path / "captions.json") == 20
    assert json.loads((tmp_path / "captions.json").read_text()) == [{"id": one["id"], "caption": one["caption"]} for one in records]
    assert export_simplear(records, tmp_path / "pairs.json", media=media, keep=lambda entry: entry.sample == 1) == 19
    rows = json.loads((tmp_path / "pairs.json").read_text())
    assert all(Path(one["image_path"]).is_file() for one in rows) and records[3]["id"] not in {one["id"] for one in rows}
    assert export_simplear([], tmp_path / "none.json") == 0 and json.loads((tmp_path / "none.json").read_text()) == []


def test_imagefolder_opens_with_datasets(records, media, tmp_path):
    datasets = pytest.importorskip("datasets")
    assert export_imagefolder(records, media, tmp_path / "set", prompt="A photo. {caption}") == 39
    read = datasets.load_dataset("imagefolder", data_dir=str(tmp_path / "set"), split="train", cache_dir=str(tmp_path / "cache"))
    assert len(read) == 39 and set(read.column_names) >= {"image", "text", "id", "sample"}
    by_id = {one["id"]: one for one in records}
    row = read[5]
    assert row["text"] == f"A photo. {by_id[row['id']]['caption']}" and row["image"].size == (64, 64)


def test_an_imagefolder_that_was_stopped_goes_on_and_ends_the_same(records, media, tmp_path):
    export_imagefolder(records, media, tmp_path / "whole")
    part = tmp_path / "part"
    export_imagefolder(records, media, part)
    (part / "metadata.jsonl").unlink()
    names = sorted(path.name for path in (part / "images").iterdir())
    for name in names[::3]:
        (part / "images" / name).unlink()
    (part / "images" / names[1]).write_bytes(b"torn")
    before = (part / "images" / names[4]).stat().st_mtime_ns
    export_imagefolder(records, media, part)
    assert (part / "images" / names[4]).stat().st_mtime_ns == before  # kept, not copied again
    for path in (tmp_path / "whole").rglob("*.*"):
        assert sha256_of(path) == sha256_of(part / path.relative_to(tmp_path / "whole"))


def test_an_imagefolder_is_never_mixed_with_another(records, media, tmp_path):
    export_imagefolder(records, media, tmp_path / "set")
    with pytest.raises(RunError, match="another export"):
        export_imagefolder(records[:5], media, tmp_path / "set")
    with pytest.raises(RunError, match="another export"):
        export_imagefolder(records, media, tmp_path / "set", prompt="{caption}!")
    assert export_imagefolder(records[:5], media, tmp_path / "set", overwrite=True) == 9
    assert len(list((tmp_path / "set" / "images").iterdir())) == 9
    (tmp_path / "set" / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match=r"notes\.txt"):
        export_imagefolder(records, media, tmp_path / "set", overwrite=True)


def test_a_damaged_picture_is_not_exported(records, tmp_path):
    folder = MediaFolder(tmp_path / "media")
    folder.write("a.png", flat())
    folder.rewrite([MediaEntry(records[0]["id"], 0, 0, 0, "a.png", flat().sha256, "made")])
    (tmp_path / "media" / "a.png").write_bytes(b"other")
    with pytest.raises(MediaError, match=r"a\.png"):
        export_imagefolder(records, folder, tmp_path / "set")
    assert not (tmp_path / "set" / "metadata.jsonl").exists()


EXPORTERS = [export_trl, export_verl, export_simplear]


@pytest.mark.parametrize("export", EXPORTERS)
def test_files_are_whole_the_same_again_and_never_replaced_unasked(export, records, tmp_path):
    first, second = tmp_path / "deep" / "first", tmp_path / "second"
    export(records, first)
    export(iter(records), second)
    assert first.read_bytes() == second.read_bytes()
    with pytest.raises(RunError, match="there already"):
        export(records, first)
    export(records[:3], first, overwrite=True)
    assert first.stat().st_size < second.stat().st_size

    def breaks():
        yield records[0]
        raise RuntimeError

    with pytest.raises(RuntimeError):
        export(breaks(), first, overwrite=True)
    with pytest.raises(RuntimeError):
        export(breaks(), tmp_path / "third")
    assert {path.name for path in tmp_path.iterdir()} == {"deep", "second"} and len(list((tmp_path / "deep").iterdir())) == 1


@pytest.mark.parametrize("export", EXPORTERS)
def test_records_that_no_reward_could_use_are_refused(export, records, tmp_path):
    with pytest.raises(RecordError, match="'caption'"):
        export([{"id": "a"}], tmp_path / "x")
    with pytest.raises(RecordError, match="two records"):
        export([records[0], records[0]], tmp_path / "x")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("export", [export_trl, export_verl])
def test_a_prompt_without_a_place_for_the_caption_is_refused(export, records, tmp_path):
    with pytest.raises(SpecError, match="caption"):
        export(records, tmp_path / "x", prompt="A photo")


def test_braces_in_captions_and_prompts_are_left_alone(tmp_path):
    export_trl([{"id": "a", "caption": "{caption} {0}"}], tmp_path / "x", prompt="{} {caption}")
    assert json.loads((tmp_path / "x").read_text())["prompt"] == "{} {caption} {0}"


def test_the_command_writes_every_format(tmp_path, records, media):
    app = typer.Typer()
    app.command()(export_command.run)
    scenes = tmp_path / "scenes"
    space = SceneSpace(taxonomy=load_sandbox_taxonomy(), complexity=(3, 6), scene_attributes=(0, 1), counts=True)
    generate(space.source(8), 20, scenes, quiet=True)

    def call(*arguments):
        return CliRunner().invoke(app, [str(scenes), *map(str, arguments)], catch_exceptions=True)

    for format in ("trl", "verl", "flow_grpo", "simplear"):
        result = call("--format", format, "--out", tmp_path / format)
        assert result.exit_code == 0, result.exception
    export_trl(records, tmp_path / "same")
    assert (tmp_path / "trl").read_bytes() == (tmp_path / "same").read_bytes()
    result = call("--format", "imagefolder", "--out", tmp_path / "images", "--pictures", media.path)
    assert result.exit_code == 0, result.exception
    for wrong in (
        ("--format", "csv"),
        ("--format", "trl", "--split", "test"),
        ("--format", "imagefolder"),
        ("--format", "trl", "--pictures", "x"),
    ):
        assert isinstance(call(*wrong, "--out", tmp_path / "wrong").exception, SpecError)
