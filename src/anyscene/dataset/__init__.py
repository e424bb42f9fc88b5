"""Datasets: what a record is, writing any range of them to files, and reading them back."""

from anyscene.dataset.describe import describe
from anyscene.dataset.encoders import FORMATS
from anyscene.dataset.generation import generate
from anyscene.dataset.huggingface import to_datasets
from anyscene.dataset.plan import ROWS_PER_CHUNK, DatasetInfo, ShardFile
from anyscene.dataset.readers import count_rows, read_record, read_records, read_table
from anyscene.dataset.scene_space import RecordOptions, SceneRecords, SceneSpace
from anyscene.dataset.schema import record_json_schema, record_schema
from anyscene.dataset.source import RecordSource

__all__ = [
    "FORMATS",
    "ROWS_PER_CHUNK",
    "DatasetInfo",
    "RecordOptions",
    "RecordSource",
    "SceneRecords",
    "SceneSpace",
    "ShardFile",
    "count_rows",
    "describe",
    "generate",
    "read_record",
    "read_records",
    "read_table",
    "record_json_schema",
    "record_schema",
    "to_datasets",
]
