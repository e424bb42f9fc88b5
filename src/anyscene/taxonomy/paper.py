"""Reads the metadata folder that the paper's authors released as a taxonomy (their ``metadata/``; the folder is the user's own choice).

Words are cleaned so that captions can hold them: underscores become spaces, sense tags go ("general (head)" is "general"), and what is
then there twice is merged. All objects are count nouns of class ``thing``; the files know neither plurals nor what goes with what.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anyscene.errors import TaxonomyError
from anyscene.taxonomy import taxonomy as t
from anyscene.taxonomy.loading import DEFAULT_CLASS, regular_plural
from anyscene.taxonomy.reading import MAX_FILE_BYTES

OBJECT_FILES = ("objects.json", "objects_list.json")
WORD_FILES = ("attributes.json", "relations.json")
SCENE_FILE = "scene_attributes.json"
MAX_WORD_CHARS = 200

_TAG = re.compile(r"\([^()]*\)")
_LEADING_BE = re.compile(r"(?:(?:is|are) )+(?=.)")
_LAST_ARTICLE = re.compile(r" (?:a|an|the)$")
_PUNCTUATION = str.maketrans(dict.fromkeys(',;:?!()"', " "))
_INVISIBLE = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
_AN = re.compile(
    r"(?i:(?!uni(?!n|m)|u[bfkrst][aeiou]|eu|ew|one\b|once\b)[aeiou]|hour|honest|heir)"
    r"|8|1[18](?!\d)|(?!NASA\b|LOMO\b|FED\b|RED\b)[FHLMNRSX](?=[A-Z0-9]|\b)"
)
_WEATHER_EVENTS = frozenset(("mistral", "gale", "hailstorm", "tornado", "hurricane", "blizzard", "monsoon", "typhoon", "snow flurry"))
_WEATHER_STUFF = frozenset(("lightning", "rime", "graupel", "fog", "rain", "snow", "hail", "sleet", "mist"))
_SIDES = frozenset(("indoor", "outdoor", "interior", "exterior", "public", "platform"))
_SHAPES = {
    "cylindrical": "a cylindrical form",
    "hole": "a hole",
    "mainly empty": "a mainly empty volume",
    "cubic aspect ratio": "a cubic aspect ratio",
}
_CAMERA_FACTS = frozenset(("a", "aperture", "iso", "focal length", "camera model"))
_PAINTED = frozenset(("technique", "painting style", "artist"))
_GROUP_MODALITIES = {"style": t.MODALITIES, "scene": t.MODALITIES, "camera": ("image", "video"), "video": ("video",), "3d": ("3d",)}
_ATTRIBUTE_ORDER = {
    "adj-beauty": 10,
    "adj-horror": 12,
    "adj-general": 20,
    "state": 30,
    "size": 40,
    "human-tall": 42,
    "human-short": 43,
    "human-heavy": 44,
    "human-light": 45,
    "human-fit": 46,
    "human-shape": 48,
    "shape": 60,
    "texture": 62,
    "color": 70,
    "architectural style": 80,
    "material": 82,
}
_ATTRIBUTE_QUESTIONS = {
    "color": "What color {is} {the}?",
    "size": "What size {is} {the}?",
    "material": "What {is} {the} made of?",
    "shape": "What shape {is} {the}?",
    "texture": "What texture {does} {the} have?",
}


def is_paper_folder(path: str | Path) -> bool:
    """Does the folder hold the JSON files of the paper's release: objects, attributes and relations?"""
    folder = Path(path)
    return _object_file(folder) is not None and all((folder / name).is_file() for name in WORD_FILES)


def read_paper_taxonomy(path: str | Path) -> t.Taxonomy:
    """Read ``objects.json`` (or ``objects_list.json``), ``attributes.json``, ``relations.json`` and, if there, ``scene_attributes.json``.

    Raises:
        TaxonomyError: a file is missing, is not JSON, or does not have the shape of the released ones.
    """
    folder = Path(path)
    objects = _object_file(folder)
    if objects is None or not is_paper_folder(folder):
        files = f"{' or '.join(OBJECT_FILES)}, {' and '.join(WORD_FILES)}"
        raise TaxonomyError(f"{folder}: not the paper's metadata; that is a folder with {files}")
    digest = hashlib.sha256()
    paths = [objects, *(folder / name for name in WORD_FILES), folder / SCENE_FILE]
    nouns, values, predicates, scenes = (_json_of(file, digest) if file.is_file() else {} for file in paths)
    attributes, attribute_types = _attributes(_typed(values, paths[1]))
    scene_attributes, scene_types = _scene_attributes(_grouped(scenes, paths[3]))
    return t.Taxonomy(
        name=folder.resolve().name,
        digest=digest.hexdigest()[:16],
        classes=(DEFAULT_CLASS,),
        class_parent=("",),
        objects=_objects(_texts(nouns, paths[0]), paths[0]),
        hypernyms={},
        attributes=attributes,
        attribute_types=attribute_types,
        relations=_relations(_typed(predicates, paths[2])),
        scene_attributes=scene_attributes,
        scene_attribute_types=scene_types,
    )


# ---- files --------------------------------------------------------------------------------------------------------------------


def _object_file(folder: Path) -> Path | None:
    return next((folder / name for name in OBJECT_FILES if (folder / name).is_file()), None)


def _json_of(file: Path, digest: Any) -> Any:
    """What a JSON file holds; its bytes go into the digest."""
    try:
        size = file.stat().st_size
        if size > MAX_FILE_BYTES:
            raise TaxonomyError(f"{file}: the file has {size:,} bytes; at most {MAX_FILE_BYTES:,} are read")
        data = file.read_bytes()
        digest.update(f"{file.name}\0{len(data)}\0".encode())
        digest.update(data)
        return json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise TaxonomyError(f"{file}: not UTF-8 text (byte {error.start})") from None
    except json.JSONDecodeError as error:
        raise TaxonomyError(f"{file}:{error.lineno}: not JSON: {error.msg} in column {error.colno}") from None
    except (RecursionError, ValueError) as error:
        raise TaxonomyError(f"{file}: not JSON that can be read: {error}") from None
    except OSError as error:
        raise TaxonomyError(f"{file}: cannot be read: {error.strerror}") from None


def _texts(data: Any, file: Path, where: str = "the file") -> list[str]:
    if not isinstance(data, list):
        raise TaxonomyError(f"{file}: {where} is {type(data).__name__}; it must be a list of words")
    for place, word in enumerate(data):
        if not isinstance(word, str):
            raise TaxonomyError(f"{file}: {where}[{place}] is {type(word).__name__}; it must be a word")
    return data


def _typed(data: Any, file: Path, where: str = "the file") -> dict[str, list[str]]:
    if not isinstance(data, dict):
        raise TaxonomyError(f"{file}: {where} is {type(data).__name__}; it must be an object of the form {{type: [words]}}")
    return {_clean(kind) or kind: _texts(words, file, repr(kind)) for kind, words in data.items()}


def _grouped(data: Any, file: Path) -> dict[str, dict[str, list[str]]]:
    if not isinstance(data, dict):
        raise TaxonomyError(f"{file}: the file is {type(data).__name__}; it must be an object of the form {{group: {{type: [words]}}}}")
    return {group: _typed(types, file, repr(group)) for group, types in data.items()}


# ---- words --------------------------------------------------------------------------------------------------------------------


def _clean(text: str) -> str:
    """Without underscores and sense tags, single spaces; empty where captions cannot hold it."""
    words = text if text.isalpha() else " ".join(_TAG.sub(" ", text.replace("_", " ")).split())
    if not words or len(words) > MAX_WORD_CHARS or words.endswith("."):
        return ""
    if words.isascii() and words.isprintable():
        return words if words.translate(_PUNCTUATION) == words else ""
    return "" if any(unicodedata.category(char) in _INVISIBLE for char in words) or words.translate(_PUNCTUATION) != words else words


def _once(words: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """(type, word) with the empty words and the second ones left out."""
    seen: set[str] = set()
    for kind, word in words:
        if word and word.casefold() not in seen:
            seen.add(word.casefold())
            yield kind, word


def _objects(nouns: list[str], file: Path) -> t.Objects:
    names = tuple(name for _, name in _once(("", _clean(noun)) for noun in nouns))
    if not names:
        raise TaxonomyError(f"{file}: no objects; at least one is needed")
    size = len(names)
    return t.Objects(
        ids=names,
        names=names,
        plurals=tuple(map(regular_plural, names)),
        number=np.full(size, t.COUNT, dtype=np.int8),
        class_index=np.zeros(size, dtype=np.int16),
        parents=((),) * size,
        visuality=np.ones(size, dtype=np.float32),
        familiarity=np.ones(size, dtype=np.float32),
    )


def _attributes(typed: dict[str, list[str]]) -> tuple[t.Attributes, t.Types]:
    rows = list(_once((kind, _clean(word)) for kind, words in typed.items() for word in words))
    types = _types([kind for kind, _ in rows], _ATTRIBUTE_ORDER, _ATTRIBUTE_QUESTIONS, frozenset())
    size = len(rows)
    words = tuple(word for _, word in rows)
    attributes = t.Attributes(
        values=words,
        predicates=words,
        type_index=_type_index(types, [kind for kind, _ in rows]),
        fits=np.ones((size, 1), dtype=np.bool_),
        exclusive=np.ones(size, dtype=np.bool_),
        opposite=np.full(size, -1, dtype=np.int32),
        hex=("",) * size,
        basic_color=("",) * size,
    )
    return attributes, types


def _relations(typed: dict[str, list[str]]) -> t.Relations:
    """Relations for "X is RELATION Y": a leading "is" and a last "a" go; finite verbs cannot be told from the rest and stay."""

    def words(text: str) -> str:
        return _LAST_ARTICLE.sub("", _LEADING_BE.sub("", _clean(text)))

    rows = list(_once((kind if kind in t.RELATION_TYPES else "spatial", words(text)) for kind, own in typed.items() for text in own))
    size = len(rows)
    return t.Relations(
        names=tuple(name for _, name in rows),
        type_index=np.array([t.RELATION_TYPES.index(kind) for kind, _ in rows], dtype=np.int16),
        subjects=np.ones((size, 1), dtype=np.bool_),
        objects=np.ones((size, 1), dtype=np.bool_),
        symmetric=np.zeros(size, dtype=np.bool_),
        antisymmetric=np.zeros(size, dtype=np.bool_),
        inverse=("",) * size,
    )


def _types(kinds: list[str], order: dict[str, int], questions: dict[str, str], rare: frozenset[str]) -> t.Types:
    names = sorted(dict.fromkeys(kinds), key=lambda name: (order.get(name.casefold(), 50), name))
    return t.Types(
        names=tuple(names),
        order=np.array([order.get(name.casefold(), 50) for name in names], dtype=np.int32),
        weight=np.array([0.2 if name.casefold() in rare else 1.0 for name in names], dtype=np.float64),
        open=tuple(questions.get(name.casefold(), "") for name in names),
    )


def _type_index(types: t.Types, kinds: list[str]) -> Any:
    at = {name: index for index, name in enumerate(types.names)}
    return np.array([at[kind] for kind in kinds], dtype=np.int16)


# ---- scene attributes ---------------------------------------------------------------------------------------------------------


def _scene_attributes(groups: dict[str, dict[str, list[str]]]) -> tuple[t.SceneAttributes, t.Types]:
    """Values as they are, but for stray spaces; the phrase is what captions can hold, and no two are alike."""
    rows: list[_SceneRow] = []
    seen: set[tuple[str, str]] = set()
    phrases: set[str] = set()
    entries = [(group, kind, " ".join(text.split())) for group, types in groups.items() for kind, texts in types.items() for text in texts]
    bare = Counter((kind, _TAG.sub("", value).strip()) for _, kind, value in entries)
    for group, kind, value in entries:
        ambiguous = bare[kind, _TAG.sub("", value).strip()] > 1
        phrase = next((one for one in _phrases(kind.casefold(), value, ambiguous) if one.casefold() not in phrases), None)
        if phrase and (kind.casefold(), value.casefold()) not in seen:
            seen.add((kind.casefold(), value.casefold()))
            phrases.add(phrase.casefold())
            first = group.split(" ", 1)[0].casefold()
            rows.append(_SceneRow(first if first in t.GROUPS else "scene", kind, value, phrase))
    order = {kind: wording[0] for kind, wording in _WORDINGS.items()}
    types = _types([row.kind for row in rows], order, _SCENE_QUESTIONS, _CAMERA_FACTS)
    against = {name: _contradicted(name.casefold(), types.names) for name in types.names}
    visible = [row.kind.casefold() not in _CAMERA_FACTS for row in rows]
    scene = t.SceneAttributes(
        values=tuple(row.value for row in rows),
        type_index=_type_index(types, [row.kind for row in rows]),
        groups=tuple(row.group for row in rows),
        phrases=tuple(row.phrase for row in rows),
        modalities=tuple(frozenset(_GROUP_MODALITIES[row.group]) for row in rows),
        contradicts=tuple(against[row.kind] for row in rows),
        visible=np.array(visible, dtype=np.bool_),
        questions=tuple(_question(row.phrase) if seen else "" for row, seen in zip(rows, visible, strict=True)),
    )
    return scene, types


@dataclass(frozen=True, slots=True)
class _SceneRow:
    group: str
    kind: str
    value: str
    phrase: str


def _contradicted(kind: str, names: tuple[str, ...]) -> frozenset[str]:
    """Types that do not go with a type: what is painted has no lens, and one picture has one school."""
    if kind not in _PAINTED:
        return frozenset()
    against = _CAMERA_FACTS | {"depth of focus"} | ({"painting style"} if kind == "artist" else set())
    return frozenset(name for name in names if name.casefold() in against)


def _question(phrase: str) -> str:
    return f"Is this {'shown ' if phrase.startswith('with ') or phrase.endswith(' weather') else ''}{phrase}?"


def _phrases(kind: str, value: str, ambiguous: bool) -> Iterator[str]:
    """Phrases for a value, the best first; the others are for when it is taken. An ambiguous value keeps its tag: "a hockey arena"."""
    wording = _WORDINGS[kind][1] if kind in _WORDINGS else lambda words: f"with the {_clean(kind) or 'quality'} {words}"
    tags = [" ".join(tag[1:-1].split()) for tag in _TAG.findall(value)]
    plain = _TAG.sub(" ", value)
    kept = [tag for tag in tags if ambiguous or tag.casefold() in _SIDES]
    last = ""
    for words in (" ".join((*kept, plain)), " ".join((*tags, plain))):
        words = " ".join(words.replace("_", " ").translate(_PUNCTUATION).split()).rstrip(". ")
        if words and len(words) <= MAX_WORD_CHARS and not any(unicodedata.category(char) in _INVISIBLE for char in words):
            yield wording(words)
            last = words
    if last:
        yield f"{wording(last)} as {_clean(kind) or 'quality'}"


def _a(words: str) -> str:
    return f"an {words}" if _AN.match(words) else f"a {words}"


def _lower_first(words: str) -> str:
    return words[:1].lower() + words[1:]


def _place(words: str) -> str:
    plural = words.endswith("s") and not words.endswith(("ss", "us", "'s"))
    return f"set in {words if plural else _a(words)}"


def _weather(words: str) -> str:
    if words.casefold() in _WEATHER_EVENTS:
        return f"in {_a(words)}"
    return f"in {words}" if words.casefold() in _WEATHER_STUFF or words.endswith("weather") else f"in {words} weather"


def _view(words: str) -> str:
    if words.endswith("level"):
        return f"seen from {words}"
    if words.endswith("angle"):
        return f"seen from {_a(words)}"
    return f"seen in {_a(words)}" if words.endswith(("shot", "view", "frame", "perspective")) else f"seen in {_a(words)} view"


def _shape(words: str) -> str:
    low = words.lower()
    bare = low.removeprefix("has ")
    return f"with {_SHAPES.get(bare, bare)}"


_WORDINGS: dict[str, tuple[int, Callable[[str], str]]] = {
    "location": (10, _place),
    "weather": (16, _weather),
    "lighting": (18, lambda words: f"with {words}"),
    "3d shape attribute": (22, _shape),
    "3d shape attributes": (22, _shape),
    "genre": (40, lambda words: f"in the genre of {words}"),
    "technique": (42, lambda words: f"made with the {words} technique"),
    "painting style": (44, lambda words: f"in the style of {words}"),
    "artist": (46, lambda words: f"in the style of {words}"),
    "size": (50, lambda words: f"framed as {_a(words)}"),
    "view": (52, _view),
    "focal length": (58, lambda words: f"shot with {_a(words)} lens"),
    "a": (60, lambda words: f"shot at {words}"),
    "aperture": (60, lambda words: f"shot at {words}"),
    "iso": (62, lambda words: f"shot at ISO {words.removeprefix('ISO ')}"),
    "depth of focus": (64, lambda words: f"with {words}"),
    "camera model": (68, lambda words: f"shot on {_a(words)}"),
    "camera gear": (70, lambda words: f"filmed with {_a(words.lower())}"),
    "camera movement": (72, lambda words: f"filmed with {_a(words.lower())}"),
    "video editting style": (74, lambda words: f"edited in the {words.lower()} style"),
    "video editing style": (74, lambda words: f"edited in the {words.lower()} style"),
    "time span": (76, lambda words: f"taking place {_lower_first(words)}"),
}
_SCENE_QUESTIONS = {
    "location": "Where is the scene set?",
    "weather": "What is the weather like?",
    "lighting": "How is the scene lit?",
    "genre": "What genre is this?",
    "technique": "What artistic technique is this?",
    "painting style": "Which style does this follow?",
    "artist": "Whose style is this in?",
    "size": "What kind of shot is this?",
    "view": "From what angle is the scene seen?",
    "depth of focus": "What is the focus like?",
    "camera movement": "How does the camera move?",
}
