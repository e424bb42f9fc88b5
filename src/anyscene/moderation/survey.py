"""What is in a source: every file looked at once, the unusable named, the rest told by digests."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from anyscene.errors import Interrupted, MediaError, SpecError
from anyscene.moderation import encoding as e
from anyscene.moderation.sources import PictureSource, SourcePicture
from anyscene.runs import progress

__all__ = ["Seen", "Side", "survey"]


@dataclass(frozen=True, slots=True)
class Seen:
    """A picture of a source whose file was looked at."""

    picture: SourcePicture
    sha256: str
    head: e.Head


@dataclass(frozen=True, slots=True)
class Side:
    """All usable pictures of a source."""

    source: PictureSource
    seen: Mapping[str, Seen]
    problems: tuple[str, ...]

    def facts(self) -> dict[str, Any]:
        """What the manifest says of it."""
        rows = [[key, one.sha256, one.picture.caption, one.picture.record_id, one.picture.group] for key, one in self.seen.items()]
        formats = Counter(one.head.format for one in self.seen.values())
        traces = Counter(trace for one in self.seen.values() for trace in one.head.traces)
        return {
            "kind": self.source.kind,
            **self.source.facts,
            "pictures": len(self.seen),
            "sha256": hashlib.sha256(json.dumps(rows).encode()).hexdigest(),
            "formats": dict(sorted(formats.items())),
            "traces": dict(sorted(traces.items())),
            "not_used": len(self.problems),
            "first_problems": list(self.problems[:5]),
        }


def survey(source: PictureSource, quiet: bool, what: str, *, distinct: bool = False) -> Side:
    """Looks at the head of every file. With ``distinct``, a file that is there under two names counts once."""
    seen: dict[str, Seen] = {}
    problems = list(source.problems)
    known: set[str] = set()
    try:
        with progress(len(source.pictures), what, quiet=quiet) as advance:
            for picture in source.pictures:
                found = _look(picture, distinct)
                advance(1)
                if isinstance(found, Seen) and distinct and found.sha256 in known:
                    found = f"{picture.key}: the same file is there under another name"
                if isinstance(found, str):
                    problems.append(found)
                    continue
                known.add(found.sha256)
                seen[picture.key] = found
    except KeyboardInterrupt:
        raise Interrupted("stopped while the pictures were looked at; the same command starts that again") from None
    if not seen:
        raise SpecError(f"{what}: none of {len(source.pictures):,} can be used (the first: {problems[0]})")
    return Side(source, seen, tuple(problems))


def _look(picture: SourcePicture, is_real: bool) -> Seen | str:
    try:
        data = picture.read()
        head = e.read_head(data, picture.key)
    except OSError as error:
        return f"{picture.key}: {error.strerror or error}"
    except MediaError as error:
        return str(error)
    if is_real and head.encoding.format == "png" and head.format not in e.LOSSLESS:
        return f"{picture.key}: {head.format} is neither JPEG nor lossless, so the generated side cannot be given the same past"
    return Seen(picture, hashlib.sha256(data).hexdigest(), head)
