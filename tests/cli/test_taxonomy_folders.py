"""Vocabularies that people break: every mistake has its file and line, whichever command meets it."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from command_line import run_here, write_taxonomy

BROKEN: dict[str, tuple[str, bytes | str]] = {
    "empty": ("objects.tsv", ""),
    "only a header": ("objects.tsv", "name\tclass\n"),
    "no such column": ("objects.tsv", "foo\tbar\na\tb\n"),
    "a column twice": ("objects.tsv", "name\tname\na\tb\n"),
    "NUL": ("objects.tsv", b"\0"),
    "binary": ("objects.tsv", bytes(range(256)) * 20),
    "UTF-16": ("objects.tsv", "name\ndog\n".encode("utf-16")),
    "Latin-1": ("objects.tsv", "name\ncaf\xe9\n".encode("latin-1")),
    "old line ends": ("objects.tsv", "name\tclass\rdog\tanimal\r"),
    "twice": ("objects.tsv", "name\ndog\nDog\n"),
    "control character": ("objects.tsv", "name\nd\x1b[31mog\n"),
    "bidi": ("objects.tsv", "name\nd\u202eog\n"),
    "stray spaces": ("objects.tsv", "name\n dog\n"),
    "cell empty": ("objects.tsv", "name\tclass\n\tanimal\n"),
    "cells too many": ("objects.tsv", "name\na\tb\n"),
    "not a number": ("objects.tsv", "name\tvisuality\ndog\tx\n"),
    "out of range": ("objects.tsv", "name\tvisuality\ndog\tnan\ncat\t2\n"),
    "long cell": ("objects.tsv", "name\n" + "d" * 70_000 + "\n"),
    "huge cell": ("objects.tsv", "name\n" + "d" * 200_000_000 + "\n"),
    "comma": ("objects.tsv", "name\ndog, cat\n"),
    "own parent": ("objects.tsv", "id\tname\tparents\nd\tdog\td\n"),
    "circle": ("objects.tsv", "id\tname\tparents\nd\tdog\tc\nc\tcat\td\n"),
    "no such parent": ("objects.tsv", "id\tname\tparents\nd\tdog\tzz\n"),
    "circle of hypernyms": ("hypernyms.tsv", "id\tname\tparents\na\ta\tb\nb\tb\ta\n"),
    "circle of classes": ("classes.tsv", "class\tparent\na\tb\nb\ta\n"),
    "no such class": ("attributes.tsv", "value\ttype\tfits\nred\tcolor\tzz\n"),
    "own opposite": ("attributes.tsv", "value\ttype\topposite\nred\tcolor\tred\n"),
    "no hex": ("attributes.tsv", "value\ttype\thex\nred\tcolor\tred\n"),
    "no flag": ("attributes.tsv", "value\ttype\texclusive\nred\tcolor\tyes\n"),
    "both symmetries": ("relations.tsv", "relation\tsymmetric\tantisymmetric\nx\t1\t1\n"),
    "no relation type": ("relations.tsv", "relation\ttype\nx\tzz\n"),
    "no modality": ("scene_attributes.tsv", "value\ttype\tphrase\tmodalities\nf\tw\tin f\tsmell\n"),
    "no such set": ("scene_attributes.tsv", "value\ttype\tphrase\tcontradicts\nf\tw\tin f\t@zz\n"),
    "no weight": ("types.tsv", "kind\ttype\tweight\nattribute\tcolor\t1e400\n"),
    "huge order": ("types.tsv", "kind\ttype\torder\nattribute\tcolor\t" + "9" * 5000 + "\n"),
    "no name": ("taxonomy.toml", "nothing\n"),
    "no vectors": ("vectors.npz", b"junk"),
}


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return write_taxonomy(tmp_path / "own")


@pytest.mark.parametrize("case", BROKEN)
def test_every_mistake_has_its_place(own: Path, tmp_path: Path, case: str) -> None:
    name, data = BROKEN[case]
    (own / name).write_bytes(data if isinstance(data, bytes) else data.encode())
    found = run_here("taxonomy", "check", own)
    assert (found.code, found.err) == (1, "")
    *lines, last = found.out.splitlines()
    assert last.startswith(f"{len(lines)} mistake")
    assert all(re.match(r"[a-z_]+\.[a-z]+:\d+: .", line) and line.isprintable() for line in lines)
    assert any(line.startswith(f"{name}:") for line in lines)
    for command in (("space",), ("taxonomy", "stats"), ("taxonomy", "search", "x"), ("generate", "-n", 3, "--out", tmp_path / "out")):
        assert run_here(*command, "--taxonomy", own).refused
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("change", [("name", "\ufeffname"), ("\n", "\r\n")], ids=["byte order mark", "Windows line ends"])
def test_what_editors_do_is_no_mistake(own: Path, change: tuple[str, str]) -> None:
    text = (own / "objects.tsv").read_text()
    (own / "objects.tsv").write_bytes(text.replace(change[0], change[1], -1 if change[0] == "\n" else 1).encode())
    assert run_here("taxonomy", "check", own).code == 0


@pytest.mark.parametrize("folder", ["missing", "", ".", "/dev/zero", "/dev/null", "file", "\udcff", "a" * 300])
def test_what_is_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    for command in (("taxonomy", "check", folder), ("space", "--taxonomy", folder)):
        assert run_here(*command).refused


@pytest.mark.parametrize("kind", ["folder", "pipe", "circle", "device"])
@pytest.mark.parametrize(
    "name",
    ["objects.tsv", "attributes.tsv"],
)
def test_what_is_no_file_is_told(own: Path, name: str, kind: str) -> None:
    (own / name).unlink()
    {
        "folder": os.mkdir,
        "pipe": os.mkfifo,
        "circle": lambda path: os.symlink(path.name, path),
        "device": lambda path: os.symlink("/dev/zero", path),
    }[kind](own / name)
    assert run_here("space", "--taxonomy", own).refused


def test_a_circle_of_links_is_no_folder(tmp_path: Path) -> None:
    os.symlink("circle", tmp_path / "circle")
    assert run_here("space", "--taxonomy", tmp_path / "circle").refused
