"""The page around the sections: one file that loads nothing, with its style sheet, its few lines of script, and a policy that says so."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files

from anyscene.report.markup import Markup, el

__all__ = ["page"]

_ICON = (
    "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'><path d='M5 5l6 6' stroke='%23808080'/>"
    "<circle cx='4' cy='4' r='3' fill='%231d63b8'/><circle cx='12' cy='12' r='3' fill='%23c2541b'/></svg>"
)
"""Two objects and a relation. The name space is a name: nothing is loaded from it."""


Section = tuple[str, str, str, Markup]
"""Id, name in the list of sections, title and contents."""


def page(name: str, header: Markup, sections: Sequence[Section]) -> str:
    """A whole HTML document.

    Args:
        name: of the document.
        header: what stands above the sections.
        sections: in order.
    """
    style, script = _asset("style.css"), _asset("tables.js")
    sources = f"img-src data:; style-src '{_digest(style)}'; script-src '{_digest(script)}'"
    policy = f"default-src 'none'; {sources}; base-uri 'none'; form-action 'none'"
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=policy),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("meta", name="generator", content="anyscene"),
        el("title", name),
        el("link", rel="icon", href=f"data:image/svg+xml,{_ICON}"),
        el("style", Markup(style)),
    )
    links = el("nav", el("ul", [el("li", el("a", name, href=f"#{anchor}")) for anchor, name, _, _ in sections]), aria_label="Sections")
    main = el("main", [_section(anchor, title, contents) for anchor, _, title, contents in sections], id="main")
    skip = el("a", "Skip to the contents", href="#main", class_="skip")
    body = el("body", skip, header, links, main, el("script", Markup(script)))
    return "<!DOCTYPE html>\n" + el("html", head, "\n", body, lang="en") + "\n"


def _section(anchor: str, name: str, contents: Markup) -> Markup:
    """A section under its heading, on a line of its own in the file."""
    return el("section", el("h2", name, id=f"{anchor}-title"), contents, "\n", id=anchor, aria_labelledby=f"{anchor}-title")


def _asset(name: str) -> str:
    return files("anyscene.report").joinpath("assets", name).read_text(encoding="utf-8")


def _digest(source: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(source.encode()).digest()).decode("ascii")
