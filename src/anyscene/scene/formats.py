"""Scene graphs from and to the formats in which people keep them.

Read are, told apart by their shape: our own records; networkx node-link JSON; the released format of the paper's authors; Visual
Genome. All but the first are cleaned: underscores become spaces, sense tags go ("general (head)" is "general"), whatever is there twice
counts once. Written are our record format (``SceneGraph.to_dict``), networkx graphs and node-link JSON; the last two carry a mark, so
that their words are read back exactly as they were.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from anyscene.errors import GraphError, MissingExtraError
from anyscene.scene.graph import MAX_ELEMENTS, MAX_NAME_CHARS, Attribute, Object, Relation, SceneAttribute, SceneGraph

if TYPE_CHECKING:
    import networkx

MAX_FILE_BYTES = 64 * 1024 * 1024
MAX_JSON_VALUES = 400_000
"""JSON values in one file: a graph of ``MAX_ELEMENTS`` elements with all its questions stays below."""

UNTYPED = "attribute"
"""The type of an attribute that comes as a bare word."""

_MARK = "anyscene"
_FORMATS = (
    'an Anyscene record ("objects", "relations"), networkx node-link JSON ("nodes", "links" or "edges"), '
    'the paper\'s released format ("scene_graph") or Visual Genome ("objects", "relationships")'
)
_SENSE_TAG = re.compile(r"\([^()]*\)")
_LEADING_BE = re.compile(r"(?:(?:is|are) )+(?=.)", re.IGNORECASE)
_ATTRIBUTE_NODES = ("attribute", "attribute_node", "attr")
_RELATION_NODES = ("relation", "relation_node", "relationship", "predicate")
_NAME_KEYS = ("name", "label", "value")
_PREDICATE_KEYS = ("predicate", "relation", "label", "value")
_TYPE_KEYS = ("value_type", "attribute_type")


def load_graph(path: str | Path) -> SceneGraph:
    """Read the scene graph that a JSON file holds, in any format that ``read_graph`` takes.

    Raises:
        GraphError: there is no such file, it is too large, it is not UTF-8 or not JSON, or what it holds is no scene graph.
    """
    try:
        return _read(_parse(_bytes_of(Path(path))))
    except GraphError as error:
        raise GraphError(f"{_cut(str(path), 300)}: {_line(error)}") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise GraphError(f"{_cut(str(path), 300)}: cannot be read: {reason}") from None


def read_graph(data: Any) -> SceneGraph:
    """The scene graph that parsed JSON stands for; the format is told by the shape.

    Raises:
        GraphError: the shape is none of the known ones, a key is missing or a value is of the wrong kind.
    """
    try:
        return _read(data)
    except GraphError as error:
        raise GraphError(_line(error)) from None


def to_node_link(graph: SceneGraph) -> dict[str, Any]:
    """The graph as networkx node-link JSON: nodes with name and attributes, edges with a predicate. ``read_graph`` reads it back."""
    return {
        "directed": True,
        "multigraph": True,
        "graph": _graph_data(graph),
        "nodes": [{"id": one.id, **_object_data(one)} for one in graph.objects],
        "edges": [{"source": r.subject, "target": r.object, "key": i, "predicate": r.predicate} for i, r in enumerate(graph.relations)],
    }


def to_networkx(graph: SceneGraph) -> networkx.MultiDiGraph:
    """The graph as a ``networkx.MultiDiGraph``; ``read_graph(networkx.node_link_data(...))`` gives it back, up to the order of relations.

    Raises:
        MissingExtraError: networkx is not installed.
    """
    try:
        import networkx
    except ImportError as error:
        raise MissingExtraError("Turning a scene graph into a networkx graph", "networkx") from error
    found = networkx.MultiDiGraph(**_graph_data(graph))
    found.add_nodes_from((one.id, _object_data(one)) for one in graph.objects)
    found.add_edges_from((r.subject, r.object, i, {"predicate": r.predicate}) for i, r in enumerate(graph.relations))
    return found


def _graph_data(graph: SceneGraph) -> dict[str, Any]:
    return {_MARK: 1, "scene_attributes": [{"type": a.type, "value": a.value} for a in graph.scene_attributes]}


def _object_data(one: Object) -> dict[str, Any]:
    return {"name": one.name, "attributes": [{"type": a.type, "value": a.value} for a in one.attributes]}


# ---- files --------------------------------------------------------------------------------------------------------------------


def _bytes_of(path: Path) -> bytes:
    try:
        found = path.stat()
    except FileNotFoundError:
        raise GraphError("no such file; a scene graph is a JSON file") from None
    if not stat.S_ISREG(found.st_mode):
        raise GraphError(f"{'a folder' if stat.S_ISDIR(found.st_mode) else 'not a regular file'}; a scene graph is a JSON file")
    if found.st_size > MAX_FILE_BYTES:
        raise GraphError(f"the file has {found.st_size:,} bytes; at most {MAX_FILE_BYTES:,} are read, and one graph a file")
    with open(path, "rb", opener=_open) as file:
        return file.read(MAX_FILE_BYTES + 1)


def _open(name: str, flags: int) -> int:
    """Opens without waiting, should the file have become a pipe meanwhile."""
    return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))


def _parse(data: bytes) -> Any:
    """Strict JSON. Values are counted before any is made, so that time and memory stay bounded."""
    values = data.count(b",") + data.count(b"[") + data.count(b"{")
    if values > MAX_JSON_VALUES:
        raise GraphError(f"some {values:,} JSON values; at most {MAX_JSON_VALUES:,} are read, for {MAX_ELEMENTS:,} elements")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise GraphError(f"not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    try:
        return json.loads(text, object_pairs_hook=_without_twins, parse_constant=_no_constant, parse_int=_whole)
    except json.JSONDecodeError as error:
        more = "; one graph a file: give each line of a JSON Lines file alone" if error.msg == "Extra data" else ""
        raise GraphError(f"not JSON: {error.msg} in line {error.lineno}, column {error.colno}{more}") from None
    except RecursionError:
        raise GraphError("the JSON is nested too deeply; a scene graph is five levels deep") from None


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twin = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise GraphError(f"an object has the key {_cut(twin)!r} twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise GraphError(f"{name} is not a JSON value")


def _whole(digits: str) -> int:
    if len(digits) > 100:
        raise GraphError(f"a number of {len(digits):,} digits; ids have at most 100")
    return int(digits)


# ---- which format -------------------------------------------------------------------------------------------------------------


def _read(data: Any) -> SceneGraph:
    if not isinstance(data, Mapping):
        raise _unknown(data)
    if isinstance(data.get("scene_graph"), Mapping):
        return _released(data)
    if "nodes" in data:
        return _nodes_and_edges(data, _scene_attributes(data))
    if "objects" in data or "relationships" in data:
        return _visual_genome(data) if _looks_like_visual_genome(data) else _record(data)
    graph = data.get("graph")
    if isinstance(graph, Mapping) and "graph" not in graph and "scene_graph" not in graph:
        return _read(graph)
    raise _unknown(data)


def _unknown(data: Any) -> GraphError:
    if isinstance(data, Mapping):
        keys = ", ".join(repr(_cut(str(key))) for key in list(data)[:8])
        found = f"a JSON object with {keys}{', ...' if len(data) > 8 else ''}" if data else "an empty JSON object"
        inner = next(iter(data.values()), None)
        if isinstance(inner, Mapping) and ("scene_graph" in inner or "graph" in inner or "objects" in inner):
            found += " (many graphs in one: give one of them alone)"
    elif isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        found = f"a list of {len(data):,} (give one graph of it alone)"
    else:
        found = f"a {type(data).__name__}"
    return GraphError(f"found {found}; a scene graph is {_FORMATS}")


def _looks_like_visual_genome(data: Mapping[str, Any]) -> bool:
    if "relationships" in data:
        return True
    objects = data.get("objects")
    first = objects[0] if isinstance(objects, (list, tuple)) and objects else None
    return isinstance(first, Mapping) and "id" not in first and ("object_id" in first or "names" in first)


# ---- our records --------------------------------------------------------------------------------------------------------------


def _record(data: Mapping[str, Any]) -> SceneGraph:
    """The record format, word for word; attributes may be bare words there too."""
    objects = data.get("objects")
    if isinstance(objects, list):
        data = {**data, "objects": [_typed(one) if isinstance(one, Mapping) else one for one in objects[: MAX_ELEMENTS + 1]]}
    return SceneGraph.from_dict(data)


def _typed(one: Mapping[str, Any]) -> Mapping[str, Any]:
    attributes = one.get("attributes")
    if not isinstance(attributes, list) or len(attributes) > MAX_ELEMENTS or not any(isinstance(value, str) for value in attributes):
        return one
    return {**one, "attributes": [{"type": UNTYPED, "value": value} if isinstance(value, str) else value for value in attributes]}


# ---- nodes and edges: networkx and the paper ----------------------------------------------------------------------------------

_Entry = Mapping[str, Any]


def _released(data: Mapping[str, Any]) -> SceneGraph:
    """A whole output row of the paper's code: prompt, scene attributes and graph."""
    return _nodes_and_edges(data["scene_graph"], _scene_attributes(data))


def _nodes_and_edges(data: Mapping[str, Any], scene_attributes: tuple[SceneAttribute, ...]) -> SceneGraph:
    key = "links" if "links" in data else "edges"
    for needed in ("nodes", key):
        if needed not in data:
            raise GraphError(f"the graph has no {'nodes' if needed == 'nodes' else 'links or edges'}; a scene graph is {_FORMATS}")
    if data.get("directed") is False:
        raise GraphError("the graph is undirected; relations have a direction: a subject and an object")
    header = data.get("graph")
    exact = isinstance(header, Mapping) and header.get(_MARK) == 1
    nodes = [_node(entry, f"nodes[{i}]") for i, entry in enumerate(_items(data, "nodes"))]
    edges = [_edge(entry, f"{key}[{i}]") for i, entry in enumerate(_items(data, key))]
    kinds = {name: _node_kind(entry, where) for name, entry, where in nodes}
    owned: dict[str, list[Attribute]] = {name: [] for name, _, _ in nodes}
    relations: list[Relation] = []
    values = {name: _attribute_of_node(entry, where) for name, entry, where in nodes if kinds[name] == "attribute"}
    loose = dict.fromkeys(values)
    for start, end, entry, where in edges:
        for name in (start, end):
            if name not in kinds:
                raise GraphError(f"{where} names the node {_cut(name)!r}, which is not in the graph")
        ends = [name for name in (start, end) if kinds[name] == "attribute"]
        if len(ends) == 2:
            raise GraphError(f"{where} joins two attributes; an attribute belongs to an object")
        if ends:
            owned[end if ends[0] == start else start].append(values[ends[0]])
            loose.pop(ends[0], None)
        else:
            relations.append(Relation(start, _predicate(_first(entry, _PREDICATE_KEYS, where), exact), end))
    if loose:
        raise GraphError(f"the attribute node {_cut(next(iter(loose)))!r} belongs to no object")
    objects = []
    for name, entry, where in nodes:
        if kinds[name] == "object":
            own = [*_attributes(entry.get("attributes"), where, exact), *owned[name]]
            words = _words(_first(entry, _NAME_KEYS, where), exact, where)
            objects.append(Object(name, words, tuple(own if exact else dict.fromkeys(own))))
    return SceneGraph(tuple(objects), tuple(relations if exact else dict.fromkeys(relations)), scene_attributes)


def _node(entry: Any, where: str) -> tuple[str, _Entry, str]:
    """(id, data, where) of a node: ``{"id": ..., ...}`` or ``[id, {...}]``."""
    if isinstance(entry, Mapping):
        if "id" not in entry:
            raise GraphError(f"{where} lacks 'id'; found {_keys(entry)}")
        return _id(entry["id"], f"{where}.id"), entry, where
    if isinstance(entry, (list, tuple)) and len(entry) == 2 and isinstance(entry[1], Mapping):
        return _id(entry[0], f"{where}[0]"), entry[1], where
    raise GraphError(f'{where} is {_kind(entry)}; it must be {{"id": ...}} or [id, {{...}}]')


def _edge(entry: Any, where: str) -> tuple[str, str, _Entry, str]:
    """(from, to, data, where) of an edge: ``{"source": ..., "target": ..., ...}`` or ``[from, to, {...}]``."""
    if isinstance(entry, Mapping):
        for key in ("source", "target"):
            if key not in entry:
                raise GraphError(f"{where} lacks {key!r}; found {_keys(entry)}")
        return _id(entry["source"], f"{where}.source"), _id(entry["target"], f"{where}.target"), entry, where
    if isinstance(entry, (list, tuple)) and len(entry) == 3 and isinstance(entry[2], Mapping):
        return _id(entry[0], f"{where}[0]"), _id(entry[1], f"{where}[1]"), entry[2], where
    raise GraphError(f'{where} is {_kind(entry)}; it must be {{"source": ..., "target": ...}} or [from, to, {{...}}]')


def _node_kind(entry: _Entry, where: str) -> str:
    kind = entry.get("type")
    if kind in _RELATION_NODES:
        raise GraphError(f"{where} is a node of type {kind!r}; a relation is an edge from its subject to its object")
    return "attribute" if kind in _ATTRIBUTE_NODES else "object"


def _attribute_of_node(entry: _Entry, where: str) -> Attribute:
    kind = next((entry[key] for key in _TYPE_KEYS if entry.get(key) is not None), UNTYPED)
    return Attribute(_words(kind, False, where), _words(_first(entry, ("value", "name", "label"), where), False, where))


# ---- Visual Genome ------------------------------------------------------------------------------------------------------------


def _visual_genome(data: Mapping[str, Any]) -> SceneGraph:
    """Objects with ``names``, and relationships by object id or with the two objects inside. Boxes and synsets are passed over."""
    found: dict[str, tuple[str, dict[Attribute, None]]] = {}
    for i, entry in enumerate(_items(data, "objects") if "objects" in data else ()):
        node, name, own = _seen_object(entry, f"objects[{i}]")
        if node in found:
            raise GraphError(f"two objects have the id {node!r}; ids must differ")
        found[node] = name, own
    relations: dict[Relation, None] = {}
    for i, entry in enumerate(_items(data, "relationships") if "relationships" in data else ()):
        where = f"relationships[{i}]"
        if not isinstance(entry, Mapping):
            raise GraphError(f"{where} is {_kind(entry)}; it must be an object with a predicate and two ends")
        ends = []
        for side in ("subject", "object"):
            if isinstance(entry.get(side), Mapping):
                node, name, own = _seen_object(entry[side], f"{where}.{side}")
                found.setdefault(node, (name, {}))[1].update(own)
            elif f"{side}_id" in entry:
                node = _id(entry[f"{side}_id"], f"{where}.{side}_id")
            else:
                raise GraphError(f"{where} lacks '{side}_id'; found {_keys(entry)}")
            ends.append(node)
        relations[Relation(ends[0], _predicate(_first(entry, ("predicate",), where), False), ends[1])] = None
    objects = tuple(Object(node, name, tuple(own)) for node, (name, own) in found.items())
    return SceneGraph(objects, tuple(relations), _scene_attributes(data))


def _seen_object(entry: Any, where: str) -> tuple[str, str, dict[Attribute, None]]:
    if not isinstance(entry, Mapping):
        raise GraphError(f"{where} is {_kind(entry)}; it must be an object with object_id and names")
    key = "object_id" if "object_id" in entry else "id"
    if key not in entry:
        raise GraphError(f"{where} lacks 'object_id'; found {_keys(entry)}")
    names = entry.get("names")
    name = names[0] if isinstance(names, (list, tuple)) and names else _first(entry, ("name",), where)
    own = dict.fromkeys(_attributes(entry.get("attributes"), where, False))
    return _id(entry[key], f"{where}.{key}"), _words(name, False, where), own


# ---- the small parts ----------------------------------------------------------------------------------------------------------


def _attributes(value: Any, where: str, exact: bool) -> list[Attribute]:
    return [Attribute(kind, word) for kind, word in _pairs(value, f"{where}.attributes", exact)]


def _scene_attributes(data: Mapping[str, Any]) -> tuple[SceneAttribute, ...]:
    """Beside the graph, or among the graph data of networkx; ``global_attributes`` in early files of the paper's code."""
    header = data.get("graph")
    exact = isinstance(header, Mapping) and header.get(_MARK) == 1
    for place in (data, header):
        for key in ("scene_attributes", "global_attributes"):
            if isinstance(place, Mapping) and place.get(key) is not None:
                found = [SceneAttribute(kind, word) for kind, word in _pairs(place[key], key, exact)]
                return tuple(found if exact else dict.fromkeys(found))
    return ()


def _pairs(value: Any, where: str, exact: bool) -> Iterator[tuple[str, str]]:
    """(type, value) of attributes: bare words, ``{"type": ..., "value": ...}`` or one object ``{type: value or values}``."""
    if value is None:
        return
    if isinstance(value, Mapping):
        lists = {kind: own if isinstance(own, list) else [own] for kind, own in value.items()}
        entries: list[Any] = [{"type": kind, "value": word} for kind, own in lists.items() for word in own]
    elif isinstance(value, (list, tuple)):
        entries = list(value)
    else:
        raise GraphError(f"{where} is {_kind(value)}; it must be a list")
    if len(entries) > MAX_ELEMENTS:
        raise GraphError(f"{where} has {len(entries):,} entries; at most {MAX_ELEMENTS:,} are taken")
    for i, entry in enumerate(entries):
        at = f"{where}[{i}]"
        if isinstance(entry, str):
            yield UNTYPED, _words(entry, exact, at)
        elif isinstance(entry, Mapping) and ("value" in entry or "name" in entry):
            word = entry["value"] if "value" in entry else entry["name"]
            yield _words(entry.get("type", UNTYPED), exact, f"{at}.type"), _words(word, exact, at)
        else:
            raise GraphError(f'{at} is {_kind(entry)}; it must be text or {{"type": ..., "value": ...}}')


def _items(data: Mapping[str, Any], key: str) -> Sequence[Any]:
    value = data[key]
    if not isinstance(value, (list, tuple)):
        raise GraphError(f"{key!r} is {_kind(value)}; it must be a list")
    if len(value) > MAX_ELEMENTS:
        raise GraphError(f"{key!r} has {len(value):,} entries; at most {MAX_ELEMENTS:,} are taken")
    return value


def _first(entry: _Entry, keys: tuple[str, ...], where: str) -> Any:
    for key in keys:
        if entry.get(key) is not None:
            return entry[key]
    raise GraphError(f"{where} lacks {' or '.join(map(repr, keys))}; found {_keys(entry)}")


def _id(value: Any, where: str) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise GraphError(f"{where} is {_kind(value)}; an id is text or a whole number")
    name = str(value)
    if not name or len(name) > MAX_NAME_CHARS or not name.isprintable():
        raise GraphError(f"{where} is {_cut(name)!r}; an id has 1 to {MAX_NAME_CHARS} printable characters")
    return name


def _words(value: Any, exact: bool, where: str) -> str:
    """Text as a person writes it: no underscores, no sense tag, single spaces."""
    if not isinstance(value, str):
        raise GraphError(f"{where} is {_kind(value)}; it must be text")
    if len(value) > 4 * MAX_NAME_CHARS:
        raise GraphError(f"{where} has {len(value):,} characters; at most {MAX_NAME_CHARS} are taken")
    if exact:
        return value
    words = " ".join(_SENSE_TAG.sub(" ", value.replace("_", " ")).split())
    if not words:
        raise GraphError(f"{where} is {_cut(value)!r}; nothing is left of it without underscores and sense tags")
    return words


def _predicate(value: Any, exact: bool) -> str:
    """Words that follow "X is": a leading "is" of the source goes."""
    words = _words(value, exact, "a relation")
    return words if exact else _LEADING_BE.sub("", words)


def _keys(entry: _Entry) -> str:
    return ", ".join(repr(_cut(str(key))) for key in list(entry)[:8]) or "nothing"


def _kind(value: Any) -> str:
    return "null" if value is None else type(value).__name__


def _cut(text: str, limit: int = 40) -> str:
    return text if len(text) <= limit else text[:limit] + "..."


def _line(error: GraphError) -> str:
    """The message as one line that fits a screen."""
    return _cut(" ".join(str(error).split()), 500)
