"""What engines are given to do is importable in tests and in the processes that they start."""

from __future__ import annotations

import os
import sys
from pathlib import Path

FOLDERS = [str(Path(__file__).parent), str(Path(__file__).parent.parent / "dataset")]
sys.path[:0] = [folder for folder in FOLDERS if folder not in sys.path]
os.environ["PYTHONPATH"] = os.pathsep.join([*FOLDERS, *filter(None, [os.environ.get("PYTHONPATH")])])
