"""An HTML page taken apart by the standard library's parser: tags that do not match, ids, headings, texts, what it would load."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
LOADING = {"src", "srcset", "poster", "data", "action", "formaction", "background", "xlink:href", "ping", "manifest"}


class Outline(HTMLParser):
    """What a page holds. Everything is filled by the constructor."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.faults: list[str] = []
        self.ids: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.headings: list[tuple[int, str]] = []
        self.scripts = 0
        self.text = ""
        self._open: list[str] = []
        self.feed(page)
        self.close()
        self.faults += [f"<{tag}> is not closed" for tag in self._open]
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        if len(set(names)) < len(names):
            self.faults.append(f"<{tag}> has an attribute twice: {names}")
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id" and value]
        self.scripts += tag == "script"
        if tag in ("h1", "h2", "h3", "h4"):
            self.headings.append((int(tag[1]), ""))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if "svg" not in self._open:
            self.faults.append(f"<{tag}/> outside a drawing")

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open[-1] != tag:
            self.faults.append(f"</{tag}> closes {self._open[-1:]}")
        if tag in self._open:
            while self._open.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] in ("script", "style"):
            return
        self.text += data + " "
        if self._open and self._open[-1] in ("h1", "h2", "h3", "h4"):
            level, words = self.headings[-1]
            self.headings[-1] = (level, words + data)

    def loads(self) -> list[str]:
        """Every address that the page would load something from."""
        found = [value or "" for _, attrs in self.tags for name, value in attrs.items() if name in LOADING]
        return found + [attrs.get("href") or "" for tag, attrs in self.tags if tag in ("link", "use", "image", "base")]

    def all_of(self, tag: str, **wanted: str) -> list[dict[str, str | None]]:
        """The attributes of all elements of a tag whose attributes have these values (``class_`` for class)."""
        sought = {name.rstrip("_"): value for name, value in wanted.items()}
        return [
            attrs
            for one, attrs in self.tags
            if one == tag and all((attrs.get(name) or "").split() == value.split() for name, value in sought.items())
        ]
