"""From a caption back to its scene graph: the proof that captions lose nothing.

The text is laid over the network of each lossless style (see ``networks``): every (place in the network, place in the text) that
can be reached is one *state*, visited once, so that even a hostile text costs time in proportion to its length. Paths that lead
from the first state to the end of the text are *readings*. A reading counts if the caption of its graph is the text itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from anyscene.errors import CaptionParseError, GraphError
from anyscene.language import lexicon as lx
from anyscene.language.captions import LOSSLESS, realize_captions
from anyscene.language.encode import batch_of_graphs
from anyscene.language.english import ORDINALS
from anyscene.language.lattice import Event, Kind, Lattice, Rules
from anyscene.language.matching import Text, Vocabulary
from anyscene.language.networks import MODALITIES
from anyscene.scene.graph import MAX_ELEMENTS, SceneGraph
from anyscene.space.decode import to_graph
from anyscene.taxonomy import COUNT_TYPE, NUMERALS, Taxonomy, load_taxonomy, with_words

__all__ = ["parse"]

MAX_CHARS = 200_000
MAX_READINGS = 16
MAX_SCENE_ATTRIBUTES = 63
MORE_ORDINALS = 100


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
    own = _Words(load_taxonomy() if taxonomy is None else taxonomy)
    parser = _parser(own, MORE_ORDINALS if _many_ordinals(caption) else lx.MAX_ORDINAL)
    return parser.parse(caption)


