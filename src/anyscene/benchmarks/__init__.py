"""Benchmarks of others: their items as records, their official scores from stored answers, with the faults of the scripts and without."""

from anyscene.benchmarks.benchmark import (
    About,
    Benchmark,
    BenchmarkResult,
    Counts,
    Fault,
    Items,
    Note,
    Numbers,
    Replies,
    Reply,
    benchmark_names,
    load_benchmark,
)
from anyscene.benchmarks.folders import import_benchmark, read_items, write_items
from anyscene.benchmarks.results import read_result, result_document, write_result
from anyscene.benchmarks.running import items_of, judge_benchmark, paint_benchmark, replies_of_run, score_benchmark_run

__all__ = [
    "About",
    "Benchmark",
    "BenchmarkResult",
    "Counts",
    "Fault",
    "Items",
    "Note",
    "Numbers",
    "Replies",
    "Reply",
    "benchmark_names",
    "import_benchmark",
    "items_of",
    "judge_benchmark",
    "load_benchmark",
    "paint_benchmark",
    "read_items",
    "read_result",
    "replies_of_run",
    "result_document",
    "score_benchmark_run",
    "write_items",
    "write_result",
]
