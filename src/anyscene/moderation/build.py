"""Building a data set: sources are surveyed, pictures paired, and each pair made alike and written.

Everything is drawn by hashes of what the pictures hold, so the order of files on a disk changes nothing. A build that was stopped, or
killed, goes on with the same command and ends with the bytes of an unbroken one.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from anyscene.dataset.schema import record_schema
from anyscene.errors import Interrupted, MediaError, RunError, SpecError
from anyscene.evaluation import paint_run
from anyscene.evaluation.run import slug
from anyscene.models import Model
from anyscene.moderation import encoding as e
from anyscene.moderation.choosing import TopicMatch, candidate_scenes, choose_scenes
from anyscene.moderation.dataset import (
    DATASET,
    GENERATED,
    REAL,
    DetectorData,
    Picture,
    check_shares,
    open_dataset,
    split_of,
    write_dataset,
)
from anyscene.moderation.matching import Topics, pair_up
from anyscene.moderation.sources import open_source
from anyscene.moderation.survey import Seen, Side, survey
from anyscene.runs import (
    JOURNAL_NAME,
    append_journal,
    differences,
    lock_folder,
    normalized,
    open_folder,
    progress,
    read_journal,
    remove_temporaries,
    say,
    start_journal,
    write_atomic,
)
from anyscene.space import SceneSpec
from anyscene.taxonomy import Taxonomy, load_taxonomy

__all__ = ["BuildOptions", "build_dataset"]

AT_ONCE = 16
"""Pairs between two entries of the journal."""
VIEW, TRACES = 0.1, 0.02
"""Differences, as shares, below which two sides are alike in what is kept of a picture, and in how many were treated in some way."""
VERSION = 1
"""Raised when the same sources and options would give other bytes than before."""


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """How a data set is built.

    Attributes:
        seed: of pairing, cutting and splitting.
        shares: of training, validation and test.
        n: most real pictures; None is all that have a partner.
        scale: pictures of a pair are made smaller by one factor, drawn between these two; 1 and 1 is not to scale.
        largest: side that a picture may have at most; what is beyond is cut off.
        smallest: pairs that would have a side shorter than this are left out.
        encoding: ``real`` (that of the pair's photograph), ``png``, or ``jpeg:QUALITY`` for all.
        group_by: what is one source image in a folder: each ``file``, or all files of a ``folder``.
        licence: words of the user's about the real pictures, kept in the manifest.
    """

    seed: int = 0
    shares: tuple[float, float, float] = (0.7, 0.1, 0.2)
    n: int | None = None
    scale: tuple[float, float] = (1.0, 1.0)
    largest: int | None = None
    smallest: int = 16
    encoding: str = "real"
    group_by: str = "file"
    licence: str = ""

    def __post_init__(self) -> None:
        check_shares(self.shares)
        self.forced()
        if not 1 <= self.scale[0] <= self.scale[1] <= 64:
            raise SpecError(f"scale {self.scale[0]:g}-{self.scale[1]:g}: pictures are made smaller by a factor from 1 to 64, never larger")
        if self.smallest < 1 or (self.largest is not None and self.largest < self.smallest):
            raise SpecError(f"sides of at least {self.smallest} and at most {self.largest} pixels: there are none such")
        if self.n is not None and self.n < 1:
            raise SpecError(f"{self.n} real pictures: ask for at least 1")

    def forced(self) -> e.Encoding | None:
        """The one encoding that all pictures get, or None where each pair has that of its photograph.

        Raises:
            SpecError: there is no such encoding.
        """
        name, _, quality = self.encoding.partition(":")
        if self.encoding == "real":
            return None
        if self.encoding == "png":
            return e.Encoding()
        if name == "jpeg" and quality.isdecimal() and 1 <= int(quality) <= 100:
            return e.quality_tables(int(quality))
        raise SpecError(f"encoding {self.encoding!r}: it must be real, png, or jpeg: with a quality from 1 to 100, like jpeg:90")


def build_dataset(
    real: str | Path,
    generated: Mapping[str, str | Path],
    out: str | Path,
    *,
    models: Sequence[Model] = (),
    scenes: pa.Table | None = None,
    spec: SceneSpec | None = None,
    taxonomy: Taxonomy | None = None,
    options: BuildOptions | None = None,
    quiet: bool = False,
) -> DetectorData:
    """Builds a data set, or goes on with it.

    Args:
        real: where the real pictures are: a folder, ``.tar`` shards, a ``datasets`` folder, or the folder of an evaluation.
        generated: where each generator's pictures are: folders of evaluations, or of pictures.
        out: the folder to write into.
        models: that paint scenes for this data set; their runs are kept in ``painted/``.
        scenes: records that they paint, or choose from where real pictures have captions; None is those of the real side, where it is an
            evaluation, or else scenes drawn for its captions.
        spec: of scenes that are drawn; None is plausible ones of things that everybody knows.
        taxonomy: the vocabulary by whose nouns captions are matched, and of which scenes are drawn; None is the one that ships.
        options: how.
        quiet: show no progress.

    Raises:
        SpecError: a source has no pictures, nothing can be paired, or an option cannot be honoured.
        RecordError: metadata of a source cannot be read.
        RunError: the folder holds something else, or cannot be written.
        Interrupted: stopped by Ctrl-C; what was made is kept.
    """
    options = options or BuildOptions()
    if len({slug(model.name) for model in models}) < len(models):
        raise SpecError("one model is named twice; a model paints once for a data set")
    if scenes is not None and not models:
        raise SpecError("scenes are for models to paint, and no model is named")
    names = [*generated, *(model.name for model in models)]
    if not names:
        raise SpecError("no generated pictures: name a model that paints them, or where they are")
    if len(set(names)) < len(names):
        raise SpecError(f"generators {', '.join(names)}: two have one name")
    if bad := [name for name in names if not name or slug(name) == REAL or name == GENERATED]:
        raise SpecError(f"generator {bad[0]!r}: take a name that tells it from the real side")
    out = Path(out)
    open_folder(out)
    with lock_folder(out):
        remove_temporaries(out)
        source = open_source(real, group_by=options.group_by)
        reals = survey(source, quiet, "real pictures", distinct=True)
        by_topic = source.kind != "run" and any(one.caption for one in source.pictures)
        known = taxonomy or (load_taxonomy() if by_topic or (models and scenes is None and source.kind != "run") else None)
        topics = Topics(known.objects.names if known is not None and by_topic else ())
        painted, match = _painted(out, reals, models, scenes, spec, known, topics, options, quiet) if models else ({}, None)
        places = {**generated, **painted}
        sides = {name: survey(open_source(places[name], group_by=options.group_by), quiet, name) for name in sorted(places)}
        return _Build(out, reals, sides, options, topics, quiet).run(None if match is None else match.to_dict())


def _painted(
    out: Path,
    reals: Side,
    models: Sequence[Model],
    scenes: pa.Table | None,
    spec: SceneSpec | None,
    taxonomy: Taxonomy | None,
    topics: Topics,
    options: BuildOptions,
    quiet: bool,
) -> tuple[dict[str, Path], TopicMatch | None]:
    """Runs of the models on scenes that match the real side."""
    in_order = sorted(reals.seen, key=lambda key: rank(reals.seen[key].sha256, options.seed))[: options.n]
    match = None
    if scenes is None and reals.source.kind == "run":
        wanted = {reals.seen[key].picture.record_id for key in in_order}
        chosen = pa.Table.from_pylist([record for name, record in reals.source.records.items() if name in wanted], record_schema())
    else:
        captions = [reals.seen[key].picture.caption for key in in_order]
        if scenes is None:
            assert taxonomy is not None
            scenes = candidate_scenes(captions, taxonomy, topics, spec=spec, seed=options.seed)
        found = choose_scenes(captions, scenes, topics, taxonomy)
        chosen, match = found.scenes, found.match
    places = {}
    for model in models:
        places[model.name] = out / "painted" / slug(model.name)
        paint_run(chosen, model, places[model.name], seed=options.seed, taxonomy=taxonomy, quiet=quiet)
    return places, match


def rank(sha256: str, seed: int) -> str:
    """Where a real picture comes when some of them are drawn."""
    return hashlib.sha256(f"{seed}/{sha256}".encode()).hexdigest()


# ---- making it ------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Pair:
    """A real picture with its partners by generator, and what is done to all of them."""

    id: str
    real: Seen
    partners: Mapping[str, tuple[Seen, ...]]
    group: str
    cut: e.Cut


class _Build:
    """One build, from what there is to the manifest."""

    def __init__(self, out: Path, real: Side, sides: Mapping[str, Side], options: BuildOptions, topics: Topics, quiet: bool) -> None:
        self.out, self.real, self.sides, self.options, self.topics, self.quiet = out, real, sides, options, topics, quiet
        self.left_out: Counter[str] = Counter()
        self.rules: dict[str, Mapping[str, int]] = {}
        names = [slug(name) for name in sides]
        if len(set(names)) < len(names):
            raise SpecError(f"generators {', '.join(sides)}: two of them would have one folder; take other names")

    def run(self, topics: Mapping[str, Any] | None = None) -> DetectorData:
        """Makes what is missing; ``topics`` says how scenes were matched to captions."""
        pairs = self.pairs()
        if not pairs:
            why = "; ".join(f"{number:,} {reason}" for reason, number in self.left_out.items())
            raise SpecError(f"no real picture can be paired with a generated one ({why or 'there are no partners'})")
        asked = self.asked()
        done = self.opened(asked)
        if isinstance(done, DetectorData):
            return done
        todo = [pair for pair in pairs if pair.id not in done]
        try:
            with progress(len(pairs), "pairs", done=len(pairs) - len(todo), quiet=self.quiet) as advance:
                for first in range(0, len(todo), AT_ONCE):
                    batch = todo[first : first + AT_ONCE]
                    rows = {pair.id: self.make(pair) for pair in batch}
                    append_journal(self.out, {"pairs": rows})
                    done.update(rows)
                    advance(len(batch))
        except KeyboardInterrupt:
            raise Interrupted(f"stopped; {len(done):,} of {len(pairs):,} pairs are kept: the same command goes on from there") from None
        return self.finish(pairs, done, {**asked, "topics": topics})

    def asked(self) -> dict[str, Any]:
        """What tells this build from others."""
        return normalized(
            {
                "build_version": VERSION,
                "options": asdict(self.options),
                "real": self.real.facts(),
                "generators": {name: side.facts() for name, side in self.sides.items()},
            }
        )

    def opened(self, asked: Mapping[str, Any]) -> DetectorData | dict[str, list[dict[str, Any]]]:
        """The finished data set, or the pairs that are done.

        Raises:
            RunError: the folder holds something else.
        """
        advice = "Take another folder for another data set."
        if (self.out / DATASET).is_file():
            data = open_dataset(self.out)
            if differing := differences({key: data.manifest.get(key) for key in asked}, asked):
                raise RunError(f"{self.out} holds another data set ({'; '.join(differing[:3])}). {advice}")
            if all(_is_whole(data.path(one), one.id) for one in data.pictures):
                say(f"{self.out} is there already; nothing to do", quiet=self.quiet)
                return data
        elif (journal := read_journal(self.out)) is not None:
            header, entries = journal
            if differing := differences(header, asked):
                raise RunError(f"{self.out} holds an unfinished data set of another kind ({'; '.join(differing[:3])}). {advice}")
            found: dict[str, list[dict[str, Any]]] = {}
            for entry in entries:
                found.update(entry["pairs"])  # type: ignore[call-overload]
            return {pair: rows for pair, rows in found.items() if all(_is_whole(self.out / row["file"], row["id"]) for row in rows)}
        elif (self.out / "pictures").exists():
            raise RunError(f"{self.out} holds a folder 'pictures' that is no data set's. Take an empty folder.")
        start_journal(self.out, asked)
        return {}

    # -- pairs

    def pairs(self) -> list[_Pair]:
        """All pairs that can be made, by id."""
        usable = [one.picture for one in self.real.seen.values()]
        partners: dict[str, dict[str, tuple[Seen, ...]]] = defaultdict(dict)
        for name, side in self.sides.items():
            pairing = pair_up(usable, [one.picture for one in side.seen.values()], self.topics, self.options.seed)
            self.rules[name] = pairing.rules
            for key, found in pairing.partners.items():
                partners[key][name] = tuple(side.seen[one.key] for one in found)
        self.left_out["real pictures without a partner"] += len(usable) - len(partners)
        chosen = sorted(partners, key=lambda key: self.real.seen[key].sha256)
        if self.options.n is not None:
            drawn = sorted(chosen, key=lambda key: rank(self.real.seen[key].sha256, self.options.seed))[: self.options.n]
            chosen = sorted(drawn, key=lambda key: self.real.seen[key].sha256)
        groups = self._groups({key: partners[key] for key in chosen})
        found_pairs = [self._pair(self.real.seen[key], partners[key], groups[key]) for key in chosen]
        return [pair for pair in found_pairs if pair is not None]

    def _pair(self, real: Seen, partners: Mapping[str, tuple[Seen, ...]], group: str) -> _Pair | None:
        sizes = [(one.head.width, one.head.height) for one in (real, *(one for side in partners.values() for one in side))]
        cut = e.plan_cut(sizes, real.sha256, scale=self.options.scale, largest=self.options.largest, seed=self.options.seed)
        if min(cut.size) < self.options.smallest:
            self.left_out[f"pairs with a side below {self.options.smallest} pixels"] += 1
            return None
        return _Pair(real.sha256[:16], real, partners, group, cut)

    def _groups(self, partners: Mapping[str, Mapping[str, tuple[Seen, ...]]]) -> dict[str, str]:
        """The group of each pair: pairs that share a source image, a scene graph or a file are in one."""
        graphs = self._graphs()
        joined = _Joined()
        names: dict[str, str] = {}
        for key, sides in partners.items():
            real = self.real.seen[key]
            own = real.picture
            source = f"source {own.group if own.group != own.key else real.sha256}"
            names[key] = graphs.get(own.record_id, source)
            for one in (one for side in sides.values() for one in side):
                joined.join(names[key], graphs.get(one.picture.record_id, f"file {one.sha256}"))
                joined.join(names[key], f"file {one.sha256}")
        return {key: hashlib.sha256(joined.root(name).encode()).hexdigest()[:16] for key, name in names.items()}

    def _graphs(self) -> dict[str, str]:
        """The name of each record's scene graph."""
        found = {}
        for side in (self.real, *self.sides.values()):
            for name, record in side.source.records.items():
                text = json.dumps(record["graph"], sort_keys=True, ensure_ascii=True)
                found[name] = f"graph {hashlib.sha256(text.encode()).hexdigest()}"
        return found

    # -- pictures

    def make(self, pair: _Pair) -> list[dict[str, Any]]:
        """Writes the pictures of a pair; gives their rows, none where the real one or all others are damaged."""
        past = pair.real.head.encoding
        final = self.options.forced() or past
        grey = pair.real.head.grey
        real = self._taken(pair.real, pair, None, grey)
        others = {
            (name, number): image
            for name, side in pair.partners.items()
            for number, one in enumerate(side)
            if (image := self._taken(one, pair, past, grey)) is not None
        }
        if real is None or not others:
            return []
        rows = [self._write(f"pictures/{REAL}/{pair.id}", real, final, pair.real, "")]
        for (name, number), image in others.items():
            rows.append(self._write(f"pictures/{slug(name)}/{pair.id}-{number}", image, final, pair.partners[name][number], name))
        return rows

    def _taken(self, seen: Seen, pair: _Pair, past: e.Encoding | None, grey: bool) -> Image.Image | None:
        """A picture cut and scaled; a generated one first gets a past."""
        try:
            image = e.decode(seen.picture.read(), seen.picture.key).image
        except (MediaError, OSError) as error:
            say(f"{error}; it is left out", quiet=self.quiet)
            return None
        if grey != (image.mode == "L"):
            image = image.convert("L" if grey else "RGB")
        if past is not None and past.format == "jpeg":
            image = e.decode(e.encode(image, past), seen.picture.key).image
        return e.take(image, pair.cut, seen.sha256, seed=self.options.seed)

    def _write(self, stem: str, image: Image.Image, encoding: e.Encoding, seen: Seen, generator: str) -> dict[str, Any]:
        data = e.encode(image, encoding)
        path = self.out / f"{stem}{encoding.suffix}"
        open_folder(path.parent)
        write_atomic(path, data, sync=False)  # the journal has its digest, and is synced
        picture = Picture(
            id=hashlib.sha256(data).hexdigest(),
            file=f"{stem}{encoding.suffix}",
            label=GENERATED if generator else REAL,
            generator=generator,
            split="",
            group="",
            caption=seen.picture.caption,
            record_id=seen.picture.record_id,
            width=image.width,
            height=image.height,
            format=encoding.format,
            encoding=encoding.digest,
        )
        return asdict(picture)

    # -- the end

    def finish(self, pairs: Sequence[_Pair], done: Mapping[str, list[dict[str, Any]]], asked: Mapping[str, Any]) -> DetectorData:
        """Writes tables and manifest, and clears away what belongs to no row."""
        pictures = []
        for pair in pairs:
            if not done[pair.id]:
                self.left_out["pairs with a damaged picture"] += 1
            split = split_of(pair.group, self.options.shares, self.options.seed)
            pictures += [replace(Picture(**row), split=split, group=pair.group) for row in done[pair.id]]
        if not pictures:
            raise SpecError("every pair has a damaged picture; see the lines above")
        used = {one.record_id for one in pictures if one.generator}
        records = {name: record for side in self.sides.values() for name, record in side.source.records.items() if name in used}
        kept = {one.file for one in pictures}
        for path in sorted((self.out / "pictures").rglob("*")):
            if path.is_file() and path.relative_to(self.out).as_posix() not in kept:
                path.unlink()
        made = [pair for pair in pairs if done[pair.id]]
        facts = {
            **asked,
            "pairs": len(made),
            "left_out": {reason: number for reason, number in self.left_out.items() if number},
            "pairing": self.rules,
            "encodings": _encodings(pictures),
            "unequal": unequal(made, self.sides),
        }
        data = write_dataset(self.out, pictures, [records[name] for name in sorted(records)], facts)
        (self.out / JOURNAL_NAME).unlink(missing_ok=True)
        return data


class _Joined:
    """Names that belong together."""

    def __init__(self) -> None:
        self._above: dict[str, str] = {}

    def root(self, name: str) -> str:
        """The first, by the alphabet, of all names that belong together with this one."""
        while (above := self._above.get(name, name)) != name:
            name = above
        return name

    def join(self, one: str, other: str) -> None:
        """Puts two names, and all that belong to them, together."""
        low, high = sorted((self.root(one), self.root(other)))
        self._above[high] = low


def _is_whole(path: Path, sha256: str) -> bool:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() == sha256
    except OSError:
        return False


def _encodings(pictures: Iterable[Picture]) -> dict[str, dict[str, int]]:
    """Pictures by encoding and side."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for one in pictures:
        found[one.encoding or one.format][one.generator or REAL] += 1
    return {name: dict(sorted(found[name].items())) for name in sorted(found)}


def unequal(pairs: Sequence[_Pair], sides: Mapping[str, Side]) -> list[str]:
    """What could not be made equal, a sentence each."""
    found = []
    view = _view([pair.real for pair in pairs], pairs)
    for name in sides:
        held = [(one, pair) for pair in pairs for one in pair.partners.get(name, ())]
        partners = [one for one, _ in held]
        lossy = sum(one.head.format not in e.LOSSLESS for one in partners)
        if lossy:
            found.append(f"{lossy:,} of {len(partners):,} pictures of {name} had been through a lossy encoder of their own before")
        own = _view(partners, [pair for _, pair in held])
        if abs(own - view) > VIEW:
            found.append(f"field of view: {view:.0%} of a real picture's area is kept, {own:.0%} of one of {name} (medians)")
    for trace, words in (("icc", "had a colour profile, and were brought to sRGB from it"), ("turned", "were stored turned")):
        real = [trace in pair.real.head.traces for pair in pairs]
        other = [trace in one.head.traces for pair in pairs for side in pair.partners.values() for one in side]
        if abs(np.mean(real) - np.mean(other)) > TRACES:
            found.append(f"{sum(real):,} of {len(real):,} real and {sum(other):,} of {len(other):,} generated pictures {words}")
    return found


def _view(pictures: Sequence[Seen], pairs: Sequence[_Pair]) -> float:
    """Median share of a picture's area that its pair keeps."""
    areas = [
        pair.cut.window[0] * pair.cut.window[1] / (one.head.width * one.head.height) for one, pair in zip(pictures, pairs, strict=True)
    ]
    return float(np.median(areas)) if areas else 1.0
