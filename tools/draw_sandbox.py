"""Draws docs/sandbox.png: scenes of the sandbox, the last one from two sides."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from anyscene.language import parse
from anyscene.sandbox import load_sandbox_taxonomy, render, render_views

CAPTIONS = (
    "A large red star is to the left of three blue rings. The scene is shown on a white background.",
    "A green striped square is larger than a pink circle. The scene is shown on a light grey background, inside a blue frame.",
    "A small yellow heart is above an orange metal arrow. There are also two turquoise crosses. The scene is shown on a black background.",
    "Four purple dotted hearts are next to a red diamond. The scene is shown on a dark grey background, with a lined background pattern.",
    "A yellow crescent is to the upper left of a blue arrow. The scene is shown on a black background, inside a red frame.",
    "A turquoise checkered circle is next to an orange square. There is also a pink heart. The scene is shown inside a green frame.",
)
TURNED = "A red metal star is to the left of two blue rings. There is also a green arrow. The 3D model is shown on a light grey background."
SIZE, GAP = 160, 8


def main() -> None:
    taxonomy = load_sandbox_taxonomy()
    pictures = [render(parse(caption, taxonomy), 3, SIZE).image for caption in CAPTIONS]
    pictures += [view.image for view in render_views(parse(TURNED, taxonomy), 5, SIZE, 8)[:2]]
    sheet = np.full((2 * SIZE + GAP, 4 * SIZE + 3 * GAP, 3), 255, dtype=np.uint8)
    for place, picture in enumerate(pictures):
        top, left = place // 4 * (SIZE + GAP), place % 4 * (SIZE + GAP)
        sheet[top : top + SIZE, left : left + SIZE] = picture
    Image.fromarray(sheet).save(Path(__file__).resolve().parents[1] / "docs" / "sandbox.png", optimize=True)


if __name__ == "__main__":
    main()
