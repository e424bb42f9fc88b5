from __future__ import annotations

import subprocess
import sys


def test_importing_the_package_loads_nothing_heavy() -> None:
    """Not even pandas, which pyarrow loads as soon as an array is made."""
    code = "import sys, anyscene.dataset, anyscene.runs; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "pyarrow.parquet" in loaded
    assert not {"datasets", "webdataset", "pandas", "torch", "rich", "pydantic"} & set(loaded)
