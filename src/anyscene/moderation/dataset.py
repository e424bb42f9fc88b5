"""A detector's data set: real and generated pictures side by side, made alike in all that does not matter.

    DATA/
      dataset.json        sources, options, counts, what could not be made equal; the audit, once there was one
      pictures.parquet    one row a picture
      scenes.parquet      the records of the generated pictures
      pictures/real/, pictures/<generator>/

No file holds a time, a host name or an absolute path.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from anyscene import __version__
from anyscene.dataset.schema import record_schema
from anyscene.errors import RecordError, RunError, SpecError
from anyscene.evaluation.run import json_bytes, parquet_bytes, read_json
from anyscene.media import Media, read_media
from anyscene.runs import sha256_of, write_atomic
from anyscene.scene.keyed import key_of

__all__ = [
    "DATASET",
    "GENERATED",
    "LABELS",
    "REAL",
    "SPLITS",
    "DetectorData",
    "Picture",
    "check_shares",
    "counts_of",
    "open_dataset",
    "pictures_schema",
    "split_of",
    "store_audit",
    "write_dataset",
]

DATASET, PICTURES, SCENES = "dataset.json", "pictures.parquet", "scenes.parquet"
KIND = "detector-data"
VERSION = 1
REAL, GENERATED = LABELS = ("real", "generated")
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of a data set.

    Attributes:
        id: SHA-256 of its file.
        file: name in the folder, with ``/`` between.
        label: ``real`` or ``generated``.
        generator: what made it; empty for a real one.
        split: ``train``, ``validation`` or ``test``.
        group: what is never split: pictures of one source, of one scene graph, and whatever is paired with them.
        caption: may be empty.
        record_id: of its scene; may be empty.
        width: in pixels.
        height: in pixels.
        format: ``jpeg`` or ``png``.
        encoding: digest of quantisation tables and chroma subsampling; empty for ``png``.
    """

    id: str
    file: str
    label: str
    generator: str
    split: str
    group: str
    caption: str
    record_id: str
    width: int
    height: int
    format: str
    encoding: str


def pictures_schema() -> pa.Schema:
    """The Arrow schema of ``pictures.parquet``."""
    return pa.schema([(name, pa.int32() if name in ("width", "height") else pa.string()) for name in Picture.__dataclass_fields__])


@dataclass(frozen=True)
class DetectorData:
    """A data set, opened.

    Attributes:
        folder: its path.
        manifest: what ``dataset.json`` holds.
    """

    folder: Path
    manifest: Mapping[str, Any]

    @cached_property
    def pictures(self) -> tuple[Picture, ...]:
        """All pictures, in the order of their files.

        Raises:
            RecordError: the table is damaged.
        """
        table = self._table(PICTURES)
        if table.schema.names != pictures_schema().names:
            raise RecordError(f"{self.folder / PICTURES}: its columns are {', '.join(table.schema.names)}; build the data set again")
        return tuple(Picture(**row) for row in table.to_pylist())

    @cached_property
    def records(self) -> dict[str, dict[str, Any]]:
        """The scenes of the generated pictures, by id.

        Raises:
            RecordError: the table is damaged.
        """
        return {record["id"]: record for record in self._table(SCENES).to_pylist()}

    @property
    def generators(self) -> tuple[str, ...]:
        """Names of the generators."""
        return tuple(self.manifest["generators"])

    @cached_property
    def digest(self) -> str:
        """SHA-256 that names the data: of the manifest without its audit. It holds the digests of both tables, these of all files."""
        return hashlib.sha256(json_bytes({key: value for key, value in self.manifest.items() if key != "audit"})).hexdigest()

    @property
    def audit(self) -> Mapping[str, Any] | None:
        """What the last audit of these very files found; None where there was none."""
        found = self.manifest.get("audit")
        return found if isinstance(found, Mapping) and found.get("data") == self.digest else None

    def select(self, *, label: str | None = None, generator: str | None = None, split: str | None = None) -> tuple[Picture, ...]:
        """Pictures with a label, of a generator, in a split; what is None does not matter.

        Raises:
            SpecError: there is no such label, generator or split.
        """
        for what, given, known in (("label", label, LABELS), ("generator", generator, self.generators), ("split", split, SPLITS)):
            if given is not None and given not in known:
                raise SpecError(f"{what} {given!r}: {self.folder} has {', '.join(known)}")
        wanted = [(name, value) for name, value in (("label", label), ("generator", generator), ("split", split)) if value is not None]
        return tuple(one for one in self.pictures if all(getattr(one, name) == value for name, value in wanted))

    def path(self, picture: Picture) -> Path:
        """The file of a picture."""
        return self.folder / picture.file

    def data(self, picture: Picture) -> bytes:
        """The bytes of a picture's file.

        Raises:
            RecordError: it is missing, or not the file that was built.
        """
        path = self.path(picture)
        try:
            found = path.read_bytes()
        except OSError as error:
            raise RecordError(f"{path}: {error.strerror or error}; build the data set again") from None
        if hashlib.sha256(found).hexdigest() != picture.id:
            raise RecordError(f"{path}: its bytes are not those that were built; build the data set again")
        return found

    def read(self, picture: Picture) -> Media:
        """A picture, its file held against its digest.

        Raises:
            RecordError: it is missing, or not the file that was built.
            MediaError: it cannot be read.
        """
        return read_media(self.data(picture), name=str(self.path(picture)))

    def _table(self, name: str) -> pa.Table:
        path = self.folder / name
        if not path.is_file() or sha256_of(path) != self.manifest["files"][name]:
            raise RecordError(f"{path} is missing or damaged: its bytes are not those that {DATASET} names. Build the data set again")
        return pq.read_table(path)


def open_dataset(folder: str | Path) -> DetectorData:
    """The data set in a folder.

    Raises:
        RunError: it is none, or not finished.
    """
    folder = Path(folder)
    if not (folder / DATASET).is_file():
        what = (
            "a data set that is not finished: the same command goes on" if (folder / "pictures").is_dir() else "no data set of a detector"
        )
        raise RunError(f"{folder}: {what if folder.exists() else 'no such folder'}; give a folder that anyscene moderate build wrote")
    manifest = read_json(folder / DATASET)
    if manifest.get("kind") != KIND or manifest.get("version") != VERSION:
        raise RunError(
            f"{folder / DATASET}: its kind is {manifest.get('kind')!r}, version {manifest.get('version')!r}; not {KIND} {VERSION}"
        )
    return DetectorData(folder, manifest)


def write_dataset(
    folder: Path, pictures: Iterable[Picture], scenes: pa.Table | Sequence[Mapping[str, Any]], facts: Mapping[str, Any]
) -> DetectorData:
    """Writes the tables, and at last the manifest: a data set is there when its manifest is.

    Args:
        folder: where the pictures are.
        pictures: one for each file.
        scenes: records of the generated pictures.
        facts: what else the manifest says: ``real``, ``generators`` (by name) and more.

    Raises:
        RunError: the folder cannot be written.
    """
    rows = sorted(pictures, key=lambda one: one.file)
    table = pa.Table.from_pylist([asdict(one) for one in rows], pictures_schema())
    kept = scenes if isinstance(scenes, pa.Table) else pa.Table.from_pylist(list(scenes), record_schema())
    files = {}
    for name, content in ((PICTURES, table), (SCENES, kept)):
        data = parquet_bytes(content)
        write_atomic(folder / name, data)
        files[name] = hashlib.sha256(data).hexdigest()
    manifest = {"kind": KIND, "version": VERSION, "versions": {"anyscene": __version__}, **facts, "counts": counts_of(rows), "files": files}
    write_atomic(folder / DATASET, json_bytes(manifest))
    return open_dataset(folder)


def store_audit(data: DetectorData, found: Mapping[str, Any]) -> DetectorData:
    """Keeps what an audit found in the manifest, with the digest of the data it was made of."""
    audit = {"data": data.digest, **found}
    write_atomic(data.folder / DATASET, json_bytes({**data.manifest, "audit": audit}))
    return open_dataset(data.folder)


def counts_of(pictures: Iterable[Picture]) -> dict[str, dict[str, int]]:
    """Pictures by side (``real`` or the generator's name) and split."""
    found = Counter((one.generator or REAL, one.split) for one in pictures)
    sides = sorted({side for side, _ in found}, key=lambda side: (side != REAL, side))
    return {side: {split: found[side, split] for split in SPLITS} for side in sides}


def check_shares(shares: Sequence[float]) -> None:
    """Raises ``SpecError`` unless the shares of the three splits are above 0 (validation may be 0) and sum up to 1."""
    if len(shares) != len(SPLITS) or min(shares[0], shares[2]) <= 0 or shares[1] < 0 or abs(sum(shares) - 1) > 1e-9:
        said = ", ".join(f"{share:g}" for share in shares)
        raise SpecError(f"shares {said}: give those of {', '.join(SPLITS)}, that sum up to 1, like 0.7, 0.1 and 0.2")


def split_of(group: str, shares: Sequence[float], seed: int = 0) -> str:
    """The split of a group: a hash of group and seed decides alone, so no group ever moves when others come or go."""
    place = key_of("split", seed, group) / 2.0**64
    if place < shares[0]:
        return SPLITS[0]
    return SPLITS[1] if place < shares[0] + shares[1] else SPLITS[2]
