"""The rules of the house that a person forgets: light imports, honest fronts, small files, nothing of one machine in the text."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import os
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from types import ModuleType

import pytest

import anyscene

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "anyscene"
HEAVY = {"torch", "networkx", "inflect", "pandas", "transformers", "diffusers", "ray", "gradio", "datasets"}
SUBPACKAGES = sorted(module.name for module in pkgutil.iter_modules(anyscene.__path__, "anyscene.") if module.ispkg)
FRONTS = ["anyscene", *SUBPACKAGES]
MAX_LINES = 600
# Not preceded by a letter, so that `framework/`, a URL and `$HOME/tmp/` are none.
MACHINE_PATH = re.compile(r"(?<![\w./$}-])/(?:work|root|tmp|home)/")


def repository_files() -> Iterator[Path]:
    """Every file that belongs to the repository: all but what .gitignore names and hidden tool folders hold."""
    ignored = [line.strip("/") for line in (ROOT / ".gitignore").read_text().splitlines() if line and not line.startswith("#")]

    def is_ours(name: str) -> bool:
        return not any(fnmatch(name, pattern) for pattern in ignored)

    for folder, subfolders, files in os.walk(ROOT):
        subfolders[:] = sorted(name for name in subfolders if is_ours(name) and (name == ".ci" or not name.startswith(".")))
        yield from (Path(folder, name) for name in sorted(files) if is_ours(name))


def python_files() -> list[Path]:
    return [path for path in repository_files() if path.suffix == ".py"]


def heavy_modules_loaded_by(modules: Sequence[str], path: Sequence[Path] = ()) -> set[str]:
    """Which heavy libraries a fresh process holds after importing the modules and looking up each of their public names."""
    code = "\n".join(
        [
            "import importlib, sys",
            "for name in sys.argv[1:]:",
            "    module = importlib.import_module(name)",
            "    [getattr(module, public) for public in getattr(module, '__all__', ())]",
            "print(*sys.modules)",
        ]
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, path))}
    command = [sys.executable, "-c", code, *modules]
    loaded = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split()
    assert set(modules) <= set(loaded)
    return HEAVY & set(loaded)


def names_brought_in(front: ModuleType) -> set[str]:
    """The public names that the file of a front defines, or imports from Anyscene: also those only a type checker sees imported."""
    assert front.__file__
    tree = ast.parse(Path(front.__file__).read_text(encoding="utf-8"))
    names = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("anyscene")
        for alias in node.names
    }
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return {name for name in names if not name.startswith("_")}


@pytest.mark.parametrize("front", FRONTS)
def test_importing_it_loads_nothing_heavy(front: str) -> None:
    assert heavy_modules_loaded_by([front]) == set()


def test_the_guard_against_heavy_imports_can_fail(tmp_path: Path) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").touch()
    (tmp_path / "culprit.py").write_text("import torch")
    assert heavy_modules_loaded_by(["culprit"], path=[tmp_path]) == {"torch"}


@pytest.mark.parametrize("name", FRONTS)
def test_all_is_exactly_what_a_front_brings_in(name: str) -> None:
    front = importlib.import_module(name)
    public = getattr(front, "__all__", [])
    assert len(set(public)) == len(public)
    assert [one for one in public if not hasattr(front, one)] == []
    assert names_brought_in(front) == set(public)


def test_the_front_door_has_at_most_twenty_names() -> None:
    assert 0 < len(anyscene.__all__) <= 20


def test_every_folder_of_the_package_is_a_package() -> None:
    folders = {path.parent for path in SOURCE.rglob("*.py")}
    assert len(folders) >= 6
    assert [str(folder.relative_to(ROOT)) for folder in sorted(folders) if not (folder / "__init__.py").is_file()] == []


def test_every_module_says_what_it_is_for() -> None:
    modules = sorted(SOURCE.rglob("*.py"))
    assert len(modules) >= 50
    assert [str(path.relative_to(ROOT)) for path in modules if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))] == []


def test_no_python_file_is_too_long() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in python_files()}
    assert len(lengths) >= 80
    assert {name: lines for name, lines in lengths.items() if lines > MAX_LINES} == {}


def test_no_text_names_a_path_of_one_machine() -> None:
    found, scanned = [], 0
    for path in repository_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # not a text
        scanned += 1
        found += [
            f"{path.relative_to(ROOT)}:{number}: {line[:200]}"
            for number, line in enumerate(text.splitlines(), 1)
            if MACHINE_PATH.search(line)
        ]
    assert scanned >= 100
    assert found == []


@pytest.mark.parametrize(
    ("text", "is_machine_path"),
    [("see {}/a", True), ('"{}/a"', True), ("({}/a)", True), ("https://a.org{}/a", False), ("frame{}/a", False), ("$HOME{}/a", False)],
)
def test_a_machine_path_is_told_from_other_paths(text: str, is_machine_path: bool) -> None:
    assert bool(MACHINE_PATH.search(text.format("/" + "work"))) is is_machine_path


def test_the_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert anyscene.__version__ == project["version"] == importlib.metadata.version("anyscene")


def test_the_licence_the_notice_and_the_type_marker_are_shipped() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["license"] == "Apache-2.0"
    assert project["license-files"] == ["LICENSE", "NOTICE"]
    assert importlib.metadata.metadata("anyscene").get_all("License-File") == ["LICENSE", "NOTICE"]
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert (ROOT / "NOTICE").read_text(encoding="utf-8").strip()
    assert (SOURCE / "py.typed").is_file()
