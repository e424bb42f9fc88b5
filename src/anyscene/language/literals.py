"""The fixed pieces of text of captions and questions; their positions here are their tokens."""

from __future__ import annotations

SCENE_NOUN = {"image": "scene", "video": "scene", "3d": "3D model"}
"""What the sentence about scene attributes calls the whole."""

MEDIUM = {"image": "picture", "video": "video", "3d": "3D scene"}
"""What questions call the whole."""

FIXED = (
    "", ".", ". ", ", ", " and", ",", ", and", ", along with ", " and ", ", and ", " ", "; ",
    "There is ", "There are ", "There is also ", "There are also ",
    *(f"The {noun} is {shown}" for noun in sorted(set(SCENE_NOUN.values())) for shown in ("", "shown ")),
    "?", "the ", "Which of these describes ", "Which of these describes the scene?", "How many ", " are there?",
    *(f"Which of these is in the {medium}?" for medium in MEDIUM.values()),
    "Are there exactly ", "Are there ", "yes", "no", "Is there exactly one ",
)  # fmt: skip
TOKEN = {text: place for place, text in enumerate(FIXED)}
