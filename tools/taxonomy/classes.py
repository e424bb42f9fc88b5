"""The one narrowest class of an object: that of its nearest ancestor in ``review/class_roots.tsv``.

Lexicographer files decide first where they are sharper than the hypernyms: a noun filed under person or food is one, and one
filed under plant is a plant or a food. Single objects whose branch misleads are in ``review/class_overrides*.tsv``.
"""

from __future__ import annotations

from collections.abc import Mapping

from wordnet import WordNet

CLASSES = [
    "person",
    "animal",
    "food",
    "plant",
    "body_part",
    "weapon",
    "instrument",
    "vehicle",
    "toy",
    "clothing",
    "furniture",
    "building",
    "room",
    "machine",
    "tool",
    "device",
    "container",
    "artwork",
    "document",
    "fabric",
    "covering",
    "water",
    "landform",
    "structure",
    "artifact",
    "natural_object",
    "substance",
    "place",
    "thing",
]
"""All classes; of two roots equally near, the one whose class comes first here wins."""

PARENTS = {"person": "animate", "animal": "animate"}
BY_LEXNAME = {"person": "person", "food": "food"}
DEFAULTS = {
    "plant": "plant",
    "body": "body_part",
    "animal": "body_part",
    "artifact": "artifact",
    "substance": "substance",
    "location": "place",
    "object": "natural_object",
}


def class_of(synset: str, wordnet: WordNet, roots: Mapping[str, str]) -> str:
    """The class of a synset, from its lexicographer file and its nearest root."""
    above = wordnet.distances(synset)
    lexname = wordnet.synsets[synset].lexname
    found = [(distance, CLASSES.index(roots[node]), roots[node]) for node, distance in above.items() if node in roots]
    nearest = min(found)[2] if found else "thing"
    if lexname in BY_LEXNAME:
        return BY_LEXNAME[lexname]
    if lexname == "plant" and nearest != "food":
        return "plant"
    if nearest == "thing" or (lexname in ("body", "animal") and nearest in ("thing", "artifact", "structure", "covering")):
        return DEFAULTS.get(lexname, nearest)
    return nearest
