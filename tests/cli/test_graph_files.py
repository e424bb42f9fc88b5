"""Graph files that people break: `describe`, `space --find` and `space --containing` say what is wrong, soon and in little memory."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import GRAPH, run_apart, run_here

Spoil = Callable[[str, bytes], Path]
LONG = "x" * 10**6


def with_objects(*objects: Any) -> dict[str, Any]:
    return {"objects": list(objects)}


def dog(**changes: Any) -> dict[str, Any]:
    return {"id": "a", "name": "dog", **changes}


JUNK: list[Any] = [None, True, 1, 1.5, "x", [], [1], [[]], {}, {"a": 1}]
BROKEN: dict[str, Any] = {
    "empty": b"",
    "not JSON": b"{",
    "not UTF-8": b"\xff\xfe{}",
    "UTF-16": json.dumps(GRAPH).encode("utf-16"),
    "NUL": b"\0\0",
    "NUL inside": b'{"objects": [{"id": "a", "name": "d\0g"}]}',
    "NUL escaped": with_objects(dog(name="d\0g")),
    "brackets": b"[" * 100_000,
    "closed brackets": b"[" * 100_000 + b"]" * 100_000,
    "braces": b'{"objects":' * 100_000,
    "NaN": b"NaN",
    "long number": b"9" * 10_000,
    "long number as id": b'{"nodes": [{"id": ' + b"9" * 5_000 + b', "name": "dog"}], "links": []}',
    "key twice": b'{"objects": [], "objects": []}',
    "no objects": with_objects(),
    "id twice": with_objects(dog(), dog()),
    "relation to itself": {**GRAPH, "relations": [{"subject": "a", "predicate": "near", "object": "a"}]},
    "missing end": {**GRAPH, "relations": [{"subject": "a", "predicate": "near", "object": "zz"}]},
    "bidi": with_objects(dog(name="dog\u202egod")),
    "control characters": with_objects(dog(name="d\x1b[31mg")),
    "control characters in an attribute": with_objects(dog(attributes=[{"type": "color", "value": "\x1b[31m"}])),
    "lone surrogate": with_objects(dog(name="d\ud800g")),
    "long name": with_objects(dog(name=LONG)),
    "too many objects": with_objects(*(dog(id=str(i)) for i in range(2001))),
    "many values": b"[" + b"1," * 500_000 + b"1]",
    **{f"the file is {json.dumps(junk)}": junk for junk in JUNK},
    **{f"objects is {json.dumps(junk)}": {"objects": junk} for junk in JUNK},
    **{f"an object is {json.dumps(junk)}": with_objects(junk) for junk in JUNK},
    **{f"{key} is {json.dumps(junk)}": with_objects(dog(**{key: junk})) for key in ("id", "name") for junk in JUNK if junk != "x"},
    **{f"attributes is {json.dumps(junk)}": with_objects(dog(attributes=junk)) for junk in JUNK if junk not in ([], None)},
    **{f"an attribute is {json.dumps(junk)}": with_objects(dog(attributes=[junk])) for junk in JUNK if junk != "x"},
    **{f"{key} is {json.dumps(junk)}": {**GRAPH, key: junk} for key in ("relations", "scene_attributes") for junk in JUNK if junk != []},
    **{f"one of {key} is {json.dumps(junk)}": {**GRAPH, key: [junk]} for key in ("relations", "scene_attributes") for junk in JUNK},
    **{f"nodes and edges are {json.dumps(junk)}": {"nodes": junk, "edges": junk} for junk in JUNK},
    **{f"released: {json.dumps(junk)}": {"scene_graph": junk} for junk in JUNK},
    **{f"Visual Genome: {json.dumps(junk)}": {"objects": [], "relationships": junk} for junk in JUNK},
}


def data_of(value: Any) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value).encode()


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_wrong_is_said(words: Path, spoil: Spoil, case: str) -> None:
    path = spoil("graph.json", data_of(BROKEN[case]))
    for command in (("describe", path), ("describe", path, "--json"), ("space", "--find", path), ("space", "--containing", path)):
        found = run_here(*command, "--taxonomy", words)
        assert found.refused, found
        assert str(path) in found.err


@pytest.mark.parametrize(
    "path", ["", ".", "missing", "/dev/zero", "/dev/null", "/dev/stdin", "graph.json/below", "a" * 300, "pipe", "circle", "nul\0", "\udcff"]
)
def test_what_is_no_file_is_never_waited_for(words: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    os.symlink("circle", "circle")
    for command in (("describe", path), ("space", "--find", path), ("space", "--containing", path), ("space", "--spec", path)):
        assert run_here(*command, "--taxonomy", words).refused


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory")
def test_fifty_megabytes_are_read_soon_and_in_bounds(words: Path, spoil: Spoil) -> None:
    def little_memory() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))

    for data in (b'{"objects": [{"id": "a", "name": "' + b"x" * 50_000_000 + b'"}]}', b"[" + b"1," * 25_000_000 + b"1]", b" " * 80_000_000):
        path = spoil("graph.json", data)
        began = time.monotonic()
        found = run_apart("describe", path, "--taxonomy", words, preexec_fn=little_memory)
        assert found.refused, found
        assert time.monotonic() - began < 20  # seconds here; the bound only has to catch what hangs


def test_words_that_the_vocabulary_lacks(words: Path, spoil: Spoil) -> None:
    path = spoil("graph.json", data_of({"objects": [dog(name="zorgl", attributes=[{"type": "zog", "value": "blim"}])], "relations": []}))
    assert json.loads(run_here("describe", path, "--taxonomy", words, "--json").out)["caption"] == "There is a blim zorgl."
    for option in ("--find", "--containing"):
        found = run_here("space", option, path, "--taxonomy", words)
        assert found.refused
        assert "'zorgl'" in found.err


@pytest.mark.parametrize(
    ("case", "graph"),
    {
        "too large": with_objects(*(dog(id=str(i)) for i in range(9))),
        "a circle": {**GRAPH, "relations": [*GRAPH["relations"], {"subject": "b", "predicate": "near", "object": "a"}]},
        "two relations": {**GRAPH, "relations": [*GRAPH["relations"], {"subject": "a", "predicate": "near", "object": "b"}]},
        "scene attributes": {**GRAPH, "scene_attributes": [{"type": "weather", "value": "fog"}]},
        "values that exclude each other": with_objects(
            dog(attributes=[{"type": "color", "value": "red"}, {"type": "color", "value": "blue"}])
        ),
    }.items(),
)
def test_scenes_that_the_space_lacks(words: Path, spoil: Spoil, case: str, graph: dict[str, Any]) -> None:
    path = spoil("graph.json", data_of(graph))
    assert run_here("space", "--find", path, "--taxonomy", words).refused, case
    assert run_here("space", "--containing", path, "--taxonomy", words).refused, case
