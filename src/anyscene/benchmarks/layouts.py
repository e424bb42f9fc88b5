"""Folders of pictures and clips as the benchmarks themselves want them, read against the items that they are of.

Each layout says of every file whose it is: which item, which of its samples, and for grids which tile. What does not fit is told, never
guessed at: a completeness check names what is missing, what belongs to no item, what is there twice with different bytes, and what cannot
be read. A layout is a model too (`LayoutModel`): a run paints from it, and judges see its pictures like any other's.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from anyscene.benchmarks.benchmark import Items, Note, load_benchmark
from anyscene.benchmarks.reading import json_value
from anyscene.benchmarks.tiles import padded_together, tile_boxes
from anyscene.errors import MediaError, ModelError, RecordError, SpecError
from anyscene.media import MEDIA_SUFFIXES, Media, MediaEntry, MediaFolder, read_media
from anyscene.models import Failure
from anyscene.models.foldering import FILM_SUFFIXES, read_unit
from anyscene.models.painting import media_seed
from anyscene.runs import file_error, open_folder

__all__ = ["LAYOUTS", "Layout", "LayoutModel", "Unit", "place_media", "read_layout"]

SHOWN = 5
FRAMES = 32
"""Most frames that are taken from a film file."""
_NUMBERED = re.compile(r"(.*\S)_(\d{1,9})", re.DOTALL)
_SAMPLED = re.compile(r"(.*\S)-(\d{1,3})", re.DOTALL)
_DIGITS = re.compile(r"\d{1,9}")


@dataclass(frozen=True, slots=True)
class Unit:
    """One picture or clip of an item.

    Attributes:
        record_id: of the item.
        sample: its number among the item's, from 0.
        path: the file.
        crop: the tile of a grid: (left, top, right, bottom) in pixels; None for the whole file.
    """

    record_id: str
    sample: int
    path: Path
    crop: tuple[int, int, int, int] | None = None


@dataclass(frozen=True)
class Layout:
    """What was found in a folder.

    Attributes:
        name: of the layout, one of ``LAYOUTS``.
        root: the folder, or the file that maps items to files.
        benchmark: whose items they are.
        modality: ``image`` or ``video``.
        samples: expected of each item.
        units: by (record id, sample).
        expected: pictures.
        missing: ``ITEM, sample N`` of each that is not there.
        extra: files that belong to no item, or to a sample beyond those expected.
        duplicated: files that claim a place that another file with other bytes claims too; neither is taken.
        damaged: files that cannot be read, with why.
        notes: what else is to be said.
    """

    name: str
    root: Path
    benchmark: str
    modality: str
    samples: int
    units: Mapping[tuple[str, int], Unit]
    expected: int
    missing: tuple[str, ...]
    extra: tuple[str, ...]
    duplicated: tuple[str, ...]
    damaged: tuple[str, ...]
    notes: tuple[Note, ...] = ()

    @property
    def complete(self) -> bool:
        """Is everything there that was expected?"""
        return len(self.units) == self.expected

    def line(self) -> str:
        """One line for the user."""
        said = f"{len(self.units):,} of {self.expected:,} expected {self.benchmark} media found (layout {self.name})"
        for what, own in (
            ("missing", self.missing),
            ("that belong to no item", self.extra),
            ("claimed twice", self.duplicated),
            ("damaged", self.damaged),
        ):
            if own:
                said += f"; {len(own):,} {what} (the first: {own[0]})"
        return said + "".join(f"; {note.line()}" for note in self.notes)

    def to_dict(self) -> dict[str, Any]:
        """As JSON: counts, and the first few of each kind."""
        kinds = {"missing": self.missing, "extra": self.extra, "duplicated": self.duplicated, "damaged": self.damaged}
        return {
            "layout": self.name,
            "benchmark": self.benchmark,
            "samples": self.samples,
            "expected": self.expected,
            "found": len(self.units),
            "complete": self.complete,
            **{name: {"count": len(own), "first": list(own[:SHOWN])} for name, own in kinds.items()},
            "notes": [note.line() for note in self.notes],
        }


@dataclass
class _Claims:
    """Who claims which place, while a folder is read."""

    places: dict[tuple[str, int], list[Unit]] = field(default_factory=dict)
    extra: list[Path] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)

    def put(self, record_id: str | None, sample: int, path: Path, crop: tuple[int, int, int, int] | None = None) -> None:
        if record_id is None:
            self.extra.append(path)
        else:
            self.places.setdefault((record_id, sample), []).append(Unit(record_id, sample, path, crop))


class _Names:
    """Items by what a file or a folder may call them."""

    def __init__(self, items: Items) -> None:
        self.index: dict[int, str] = {}
        self.numbered: dict[int, str] = {}
        """Those whose own id is a number, whatever its zeros in front."""
        self._ids: dict[str, str] = {}
        self._captions: dict[str, list[str]] = {}
        self._category: dict[str, str] = {}
        for record in items.records:
            own = str(record["id"])
            extra = items.extras.get(own, {})
            self.index[record["index"]] = own
            if _DIGITS.fullmatch(str(extra.get("item_id", own))):
                self.numbered.setdefault(int(extra.get("item_id", own)), own)
            for name in (own, str(extra.get("item_id", own))):
                self._ids.setdefault(_plain(name), own)
            self._captions.setdefault(_plain(str(record["caption"])), []).append(own)
            self._category[own] = str(extra.get("category", ""))

    def by_id(self, name: str) -> str | None:
        return self._ids.get(_plain(name))

    def by_caption(self, text: str, within: Sequence[str] = ()) -> str | None:
        """The item of a prompt; of several with the same prompt the one whose category is among the names of the folders."""
        found = self._captions.get(_plain(text), [])
        if len(found) > 1:
            found = [one for one in found if self._category[one] and self._category[one] in within]
        return found[0] if len(found) == 1 else None


def read_layout(
    path: Path, items: Items, *, layout: str = "auto", samples: int | None = None, check: bool = True, compat: str = "fixed"
) -> Layout:
    """What lies in an output folder of a benchmark.

    Args:
        path: the folder, or for ``map`` the JSON file.
        items: the benchmark's.
        layout: one of ``LAYOUTS``; ``auto`` takes that of the benchmark's own, or ``stems``, that finds most.
        samples: pictures of each item; by default as many as the benchmark asks for.
        check: open and decode every picture, so that damaged ones are named now and not by the judge.
        compat: ``official`` cuts padded grids as the released DPG-Bench script does, which takes padding along.

    Raises:
        RecordError: there is no such folder, or nothing in it belongs to the benchmark.
        SpecError: no such layout.
    """
    if compat not in ("official", "fixed"):
        raise SpecError(f"compat {compat!r}: it is official or fixed")
    about = load_benchmark(items.benchmark).about
    if layout not in ("auto", *LAYOUTS):
        raise SpecError(f"layout {layout!r}: there is none of that name; there are {', '.join(LAYOUTS)}")
    if not path.exists():
        raise RecordError(f"{path}: no such folder")
    wanted = about.samples if samples is None else samples
    if wanted < 1:
        raise SpecError(f"samples {wanted}: at least 1")
    names = [layout]
    if layout == "auto":
        names = ["map"] if path.is_file() else [name for name in dict.fromkeys((*about.layouts, "stems")) if name != "map"]
    known = _Names(items)
    found = [(name, _READERS[name](path, known, wanted, about.modality, compat)) for name in names]
    name, claims = max(found, key=lambda one: len(one[1].places))
    if not claims.places:
        left = next((own.extra for _, own in found if own.extra), [])
        example = f"; a file is called {_shown(left[0], path)!r}" if left else ""
        others = "; other layouts are read where --layout names them" if layout == "auto" else ""
        raise RecordError(f"{path}: nothing in it is laid out as {' or '.join(names)} for the items of {items.benchmark}{example}{others}")
    expected = {str(record["id"]): wanted for record in items.records}
    if samples is None:  # an item may ask for another number than the rest
        expected |= {id: int(extra["samples"]) for id, extra in items.extras.items() if "samples" in extra}
    return _settle(name, path, items, claims, expected, wanted, about.modality, check)


def _settle(
    name: str, root: Path, items: Items, claims: _Claims, expected: Mapping[str, int], samples: int, modality: str, check: bool
) -> Layout:
    """Doubles, what goes beyond, what cannot be read, and what is not there."""
    units: dict[tuple[str, int], Unit] = {}
    extra = [_shown(path, root) for path in claims.extra]
    duplicated: list[str] = []
    damaged: list[str] = []
    same = 0
    broken: dict[Path, str | None] = {}
    for key, own in claims.places.items():
        if key[1] >= expected[key[0]]:
            extra += [_shown(one.path, root) for one in own]
            continue
        if len(own) > 1:
            if len({_bytes_digest(one.path) for one in own}) > 1:
                duplicated += [_shown(one.path, root) for one in own]
                continue
            same += len(own) - 1
        unit = own[0]
        if check:
            if unit.path not in broken:
                broken[unit.path] = _problem(unit.path, modality)
                if why := broken[unit.path]:
                    damaged.append(f"{_shown(unit.path, root)}: {why}")
            if broken[unit.path]:
                continue
        units[key] = unit
    order = [(str(record["id"]), sample) for record in items.records for sample in range(expected[str(record["id"])])]
    missing = tuple(f"{items.extras.get(id, {}).get('item_id', id)}, sample {sample}" for id, sample in order if (id, sample) not in units)
    notes = [*claims.notes, *([Note("files are there twice with the same bytes", same)] if same else [])]
    if claims.absent:
        notes.append(Note("files are named and not there", len(claims.absent), tuple(claims.absent[:3])))
    return Layout(
        name=name,
        root=root,
        benchmark=items.benchmark,
        modality=modality,
        samples=samples,
        units={key: units[key] for key in order if key in units},
        expected=len(order),
        missing=missing,
        extra=tuple(extra),
        duplicated=tuple(duplicated),
        damaged=tuple(damaged),
        notes=tuple(notes),
    )


def _bytes_digest(path: Path) -> str:
    """Of what a file holds; of its name where it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return str(path)


def _problem(path: Path, modality: str) -> str | None:
    """Why a file cannot be read; None where it can. Films are only looked at from outside."""
    try:
        if path.suffix.lower() in FILM_SUFFIXES:
            return None if path.stat().st_size else "the file is empty"
        read_media(path, modality)
    except MediaError as error:
        return str(error).removeprefix(f"{path}: ")
    except OSError as error:
        return error.strerror or str(error)
    return None


# ---- the layouts ------------------------------------------------------------------------------------------------------------


def _grids(root: Path, names: _Names, samples: int, modality: str, compat: str) -> _Claims:
    """``{item}.png``, each a grid of 2x2 pictures (one picture where one sample is asked for)."""
    claims = _Claims()
    files = [(path, names.by_id(path.stem)) for path in _files(root, modality, deep=False)]
    padded = padded_together(path for path, id in files if id) if samples > 1 else {}
    found: dict[bool, int] = {}
    for path, id in files:
        size = _size(path) if id and samples > 1 else None
        if id is None or size is None:
            claims.put(id, 0, path)
            continue
        try:
            boxes = tile_boxes(*size, padded.get(size, False), compat)
        except MediaError:
            claims.extra.append(path)
            continue
        found[padded[size]] = found.get(padded[size], 0) + 1
        for sample, box in enumerate(boxes):
            claims.put(id, sample, path, box)
    if found.get(True):
        how = "cut as officially, padding and all" if compat == "official" else "cut off; the official script would cut through it"
        claims.notes.append(Note(f"grids have the 2-pixel padding of torchvision ({how})", found[True]))
    return claims


def _numbered_folders(root: Path, names: _Names, samples: int, modality: str, compat: str) -> _Claims:
    """``00000/samples/0000.png`` with ``00000/metadata.jsonl``; the prompt in the metadata counts, not the number."""
    claims = _Claims()
    by_number = moved = 0
    for folder in sorted(path for path in root.iterdir() if path.is_dir() and _DIGITS.fullmatch(path.name)) if root.is_dir() else ():
        inside = folder / "samples" if (folder / "samples").is_dir() else folder
        files = [path for path in _files(inside, modality, deep=False) if _DIGITS.fullmatch(path.stem)]
        metadata = folder / "metadata.jsonl"
        numbered = names.index.get(int(folder.name))
        if metadata.is_file():
            value = json_value(metadata)
            prompt = value.get("prompt") if isinstance(value, dict) else None
            if not isinstance(prompt, str):
                raise RecordError(f"{metadata}: it lacks the field 'prompt'")
            owner = names.by_caption(prompt)
            moved += owner is not None and owner != numbered
        else:
            owner = numbered
            by_number += bool(files)
        first = min((int(path.stem) for path in files), default=0)
        for path in files:
            claims.put(owner, int(path.stem) - (first if first == 1 else 0), path)
    if by_number:
        claims.notes.append(Note("folders without metadata.jsonl: their numbers were taken for those of the items' file", by_number))
    if moved:
        claims.notes.append(Note("folders have another number than the item of their metadata.jsonl; the metadata count", moved))
    return claims


def _prompt_numbers(root: Path, names: _Names, samples: int, modality: str, compat: str) -> _Claims:
    """``samples/{prompt}_{000000}.png``, alone or in one folder for each category; numbers go on from prompt to prompt."""
    claims = _Claims()
    numbers: dict[str, list[tuple[int, Path]]] = {}
    for path in _files(root, modality):
        match = _NUMBERED.fullmatch(path.stem)
        owner = names.by_caption(match[1], _folders(path, root)) if match else None
        if match is None or owner is None:
            claims.extra.append(path)
        else:
            numbers.setdefault(owner, []).append((int(match[2]), path))
    for owner, own in numbers.items():
        own.sort()
        start = own[0][0] // samples * samples  # officially ids are contiguous: prompt number x samples + sample
        in_step = own[-1][0] - start < samples
        ranks = {number: rank for rank, number in enumerate(dict.fromkeys(number for number, _ in own))}
        for number, path in own:
            claims.put(owner, number - start if in_step else ranks[number], path)
    return claims


def _prompt_samples(root: Path, names: _Names, samples: int, modality: str, compat: str) -> _Claims:
    """``{prompt}-{0..4}.mp4``, alone or in folders."""
    claims = _Claims()
    for path in _files(root, modality):
        match = _SAMPLED.fullmatch(path.stem)
        owner = names.by_caption(match[1], _folders(path, root)) if match else None
        claims.put(owner, int(match[2]) if match else 0, path)
    return claims


def _stems(root: Path, names: _Names, samples: int, modality: str, compat: str) -> _Claims:
    """``{item}.png`` or ``{item}_{sample}.png``; the item by its id (zeros in front of a number do not matter) or its prompt."""
    claims = _Claims()
    for path in _files(root, modality):
        stem, inside = path.stem, _folders(path, root)
        owner = names.by_id(stem) or names.by_caption(stem, inside)
        sample = 0
        if owner is None and (match := _NUMBERED.fullmatch(stem) or _SAMPLED.fullmatch(stem)):
            owner, sample = names.by_id(match[1]) or names.by_caption(match[1], inside), int(match[2])
        if owner is None and _DIGITS.fullmatch(stem):
            owner = names.numbered.get(int(stem))
        claims.put(owner, sample, path)
    return claims


def _map(root: Path, names: _Names, samples: int, modality: str, compat: str) -> _Claims:
    """A JSON object of items (by id or prompt) to a file or a list of files, named from where it lies."""
    value = json_value(root)
    if not isinstance(value, dict):
        raise RecordError(f"{root}: an object that maps items to files is wanted")
    claims = _Claims()
    for key, files in value.items():
        listed = files if isinstance(files, list) else [files]
        for sample, name in enumerate(listed):
            if not isinstance(name, str) or "\0" in name:
                raise RecordError(f"{root}, item {key[:60]!r}: the name of a file is wanted, not {json.dumps(name)[:60]}")
            path = root.parent / name
            if _is_file(path):
                claims.put(names.by_id(key) or names.by_caption(key), sample, path)
            else:
                claims.absent.append(name[:100])
    return claims


_Reader = Callable[[Path, _Names, int, str, str], _Claims]
_READERS: dict[str, _Reader] = {
    "dpg": _grids,
    "geneval": _numbered_folders,
    "t2i-compbench": _prompt_numbers,
    "vbench": _prompt_samples,
    "map": _map,
    "stems": _stems,
}
LAYOUTS = tuple(_READERS)
"""``dpg``: grids; ``geneval``: numbered folders; ``t2i-compbench``: prompt and number; ``vbench``: prompt and sample; ``map``: a JSON
file; ``stems``: one file an item."""


def _files(root: Path, modality: str, deep: bool = True) -> Iterator[Path]:
    """Files of media in order, hidden ones left out."""
    suffixes = MEDIA_SUFFIXES if modality == "image" else (*MEDIA_SUFFIXES, *FILM_SUFFIXES)
    if not root.is_dir():
        return
    for path in sorted(root.rglob("*") if deep else root.iterdir()):
        if path.suffix.lower() in suffixes and not path.name.startswith(".") and path.is_file():
            yield path


def _is_file(path: Path) -> bool:
    """False for a name that no file system takes, too."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _folders(path: Path, root: Path) -> tuple[str, ...]:
    return (root.name, *path.relative_to(root).parts[:-1])


def _size(path: Path) -> tuple[int, int] | None:
    try:
        with Image.open(path) as image:
            return image.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None


def _plain(text: str) -> str:
    """A name as it is compared: composed letters, single spaces."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def _shown(path: Path, root: Path) -> str:
    base = root if root.is_dir() else root.parent
    return path.relative_to(base).as_posix() if path.is_relative_to(base) else str(path)


# ---- into a run -------------------------------------------------------------------------------------------------------------


class LayoutModel:
    """A layout as a model: its pictures are found, none is made.

    Args:
        layout: from `read_layout`.
        name: how the model that made the pictures is called in reports; by default the folder.

    Attributes:
        name: see above.
        settings: the layout, for the run's manifest.
    """

    revision = ""
    batch_size = 64

    def __init__(self, layout: Layout, name: str = "") -> None:
        self._layout = layout
        self.name = name or f"folder:{layout.root}"
        self.modality = layout.modality
        self.settings: Mapping[str, object] = {"made": "elsewhere", "layout": layout.name}
        self._units = {_tag(unit): unit for unit in layout.units.values()}

    def find(self, record_id: str, index: int, caption: str, sample: int) -> Path | Failure:
        """The file, or tile, of an item's picture number ``sample``."""
        unit = self._layout.units.get((record_id, sample))
        return _tag(unit) if unit else Failure("missing", _nothing(self._layout, record_id, sample))

    def read(self, path: Path) -> Media:
        """The media of what `find` gave.

        Raises:
            MediaError: it cannot be read.
            MissingExtraError: it is a film file, and PyAV is not installed.
        """
        return _media(self._units[path], self.modality)

    def media_of(self, unit: Unit) -> Media:
        """The media of a unit of the layout.

        Raises:
            MediaError: it cannot be read.
            MissingExtraError: it is a film file, and PyAV is not installed.
        """
        return _media(unit, self.modality)

    def generate(self, captions: Sequence[str], seeds: Sequence[int]) -> list[Media | Failure]:
        """Not possible: pictures are found by item.

        Raises:
            ModelError: always.
        """
        raise ModelError(f"{self.name}: its pictures belong to items of {self._layout.benchmark}; no others can be made")


def place_media(
    layout: Layout, records: Iterable[Mapping[str, Any]], folder: Path, *, seed: int = 0, samples: int | None = None
) -> list[MediaEntry]:
    """Puts a layout's pictures into a run's folder of media, with its manifest; painting the run then finds everything done.

    Whole files are linked where the file system can, so that nothing is copied; tiles of grids are written as files of their own.

    Args:
        layout: from `read_layout`.
        records: the run's, in its order.
        folder: ``RUN/media/MODEL``.
        seed: of the run.
        samples: media for each record; by default those of the layout.

    Raises:
        RunError: the folder cannot be written.
    """
    open_folder(folder)
    media = MediaFolder(folder)
    entries = []
    for position, record in enumerate(records):
        for sample in range(layout.samples if samples is None else samples):
            common = (record["id"], record["index"], sample, media_seed(seed, record["id"], sample))
            unit = layout.units.get((record["id"], sample))
            if unit is None:
                entries.append(MediaEntry(*common, "", None, "missing", _nothing(layout, record["id"], sample)))
                continue
            try:
                whole = unit.crop is None and unit.path.suffix.lower() not in FILM_SUFFIXES
                made = _media(unit, layout.modality)
                name = media.file_name(position, record["id"], sample, made.suffix)
                if not (whole and _linked(unit.path, folder / name)):
                    media.write(name, made)
                entries.append(MediaEntry(*common, name, made.sha256, "made"))
            except MediaError as error:
                entries.append(MediaEntry(*common, "", None, "failed", " ".join(str(error).split())))
    media.rewrite(entries)
    return entries


def _nothing(layout: Layout, record_id: str, sample: int) -> str:
    return f"nothing for {record_id}, sample {sample} (layout {layout.name})"


def _media(unit: Unit, modality: str) -> Media:
    whole = read_unit(unit.path, modality, FRAMES)
    return whole if unit.crop is None else Media.of_image(whole.image.crop(unit.crop))


def _tag(unit: Unit) -> Path:
    """A path that is one unit's alone: that of the file, with the place of the tile."""
    return unit.path if unit.crop is None else Path(f"{unit.path}#{'-'.join(map(str, unit.crop))}")


def _linked(source: Path, target: Path) -> bool:
    """Gives a file a second name; False where that cannot be done here."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
    except OSError as error:
        raise file_error(error, target.parent) from error
    try:
        os.link(source.resolve(), target)
    except OSError:
        return False
    return True
