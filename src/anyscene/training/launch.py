"""Where a recipe runs: its GPU, the processes that were launched together, and the trackers that are told of every update.

``python -m anyscene.training.launch fsdp`` prints the path of a config that ships for `accelerate launch`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from anyscene.errors import SpecError
from anyscene.models import Model
from anyscene.models.diffusers import DiffusersModel
from anyscene.training.config import Learning, Section

__all__ = ["as_copies", "check_learning", "join_processes", "launch_config", "launched_for", "make_trackers", "take_own_gpu"]

CONFIGS = Path(__file__).parent / "configs" / "accelerate"
PATH_OF = "accelerate launch --config_file $(python -m anyscene.training.launch"


def launch_config(name: str) -> Path:
    """A config for `accelerate launch --config_file` that ships.

    Args:
        name: ``ddp``, a copy of the model on each process; ``fsdp``, a part of it on each; or ``deepspeed-zero2``, a copy, with gradients
            and the optimizer's state in parts.

    Raises:
        SpecError: there is none of this name.
    """
    path = CONFIGS / f"{name}.yaml"
    if not path.is_file():
        raise SpecError(
            f"{name}: no such config for accelerate launch; there are {', '.join(sorted(one.stem for one in CONFIGS.iterdir()))}"
        )
    return path


def launched_for() -> str:
    """What the launcher wants of several processes: ``COPIES`` of the model, its weights in parts (``FSDP``), or ``DEEPSPEED``.

    Accelerate hands its config on in the environment, and on CPUs would do no more than that.

    Raises:
        SpecError: Megatron-LM, which cannot be honoured.
    """
    wanted = [name for name in ("FSDP", "DEEPSPEED", "MEGATRON_LM") if os.environ.get(f"ACCELERATE_USE_{name}", "false").lower() == "true"]
    if "MEGATRON_LM" in wanted:
        raise SpecError(f"Megatron-LM: training does not run on it; to have weights in parts: {PATH_OF} fsdp)")
    return wanted[0] if wanted else "COPIES"


def take_own_gpu() -> None:
    """Of several processes of one machine each takes another GPU, for the policy and the judge alike."""
    import torch

    rank = os.environ.get("LOCAL_RANK")
    if rank is not None and torch.cuda.is_available():
        torch.cuda.set_device(int(rank) % torch.cuda.device_count())


def as_copies() -> AbstractContextManager[Any]:
    """Inside, accelerate takes the processes for holders of copies: what is in parts we share out, on CPUs and GPUs alike."""
    from accelerate.utils import patch_environment

    return patch_environment(accelerate_use_fsdp="false", accelerate_use_deepspeed="false")  # type: ignore[no-any-return]


def join_processes(model: Model) -> Any:
    """The state of accelerate: of one process, or of those that were launched together, on the model's kind of device.

    Raises:
        SpecError: they were started on another kind of device before, or for what cannot be honoured.
    """
    from accelerate import PartialState

    launched_for()
    device = getattr(model, "device", None) or getattr(getattr(model, "shape", None), "device", "cpu")
    try:
        with as_copies():
            return PartialState(cpu=str(device).startswith("cpu"), timeout=timedelta(hours=24))  # the others wait while one evaluates
    except ValueError as error:
        raise SpecError(f"{model.name} is on {device}: {' '.join(str(error).split())[:160]}") from None


def check_learning(model: DiffusersModel, config: Learning) -> None:
    """Could the model be trained so? To be asked before anything is painted; the model is of no further use.

    All that a training does before its first update is done here.

    Raises:
        SpecError: no, or a key that was set has no effect.
        MissingExtraError: a library is not installed.
    """
    from anyscene.training.loop import Learner
    from anyscene.training.run_folder import TrainingRun
    from anyscene.training.supervised import check_supervised

    check_supervised(model, config)
    learner = Learner(model, config, TrainingRun(Path(), config.fine_tuning.updates))
    learner.share(config.fine_tuning.batch_size, "fine_tuning.batch_size")


def make_trackers(names: Sequence[str], config: Section, out: Path) -> list[Any]:
    """Accelerate's trackers, told of the config.

    Args:
        names: of the trackers.
        config: of the run.
        out: its folder.

    Raises:
        SpecError: one is not installed.
    """
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    made = []
    for name in names:
        if find_spec(name) is None and not (name == "tensorboard" and find_spec("tensorboardX")):
            raise SpecError(f"tracker {name}: it is not installed; pip install {name}, or leave it out")
        kind = LOGGER_TYPE_TO_CLASS[name]
        tracker = kind("anyscene", logging_dir=str(out / "tracker")) if kind.requires_logging_directory else kind("anyscene")
        if hasattr(tracker, "start"):
            tracker.start()
        tracker.store_init_configuration(_flat(config.model_dump(mode="json")))
        made.append(tracker)
    return made


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value if isinstance(value, (int, float, str, bool)) else json.dumps(value)
    return found


if __name__ == "__main__":
    import sys

    try:
        print(launch_config(*sys.argv[1:2] or ["ddp"]))
    except SpecError as refused:
        sys.exit(str(refused))
