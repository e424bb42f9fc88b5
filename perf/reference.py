"""Captions per CPU second of the paper's released code, in a process of its own, with its own interpreter and libraries.

    python perf/reference.py CHECKOUT COMPLEXITIES SCENE_ATTRIBUTES CAPTIONS      (4-7 1-4 160, say)

CHECKOUT is a copy of RAIVNLab/GenerateAnyScene with its metadata/. One JSON object is printed. Templates are enumerated and the code is
warmed up before the clock starts; then complexities and numbers of scene attributes are taken in turn, as its README's command does.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
import tempfile
import time
from itertools import product
from pathlib import Path


def span(text: str) -> range:
    """The numbers of `4-7`, the last one included."""
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def main(checkout: str, complexities: str, scene_attributes: str, captions: str) -> None:
    """Time the checkout and print what was found."""
    root = Path(checkout).resolve()
    sys.path.insert(0, str(root))
    os.chdir(tempfile.mkdtemp())  # it caches templates in the current folder
    package = "gas.captions_generation"
    with open(os.devnull, "w") as silence, contextlib.redirect_stdout(silence):  # it prints as it goes
        metadata = importlib.import_module(f"{package}.metadata").Text2ImageMetaData(path_to_metadata=str(root / "metadata"))
        generator = importlib.import_module(f"{package}.prompt_generator").Text2ImagePromptGenerator(metadata=metadata, seed=0)

        def caption(complexity: int, number: int) -> str:
            (plan,) = generator.sample_task_plans(complexity=complexity, number_of_scene_attributes=number, sample_numbers=1)
            return str(generator.generate(plan)["prompt"])

        cells = list(product(span(complexities), span(scene_attributes)))
        each = -(-int(captions) // len(cells))
        warm_up = [caption(*cell) for cell in cells]
        before = time.process_time()
        for cell in cells:
            for _ in range(each):
                caption(*cell)
        seconds = time.process_time() - before
    print(json.dumps({"captions_per_cpu_s": each * len(cells) / seconds, "captions": each * len(cells), "example": warm_up[0]}))


if __name__ == "__main__":
    main(*sys.argv[1:])
