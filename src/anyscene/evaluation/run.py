"""The folder of one evaluation: scenes, media, answers, scores, report.

    RUN/
      run.json                       which scenes, which model, which seed; how the command line named the model
      scenes.parquet                 the records
      words.json                     type of each relation and class of each object that occur
      media/<model>/                 media, model.json, manifest.jsonl
      answers/<judge>/               judge.json (likewise of the judge), part-00000.parquet, ...
      labels.parquet                 true answers to some questions, where they are known (people's, or the sandbox's)
      scores.json, scores.parquet    the scores, and what each question contributed
      report.html

A run has one model and any number of judges. Every step goes on from what is there; no file holds a time, a host name or a path.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from anyscene import __version__
from anyscene.dataset import read_table
from anyscene.dataset.rows import TableRows
from anyscene.errors import RecordError, RunError, SpecError
from anyscene.evaluation.command import all_forms
from anyscene.judges import Judge
from anyscene.judges.judging import judge_facts
from anyscene.judges.store import read_answers
from anyscene.media import MediaFolder
from anyscene.models import Model
from anyscene.models.painting import model_facts
from anyscene.runs import differences, normalized, open_folder, read_manifest, sha256_of, write_atomic, write_manifest
from anyscene.taxonomy import Taxonomy
from anyscene.taxonomy.taxonomy import RELATION_TYPES

__all__ = ["EvaluationRun", "create_run", "json_bytes", "open_run", "parquet_bytes", "read_json", "scenes_of", "slug"]

SCENES, WORDS, LABELS, SCORES, ROWS, REPORT = (
    "scenes.parquet",
    "words.json",
    "labels.parquet",
    "scores.json",
    "scores.parquet",
    "report.html",
)
_MAY_DIFFER = ("versions", "command", "forms")
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")


def slug(name: str) -> str:
    """The name of a model or judge as a folder's name."""
    return _NOT_IN_NAMES.sub("-", name).strip("-.") or "unnamed"


@dataclass(frozen=True)
class EvaluationRun:
    """An evaluation's folder, opened.

    Attributes:
        folder: its path.
        manifest: what ``run.json`` holds.
    """

    folder: Path
    manifest: Mapping[str, Any]

    @cached_property
    def scenes(self) -> pa.Table:
        """The records.

        Raises:
            RecordError: the file is damaged.
        """
        return pq.read_table(self.scenes_file())

    def scenes_file(self) -> Path:
        """Where the records are.

        Raises:
            RecordError: the file is damaged.
        """
        path = self.folder / SCENES
        if not path.is_file() or sha256_of(path) != self.manifest["scenes"]["sha256"]:
            raise RecordError(
                f"{path} is missing or damaged: its bytes are not those of the run. Start the run anew, or copy the file back."
            )
        return path

    @cached_property
    def records(self) -> Sequence[dict[str, Any]]:
        """The records as dictionaries, made as they are asked for."""
        return TableRows(self.scenes)

    @property
    def model(self) -> Mapping[str, Any]:
        """Name, revision, modality and settings of the model."""
        facts: Mapping[str, Any] = self.manifest["model"]
        return facts

    @property
    def media(self) -> MediaFolder:
        """The media with their manifest."""
        return MediaFolder(self.folder / "media" / slug(self.model["name"]))

    @property
    def judges(self) -> dict[str, Path]:
        """Folders of the answer stores, by the judge's name."""
        found = {}
        for path in sorted((self.folder / "answers").glob("*/judge.json")):
            found[str(read_json(path)["name"])] = path.parent
        return found

    def store(self, judge: Judge, forms: Sequence[str] = (), words: Sequence[str] | None = None) -> Path:
        """The folder of a judge's answers, made and marked as its own.

        Args:
            judge: who answers.
            forms: of the questions it is about to be asked; kept with those it was asked before.
            words: how the command line names it, see `judge_words`; the first ones are kept.

        Raises:
            RunError: there are answers of the same judge in another revision or with another template.
        """
        folder = self.folder / "answers" / slug(judge.name)
        open_folder(folder)
        path, facts = folder / "judge.json", normalized(judge_facts(judge))
        if path.exists():
            found = read_json(path)
            _same(found, facts, folder, "Take a new --out, or remove the folder to ask anew.")
            facts = {**found, "forms": all_forms(found["forms"], forms)} if "forms" in found else found
        else:
            found = {}
            facts |= {"forms": all_forms(forms)} | ({} if words is None else {"command": list(words)})
        if facts != found:
            write_atomic(path, json_bytes(facts))
        return folder

    def answers(self, judge: str | None = None) -> tuple[pa.Table, dict[str, Any]]:
        """The answers of a judge, by default of the only one, and what is known of it.

        Raises:
            SpecError: there is no such judge, or there are several and none is named.
            RecordError: a file of answers is damaged.
        """
        folder, facts = self.store_of(judge)
        return read_answers(folder), facts

    def store_of(self, judge: str | None = None) -> tuple[Path, dict[str, Any]]:
        """The folder of a judge's answers, by default of the only one's, and what is known of it.

        Raises:
            SpecError: there is no such judge, or there are several and none is named.
        """
        judges = self.judges
        if judge is None and len(judges) == 1:
            judge = next(iter(judges))
        if judge is None or judge not in judges:
            what = "no judge has answered yet: run anyscene judge first" if not judges else f"the run has answers of {', '.join(judges)}"
            raise SpecError(
                f"{self.folder}: {what}{'' if judge is None else f', not of {judge}'}{'; name one with --judge' if len(judges) > 1 else ''}"
            )
        return judges[judge], read_json(judges[judge] / "judge.json")

    @property
    def words(self) -> dict[str, dict[str, str]]:
        """``relation_types`` and ``object_classes`` of the words that occur."""
        path = self.folder / WORDS
        return read_json(path) if path.exists() else {"relation_types": {}, "object_classes": {}}

    @property
    def labels(self) -> pa.Table | None:
        """True answers, where some are known."""
        path = self.folder / LABELS
        return pq.read_table(path) if path.exists() else None

    @property
    def labels_source(self) -> str:
        """``truth`` where all true answers are a painter's own, else ``labels``."""
        path = self.folder / LABELS
        metadata = (pq.read_schema(path).metadata or {}) if path.exists() else {}
        return str(metadata.get(b"source", b"labels").decode())

    @property
    def labels_share(self) -> float | None:
        """The share of the media for which a painter told the truth; None where not all true answers are of that kind."""
        path = self.folder / LABELS
        metadata = (pq.read_schema(path).metadata or {}) if path.exists() else {}
        return float(metadata[b"share"]) if b"share" in metadata else None

    def scores(self) -> dict[str, Any]:
        """What ``scores.json`` holds.

        Raises:
            RunError: the run has not been scored.
        """
        path = self.folder / SCORES
        if not path.exists():
            raise RunError(f"{self.folder} has no {SCORES}: run anyscene score {self.folder} first")
        return read_json(path)


def open_run(folder: str | Path) -> EvaluationRun:
    """Opens the folder of an evaluation.

    Raises:
        RunError: it is none.
    """
    folder = Path(folder)
    manifest = read_manifest(folder) if folder.is_dir() else None
    if manifest is None or manifest.get("kind") != "evaluation":
        what = "a dataset" if manifest else "no run" if folder.exists() else "no such folder"
        raise RunError(f"{folder}: {what}; give a folder that anyscene eval or anyscene paint wrote")
    return EvaluationRun(folder, manifest)


def create_run(
    folder: Path,
    scenes: pa.Table,
    model: Model,
    *,
    seed: int,
    samples: int,
    taxonomy: Taxonomy | None = None,
    words: Sequence[str] | None = None,
) -> EvaluationRun:
    """Makes the folder of an evaluation, or opens it where it is there and of the same scenes, model and seed.

    ``words``, how the command line names the model (`model_words`), are kept for whoever makes the run again; they tell no runs apart.

    Raises:
        RunError: the folder holds another run; the message says what differs.
        SpecError: the scenes cannot be evaluated.
    """
    _check_scenes(scenes, model)
    open_folder(folder)
    data = parquet_bytes(scenes)
    asked = normalized(
        {
            "kind": "evaluation",
            "scenes": {"n": scenes.num_rows, "sha256": hashlib.sha256(data).hexdigest()},
            "model": model_facts(model),
            "seed": seed,
            "samples": samples,
            **({} if words is None else {"command": list(words)}),
            "versions": {"anyscene": __version__, **{name: version(name) for name in ("numpy", "pyarrow", "pillow")}},
        }
    )
    found = read_manifest(folder)
    if found is not None:
        _same(found, asked, folder, "Take another folder for another run.")
        return EvaluationRun(folder, found)
    others = [path.name for path in sorted(folder.iterdir()) if path.name in (SCENES, "media", "answers") or path.suffix == ".parquet"]
    if [name for name in others if name not in (SCENES,)]:
        raise RunError(f"{folder} holds {others[0]} but no run.json of an evaluation; take an empty folder")
    write_atomic(folder / SCENES, data)
    if taxonomy is not None:
        write_atomic(folder / WORDS, json_bytes(_words(scenes, taxonomy)))
    write_manifest(folder, asked)  # last: a run is there when its manifest is
    return EvaluationRun(folder, asked)


def scenes_of(path: str | Path, limit: int | None = None) -> pa.Table:
    """The records of a dataset, or the first so many of them.

    Raises:
        RecordError: it cannot be read.
        SpecError: the limit is below 1.
    """
    if limit is not None and limit < 1:
        raise SpecError(f"{limit} scenes: ask for at least 1")
    table = read_table(path)
    return table if limit is None else table.slice(0, limit)


def _check_scenes(scenes: pa.Table, model: Model) -> None:
    if not scenes.num_rows:
        raise SpecError("the dataset holds no scenes; generate some first: anyscene generate -n 100 --out scenes")
    if "questions" not in scenes.column_names:
        raise SpecError("the scenes have no questions; generate them without --no-questions")
    modalities = sorted(set(scenes["modality"].to_pylist()))
    if modalities != [model.modality]:
        raise SpecError(
            f"the scenes ask for {', '.join(modalities)}, {model.name} makes {model.modality}; "
            f"generate scenes with --modality {model.modality}"
        )
    if len(set(scenes["id"].to_pylist())) < scenes.num_rows:
        raise SpecError("two scenes of the dataset have one id; an evaluation takes each scene once")


def _words(scenes: pa.Table, taxonomy: Taxonomy) -> dict[str, dict[str, str]]:
    """Type of each relation and class of each object of the scenes, as far as the vocabulary has them."""
    graph = scenes["graph"].combine_chunks()
    names = sorted(set(graph.field("objects").flatten().field("name").to_pylist()))
    predicates = sorted(set(graph.field("relations").flatten().field("predicate").to_pylist()))
    relations, objects = taxonomy.relations, taxonomy.objects
    types = {name: RELATION_TYPES[i] for name, i in zip(relations.names, relations.type_index, strict=True)}
    classes = dict(zip(objects.names, (taxonomy.classes[i] for i in objects.class_index), strict=True))
    return {
        "relation_types": {name: types[name] for name in predicates if name in types},
        "object_classes": {name: classes[name] for name in names if name in classes},
    }


def _same(found: Mapping[str, Any], asked: Mapping[str, Any], folder: Path, advice: str) -> None:
    """Refuses to mix two runs. Versions of libraries may differ, and words of commands: the media and answers that are there stay."""
    there, here = ({key: value for key, value in one.items() if key not in _MAY_DIFFER} for one in (found, asked))
    differing = differences(there, here)
    if differing:
        raise RunError(f"{folder} holds another run ({'; '.join(differing[:3])}). {advice}")


def parquet_bytes(table: pa.Table) -> bytes:
    """A table as the run's files hold it."""
    buffer = io.BytesIO()
    pq.write_table(table.combine_chunks(), buffer, compression="zstd", write_page_checksum=True)
    return buffer.getvalue()


def json_bytes(value: Mapping[str, Any]) -> bytes:
    """JSON as the run's files hold it."""
    return (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of the run's.

    Raises:
        RunError: it cannot be read.
    """
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path}: cannot be read ({error}); remove it and run the step again") from None
    if not isinstance(value, dict):
        raise RunError(f"{path}: it must hold a JSON object")
    return value
