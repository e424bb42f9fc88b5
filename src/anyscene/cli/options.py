"""Options that several commands share, and the spec that they make together."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anyscene.errors import AnySceneError, SpecError

if TYPE_CHECKING:
    from anyscene.engines import Engine
    from anyscene.space import SceneSpec as SceneSpec
else:
    SceneSpec = Any  # the real one is imported when a command runs


def _folder(text: str) -> Path:
    """A folder to write into; an empty name (a shell variable that is not set) would be the current folder."""
    if not text.strip():
        raise typer.BadParameter("the name of the folder is empty; the current folder is called '.'")
    return Path(text)


def taxonomy_path(text: str) -> Path:
    """A folder of TSV files; ``sandbox`` is the vocabulary of the sandbox, unless a folder of that name is there."""
    if text == "sandbox" and not Path(text).exists():
        from anyscene.sandbox import sandbox_taxonomy_path

        return sandbox_taxonomy_path()
    return Path(text)


def _folder_or_uri(text: str) -> Any:
    """A folder to write into: a path of this machine, or a URI as it stands."""
    from anyscene.dataset.places import is_uri

    return text if is_uri(text) else _folder(text)


TaxonomyFolder = Annotated[
    Path | None,
    typer.Option("--taxonomy", parser=taxonomy_path, metavar="PATH", help='A vocabulary of your own: a folder of TSV files; or "sandbox".'),
]
OutFolder = Annotated[Path, typer.Option(parser=_folder, metavar="PATH", help="The folder to write into.")]
OutPlace = Annotated[
    Any,
    typer.Option(
        "--out", parser=_folder_or_uri, metavar="PATH|URI", help="The folder to write into, here or at a URI: s3://bucket/folder."
    ),
]
EngineName = Annotated[str, typer.Option("--engine", help="Where the work is done: local, or on a ray cluster.")]
Address = Annotated[
    str | None,
    typer.Option(help="Of the Ray cluster: auto, host:port or ray://host:port. Without, one of this machine alone.", show_default=False),
]
Workers = Annotated[
    int | None,
    typer.Option(help="How many work side by side; by default 1, with Ray as many as the cluster has room for.", show_default=False),
]
CpusPerWorker = Annotated[float | None, typer.Option(help="Cores that Ray sets aside for a worker.  [default: 1]", show_default=False)]
GpusPerWorker = Annotated[float | None, typer.Option(help="GPUs that Ray sets aside for a worker.  [default: 0]", show_default=False)]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any key of the config: optimization.learning_rate=1e-4. May be repeated."),
]

MAX_SPEC_BYTES = 1024 * 1024
_RANGE = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?\Z")


def parse_range(text: str, what: str) -> tuple[int, int]:
    """``"4-8"`` -> (4, 8), ``"5"`` -> (5, 5)."""
    match = _RANGE.match(text.strip())
    if not match:
        raise SpecError(f"{what} {text!r}: it must be a number or low-high, like 5 or 4-8")
    return int(match[1]), int(match[2] or match[1])


def parse_names(text: str, what: str) -> tuple[str, ...]:
    """A comma-separated list of at least one name."""
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    if not names:
        raise SpecError(f"{what} {text!r}: it must be a name, or several with commas between them")
    return names


def parse_settings(given: list[str] | None) -> dict[str, Any]:
    """``rollout.group_size=16``: keys of a config by their dotted names, values as JSON, or else as text."""
    found: dict[str, Any] = {}
    for text in given or ():
        key, sign, value = text.partition("=")
        if not sign or not all(part.isidentifier() for part in key.strip().split(".")):
            raise SpecError(f"--set {text!r}: it must be KEY=VALUE, like optimization.learning_rate=1e-4")
        try:
            found[key.strip()] = json.loads(value)
        except ValueError:
            found[key.strip()] = value
    return found


def engine_of(
    name: str,
    address: str | None = None,
    workers: int | None = None,
    cpus_per_worker: float | None = None,
    gpus_per_worker: float | None = None,
    *,
    default_cpus: float = 1,
    default_gpus: float = 0,
) -> AbstractContextManager[Engine]:
    """The engine that the options ask for, to be opened by `with`.

    Raises:
        SpecError: there is no such engine, or an option of Ray's is given without it.
    """
    from anyscene.engines import ENGINES, open_engine

    if name not in ENGINES:
        raise SpecError(f"engine {name!r}: it must be one of {', '.join(ENGINES)}")
    of_ray = {"--address": address, "--cpus-per-worker": cpus_per_worker, "--gpus-per-worker": gpus_per_worker}
    given = [option for option, value in of_ray.items() if value is not None]
    if given and name != "ray":
        raise SpecError(f"{given[0]} says something of a Ray cluster: give --engine ray as well, or leave it out")
    cpus = default_cpus if cpus_per_worker is None else cpus_per_worker
    gpus = default_gpus if gpus_per_worker is None else gpus_per_worker
    return open_engine(name, address=address, workers=workers, cpus=cpus, gpus=gpus)


def read_spec_file(path: Path) -> SceneSpec:
    """Read a spec file.

    Raises:
        SpecError: it is no file, too large, not JSON, or a value is of the wrong kind or cannot be honoured.
    """
    from pydantic import TypeAdapter, ValidationError

    from anyscene.space import SceneSpec

    if not path.is_file():  # a pipe or a device may have no end
        raise SpecError(f"{path}: {'not a regular file' if path.exists() else 'no such file'}; give a JSON file, as anyscene split writes")
    if (size := path.stat().st_size) > MAX_SPEC_BYTES:
        raise SpecError(f"{path}: the file has {size:,} bytes; a spec has at most {MAX_SPEC_BYTES:,}")
    try:
        text = path.read_bytes()
        TypeAdapter(SceneSpec).validate_json(text, strict=True)  # the kind of every value; `from_dict` knows the keys
        return SceneSpec.from_dict(json.loads(text))
    except ValidationError as invalid:
        first = invalid.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        found = f"{where} is {str(first['input'])[:60]!r}: " if where else ""
        raise SpecError(f"{path}: {found}{first['msg']}") from None
    except OSError as error:
        raise SpecError(f"{path}: cannot be read ({error.strerror})") from None
    except (TypeError, ValueError, AnySceneError) as error:
        raise SpecError(f"{path}: {error}") from None


def spec_options(
    complexity: Annotated[
        str | None, typer.Option(help="Objects + attributes + relations: a number or low-high, 1 to 14.  [default: 4-8]")
    ] = None,
    scene_attributes: Annotated[str | None, typer.Option(help="Scene attributes: a number or low-high, 0 to 4.  [default: 0]")] = None,
    modality: Annotated[str | None, typer.Option(help="image, video or 3d.  [default: image]")] = None,
    realism: Annotated[
        float | None, typer.Option(help="0 any combination, 0.5 all that the class rules allow, 1 plausible ones.  [default: 0.5]")
    ] = None,
    familiar: Annotated[bool | None, typer.Option("--familiar/--all-objects", help="Only objects that everybody knows.")] = None,
    only: Annotated[str | None, typer.Option(help="Only these branches: classes, objects or hypernyms, comma-separated.")] = None,
    without: Annotated[str | None, typer.Option(help="Leave out these branches.")] = None,
    containing: Annotated[Path | None, typer.Option(help="A graph (JSON) that every scene has in it.")] = None,
    objects: Annotated[str | None, typer.Option(help="Objects of each scene: a number or low-high.")] = None,
    attributes: Annotated[str | None, typer.Option(help="Attributes of each scene: a number or low-high.")] = None,
    relations: Annotated[str | None, typer.Option(help="Relations of each scene: a number or low-high.")] = None,
    counts: Annotated[bool | None, typer.Option("--counts/--no-counts", help='Let objects come in numbers ("three dogs").')] = None,
    order: Annotated[str | None, typer.Option(help="balanced, or uniform over all scenes.  [default: balanced]")] = None,
    spec: Annotated[Path | None, typer.Option(help="A spec file (anyscene split writes them); other options change it.")] = None,
) -> SceneSpec:
    """The spec file, or the defaults, with the options given laid over it."""
    from anyscene.space import SceneSpec

    given: dict[str, Any] = {"modality": modality, "realism": realism, "familiar": familiar, "counts": counts, "order": order}
    ranges = {
        "complexity": complexity,
        "scene_attributes": scene_attributes,
        "objects": objects,
        "attributes": attributes,
        "relations": relations,
    }
    for name, text in ranges.items():
        given[name] = parse_range(text, name.replace("_", " ")) if text is not None else None
    given["only"] = parse_names(only, "only") if only is not None else None
    given["without"] = parse_names(without, "without") if without is not None else None
    if containing is not None:
        from anyscene.scene import load_graph

        given["containing"] = load_graph(containing)
    start = read_spec_file(spec) if spec else SceneSpec()
    return replace(start, **{name: value for name, value in given.items() if value is not None})


def takes_spec(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command, whose first argument is a spec, the options of ``spec_options`` instead of that argument."""
    own = inspect.signature(command, eval_str=True)
    _, *others = own.parameters.values()
    shared = inspect.signature(spec_options, eval_str=True).parameters

    @wraps(command)
    def run(**given: Any) -> None:
        scene_spec = spec_options(**{name: given.pop(name) for name in shared})
        command(scene_spec, **given)

    parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in (*others, *shared.values())]
    run.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    del run.__wrapped__
    return run
