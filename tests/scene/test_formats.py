"""Every format of scene graphs is read, and whatever is no scene graph is refused in one clear line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import networkx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyscene.errors import GraphError, MissingExtraError
from anyscene.scene import Attribute, Object, Relation, SceneAttribute, SceneGraph, load_graph, read_graph, to_networkx, to_node_link
from anyscene.scene.formats import MAX_JSON_VALUES

DOG_AND_CAT = SceneGraph(
    (Object("a", "dog", (Attribute("color", "red"), Attribute("size", "tiny"))), Object("b", "cat")),
    (Relation("a", "chasing", "b"),),
    (SceneAttribute("weather", "foggy"),),
)
BARE = SceneGraph(
    (Object("a", "dog", (Attribute("attribute", "red"), Attribute("attribute", "tiny"))), Object("b", "cat")),
    (Relation("a", "chasing", "b"),),
)
NODE_LINK: dict[str, Any] = {
    "directed": True,
    "multigraph": False,
    "graph": {},
    "nodes": [{"id": "a", "name": "dog", "attributes": ["red", "tiny"]}, {"id": "b", "name": "cat"}],
    "links": [{"source": "a", "target": "b", "predicate": "chasing"}],
}
RELEASED: dict[str, Any] = {
    "nodes": [
        ["object_1", {"type": "object_node", "value": "ditty_bag", "is_repeated": "no", "mentioned": True}],
        ["object_2", {"type": "object_node", "value": "general (head)"}],
        ["attribute|1|1", {"type": "attribute_node", "value_type": "color", "value": "violet-red"}],
        ["attribute|1|2", {"type": "attribute_node", "value_type": "state", "value": "torn"}],
    ],
    "edges": [
        ["object_1", "attribute|1|1", {"type": "attribute_edge"}],
        ["object_1", "object_2", {"type": "relation_edge", "value_type": "spatial", "value": "is mounted above"}],
        ["object_1", "attribute|1|2", {"type": "attribute_edge"}],
    ],
}
RELEASED_GRAPH = SceneGraph(
    (
        Object("object_1", "ditty bag", (Attribute("color", "violet-red"), Attribute("state", "torn"))),
        Object("object_2", "general"),
    ),
    (Relation("object_1", "mounted above", "object_2"),),
)
BOX = {"x": 1, "y": 2.5, "w": 3, "h": 4}
VISUAL_GENOME: dict[str, Any] = {
    "image_id": 2407890,
    "objects": [
        {"object_id": 1, "names": ["fire_hydrant", "hydrant"], "synsets": ["hydrant.n.01"], "attributes": ["red ", "red", "old"], **BOX},
        {"object_id": 2, "name": "man", "synset": "man.n.01", "merged_object_ids": [], **BOX},
    ],
    "relationships": [
        {"predicate": "is standing  behind", "subject_id": 2, "object_id": 1, "relationship_id": 9, "synsets": ["behind.r.01"]},
        {"predicate": "standing behind", "subject_id": 2, "object_id": 1, "relationship_id": 10, "synsets": []},
    ],
}
VISUAL_GENOME_GRAPH = SceneGraph(
    (Object("1", "fire hydrant", (Attribute("attribute", "red"), Attribute("attribute", "old"))), Object("2", "man")),
    (Relation("2", "standing behind", "1"),),
)

words = st.text("abc _()é'-", min_size=1, max_size=8).filter(lambda text: text == text.strip())


@st.composite
def graphs(draw: st.DrawFn) -> SceneGraph:
    size = draw(st.integers(1, 5))
    attributes = st.lists(st.builds(Attribute, words, words), max_size=3, unique=True).map(tuple)
    objects = tuple(Object(f"o{i}", draw(words), draw(attributes)) for i in range(size))
    pairs = [(a, b) for a in range(size) for b in range(size) if a != b]
    ends = draw(st.lists(st.sampled_from(pairs), max_size=5)) if pairs else []
    relations = tuple(Relation(f"o{a}", draw(words), f"o{b}") for a, b in ends)
    return SceneGraph(objects, relations, draw(st.lists(st.builds(SceneAttribute, words, words), max_size=2, unique=True).map(tuple)))


# ---- our records --------------------------------------------------------------------------------------------------------------


@given(graphs())
def test_a_record_reads_back_as_it_was(graph: SceneGraph) -> None:
    assert read_graph(json.loads(graph.to_json())) == graph
    assert read_graph({"id": "x", "index": 3, "caption": "...", "graph": graph.to_dict(), "questions": []}) == graph


def test_a_record_may_have_bare_attributes() -> None:
    relations = [{"subject": "a", "predicate": "chasing", "object": "b"}]
    data = {"objects": [{"id": "a", "name": "dog", "attributes": ["red", "tiny"]}, {"id": "b", "name": "cat"}], "relations": relations}
    assert read_graph(data) == BARE


# ---- networkx -----------------------------------------------------------------------------------------------------------------


@given(graphs())
def test_node_link_round_trip_is_identity(graph: SceneGraph) -> None:
    assert read_graph(json.loads(json.dumps(to_node_link(graph)))) == graph


@given(graphs())
def test_networkx_round_trip_keeps_all_but_the_order_of_relations(graph: SceneGraph) -> None:
    back = read_graph(json.loads(json.dumps(networkx.node_link_data(to_networkx(graph), edges="links"))))
    assert (back.objects, back.scene_attributes) == (graph.objects, graph.scene_attributes)
    order = [(r.subject, r.predicate, r.object) for r in back.relations]
    assert sorted(order) == sorted((r.subject, r.predicate, r.object) for r in graph.relations)


def test_node_link_is_what_networkx_reads() -> None:
    found = networkx.node_link_graph(to_node_link(DOG_AND_CAT), edges="edges")
    expected = to_networkx(DOG_AND_CAT)
    assert dict(found.nodes(data=True)) == dict(expected.nodes(data=True))
    assert list(found.edges(data=True, keys=True)) == list(expected.edges(data=True, keys=True))


def test_plain_node_link_is_read() -> None:
    assert read_graph(NODE_LINK) == BARE


@pytest.mark.parametrize("name", ["name", "label", "value"])
@pytest.mark.parametrize("predicate", ["predicate", "relation", "label", "value"])
@pytest.mark.parametrize("edges", ["links", "edges"])
def test_node_link_keys_go_by_several_names(name: str, predicate: str, edges: str) -> None:
    nodes = [{"id": "a", name: "dog", "attributes": ["red", "tiny"]}, {"id": "b", name: "cat"}]
    assert read_graph({"nodes": nodes, edges: [{"source": "a", "target": "b", predicate: "chasing"}]}) == BARE


@pytest.mark.parametrize(
    "attributes",
    [
        ["red", {"type": "size", "value": "tiny"}],
        {"attribute": "red", "size": ["tiny"]},
        [{"value": "red"}, {"type": "size", "value": "tiny"}],
    ],
)
def test_attributes_may_be_typed(attributes: Any) -> None:
    graph = read_graph({"nodes": [{"id": 7, "name": "dog", "attributes": attributes}], "links": []})
    assert graph.objects == (Object("7", "dog", (Attribute("attribute", "red"), Attribute("size", "tiny"))),)


def test_attribute_nodes_hang_on_objects() -> None:
    drawn = networkx.DiGraph()
    drawn.add_node(1, type="object", value="dog")
    drawn.add_node(2, type="attribute", value="red", value_type="color")
    drawn.add_node(3, type="object", value="cat")
    drawn.add_edges_from([(1, 2), (1, 3, {"relation": "chasing"})])
    graph = read_graph(json.loads(json.dumps(networkx.node_link_data(drawn, edges="links"))))
    assert graph == SceneGraph((Object("1", "dog", (Attribute("color", "red"),)), Object("3", "cat")), (Relation("1", "chasing", "3"),))


def test_without_networkx_the_install_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "networkx", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'anyscene\[networkx\]'"):
        to_networkx(DOG_AND_CAT)


# ---- the paper's release ------------------------------------------------------------------------------------------------------


def test_the_released_format_is_read_and_cleaned() -> None:
    assert read_graph(RELEASED) == RELEASED_GRAPH


@pytest.mark.parametrize("key", ["scene_attributes", "global_attributes"])
def test_a_whole_released_row_is_read(key: str) -> None:
    graph = read_graph({"prompt": "A ditty bag ...", key: {"weather": "foggy", "a": "f/16"}, "scene_graph": RELEASED})
    assert graph.objects == RELEASED_GRAPH.objects
    assert graph.scene_attributes == (SceneAttribute("weather", "foggy"), SceneAttribute("a", "f/16"))


def test_a_released_row_may_have_no_scene_attributes() -> None:
    assert read_graph({"prompt": "", "scene_attributes": {}, "scene_graph": RELEASED}) == RELEASED_GRAPH


# ---- Visual Genome ------------------------------------------------------------------------------------------------------------


def test_visual_genome_is_read() -> None:
    assert read_graph(VISUAL_GENOME) == VISUAL_GENOME_GRAPH


def test_visual_genome_ends_may_stand_inside() -> None:
    man = {"object_id": 2, "names": ["man"], **BOX}
    hydrant = {"object_id": 1, "name": "fire_hydrant", "attributes": ["red", "old"], **BOX}
    nested = {"image_id": 1, "relationships": [{"predicate": "standing behind", "subject": man, "object": hydrant, "synsets": []}]}
    assert read_graph(nested).same_scene(VISUAL_GENOME_GRAPH)


# ---- what is refused ----------------------------------------------------------------------------------------------------------


def _without(data: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in data.items() if name != key}


def _node(**node: Any) -> dict[str, Any]:
    return {"nodes": [node], "links": []}


def _vg(**change: Any) -> dict[str, Any]:
    return {**VISUAL_GENOME, **change}


REFUSED: list[tuple[Any, str]] = [
    (None, "found a NoneType"),
    (7, "found a int"),
    ("dog", "found a str"),
    ([], "found a list of 0"),
    ([DOG_AND_CAT.to_dict()], "found a list of 1 (give one graph of it alone)"),
    ({}, "found an empty JSON object"),
    ({"dogs": 1, "cats\n": 2}, "found a JSON object with 'dogs', 'cats\\n';"),
    ({"0": {"prompt": "", "scene_graph": RELEASED}}, "many graphs in one"),
    ({"graph": {"graph": {"graph": {}}}}, "found a JSON object with 'graph'"),
    ({"scene_graph": "a dog"}, "found a JSON object with 'scene_graph'"),
    ({"scene_graph": {}}, "no nodes"),
    ({"scene_graph": RELEASED, "scene_attributes": 3}, "scene_attributes is int; it must be a list"),
    ({"objects": []}, "no objects"),
    ({"objects": {}}, "'objects' is dict; it must be a list"),
    ({"objects": ["dog"]}, "objects[0] is str"),
    ({"objects": [{"id": "a"}]}, "objects[0] lacks 'name'; found 'id'"),
    ({"objects": [{"id": 1, "name": "dog"}]}, "objects[0].id is int; it must be text"),
    ({"objects": [{"id": "a", "name": "dog", "colour": "red"}]}, "unknown key 'colour'"),
    ({"objects": [{"id": "a", "name": "dog"}] * 2}, "two objects have the id 'a'"),
    ({"objects": [{"id": "a", "name": "dog"}] * 2001}, "2001 entries; at most 2000"),
    (_without(NODE_LINK, "links"), "no links or edges"),
    ({**NODE_LINK, "nodes": {}}, "'nodes' is dict; it must be a list"),
    ({**NODE_LINK, "directed": False}, "undirected"),
    ({**NODE_LINK, "nodes": []}, "links[0] names the node 'a', which is not in the graph"),
    ({**NODE_LINK, "links": [{"source": "a", "predicate": "chasing"}]}, "links[0] lacks 'target'; found 'source', 'predicate'"),
    ({**NODE_LINK, "links": [{"source": "a", "target": "b"}]}, "links[0] lacks 'predicate' or 'relation' or 'label' or 'value'"),
    ({**NODE_LINK, "links": [["a", "b"]]}, "links[0] is list"),
    ({**NODE_LINK, "links": [{"source": "a", "target": "a", "label": "in"}]}, "'a' to itself"),
    (_node(name="dog"), "nodes[0] lacks 'id'; found 'name'"),
    (_node(id="a"), "nodes[0] lacks 'name' or 'label' or 'value'; found 'id'"),
    (_node(id=1.5, name="dog"), "nodes[0].id is float"),
    (_node(id=True, name="dog"), "nodes[0].id is bool"),
    (_node(id="", name="dog"), "nodes[0].id is ''"),
    (_node(id="a\nb", name="dog"), "an id has 1 to 200 printable characters"),
    (_node(id="a", name=3), "nodes[0] is int; it must be text"),
    (_node(id="a", name="(head)"), "nothing is left of it"),
    (_node(id="a", name="x" * 201), "has 201 characters; at most 200"),
    (_node(id="a", name="x" * 10_000_000), "has 10,000,000 characters; at most 200"),
    (_node(id="a", name="dog\u202e"), "control characters"),
    (_node(id="a", name="dog\ud800"), "control characters"),
    (_node(id="a", name="dog", attributes="red"), "nodes[0].attributes is str; it must be a list"),
    (_node(id="a", name="dog", attributes=[3]), "nodes[0].attributes[0] is int"),
    (_node(id="a", name="dog", attributes=["red"] * 2001), "2,001 entries; at most 2,000"),
    (_node(id="a", name="dog", type="relation"), "a relation is an edge"),
    (_node(id="a", value="red", type="attribute"), "the attribute node 'a' belongs to no object"),
    ({"nodes": [["a"]], "edges": []}, "nodes[0] is list"),
    ({"nodes": [["a", {"type": "object_node"}]], "edges": []}, "nodes[0] lacks 'name' or 'label' or 'value'; found 'type'"),
    (
        {"nodes": [{"id": i, "value": "red", "type": "attribute"} for i in (1, 2)], "links": [{"source": 1, "target": 2}]},
        "joins two attributes",
    ),
    (_vg(objects={}), "'objects' is dict"),
    (_vg(objects=[3]), "objects[0] is int"),
    (_vg(objects=[{"names": ["dog"]}]), "objects[0] lacks 'object_id'"),
    (_vg(objects=[{"object_id": 1, "names": []}]), "objects[0] lacks 'name'"),
    (_vg(objects=[{"object_id": 1, "names": [3]}]), "objects[0] is int; it must be text"),
    (_vg(objects=[{"object_id": 1, "name": "dog"}] * 2), "two objects have the id '1'"),
    (_vg(relationships=[{"subject_id": 1, "object_id": 2}]), "relationships[0] lacks 'predicate'"),
    (_vg(relationships=[{"predicate": "on", "subject_id": 1}]), "relationships[0] lacks 'object_id'"),
    (_vg(relationships=[{"predicate": "on", "subject_id": 1, "object_id": 9}]), "names the object '9'"),
    (_vg(relationships=[5]), "relationships[0] is int"),
]


@pytest.mark.parametrize(("data", "message"), REFUSED, ids=[message[:40] for _, message in REFUSED])
def test_what_is_no_graph_is_refused_in_one_line(data: Any, message: str) -> None:
    with pytest.raises(GraphError) as caught:
        read_graph(data)
    text = str(caught.value)
    assert message in text
    assert "\n" not in text and len(text) < 520


def test_an_unknown_shape_lists_the_formats() -> None:
    with pytest.raises(GraphError, match=r"Anyscene record.*node-link.*released.*Visual Genome"):
        read_graph({"boxes": []})


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                "objects relations relationships nodes links edges graph scene_graph id object_id name names attributes source target".split()
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(junk)
def test_junk_is_refused_and_never_crashes(data: Any) -> None:
    try:
        read_graph(data)
    except GraphError as error:
        assert "\n" not in str(error)


# ---- files --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", [b"", b"\xef\xbb\xbf"])
def test_a_file_is_read(tmp_path: Path, head: bytes) -> None:
    path = tmp_path / "graph.json"
    path.write_bytes(head + DOG_AND_CAT.to_json().encode())
    assert load_graph(path) == load_graph(str(path)) == DOG_AND_CAT


BAD_FILES = [
    (b"", "not JSON: Expecting value in line 1, column 1"),
    (b'{"objects":\n [}', "not JSON: Expecting value in line 2, column 3"),
    (b'{"a": 1}\n{"a": 2}\n', "Extra data in line 2, column 1; one graph a file"),
    (b'{"objects": "\xff"}', "not UTF-8 text (byte 13)"),
    ('{"objects": []}'.encode("utf-16"), "not UTF-8 text (byte 0)"),
    (b'{"objects": [], "objects": []}', "the key 'objects' twice"),
    (b'{"objects": [NaN]}', "NaN is not a JSON value"),
    (b'{"objects": [-Infinity]}', "-Infinity is not a JSON value"),
    (b'{"nodes": [{"id": ' + b"9" * 5000 + b"}]}", "a number of 5,000 digits"),
    (b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
    (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested too deeply"),
    (b"[1]", "found a list of 1"),
]


@pytest.mark.parametrize(("data", "message"), BAD_FILES, ids=[message[:40] for _, message in BAD_FILES])
def test_a_bad_file_is_refused_with_its_name(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "graph.json"
    path.write_bytes(data)
    with pytest.raises(GraphError) as caught:
        load_graph(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    cases: list[tuple[str | Path, str]] = [
        (tmp_path / "none.json", "no such file"),
        (tmp_path, "a folder"),
        ("a\0b", "null"),
        ("x" * 5000, "too long"),
    ]
    for path, message in cases:
        with pytest.raises(GraphError, match=message):
            load_graph(path)


def test_a_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(GraphError, match="not a regular file"):
        load_graph(tmp_path / "pipe")


def test_a_file_above_the_limit_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "large.json"
    with path.open("wb") as file:
        file.truncate(64 * 1024 * 1024 + 1)
    with pytest.raises(GraphError, match=r"67,108,865 bytes; at most 67,108,864"):
        load_graph(path)


FIFTY = 50_000_000
LARGE: dict[str, Callable[[], bytes]] = {
    "nodes": lambda: b'{"links": [], "nodes": [' + b",".join([b'{"id":1,"name":"dog"}'] * (FIFTY // 22)) + b"]}",
    "empty lists": lambda: b"[" + b"[]," * (FIFTY // 3) + b"[]]",
    "opening": lambda: b"[" * FIFTY,
    "one word": lambda: b'{"objects": [{"id": "a", "name": "' + b"x" * FIFTY + b'"}]}',
    "one id": lambda: b'{"objects": [{"id": "' + b"x" * FIFTY + b'", "name": ""}]}',
    "spaces": lambda: b" " * FIFTY,
    "digits": lambda: b'{"objects": [' + b"7" * FIFTY + b"]}",
}


@pytest.mark.parametrize("kind", LARGE)
def test_a_large_file_fails_fast(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "large.json"
    path.write_bytes(LARGE[kind]())
    start = time.perf_counter()
    with pytest.raises(GraphError) as caught:
        load_graph(path)
    assert time.perf_counter() - start < 3
    assert len(str(caught.value)) < 900 and "\n" not in str(caught.value)


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak in /proc")
def test_a_large_file_takes_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "large.json"
    entry = b'{"id":1,"name":"' + b"d" * 200 + b'"}'
    path.write_bytes(b'{"links": [], "nodes": [' + b",".join([entry] * (MAX_JSON_VALUES // 3 - 10)) + b"]}")
    code = (
        "import sys, anyscene.scene as s\n"
        "try:\n    s.load_graph(sys.argv[1])\n"
        "except s.formats.GraphError as e:\n    print(e)\n"
        "print([line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')][0])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    message, peak = done.stdout.splitlines()
    assert "entries; at most 2,000 are taken" in message
    assert int(peak) < 600_000  # KiB: the file as bytes and as text, and 400,000 values
