"""HTML and SVG as text: elements with balanced tags, and every text escaped unless it is markup already.

`el("p", "a < b", class_="note")` gives `<p class="note">a &lt; b</p>`. Only what `el` returned is taken as it is; any other text is
escaped, so a caption that holds a script is shown, not run.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from typing import TypeAlias, Union

__all__ = ["Markup", "el", "join", "text"]

_VOID = {"br", "col", "hr", "img", "input", "link", "meta", "source"}
_SVG_LEAVES = {"circle", "line", "path", "rect", "polygon", "use"}
_UNSEEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
"""What HTML may not hold: control characters and halves of surrogate pairs."""


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


Child: TypeAlias = Union[str, int, float, Iterable["Child"], None]  # noqa: UP007 -- `|` takes no forward reference at run time


def text(value: object) -> Markup:
    """A value as HTML text, also fit for a quoted attribute."""
    if isinstance(value, Markup):
        return value
    return Markup(html.escape(_UNSEEN.sub("\N{REPLACEMENT CHARACTER}", str(value)), quote=True))


def join(*children: Child) -> Markup:
    """Children one after the other; None is left out, lists are taken apart."""
    return Markup("".join(_parts(children)))


def el(name: str, /, *children: Child, **attributes: object) -> Markup:
    """An element.

    Args:
        name: of its tag.
        children: markup, texts, numbers, lists of them; None is left out.
        attributes: a trailing underscore is dropped (``class_``), others become hyphens, a leading capital is kept (``viewBox``); True
            stands alone, None and False are left out.
    """
    opening = [name]
    for key, value in attributes.items():
        key = key.rstrip("_").replace("_", "-")
        if value is True:
            opening.append(key)
        elif value is not None and value is not False:
            shown = _number(value) if isinstance(value, float) else value
            opening.append(f'{key}="{text(shown)}"')
    if name in _VOID:
        return Markup(f"<{' '.join(opening)}>")
    if name in _SVG_LEAVES and not children:
        return Markup(f"<{' '.join(opening)}/>")
    return Markup(f"<{' '.join(opening)}>{join(*children)}</{name}>")


def _number(value: float) -> str:
    """A coordinate: two decimals at most, so that all machines write the same."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if value else "0"


def _parts(children: Iterable[Child]) -> Iterable[str]:
    for child in children:
        if isinstance(child, str):
            yield text(child)
        elif isinstance(child, (int, float)):
            yield str(child)
        elif child is not None:
            yield from _parts(child)
