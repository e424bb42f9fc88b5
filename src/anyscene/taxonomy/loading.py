"""From a folder of TSV files to a ``Taxonomy``."""

from __future__ import annotations

import hashlib
import re
import zipfile
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from anyscene.errors import TaxonomyError
from anyscene.taxonomy import taxonomy as t
from anyscene.taxonomy.reading import Folder, Problem, Row, unique

SHIPPED = Path(__file__).parent / "data"
FILES = (
    "objects.tsv",
    "hypernyms.tsv",
    "classes.tsv",
    "attributes.tsv",
    "relations.tsv",
    "scene_attributes.tsv",
    "sets.tsv",
    "types.tsv",
    "taxonomy.toml",
    "vectors.npz",
)
BASIC_COLORS = ("black", "white", "grey", "red", "orange", "yellow", "green", "blue", "purple", "pink", "brown")
DEFAULT_CLASS = "thing"
MAX_NAMES = 30_000
MAX_CHARS = 200
_HEX = re.compile(r"#[0-9a-f]{6}\Z")


def load_taxonomy(path: str | Path | None = None) -> t.Taxonomy:
    """Read a taxonomy folder; ``None`` is the vocabulary that ships with the package.

    Raises:
        TaxonomyError: the folder is missing or has mistakes; the message names the first and their number.
    """
    try:
        return _load(SHIPPED if path is None else Path(path).resolve())
    except (RuntimeError, OSError) as error:
        raise TaxonomyError(f"{path}: cannot be read ({error})") from None


@lru_cache(maxsize=4)
def _load(path: Path) -> t.Taxonomy:
    taxonomy, problems = read_taxonomy(path)
    if taxonomy is None:
        more = f" (and {len(problems) - 1} more: anyscene taxonomy check {path})" if len(problems) > 1 else ""
        raise TaxonomyError(f"{path}: {problems[0]}{more}")
    return taxonomy


def check_taxonomy(path: str | Path) -> list[Problem]:
    """Every mistake in a taxonomy folder, in file order."""
    return read_taxonomy(Path(path))[1]


def read_taxonomy(path: Path) -> tuple[t.Taxonomy | None, list[Problem]]:
    """Read a folder; the taxonomy is ``None`` where there is any problem."""
    if not path.is_dir():
        raise TaxonomyError(f"{path}: no such folder; a taxonomy is a folder with objects.tsv in it")
    if not (path / "objects.tsv").is_file():
        from anyscene.taxonomy.paper import is_paper_folder, read_paper_taxonomy

        if is_paper_folder(path):
            return read_paper_taxonomy(path), []
        raise TaxonomyError(f"{path}: no objects.tsv in this folder; see docs/taxonomy-format.md")
    folder = Folder(path)
    reader = _Reader(folder)
    taxonomy = reader.read()
    return (None if folder.problems else taxonomy), folder.problems


class _Reader:
    """Reads the files in the order in which they refer to each other."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder

    def read(self) -> t.Taxonomy:
        self._classes()
        objects, hypernyms = self._objects()
        kinds = self._types()
        attributes, attribute_types = self._attributes(kinds.get("attribute", {}))
        relations = self._relations()
        scene, scene_types = self._scene_attributes(kinds.get("scene_attribute", {}))
        sizes = {"objects": len(objects), "attributes": len(attributes), "relations": len(relations), "scene_attributes": len(scene)}
        return t.Taxonomy(
            name=self._name(),
            digest=self._digest(),
            classes=tuple(self.classes),
            class_parent=tuple(self.classes.values()),
            objects=objects,
            hypernyms=hypernyms,
            attributes=attributes,
            attribute_types=attribute_types,
            relations=relations,
            scene_attributes=scene,
            scene_attribute_types=scene_types,
            vectors=self._vectors(sizes),
        )

    def _classes(self) -> None:
        """Declared classes first, then those that objects use."""
        self.classes: dict[str, str] = {}
        self.groups: set[str] = {"any"}
        lines: dict[str, int] = {}
        for row in unique(self.folder.rows("classes.tsv", ("class",), ("parent",)), lambda row: row.text("class"), "the class"):
            lines[row.text("class")] = row.line
            self.classes[row.text("class")] = row.text("parent")
            self.groups.update(filter(None, (row.text("class"), row.text("parent"))))
        for name in sorted(lines, key=lambda name: -lines[name]):
            seen: set[str] = set()
            up = self.classes[name]
            while up and up not in seen:
                if up == name:
                    self.folder.problems.append(Problem("classes.tsv", lines[name], f"the class {name!r} is above itself"))
                    self.classes[name] = ""
                seen.add(up)
                up = self.classes.get(up, "")

    def _objects(self) -> tuple[t.Objects, dict[str, tuple[str, tuple[str, ...]]]]:
        optional = ("id", "plural", "number", "class", "parents", "visuality", "familiarity")
        rows = list(unique(self.folder.rows("objects.tsv", ("name",), optional), lambda row: row.text("name"), "the object"))
        if not rows and not self.folder.problems:
            self.folder.problems.append(Problem("objects.tsv", 1, "no objects; at least one is needed"))
        for row in rows:
            _plain(row, "name")
            _plain(row, "plural")
            name = row.text("class", DEFAULT_CLASS)
            if name == "any":
                row.problem("an object cannot be of class 'any'")
            self.classes.setdefault(name, "")
            self.groups.add(name)
        classes = {name: index for index, name in enumerate(self.classes)}
        ids = tuple(row.text("id", row.text("name")) for row in rows)
        inner = list(unique(self.folder.rows("hypernyms.tsv", ("id", "name"), ("parents",)), lambda row: row.text("id"), "the id"))
        hyper = {row.text("id"): (row.text("name"), row.names("parents")) for row in inner}
        known: dict[str, tuple[str, ...]] = {node: parents for node, (_, parents) in hyper.items()}
        for row, node in zip(rows, ids, strict=True):
            if node in known:
                row.problem(f"the id {node!r} is used twice")
            known[node] = row.names("parents")
        self._tree(known, {**{row.text("id"): row for row in inner}, **dict(zip(ids, rows, strict=True))})
        if len(classes) > MAX_NAMES:
            self.folder.problems.append(Problem("objects.tsv", 1, f"{len(classes)} classes; at most {MAX_NAMES} are taken"))
            classes = dict.fromkeys(classes, 0)
        numbers = [t.NUMBERS.index(row.one_of("number", t.NUMBERS, "count")) for row in rows]
        objects = t.Objects(
            ids=ids,
            names=tuple(row.text("name") for row in rows),
            plurals=tuple(_plural(row, number) for row, number in zip(rows, numbers, strict=True)),
            number=np.array(numbers, dtype=np.int8),
            class_index=np.array([classes[row.text("class", DEFAULT_CLASS)] for row in rows], dtype=np.int16),
            parents=tuple(row.names("parents") for row in rows),
            visuality=np.array([row.unit("visuality") for row in rows], dtype=np.float32),
            familiarity=np.array([row.unit("familiarity") for row in rows], dtype=np.float32),
        )
        return objects, hyper

    def _tree(self, parents: dict[str, tuple[str, ...]], rows: dict[str, Row]) -> None:
        """Every parent exists, and nobody is above oneself (Kahn's order)."""
        children: dict[str, list[str]] = {}
        waiting: dict[str, int] = {}
        for node, up in parents.items():
            waiting[node] = 0
            for parent in up:
                if parent not in parents:
                    rows[node].problem(f"unknown parent {parent!r} of {node!r}")
                else:
                    children.setdefault(parent, []).append(node)
                    waiting[node] += 1
        ready = [node for node, count in waiting.items() if count == 0]
        done = 0
        while ready:
            done += 1
            for child in children.get(ready.pop(), ()):
                waiting[child] -= 1
                if waiting[child] == 0:
                    ready.append(child)
        if done < len(parents):
            node = next(node for node, count in waiting.items() if count > 0)
            rows[node].problem(f"{node!r} is above itself in the hypernym tree")

    def _types(self) -> dict[str, dict[str, Row]]:
        kinds: dict[str, dict[str, Row]] = {}
        rows = self.folder.rows("types.tsv", ("kind", "type"), ("order", "weight", "open"))
        for row in unique(rows, lambda row: f"{row.text('kind')} {row.text('type')}", "the type"):
            kind = row.one_of("kind", ("attribute", "scene_attribute"), "attribute")
            kinds.setdefault(kind, {})[row.text("type")] = row
        return kinds

    def _type_table(self, used: dict[str, None], rows: dict[str, Row]) -> t.Types:
        """Types in use, in word order."""
        order = {name: rows[name].whole("order", 50) if name in rows else 50 for name in used}
        weight = {name: rows[name].positive("weight", 1.0) if name in rows else 1.0 for name in used}
        for name in rows.keys() - used.keys():
            rows[name].whole("order", 50)
            rows[name].positive("weight", 1.0)
        names = sorted(used, key=lambda name: (order[name], name))
        if len(names) > MAX_NAMES:
            self.folder.problems.append(Problem("types.tsv", 1, f"{len(names)} types; at most {MAX_NAMES} are taken"))
            names = names[:1] * len(names)
        return t.Types(
            names=tuple(names),
            order=np.array([order[name] for name in names], dtype=np.int32),
            weight=np.array([weight[name] for name in names], dtype=np.float64),
            open=tuple(rows[name].text("open") if name in rows else "" for name in names),
        )

    def _mask(self, row: Row, column: str) -> NDArray[np.bool_]:
        classes = tuple(self.classes)
        mask = np.zeros(len(classes), dtype=np.bool_)
        names = row.names(column) or ("any",)
        for name in names:
            if name not in self._masks:
                self._masks[name] = t.class_mask(name, classes, tuple(self.classes.values()))
            if name not in self.groups:
                row.problem(f"{column} names the class {name!r}, which no object has and classes.tsv does not list")
            mask |= self._masks[name]
        return mask

    def _attributes(self, kinds: dict[str, Row]) -> tuple[t.Attributes, t.Types]:
        self._masks: dict[str, NDArray[np.bool_]] = {}
        optional = ("fits", "exclusive", "opposite", "predicate", "hex", "basic_color")
        rows = list(unique(self.folder.rows("attributes.tsv", ("value", "type"), optional), lambda row: row.text("value"), "the value"))
        types = self._type_table(dict.fromkeys(row.text("type") for row in rows), kinds)
        at = {row.text("value").casefold(): index for index, row in enumerate(rows)}
        type_at = {name: index for index, name in enumerate(types.names)}
        opposite = np.full(len(rows), -1, dtype=np.int32)
        for index, row in enumerate(rows):
            _plain(row, "value")
            _plain(row, "predicate")
            other = row.text("opposite")
            if other:
                if other.casefold() not in at:
                    row.problem(f"opposite {other!r} is not a value of this file")
                elif rows[at[other.casefold()]].text("type") != row.text("type") or at[other.casefold()] == index:
                    row.problem(f"opposite {other!r} must be another value of the type {row.text('type')!r}")
                else:
                    opposite[index] = at[other.casefold()]
            if row.text("hex") and not _HEX.match(row.text("hex")):
                row.problem(f"hex is {row.text('hex')!r}; it must be like #1e90ff")
            if row.text("basic_color") and row.text("basic_color") not in BASIC_COLORS:
                row.problem(f"basic_color is {row.text('basic_color')!r}; it must be one of {', '.join(BASIC_COLORS)}")
        attributes = t.Attributes(
            values=tuple(row.text("value") for row in rows),
            predicates=tuple(row.text("predicate", row.text("value")) for row in rows),
            type_index=np.array([type_at[row.text("type")] for row in rows], dtype=np.int16),
            fits=np.array([self._mask(row, "fits") for row in rows], dtype=np.bool_).reshape(len(rows), len(self.classes)),
            exclusive=np.array([row.flag("exclusive", True) for row in rows], dtype=np.bool_),
            opposite=opposite,
            hex=tuple(row.text("hex") for row in rows),
            basic_color=tuple(row.text("basic_color") for row in rows),
        )
        return attributes, types

    def _relations(self) -> t.Relations:
        optional = ("type", "subject_classes", "object_classes", "symmetric", "antisymmetric", "inverse")
        rows = list(unique(self.folder.rows("relations.tsv", ("relation",), optional), lambda row: row.text("relation"), "the relation"))
        for row in rows:
            _plain(row, "relation")
            if row.flag("symmetric", False) and row.flag("antisymmetric", False):
                row.problem("a relation cannot be symmetric and antisymmetric")
        shape = (len(rows), len(self.classes))
        return t.Relations(
            names=tuple(row.text("relation") for row in rows),
            type_index=np.array([t.RELATION_TYPES.index(row.one_of("type", t.RELATION_TYPES, "spatial")) for row in rows], dtype=np.int16),
            subjects=np.array([self._mask(row, "subject_classes") for row in rows], dtype=np.bool_).reshape(shape),
            objects=np.array([self._mask(row, "object_classes") for row in rows], dtype=np.bool_).reshape(shape),
            symmetric=np.array([row.flag("symmetric", False) for row in rows], dtype=np.bool_),
            antisymmetric=np.array([row.flag("antisymmetric", False) for row in rows], dtype=np.bool_),
            inverse=tuple(row.text("inverse") for row in rows),
        )

    def _scene_attributes(self, kinds: dict[str, Row]) -> tuple[t.SceneAttributes, t.Types]:
        sets = {row.text("name").removeprefix("@"): row.names("members") for row in self.folder.rows("sets.tsv", ("name",), ("members",))}
        optional = ("group", "modalities", "contradicts", "visible", "question")
        columns = ("value", "type", "phrase")
        rows = list(
            unique(
                self.folder.rows("scene_attributes.tsv", columns, optional),
                lambda row: f"{row.text('type')}={row.text('value')}",
                "the value",
            )
        )
        rows = list(unique(iter(rows), lambda row: row.text("phrase"), "the phrase"))
        types = self._type_table(dict.fromkeys(row.text("type") for row in rows), kinds)
        type_at = {name: index for index, name in enumerate(types.names)}
        pairs = {f"{row.text('type')}={row.text('value')}" for row in rows}
        cells: dict[str, frozenset[str]] = {}

        def against(row: Row) -> frozenset[str]:
            cell = row.text("contradicts")
            if cell not in cells:
                entries = set(row.names("contradicts"))
                for entry in [entry for entry in entries if entry.startswith("@")]:
                    if entry[1:] not in sets:
                        row.problem(f"contradicts names the set {entry!r}, which sets.tsv does not have")
                    entries.discard(entry)
                    entries.update(sets.get(entry[1:], ()))
                unknown = sorted(entry for entry in entries if entry not in type_at and entry not in pairs)
                for entry in unknown:
                    row.problem(f"contradicts names {entry!r}, which is neither a type nor type=value of this file")
                cells[cell] = frozenset(entries.difference(unknown))
            return cells[cell]

        def modalities(row: Row) -> frozenset[str]:
            names = row.names("modalities") or t.MODALITIES
            for name in names:
                if name not in t.MODALITIES:
                    row.problem(f"unknown modality {name!r}; it must be one of {', '.join(t.MODALITIES)}")
            return frozenset(names)

        for row in rows:
            _plain(row, "phrase")
        visible = [row.flag("visible", True) for row in rows]
        scene = t.SceneAttributes(
            values=tuple(row.text("value") for row in rows),
            type_index=np.array([type_at[row.text("type")] for row in rows], dtype=np.int16),
            groups=tuple(row.one_of("group", t.GROUPS, "scene") for row in rows),
            phrases=tuple(row.text("phrase") for row in rows),
            modalities=tuple(modalities(row) for row in rows),
            contradicts=tuple(against(row) for row in rows),
            visible=np.array(visible, dtype=np.bool_),
            questions=tuple(
                row.text("question", f"Is the scene {row.text('phrase')}?") if seen else "" for row, seen in zip(rows, visible, strict=True)
            ),
        )
        return scene, types

    def _name(self) -> str:
        path = self.folder.path / "taxonomy.toml"
        if path.is_file():
            match = re.search(r'^name\s*=\s*"([^"\n]+)"', path.read_bytes().decode("utf-8", "replace"), re.MULTILINE)
            if match and match[1].isprintable():
                return match[1]
            self.folder.problems.append(Problem("taxonomy.toml", 1, 'no line like: name = "my taxonomy"'))
        return self.folder.path.name.encode("utf-8", "replace").decode("utf-8")

    def _digest(self) -> str:
        digest = hashlib.sha256()
        for file in FILES:
            path = self.folder.path / file
            if path.is_file():
                digest.update(f"{file}\0{path.stat().st_size}\0".encode())
                digest.update(path.read_bytes())
        return digest.hexdigest()[:16]

    def _vectors(self, sizes: dict[str, int]) -> dict[str, NDArray[np.generic]]:
        path = self.folder.path / "vectors.npz"
        if not path.is_file():
            return {}
        try:
            with path.open("rb") as file:
                data = np.load(file, allow_pickle=False)
                if not isinstance(data, np.lib.npyio.NpzFile):
                    raise ValueError("not an .npz archive")
                vectors = {name: data[name] for name in data.files}
        except (ValueError, OSError, KeyError, EOFError, zipfile.BadZipFile) as error:
            self.folder.problems.append(Problem("vectors.npz", 1, f"cannot be read: {error}"))
            return {}
        for name, size in sizes.items():
            if name in vectors and (vectors[name].shape != (size, 64) or vectors[name].dtype != np.int8):
                found = f"{vectors[name].dtype} {vectors[name].shape}"
                self.folder.problems.append(Problem("vectors.npz", 1, f"{name} is {found}; it must be int8 ({size}, 64)"))
        return vectors


def _plain(row: Row, column: str) -> None:
    """Words that go into captions: no comma and no sentence end, which captions are parsed by."""
    text = row.text(column)
    if len(text) > MAX_CHARS:
        row.problem(f"{column} has {len(text)} characters; at most {MAX_CHARS} are taken")
    if any(mark in text for mark in ',;:?!()"') or text.endswith("."):
        row.problem(f'{column} {text!r} has punctuation that captions cannot hold (, ; : ? ! ( ) " or a final .)')


def _plural(row: Row, number: int) -> str:
    if number == t.MASS:
        return row.text("plural", row.text("name"))
    if number == t.PLURAL:
        return row.text("plural", row.text("name"))
    return row.text("plural") or regular_plural(row.text("name"))


def regular_plural(noun: str) -> str:
    """The regular English plural of the last word (fox -> foxes, berry -> berries)."""
    low = noun.lower()
    if low.endswith(("s", "x", "z", "ch", "sh")):
        return noun + "es"
    if low.endswith("y") and len(low) > 1 and low[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + "s"
