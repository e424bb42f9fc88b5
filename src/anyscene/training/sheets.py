"""Sheets of rollouts: a row for each caption, its pictures from the best to the worst, with their scores."""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from anyscene.media import Media
from anyscene.rewards import Score
from anyscene.rewards.protocol import Record

__all__ = ["contact_sheet"]

TILE, GAP, LINE, ROWS, COLUMNS = 112, 6, 16, 8, 8


def contact_sheet(media: Sequence[Media | None], records: Sequence[Record], scores: Sequence[Score | None]) -> bytes:
    """A PNG of the first captions' rollouts, best first; a picture without a score has a dash, one that could not be made is left blank.

    Args:
        media: the rollouts' pictures.
        records: the scene of each; those of one group have the same ``id``.
        scores: of each.
    """
    groups: dict[str, list[int]] = {}
    for place, record in enumerate(records):
        groups.setdefault(str(record["id"]), []).append(place)
    shown = list(groups.values())[:ROWS]
    across = min(COLUMNS, max((len(one) for one in shown), default=1))
    row_height = LINE + TILE + LINE + GAP
    sheet = Image.new("RGB", (GAP + across * (TILE + GAP), GAP + row_height * max(1, len(shown))), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for row, places in enumerate(shown):
        top = GAP + row * row_height
        ranked = sorted(places, key=lambda place: -_value(scores[place]))
        pen.text((GAP, top), _cut(str(records[places[0]]["caption"]), sheet.width - 2 * GAP, pen, font), "black", font)
        for column, place in enumerate(_spread(ranked, across)):
            left = GAP + column * (TILE + GAP)
            one, score = media[place], scores[place]
            if one is not None:
                picture = one.image.convert("RGB")
                smooth = Image.Resampling.NEAREST if picture.width < TILE else Image.Resampling.LANCZOS
                sheet.paste(picture.resize((TILE, TILE), smooth), (left, top + LINE))
            pen.text((left, top + LINE + TILE + 2), "-" if score is None else f"{score.value:.3f}", "black", font)
    file = io.BytesIO()
    sheet.save(file, "PNG")
    return file.getvalue()


def _value(score: Score | None) -> float:
    return float("-inf") if score is None else score.value


def _spread(ranked: Sequence[int], across: int) -> list[int]:
    """As many as fit, the best and the worst among them."""
    if len(ranked) <= across:
        return list(ranked)
    return [ranked[round(place * (len(ranked) - 1) / (across - 1))] for place in range(across)] if across > 1 else [ranked[0]]


def _cut(text: str, width: int, pen: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    while pen.textlength(text, font=font) > width and len(text) > 4:
        text = text[:-4].rstrip() + "..."
    return text
