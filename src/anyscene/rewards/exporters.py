"""Training sets for other trainers, in the very files that these read.

| function | file | read by |
| --- | --- | --- |
| `export_trl` | JSON lines: ``prompt``, then the columns of the record | TRL, T2I-R1, Flow-Factory |
| `export_verl` | Parquet: ``prompt``, ``reward_model``, ``extra_info``, ... (`VERL_SCHEMA`) | verl, verl-omni |
| `export_flow_grpo` | ``SPLIT_metadata.jsonl``: ``prompt``, then the record | flow_grpo, DiffusionNFT (their GenEval data set) |
| `export_simplear` | one JSON list: ``caption``, ``image_path`` where pictures are given, ``id`` | SimpleAR |
| `export_imagefolder` | ``metadata.jsonl`` with ``file_name`` and ``text``, and pictures | ``load_dataset("imagefolder", ...)`` |

Every one carries what its reward adapter needs, so that the trainer hands the record back with each picture. Where a reader guesses types
from the first lines, ``graph`` and ``questions`` are JSON text: a list that is empty for a thousand rows would be guessed wrong.

A file is there in full or not at all, and is never replaced unless asked for. The same records give the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from anyscene.errors import MediaError, RecordError, RunError, SpecError
from anyscene.media import MediaEntry, MediaFolder
from anyscene.rewards.protocol import Record
from anyscene.runs import AtomicFile, open_folder, remove_temporaries, sha256_of

__all__ = [
    "PLAIN_PROMPT",
    "SIMPLEAR_PROMPT",
    "VERL_SCHEMA",
    "export_flow_grpo",
    "export_imagefolder",
    "export_simplear",
    "export_trl",
    "export_verl",
]

PLAIN_PROMPT = "{caption}"
SIMPLEAR_PROMPT = "<|t2i|>A photo of {caption}<|soi|>"
"""What SimpleAR's GRPO puts around a caption."""
VERL_ROWS = 4096
_PLACE = "{caption}"

VERL_SCHEMA = pa.schema(
    {
        "data_source": pa.string(),
        "prompt": pa.list_(pa.struct({"role": pa.string(), "content": pa.string()})),
        "negative_prompt": pa.list_(pa.struct({"role": pa.string(), "content": pa.string()})),
        "ability": pa.string(),
        "reward_model": pa.struct({"style": pa.string(), "ground_truth": pa.string()}),
        "extra_info": pa.struct({"split": pa.string(), "index": pa.int64(), "id": pa.string(), "record": pa.string()}),
    }
)


def export_trl(records: Iterable[Record], path: Path, *, prompt: str = PLAIN_PROMPT, overwrite: bool = False) -> int:
    """Writes JSON lines for TRL's ``GRPOTrainer``, for `adapters.as_trl`.

    Args:
        records: the scenes.
        path: the file.
        prompt: what the policy reads, with ``{caption}`` where the caption goes; `SIMPLEAR_PROMPT` for SimpleAR.
        overwrite: replace a file that is there.

    Returns:
        The number of rows.

    Raises:
        SpecError: the prompt has no ``{caption}``.
        RecordError: a record has no id or caption.
        RunError: the file is there already, or cannot be written.
    """

    def row(record: Record) -> dict[str, Any]:
        texts = {name: _json(record[name]) for name in ("graph", "questions") if record.get(name) is not None}
        rest = {name: value for name, value in record.items() if value is not None and name not in ("id", "caption", *texts)}
        return {"prompt": _prompt(prompt, record), "id": record["id"], "caption": record["caption"], **rest, **texts}

    return _write_lines(path, _checked(records), row, overwrite)


def export_flow_grpo(
    records: Iterable[Record], folder: Path, *, split: str = "train", prompt: str = PLAIN_PROMPT, overwrite: bool = False
) -> int:
    """Writes ``SPLIT_metadata.jsonl`` for flow_grpo's and DiffusionNFT's GenEval data set, for `adapters.as_flow_grpo`.

    The whole line is what the reward gets as metadata. Arguments, result and errors as `export_trl`; ``folder`` is the data set's.
    """
    if split not in ("train", "test"):
        raise SpecError(f"split {split!r}: flow_grpo reads train_metadata.jsonl and test_metadata.jsonl")

    def row(record: Record) -> dict[str, Any]:
        return {"prompt": _prompt(prompt, record), **record}

    open_folder(folder)
    return _write_lines(folder / f"{split}_metadata.jsonl", _checked(records), row, overwrite)


def export_simplear(
    records: Iterable[Record],
    path: Path,
    *,
    media: MediaFolder | None = None,
    keep: Callable[[MediaEntry], bool] | None = None,
    overwrite: bool = False,
) -> int:
    """Writes a JSON list for SimpleAR: captions for its GRPO, and with the pictures of a run pairs for its fine-tuning.

    Args:
        records: the scenes.
        path: the file.
        media: pictures of these scenes; one row for each that was made, with its absolute ``image_path``. None for one row a caption.
        keep: which pictures are taken; all by default.
        overwrite: replace a file that is there.

    Returns, raises: as `export_trl`.
    """
    pictures = {} if media is None else _pictures(media, keep)

    def rows() -> Iterator[dict[str, Any]]:
        for record in _checked(records):
            row = {"id": record["id"], "caption": record["caption"]}
            if media is None:
                yield row
                continue
            for entry in pictures.get(str(record["id"]), ()):
                yield {**row, "image_path": str((media.path / entry.file).resolve())}

    return _write(path, ((place, _json(row)) for place, row in enumerate(rows())), overwrite, first="[\n", between=",\n", last="\n]\n")


def export_verl(
    records: Iterable[Record],
    path: Path,
    *,
    split: str = "train",
    prompt: str = PLAIN_PROMPT,
    negative_prompt: str = "",
    data_source: str = "anyscene",
    overwrite: bool = False,
) -> int:
    """Writes Parquet for verl and verl-omni, for `verl_omni.compute_score`.

    ``reward_model.ground_truth`` is the caption; ``extra_info.record`` the whole record as JSON text.

    Args:
        records: the scenes.
        path: the file.
        split: put into ``extra_info``.
        prompt: what the user says to the policy, with ``{caption}`` where the caption goes.
        negative_prompt: what the user says on the unconditional branch.
        data_source: name of the data set, for logs by source.
        overwrite: replace a file that is there.

    Returns, raises: as `export_trl`.
    """

    def row(record: Record, place: int) -> dict[str, Any]:
        return {
            "data_source": data_source,
            "prompt": [{"role": "user", "content": _prompt(prompt, record)}],
            "negative_prompt": [{"role": "user", "content": negative_prompt}],
            "ability": "text_to_image",
            "reward_model": {"style": "model", "ground_truth": record["caption"]},
            "extra_info": {"split": split, "index": int(record.get("index", place)), "id": record["id"], "record": _json(record)},
        }

    _free(path, overwrite)
    rows = (row(record, place) for place, record in enumerate(_checked(records)))
    written = 0
    with AtomicFile(path) as file:
        sink = _Counted(file)
        with pq.ParquetWriter(sink, VERL_SCHEMA, compression="zstd") as writer:
            while some := list(islice(rows, VERL_ROWS)):
                writer.write_table(pa.Table.from_pylist(some, VERL_SCHEMA))
                written += len(some)
    return written


def export_imagefolder(
    records: Iterable[Record],
    media: MediaFolder,
    folder: Path,
    *,
    keep: Callable[[MediaEntry], bool] | None = None,
    prompt: str = PLAIN_PROMPT,
    overwrite: bool = False,
) -> int:
    """Copies the pictures of a run into a folder that ``load_dataset("imagefolder", data_dir=...)`` and diffusers' scripts read.

    Stopped on the way, the same call goes on: pictures that are there with the right bytes are kept, and ``metadata.jsonl`` comes last.

    Args:
        records: the scenes.
        media: their pictures.
        folder: made where it is missing.
        keep: which pictures are taken; all that were made by default.
        prompt: the text of each, with ``{caption}`` where the caption goes.
        overwrite: replace an export that is there, pictures and all.

    Returns:
        The number of pictures.

    Raises:
        MediaError: a picture of the run is damaged.
        RunError: the folder holds another export or other files, or cannot be written. Errors of `export_trl` besides.
    """
    open_folder(folder)
    pictures = _pictures(media, keep)
    rows: list[dict[str, Any]] = []
    wanted: dict[str, MediaEntry] = {}
    for record in _checked(records):
        for entry in pictures.get(str(record["id"]), ()):
            name = f"images/{record['id']}-{entry.sample}{Path(entry.file).suffix}"
            wanted[name] = entry
            rows.append({"file_name": name, "text": _prompt(prompt, record), "id": record["id"], "sample": entry.sample})
    lines = "".join(_json(row) + "\n" for row in rows).encode()
    _clear(folder, wanted, lines, overwrite)
    for name, entry in wanted.items():
        target = folder / name
        if not (target.exists() and sha256_of(target) == entry.sha256):
            open_folder(target.parent)
            if problem := media.problem(entry):
                raise MediaError(f"{problem}. Paint the run again: only what is damaged is made anew")
            with AtomicFile(target, sync=False) as file:
                file.write((media.path / entry.file).read_bytes())
    with AtomicFile(folder / "metadata.jsonl") as file:
        file.write(lines)
    return len(rows)


def _clear(folder: Path, wanted: Mapping[str, MediaEntry], lines: bytes, overwrite: bool) -> None:
    """Makes sure that the folder holds nothing but a part of this export."""
    images, metadata = folder / "images", folder / "metadata.jsonl"
    remove_temporaries(folder)
    if images.is_dir():
        remove_temporaries(images)
    found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    strangers = [name for name in found if name not in wanted and name != "metadata.jsonl"]
    outside = [name for name in strangers if not name.startswith("images/")]
    if outside:
        raise RunError(f"{folder} holds {outside[0]}, which is no part of an image folder. Choose an empty folder.")
    other = metadata.exists() and metadata.read_bytes() != lines
    if not overwrite and (strangers or other):
        raise RunError(
            f"{folder} holds another export ({strangers[0] if strangers else 'other captions'}). Choose another folder, or overwrite."
        )
    metadata.unlink(missing_ok=True)
    for name in strangers:
        (folder / name).unlink()


def _pictures(media: MediaFolder, keep: Callable[[MediaEntry], bool] | None) -> dict[str, list[MediaEntry]]:
    """The pictures of each record that were made and are wanted."""
    found: dict[str, list[MediaEntry]] = {}
    for entry in media.entries():
        if entry.status == "made" and (keep is None or keep(entry)):
            found.setdefault(entry.record_id, []).append(entry)
    return found


def _checked(records: Iterable[Record]) -> Iterator[Record]:
    seen = set()
    for place, record in enumerate(records):
        for name in ("id", "caption"):
            if not record.get(name):
                raise RecordError(f"record {record.get('id') or place!r} has no {name!r}; every row of a training set needs it")
        if record["id"] in seen:
            raise RecordError(f"two records have the id {record['id']!r}; a reward could not tell them apart")
        seen.add(record["id"])
        yield record


def _prompt(template: str, record: Record) -> str:
    if _PLACE not in template:
        raise SpecError(f"prompt {template!r}: it must hold {_PLACE} where the caption goes")
    return template.replace(_PLACE, str(record["caption"]))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _write_lines(path: Path, records: Iterable[Record], row: Callable[[Record], dict[str, Any]], overwrite: bool) -> int:
    return _write(path, ((place, _json(row(record))) for place, record in enumerate(records)), overwrite, between="\n", last="\n")


def _write(path: Path, rows: Iterable[tuple[int, str]], overwrite: bool, *, first: str = "", between: str, last: str) -> int:
    """Writes texts one after the other, in one step. Gives their number."""
    _free(path, overwrite)
    written = 0
    with AtomicFile(path) as file:
        file.write(first.encode())
        for place, text in rows:
            file.write(((between if place else "") + text).encode())
            written += 1
        file.write((last if written or first else "").encode())
    return written


def _free(path: Path, overwrite: bool) -> None:
    """Makes sure that a file may be written.

    Raises:
        RunError: it is there already.
    """
    if path.exists() and not overwrite:
        raise RunError(f"{path} is there already. Choose another name, or overwrite.")
    open_folder(path.parent)


class _Counted:
    """The file that Parquet's writer writes to."""

    closed = False

    def __init__(self, file: AtomicFile) -> None:
        self._file = file

    def write(self, data: bytes) -> int:
        self._file.write(data)
        return len(memoryview(data).cast("B"))

    def tell(self) -> int:
        return self._file.size

    def flush(self) -> None: ...

    def close(self) -> None: ...

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False
