"""Draw docs/scene.svg, the picture in the README: ``python tools/draw_scene.py docs/scene.svg``."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

from rich.console import Console

from anyscene import QuestionOptions, RecordOptions, SceneGraph, describe
from anyscene.cli.drawing import draw_record

GRAPH = {
    "objects": [
        {"id": "fox", "name": "red fox", "attributes": [{"type": "emotion", "value": "curious"}]},
        {"id": "robot", "name": "robot", "attributes": [{"type": "condition", "value": "rusty"}, {"type": "size", "value": "tiny"}]},
        {"id": "lamp", "name": "street lamp", "attributes": []},
    ],
    "relations": [
        {"subject": "fox", "predicate": "sniffing", "object": "robot"},
        {"subject": "robot", "predicate": "leaning against", "object": "lamp"},
    ],
    "scene_attributes": [{"type": "location", "value": "residential street"}],
}


def main() -> None:
    """Describe the graph and write the picture."""
    record = describe(SceneGraph.from_dict(GRAPH), options=RecordOptions(questions=QuestionOptions(forms=("yes_no", "choice"))))
    record["questions"] = [one for one in record["questions"] if one["form"] == "yes_no" or one["kind"] in ("relation", "attribute")][:16]
    console = Console(record=True, width=112, file=io.StringIO())
    draw_record(record, console)
    picture = console.export_svg(title="anyscene", unique_id="scene")
    picture = re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL)  # fonts of the reader, nothing fetched
    Path(sys.argv[1]).write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main()
