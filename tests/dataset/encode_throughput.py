"""How fast the encoders are on one core, without the engine: `taskset -c 0 python encode_throughput.py`.

Each figure is the best of several rounds over one chunk of rows like the engine's, with fifteen questions each.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pyarrow as pa

sys.path.insert(0, str(Path(__file__).parent))

from fake_source import FakeSource

from anyscene.dataset import FORMATS, ROWS_PER_CHUNK


def best_s(format: str, table: pa.Table, rounds: int = 5) -> tuple[float, int]:
    best, size = float("inf"), 0
    for _ in range(rounds):
        began = time.perf_counter()
        encoder = FORMATS[format].encoder()
        size = sum(len(part) for part in encoder.encode(table)) + sum(len(part) for part in encoder.finish())
        best = min(best, time.perf_counter() - began)
    return best, size


def main() -> None:
    pa.set_cpu_count(1)
    for dictionaries in (True, False):
        full = FakeSource(dictionaries=dictionaries).table(0, ROWS_PER_CHUNK)
        num_questions = len(full["questions"].chunk(0).values)
        for format in FORMATS:
            for table, asked in ((full, num_questions), (full.drop_columns(["questions"]), 0)):
                seconds, size = best_s(format, table)
                print(
                    f"{format:10s} strings {'as dictionaries' if dictionaries else 'plain':15s} "
                    f"{'with' if asked else 'without'} questions: {table.num_rows / seconds:9,.0f} rows/s, "
                    f"{asked / seconds:10,.0f} questions/s, {size / table.num_rows:6.0f} bytes/row"
                )


if __name__ == "__main__":
    main()
