"""What may follow what in a caption: one transition network a style, the mirror image of the templates in ``captions``.

A place in a network has arcs; an arc reads something of the text and leads to another place. ``END`` must be the end of the text.
"""

from __future__ import annotations

from typing import NamedTuple

from anyscene.language import lexicon as lx
from anyscene.language.literals import SCENE_NOUN

END = "end"
TEXT, FIRST, FIRST_BARE, FIRST_TAG, AGAIN, PREDICATE, RELATION, NEXT_RELATION, PHRASE, LEAD = range(10)


class Arc(NamedTuple):
    """``kind`` says what is read; ``text`` comes before it; ``form`` is the form of a noun phrase or the number of a modality.

    FIRST is an object with its attributes, FIRST_BARE one without; a FIRST_TAG has no commas between adjectives; AGAIN an object
    that was named before. RELATION says something of the object just named, NEXT_RELATION something more of the same subject.
    """

    kind: int
    text: str
    then: str
    form: int = 0


MODALITIES = tuple(SCENE_NOUN)
_LEADS = tuple(
    Arc(LEAD, f"The {noun} is {shown}", "phrase", MODALITIES.index(modality))
    for noun, modality in {noun: modality for modality, noun in reversed(SCENE_NOUN.items())}.items()
    for shown in ("", "shown ")
)


def _there(kind: int, then: str, also: str = "", before: str = "") -> tuple[Arc, ...]:
    return tuple(Arc(kind, f"{before}There {be} {also}", then, lx.INDEFINITE) for be in ("is", "are"))


def _is(kind: int, then: str) -> tuple[Arc, ...]:
    return tuple(Arc(kind, f" {be} ", then) for be in ("is", "are"))


def _either(then: str, *before: str) -> tuple[Arc, ...]:
    """An object for the first time or again, in the middle of a sentence."""
    return tuple(arc for text in before for arc in (Arc(FIRST, text, then, lx.INDEFINITE), Arc(AGAIN, text, then, lx.DEFINITE)))


def _spaced(arcs: tuple[Arc, ...]) -> tuple[Arc, ...]:
    return tuple(arc._replace(text=f" {arc.text}") for arc in arcs)


_STOP = Arc(TEXT, ".", END)
NETWORK: dict[str, tuple[Arc, ...]] = {
    # plain: sentences about subjects, one about objects without relations, one about the scene
    "plain": (*_there(FIRST, "alone"), Arc(FIRST, "", "subject", lx.INDEFINITE_CAPITAL)),
    "subject": _is(RELATION, "target"),
    "target": _either("said", ""),
    "said": (_STOP, Arc(TEXT, ". ", "sentence"), Arc(TEXT, " and", "more"), Arc(TEXT, ",", "more"), Arc(TEXT, ", and", "more")),
    "more": _is(NEXT_RELATION, "target"),
    "sentence": (
        *_LEADS,
        *_there(FIRST, "alone", "also "),
        Arc(FIRST, "", "subject", lx.INDEFINITE_CAPITAL),
        Arc(AGAIN, "", "subject", lx.DEFINITE_CAPITAL),
    ),
    "alone": (_STOP, Arc(TEXT, ". ", "scene"), Arc(FIRST, ", along with ", "along", lx.INDEFINITE)),
    "along": (_STOP, Arc(TEXT, ". ", "scene"), *(Arc(FIRST, text, "along", lx.INDEFINITE) for text in (", ", " and ", ", and "))),
    "scene": _LEADS,
    "phrase": (Arc(PHRASE, "", "phrases"),),
    "phrases": (_STOP, Arc(PHRASE, ", ", "phrases")),
    # dense: a sentence for each object, attribute, relation, and one about the scene
    "dense": _there(FIRST_BARE, "stop object"),
    "stop object": (Arc(TEXT, ".", "described"),),
    "described": (
        Arc(TEXT, "", END),
        *_there(FIRST_BARE, "stop object", before=" "),
        Arc(AGAIN, " ", "description", lx.DEFINITE_CAPITAL),
        *_spaced(_LEADS),
    ),
    "description": (*_is(PREDICATE, "stop object"), *_is(RELATION, "related to")),
    "related to": (Arc(AGAIN, "", "stop relation", lx.DEFINITE),),
    "stop relation": (Arc(TEXT, ".", "related"),),
    "related": (Arc(TEXT, "", END), Arc(AGAIN, " ", "relation", lx.DEFINITE_CAPITAL), *_spaced(_LEADS)),
    "relation": _is(RELATION, "related to"),
    # tags: objects, relations, scene attributes
    "tags": (Arc(FIRST_TAG, "", "tag", lx.TAG),),
    "tag": (
        Arc(TEXT, "", END),
        Arc(FIRST_TAG, ", ", "tag", lx.TAG),
        Arc(AGAIN, ", ", "tag relation", lx.TAG_AGAIN),
        Arc(PHRASE, ", ", "last tags"),
    ),
    "tag relation": (Arc(RELATION, " ", "tag target"),),
    "tag target": (Arc(AGAIN, "", "relation tag", lx.TAG_AGAIN),),
    "relation tag": (Arc(TEXT, "", END), Arc(AGAIN, ", ", "tag relation", lx.TAG_AGAIN), Arc(PHRASE, ", ", "last tags")),
    "last tags": (Arc(TEXT, "", END), Arc(PHRASE, ", ", "last tags")),
}
