"""Media made elsewhere as a model: a folder of pictures, clips or 3D views, with a manifest or with telling file names.

Each file is filed under what it says of its scene: a record's id, its index, its caption. A scene is looked up under all three. The
first that finds something is the rule of the folder; when two rules point to different files the folder is refused, never guessed at.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from anyscene.errors import MediaError, ModelError, SpecError
from anyscene.media import Media
from anyscene.models.foldering import RULES, Shelves, from_manifest, from_names, manifest_in, read_unit, units_of
from anyscene.models.protocol import Failure

__all__ = ["FolderMatch", "FolderModel"]


@dataclass(frozen=True, slots=True)
class FolderMatch:
    """How a folder fits a set of scenes.

    Attributes:
        rule: by what files were found: ``id``, ``index`` or ``caption``; empty where nothing was found.
        source: the manifest's name, or ``file names``.
        expected: media looked for.
        matched: media found.
        missing: the first few scenes without one, by id.
        unmatched: files of the folder that belong to no scene asked for, by name.
    """

    rule: str
    source: str
    expected: int
    matched: int
    missing: tuple[str, ...]
    unmatched: tuple[str, ...]

    def line(self) -> str:
        """One line for the user."""
        found = f"{self.matched:,} of {self.expected:,} media found by {self.rule or 'no rule'} ({self.source})"
        others = f"; {len(self.unmatched):,} files belong to no scene (the first: {self.unmatched[0]})" if self.unmatched else ""
        return found + others


class FolderModel:
    """Media that exist already.

    A manifest (``manifest``, ``metadata``, ``captions`` or ``prompts``, as ``.csv``, ``.tsv``, ``.jsonl`` or ``.json``) has a column for
    the file (``file``, ``file_name``, ``filename``, ``path``, ``image``, ``video``) and one or more of ``id``/``record_id``, ``index``
    and ``caption``/``prompt``; ``sample`` where a scene has several. A JSON object may map files to captions or ids to files. Without
    a manifest names count: ``{id}.png``, ``{id}-{sample}.png``, ``{id}_{sample}.png``, ``000012.png``, ``12_0.png``,
    ``00012/samples/0001.png``, or the caption with anything between its words (cut off no earlier than after 40 letters).

    Args:
        name: the folder, or a manifest.
        manifest: its name in the folder; found by itself where it has one of the names above. ``none`` takes the file names.
        rule: ``auto``, ``id``, ``index`` or ``caption``.
        modality: ``image``, ``video`` or ``3d``.
        folders: each folder of pictures is one media: frames or views, in the order of their names. Not given: for ``3d`` it is.
        frames: most frames that are taken from a film file (``.mp4``), evenly spaced.

    Attributes:
        source: the manifest's name, or ``file names``.

    Raises:
        ModelError: no such folder, no media in it, a manifest that cannot be read, or two files for one scene.
        SpecError: an option with a wrong value.
    """

    revision = ""
    batch_size = 64

    def __init__(
        self,
        name: str,
        *,
        manifest: str | None = None,
        rule: Literal["auto", "id", "index", "caption"] = "auto",
        modality: Literal["image", "video", "3d"] = "image",
        folders: bool | None = None,
        frames: int = 32,
    ) -> None:
        path = Path(name).expanduser()
        if not name or not path.exists():
            raise ModelError(f"folder:{name}: there is no such folder. Give the folder with the media, or its manifest: folder:pictures")
        if rule not in ("auto", *RULES) or frames < 1:
            raise SpecError(f"folder:{name}, rule={rule}, frames={frames}: rule is auto, {', '.join(RULES)}; frames at least 1")
        listed = path if path.is_file() else None if manifest == "none" else manifest_in(path, manifest)
        root = path.parent if path.is_file() else path
        self.name = f"folder:{name}"
        self.modality: str = modality
        self.settings: Mapping[str, object] = {"made": "elsewhere"}
        self._frames, self._asked_rule = frames, rule
        self._root = root
        self._rule: str = "" if rule == "auto" else rule
        self._of_prefix: dict[Path, str] = {}
        self._lock = threading.Lock()
        whole_folders = modality == "3d" if folders is None else folders
        if listed is not None:
            self.source = listed.name
            self._shelves: Shelves = from_manifest(listed, root)
        else:
            self.source = "file names"
            self._shelves = from_names(root, units_of(root, modality, whole_folders))
        if rule != "auto" and rule not in self._shelves.rules():
            has = ", ".join(self._shelves.rules()) or "nothing"
            raise ModelError(f"folder:{name}, rule={rule}: nothing is found by {rule} ({self.source}), only by {has}")

    def find(self, record_id: str, index: int, caption: str, sample: int) -> Path | Failure:
        """The file, or folder of views, of a scene's media number ``sample``.

        Raises:
            ModelError: two rules point to different files, or one file would be that of two captions.
        """
        keys = {"id": record_id, "index": str(index), "caption": caption}
        hits = {rule: self._shelves.look_up(rule, keys[rule], sample) for rule in RULES if self._asked_rule in ("auto", rule)}
        hits = {rule: found for rule, found in hits.items() if found}
        with self._lock:
            if not hits:
                return Failure("missing", self._why_missing(f"scene {record_id} (index {index})", sample))
            found = self._settle(hits, record_id)
            if isinstance(found, Path) and self._rule == "caption":
                self._check_cut(found, caption)
        if isinstance(found, Path) and not found.exists():
            return Failure("missing", f"{self.source} names {self._shown(found)}, and there is no such file")
        return found

    def read(self, path: Path) -> Media:
        """The media of a file or folder that `find` gave.

        Raises:
            MediaError: it cannot be read.
            MissingExtraError: it is a film file, and PyAV is not installed.
        """
        return read_unit(path, self.modality, self._frames)

    def generate(self, captions: Sequence[str], seeds: Sequence[int]) -> list[Media | Failure]:
        """The media whose manifest line or file name holds the caption; for a caption that comes again, its next sample."""
        if len(captions) != len(seeds):
            raise ModelError(f"{self.name}: {len(captions)} captions and {len(seeds)} seeds; there is one seed for each caption")
        times: dict[str, int] = {}
        results: list[Media | Failure] = []
        for caption in captions:
            sample = times.get(caption, 0)
            times[caption] = sample + 1
            places = self._shelves.look_up("caption", caption, None)
            found: Path | Failure = Failure("missing", self._why_missing(f"the caption {caption[:60]!r}", sample))
            if sample < len(places):
                found = places[sample]
            if isinstance(found, Path):
                try:
                    results.append(self.read(found))
                    continue
                except MediaError as error:
                    found = Failure("failed" if found.exists() else "missing", str(error))
            results.append(found)
        return results

    def match(self, records: Iterable[Mapping[str, Any]], samples: int = 1) -> FolderMatch:
        """How the folder fits the scenes of a run: by which rule, how many are found, which files are left over.

        Args:
            records: ``id``, ``index`` and ``caption`` of each are read.
            samples: media for each scene.

        Raises:
            ModelError: nothing fits, or the folder is ambiguous.
        """
        expected, used, missing = 0, set(), []
        first: Mapping[str, Any] | None = None
        for record in records:
            first = first or record
            for sample in range(samples):
                expected += 1
                found = self.find(record["id"], record["index"], record["caption"], sample)
                if isinstance(found, Path):
                    used.add(found)
                else:
                    missing.append(str(record["id"]))
        if first is not None and not used:
            raise ModelError(
                f"{self.name}: none of its {len(self._shelves.files):,} files belongs to a scene asked for. A file is called "
                f"{self._shown(self._shelves.files[0])!r}; the first scene has the id {first['id']!r}, the index {first['index']} and "
                f"the caption {str(first['caption'])[:60]!r}. Name files by one of these, or write a manifest.csv with the columns "
                "file and caption"
            )
        unmatched = tuple(self._shown(path) for path in self._shelves.files if path not in used)
        return FolderMatch(self._rule, self.source, expected, expected - len(missing), tuple(missing[:5]), unmatched)

    def _settle(self, hits: Mapping[str, tuple[Path | Failure, ...]], record_id: str) -> Path | Failure:
        """What the rule of the folder, the same one for all scenes, leads to; the other rules must not contradict it."""
        rule = self._rule or next(iter(hits))
        said = "; ".join(f"by {other}: {', '.join(self._shown(one) for one in found)}" for other, found in hits.items())
        if rule not in hits:
            raise ModelError(
                f"{self.name} is ambiguous: some scenes are found by {rule}, scene {record_id} only {said}. Say which counts: rule={rule}"
            )
        if len(hits[rule]) > 1:
            raise ModelError(
                f"{self.name} is ambiguous: scene {record_id} has several files ({said}). Take away all but one, or write a manifest.csv"
            )
        found = hits[rule][0]
        if not all(found in others for others in hits.values()):
            raise ModelError(f"{self.name} is ambiguous: scene {record_id} has several files ({said}). Say which counts: rule={rule}")
        self._rule = rule
        return found

    def _check_cut(self, found: Path, caption: str) -> None:
        """A file whose name is only the beginning of a caption may be that of one caption only."""
        if not self._shelves.is_cut(found, caption):
            return
        other = self._of_prefix.setdefault(found, caption)
        if other != caption:
            raise ModelError(
                f"{self.name}: the name of {self._shown(found)} is the beginning of two captions ({other[:80]!r} and {caption[:80]!r}). "
                "Write a manifest.csv with the columns file and caption"
            )

    def _why_missing(self, scene: str, sample: int) -> str:
        return f"nothing for {scene}, sample {sample}, by {self._rule or ' or '.join(self._shelves.rules())} ({self.source})"

    def _shown(self, found: Path | Failure) -> str:
        """A file as it stands in the folder."""
        if isinstance(found, Failure):
            return found.reason
        return found.relative_to(self._root).as_posix() if found.is_relative_to(self._root) else str(found)
