"""Our files, read by the libraries that people use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fake_source import FakeSource

from anyscene.dataset import generate, record_schema

pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("ignore")]  # warnings are of the libraries' own making

SOURCE = FakeSource(num_questions=4)
EXPECTED: list[dict[str, Any]] = SOURCE.table(0, 100).to_pylist()


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    generate(SOURCE, 100, tmp_path / "dataset", shards=3, quiet=True)
    return tmp_path / "dataset"


def written(tmp_path: Path, format: str) -> list[str]:
    return [str(path) for path in generate(SOURCE, 100, tmp_path / format, format=format, shards=3, quiet=True).paths]


def without_plausibility(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A float32 is another float64 in the JSON formats, where it is given as its shortest decimal."""
    return [{name: value for name, value in row.items() if name != "plausibility"} for row in rows]


def test_datasets_reads_a_folder_by_name(dataset: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_dataset("parquet", data_files=str(dataset / "*.parquet"), split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded.to_list() == EXPECTED
    assert loaded.features.arrow_schema.types == record_schema().types


def test_datasets_streams_json_and_tar(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    streamed = datasets.load_dataset("json", data_files=written(tmp_path, "jsonl"), split="train", streaming=True)
    assert without_plausibility(list(streamed)) == without_plausibility(EXPECTED)
    streamed = datasets.load_dataset("webdataset", data_files=written(tmp_path, "webdataset"), split="train", streaming=True)
    rows = list(streamed)
    assert [row["txt"] for row in rows] == [row["caption"] for row in EXPECTED]
    assert without_plausibility([row["json"] for row in rows]) == without_plausibility(EXPECTED)


def test_pandas(dataset: Path) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_parquet(dataset, engine="pyarrow") if not (dataset / "run.json").exists() else pandas.concat(
        [pandas.read_parquet(path) for path in sorted(dataset.glob("*.parquet"))]
    )  # fmt: skip
    assert frame["caption"].tolist() == [row["caption"] for row in EXPECTED]
    assert [question["text"] for question in frame["questions"].iloc[7]] == [question["text"] for question in EXPECTED[7]["questions"]]
    assert frame["modality"].dtype != "category"


def test_polars(dataset: Path) -> None:
    polars = pytest.importorskip("polars")
    frame = polars.read_parquet(dataset / "*.parquet")
    assert frame.to_dicts() == EXPECTED
    assert frame.schema["modality"] == polars.String
    one = polars.scan_parquet(dataset / "*.parquet").filter(polars.col("index") == 70).collect()
    assert one.to_dicts() == EXPECTED[70:71]


def test_duckdb(dataset: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    pattern = str(dataset / "*.parquet")
    with duckdb.connect() as database:
        texts = database.execute(
            "select unnest(questions).text from read_parquet(?) where index = 70 and modality = 'image'", [pattern]
        ).fetchall()
        assert [text for (text,) in texts] == [question["text"] for question in EXPECTED[70]["questions"]]
        names = database.execute("select graph.objects[1].name from read_parquet(?) order by index", [pattern]).fetchall()
    assert [name for (name,) in names] == [row["graph"]["objects"][0]["name"] for row in EXPECTED]


def test_webdataset(tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    rows = list(webdataset.WebDataset(written(tmp_path, "webdataset"), shardshuffle=False).decode())
    assert [row["__key__"] for row in rows] == [row["id"] for row in EXPECTED]
    assert [row["txt"] for row in rows] == [row["caption"] for row in EXPECTED]
    assert without_plausibility([row["json"] for row in rows]) == without_plausibility(EXPECTED)


def test_standard_library_reads_json_lines(tmp_path: Path) -> None:
    rows = [json.loads(line) for path in written(tmp_path, "jsonl") for line in Path(path).read_text(encoding="utf-8").splitlines()]
    assert without_plausibility(rows) == without_plausibility(EXPECTED)
