"""From a caption back to its scene graph: the proof that captions lose nothing.

The text is laid over the network of each lossless style (see ``networks`` and ``lattice``). What is found is put together into a
graph, and it counts if the caption of that graph is the text itself: a text is read rightly or not at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache

from anyscene.errors import CaptionParseError, GraphError
from anyscene.language import lexicon as lx
from anyscene.language.captions import LOSSLESS, realize_captions
from anyscene.language.encode import batch_of_graphs
from anyscene.language.english import ORDINALS
from anyscene.language.lattice import Event, Kind, Lattice, Rules, expected
from anyscene.language.matching import Text, Vocabulary, heads_of
from anyscene.language.networks import MODALITIES
from anyscene.scene.graph import MAX_ELEMENTS, Attribute, SceneAttribute, SceneGraph
from anyscene.taxonomy import COUNT_TYPE, Taxonomy, load_taxonomy, with_counts

__all__ = ["parse"]

MAX_CHARS = 200_000
MAX_READINGS = 16
MAX_MESSAGE = 200
MAX_SCENE_ATTRIBUTES = 63
MORE_ORDINALS = 50


def parse(caption: str, taxonomy: Taxonomy | None = None) -> SceneGraph:
    """The scene graph of a caption in the style ``plain``, ``dense`` or ``tags``.

    Objects are numbered ``o0``, ``o1``, ... in order of mention; attributes, relations and scene attributes keep the caption's order.

    Args:
        caption: the text; which style it has is found out.
        taxonomy: the vocabulary; ``None`` is the one that ships with the package. Numerals are always understood.

    Raises:
        CaptionParseError: the text is no caption; the message says how far it could be read.
    """
    if len(caption) > MAX_CHARS:
        raise CaptionParseError(f"not a caption: the text has {len(caption)} characters; at most {MAX_CHARS} are read")
    own = load_taxonomy() if taxonomy is None else taxonomy
    return (_many_parser(own) if _MANY.search(caption) else _parser(own)).parse(caption)


@lru_cache(maxsize=4)
def _parser(taxonomy: Taxonomy) -> _Parser:
    """The parser of a taxonomy."""
    if COUNT_TYPE in taxonomy.attribute_types.names:
        return _Parser.of(taxonomy, lx.lexicon_of(taxonomy))
    counted = with_counts(taxonomy)
    return _Parser.of(counted, lx.lexicon_of(counted))


@lru_cache(maxsize=2)
def _many_parser(taxonomy: Taxonomy) -> _Parser:
    """The parser that knows more ordinals."""
    usual = _parser(taxonomy)
    rules = replace(usual.rules, lexicon=lx.lexicon_of(usual.taxonomy, MORE_ORDINALS))
    return replace(usual, words=replace(usual.words, heads=heads_of(rules.lexicon)), rules=rules)


_MANY = re.compile(rf"\b(?:{'|'.join(ORDINALS[lx.MAX_ORDINAL :])}|\d+(?:st|nd|rd|th)) ", re.IGNORECASE)
"""Words that say that there are more of a noun than the usual lexicon can number."""


@dataclass(frozen=True)
class _Parser:
    """Reads captions of one taxonomy, with numerals."""

    taxonomy: Taxonomy
    words: Vocabulary
    rules: Rules

    @classmethod
    def of(cls, taxonomy: Taxonomy, lexicon: lx.Lexicon) -> _Parser:
        return cls(taxonomy, Vocabulary.of(lexicon), Rules.of(lexicon))

    def parse(self, caption: str) -> SceneGraph:
        """The graph of a caption."""
        text = Text(caption)
        failures: list[_Failure] = []
        lattices = [Lattice(text, style, self.words, self.rules) for style in LOSSLESS]
        graphs = list(dict.fromkeys(graph for lattice in lattices for graph in self._graphs(lattice, failures)))
        if len(graphs) > 1:
            raise CaptionParseError(_shorten(f"ambiguous: {_unlike(*graphs[:2])}"))
        if graphs:
            return graphs[0]
        raise CaptionParseError(str(max(failures, key=lambda failure: (failure.end, failure.wrong != ""))))

    def _graphs(self, lattice: Lattice, failures: list[_Failure]) -> Iterator[SceneGraph]:
        """The graphs of all readings that have this caption; why the others have not is noted."""
        caption = lattice.text.text
        failures.append(_Failure(caption, lattice.end, expected(lattice.stuck)))
        for number, events in enumerate(lattice.readings()):
            if number == MAX_READINGS:
                raise CaptionParseError(f"not a caption: it has more than {MAX_READINGS} readings")
            try:
                graph, modality = _Reading().graph(events, self.taxonomy, self.words.counts)
                written = self._caption(graph, lattice.rules, lattice.style, modality)
            except GraphError as error:
                failures.append(_Failure(caption, len(caption), "", str(error)))
                continue
            if written == caption:
                yield graph
            else:
                failures.append(_Failure(caption, len(caption), "", _difference(caption, written)))
        if lattice.lost >= 0:
            after = f"after {_quote(caption[: lattice.lost], tail=True)}, " if lattice.lost else ""
            wrong = f"{after}an object is named out of turn (a dog, a second dog, the first dog): {_quote(caption[lattice.lost :])}"
            failures.append(_Failure(caption, len(caption), "", wrong))

    def _caption(self, graph: SceneGraph, rules: Rules, style: str, modality: str) -> str:
        """The caption of a graph."""
        return str(realize_captions(batch_of_graphs([graph], self.taxonomy), rules.lexicon, style, modality)[0])


@dataclass
class _Reading:
    """Puts a graph together from what is said of it, in the order of the text."""

    nouns: list[int] = field(default_factory=list)
    attributes: list[list[int]] = field(default_factory=list)
    edges: list[tuple[int, int]] = field(default_factory=list)
    relations: list[int] = field(default_factory=list)
    scene: list[int] = field(default_factory=list)
    modality: str = MODALITIES[0]

    def graph(self, events: list[Event], taxonomy: Taxonomy, counts: tuple[int, ...]) -> tuple[SceneGraph, str]:
        """The graph and the modality that its caption is written for.

        Raises:
            GraphError: what is said makes no graph.
        """
        if len(events) > 4 * MAX_ELEMENTS:
            raise GraphError(f"there are more than {MAX_ELEMENTS} elements")
        named: dict[int, list[int]] = {}
        before: list[int] = []
        subject = current = -1
        said: int | None = None
        for event in events:
            if event.kind in (Kind.NOUN, Kind.AGAIN):
                places = named.setdefault(event.what, [])
                if event.kind == Kind.NOUN:
                    places.append(len(self.nouns))
                    self.nouns.append(event.what)
                    self.attributes.append([*([counts[event.numeral - 1]] if event.numeral else []), *before])
                    before = []
                current = places[max(event.order, 1) - 1]
                if said is not None:
                    self.edges.append((subject, current))
                    self.relations.append(said)
                    said = None
            elif event.kind == Kind.BEFORE:
                before.append(event.what)
            elif event.kind == Kind.AFTER:
                self.attributes[current].append(event.what)
            elif event.kind in (Kind.RELATION, Kind.NEXT_RELATION):
                subject = current if event.kind == Kind.RELATION else subject
                said = event.what
            elif event.kind == Kind.PHRASE:
                self.scene.append(event.what)
            else:
                self.modality = MODALITIES[event.what]
        if len(self.scene) > MAX_SCENE_ATTRIBUTES:
            raise GraphError(f"there are {len(self.scene)} scene attributes; at most {MAX_SCENE_ATTRIBUTES} are read")
        graph = SceneGraph.of_words(
            [taxonomy.objects.names[noun] for noun in self.nouns],
            [[Attribute(*taxonomy.attribute_words(a)) for a in own] for own in self.attributes],
            self.edges,
            [taxonomy.relations.names[relation] for relation in self.relations],
            [SceneAttribute(*taxonomy.scene_attribute_words(one)) for one in self.scene],
        )
        return graph, self.modality


# ---- messages -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Failure:
    """How far a text could be read: what would have had to follow, or what is wrong with the whole."""

    caption: str
    end: int
    expected: str
    wrong: str = ""

    def __str__(self) -> str:
        if self.wrong:
            return _shorten(f"not a caption: {self.wrong}")
        read, rest = self.caption[: self.end], self.caption[self.end :]
        after = f"after {_quote(read, tail=True)}, " if read else ""
        found = _quote(rest) if rest else "the end"
        return _shorten(f"not a caption: {after}expected {self.expected}; found {found}")


def _difference(caption: str, written: str) -> str:
    """Where the text leaves the caption of the graph that it seems to mean."""
    same = next((i for i, (a, b) in enumerate(zip(caption, written, strict=False)) if a != b), min(len(caption), len(written)))
    start = caption.rfind(" ", 0, same) + 1
    after = f"after {_quote(caption[:start], tail=True)} " if start else ""
    return f"{after}it goes on {_quote(caption[start:], 30)}, but the caption of that scene goes on {_quote(written[start:], 30)}"


def _unlike(one: SceneGraph, other: SceneGraph) -> str:
    """The first word in which two readings differ."""

    def words(graph: SceneGraph) -> list[str]:
        objects = [word for one in graph.objects for word in (one.name, *(a.value for a in one.attributes))]
        return [*objects, *(f"{r.subject} {r.predicate} {r.object}" for r in graph.relations), *(a.value for a in graph.scene_attributes)]

    a, b = next(((a, b) for a, b in zip(words(one), words(other), strict=False) if a != b), ("", ""))
    return f"the caption means more than one scene, for instance one with {_quote(a)} or one with {_quote(b)}"


def _quote(text: str, most: int = 40, tail: bool = False) -> str:
    """A piece of text on one line."""
    if len(text) > most:
        text = f"...{text[-most:]}" if tail else f"{text[:most]}..."
    return repr(text)


def _shorten(message: str) -> str:
    return message if len(message) <= MAX_MESSAGE else f"{message[: MAX_MESSAGE - 3]}..."
