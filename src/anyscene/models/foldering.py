"""How the files of a folder are told apart: shelves by id, by index and by caption, filled from a manifest or from file names."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from anyscene.errors import MediaError, MissingExtraError, ModelError
from anyscene.media import MEDIA_SUFFIXES, Media, read_media
from anyscene.models.protocol import Failure

__all__ = ["FILM_SUFFIXES", "RULES", "Shelves", "from_manifest", "from_names", "manifest_in", "read_unit", "units_of"]

RULES = ("id", "index", "caption")
FILM_SUFFIXES = (".mp4", ".webm", ".mov", ".mkv", ".avi", ".m4v")
MANIFEST_STEMS = ("manifest", "metadata", "captions", "prompts")
MANIFEST_SUFFIXES = (".csv", ".tsv", ".jsonl", ".json")
SHORTEST_CUT = 40
"""Letters of a caption that a file name must hold before it may be taken as the beginning of one."""
_COLUMNS = {
    "file": ("file", "file_name", "filename", "path", "image", "video", "image_path", "media"),
    "id": ("id", "record_id", "scene_id"),
    "index": ("index",),
    "caption": ("caption", "prompt", "text"),
    "sample": ("sample", "sample_index"),
}
_SAMPLED = re.compile(r"(.+?)[-_](\d{1,4})")
_UUID = re.compile(r"[-_][0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?=$|[-_]\d{1,2}$)")


class Shelves:
    """Files by rule, key and sample. A place may hold several: whether that matters shows when a scene looks there.

    Args:
        by_words: captions come from file names: only their words count, and they may be cut off.
        first_sample: the number that the first media of a scene bears.

    Attributes:
        files: all of them, in order.
    """

    def __init__(self, *, by_words: bool = False, first_sample: int = 0) -> None:
        self.files: list[Path] = []
        self._by_words, self._first_sample = by_words, first_sample
        self._table: dict[str, dict[str, dict[int, list[Path | Failure]]]] = {rule: {} for rule in RULES}
        self._cuts: set[int] = set()

    def put(self, rule: str, name: str, sample: int, found: Path | Failure) -> None:
        """Puts a file where a rule, a name and a sample number lead."""
        key = self._key(rule, name)
        if not key:
            return
        place = self._table[rule].setdefault(key, {}).setdefault(sample, [])
        if found not in place:
            place.append(found)
        if rule == "caption" and len(key) >= SHORTEST_CUT:
            self._cuts.add(len(key))

    def count(self, rule: str, name: str) -> int:
        """How many samples there are under a name."""
        return len(self._table[rule].get(self._key(rule, name), {}))

    def rules(self) -> list[str]:
        """The rules by which anything can be found."""
        return [rule for rule in RULES if self._table[rule]]

    def look_up(self, rule: str, name: str, sample: int | None) -> tuple[Path | Failure, ...]:
        """What lies in a place; of all samples in their order where none is given."""
        for key in self._keys(rule, name):
            places = self._table[rule].get(key, {})
            if sample is None:
                found = [one for number in sorted(places) for one in places[number]]
            else:
                found = places.get(sample + self._first_sample, [])
            if found:
                return tuple(found)
        return ()

    def is_cut(self, found: Path, caption: str) -> bool:
        """Whether a file name holds only the beginning of the caption."""
        exact = self._table["caption"].get(self._key("caption", caption), {})
        return self._by_words and not any(found in place for place in exact.values())

    def _key(self, rule: str, name: str) -> str:
        if rule != "caption":
            return name
        return _words(name) if self._by_words else " ".join(name.split()).casefold()

    def _keys(self, rule: str, name: str) -> Iterator[str]:
        """The name, then its beginnings, longest first, where names may be cut off."""
        key = self._key(rule, name)
        yield key
        if rule == "caption" and self._by_words:
            yield from (key[:length] for length in sorted(self._cuts, reverse=True) if length < len(key))


def manifest_in(folder: Path, name: str | None) -> Path | None:
    """The manifest of a folder: the one asked for, or the only one with a usual name; None where there is none.

    Raises:
        ModelError: the one asked for is not there, or there are several.
    """
    if name is not None:
        path = folder / name
        if not path.is_file():
            raise ModelError(f"{path}: there is no such manifest")
        return path
    found = [folder / (stem + suffix) for stem in MANIFEST_STEMS for suffix in MANIFEST_SUFFIXES if (folder / (stem + suffix)).is_file()]
    if len(found) > 1:
        raise ModelError(
            f"{folder} has several manifests ({', '.join(path.name for path in found)}). Say which counts: manifest={found[0].name}"
        )
    return found[0] if found else None


def units_of(root: Path, modality: str, whole_folders: bool) -> list[Path]:
    """The media of a folder, each a file or, with ``whole_folders``, a folder of pictures, in order.

    Raises:
        ModelError: there are none.
    """
    suffixes = MEDIA_SUFFIXES + (FILM_SUFFIXES if modality != "image" else ())
    files = sorted(path for path in root.rglob("*") if path.suffix.lower() in suffixes and not path.name.startswith(".") and path.is_file())
    units: list[Path] = files
    if whole_folders:
        units = sorted({path if path.parent == root or path.suffix.lower() in FILM_SUFFIXES else path.parent for path in files})
    if not units:
        raise ModelError(f"{root}: no media in it; they end in {', '.join(suffixes)}")
    return units


def from_names(root: Path, units: Sequence[Path]) -> Shelves:
    """Shelves from file names alone. A name is read in every way that it allows."""
    inside = [unit.relative_to(root) for unit in units]
    stems = [_stem(path) for path in inside]
    folders = [_folder(path) if re.fullmatch(r"\d{1,4}", stem) else "" for path, stem in zip(inside, stems, strict=True)]
    seen = Counter(stem for stem, folder in zip(stems, folders, strict=True) if folder)
    in_folders = any(folder.isdecimal() for folder in folders) or any(number > 1 for number in seen.values())
    tails = [_SAMPLED.fullmatch(stem) for stem in stems]
    numbers = [
        int(stem) if folder and in_folders else int(tail[2]) if tail else -1
        for stem, folder, tail in zip(stems, folders, tails, strict=True)
    ]
    bare = {stem for stem, number in zip(stems, numbers, strict=True) if number < 0}
    begun = {tail[1] for tail in tails if tail}
    first_sample = 1 if min((number for number in numbers if number >= 0), default=0) == 1 and not bare & begun else 0
    shelves = Shelves(by_words=True, first_sample=first_sample)
    shelves.files = list(units)
    for unit, stem, folder, tail in zip(units, stems, folders, tails, strict=True):
        readings = [(folder, int(stem))] if folder else []
        if not (folder and in_folders):
            readings += [(stem, first_sample), *([(tail[1], int(tail[2]))] if tail else [])]
        for name, sample in readings:
            shelves.put("id", name, sample, unit)
            shelves.put("caption", name, sample, unit)
            if re.fullmatch(r"\d{1,18}", name):
                shelves.put("index", str(int(name)), sample, unit)
    return shelves


def from_manifest(manifest: Path, root: Path) -> Shelves:
    """Shelves from a manifest. Files are named from where it lies.

    Raises:
        ModelError: it cannot be read, lacks a column, or a number in it is none.
    """
    shelves = Shelves()
    for place, row in _rows(manifest, root):
        values = {
            name: next((row[column] for column in columns if row.get(column) not in (None, "")), None) for name, columns in _COLUMNS.items()
        }
        where = f"{manifest}, {place}"
        keys = {rule: str(values[rule]) for rule in RULES if values[rule] is not None}
        if not keys:
            raise ModelError(f"{where}: nothing says whose it is; a column id, index or caption does. It has {', '.join(map(str, row))}")
        if "index" in keys:
            keys["index"] = str(_whole(keys["index"], "index", where))
        if values["file"] is None:
            status = str(row.get("status") or "")
            found: Path | Failure = Failure(
                status if status in ("failed", "refused") else "missing", str(row.get("reason") or f"{manifest.name} names no file")
            )
        else:
            found = root / str(values["file"])
            shelves.files.append(found)
        strongest = next(iter(keys))
        given = values["sample"]
        sample = shelves.count(strongest, keys[strongest]) if given is None else _whole(given, "sample", where)
        for rule, name in keys.items():
            shelves.put(rule, name, sample, found)
    if not shelves.files:
        raise ModelError(f"{manifest}: it names no files. A column file, file_name or path does")
    return shelves


def read_unit(path: Path, modality: str, frames: int) -> Media:
    """A media from a file, or from a folder of pictures.

    Args:
        path: of the file or folder.
        modality: ``image``, ``video`` or ``3d``.
        frames: most that are taken from a film file.

    Raises:
        MediaError: it cannot be read.
        MissingExtraError: it is a film file, and PyAV is not installed.
    """
    if path.is_dir():
        pictures = sorted((file for file in path.iterdir() if file.suffix.lower() in MEDIA_SUFFIXES), key=_natural)
        return Media.of_frames([read_media(picture).image for picture in pictures], modality)
    if path.suffix.lower() in FILM_SUFFIXES:
        return _film(path, modality, frames)
    return read_media(path, modality)


def _film(path: Path, modality: str, frames: int) -> Media:
    """Evenly spaced frames of a film."""
    try:
        import av
    except ImportError:
        raise MissingExtraError(f"Reading {path.name}", "video") from None
    try:
        with av.open(str(path)) as film:
            stream = film.streams.video[0]
            rate = float(stream.average_rate or 0)
            count = sum(1 for _ in film.decode(stream))
            film.seek(0)
            wanted = {int((place + 0.5) * count / frames) for place in range(frames)} if count > frames else set(range(count))
            pictures: list[Image.Image] = [frame.to_image() for place, frame in enumerate(film.decode(stream)) if place in wanted]
    except (OSError, IndexError, ValueError) as error:
        raise MediaError(f"{path}: cannot be read as a film ({error})") from None
    if not pictures:
        raise MediaError(f"{path}: a film without pictures")
    fps = rate * len(pictures) / count if rate else None
    return Media.of_frames(pictures, modality, fps)


def _rows(manifest: Path, root: Path) -> list[tuple[str, Mapping[str, Any]]]:
    """The rows of a manifest, each with its place."""
    try:
        text = manifest.read_text("utf-8-sig")
        if manifest.suffix.lower() == ".jsonl":
            lines = [(f"line {number}", json.loads(line)) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
        elif manifest.suffix.lower() == ".json":
            lines = [(f"entry {number}", row) for number, row in enumerate(_entries(json.loads(text), root), 1)]
        else:
            delimiter = "\t" if manifest.suffix.lower() == ".tsv" else ","
            reader = csv.DictReader(text.splitlines(keepends=True), delimiter=delimiter)
            lines = [(f"line {reader.line_num}", row) for row in reader]
    except (OSError, ValueError, csv.Error, RecursionError) as error:
        raise ModelError(f"{manifest}: cannot be read as a manifest ({error})") from None
    for place, row in lines:
        if not isinstance(row, Mapping) or None in row:
            raise ModelError(f"{manifest}, {place}: it does not fit the columns of the manifest")
    return lines


def _entries(value: Any, root: Path) -> Iterable[Any]:
    """The rows of a JSON manifest: a list of objects, or an object that maps files to captions, ids to files, or files to objects."""
    if isinstance(value, list):
        return value
    if not isinstance(value, dict):
        raise ValueError("it is neither a list nor an object")
    rows = []
    for key, one in value.items():
        if isinstance(one, dict):
            rows.append({"file": key, **one} if not set(_COLUMNS["file"]) & set(one) else {"id": key, **one})
        elif isinstance(one, list):
            rows += [{"id": key, "file": file, "sample": place} for place, file in enumerate(one)]
        elif (root / key).suffix.lower() in MEDIA_SUFFIXES + FILM_SUFFIXES:
            rows.append({"file": key, "caption": one})
        else:
            rows.append({"id": key, "file": one})
    return rows


def _whole(value: Any, what: str, place: str) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        raise ModelError(f"{place}: {what} {value!r} is no whole number") from None


def _words(text: str) -> str:
    """Words joined by ``_``, whatever stands between them."""
    return "_".join(re.findall(r"[^\W_]+", text.casefold()))


def _stem(path: Path) -> str:
    """The name without its suffix, and without the random id that some services put at its end."""
    stem = path.stem if path.suffix.lower() in MEDIA_SUFFIXES + FILM_SUFFIXES else path.name
    return _UUID.sub("", stem) or stem


def _folder(path: Path) -> str:
    """The nearest folder that may tell whose samples lie in it."""
    return next((part for part in reversed(path.parts[:-1]) if part not in ("samples", "images", "videos")), "")


def _natural(path: Path) -> list[tuple[int, str]]:
    """A key that puts ``view_2`` before ``view_10``."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", path.name)]
