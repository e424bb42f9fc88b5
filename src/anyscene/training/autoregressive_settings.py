"""A run's config in the words of TRL's GRPO trainer.

Imports trl: import this module only when training starts.
"""

from __future__ import annotations

import warnings
from pathlib import Path

from accelerate import DistributedType, PartialState
from trl import GRPOConfig

from anyscene.errors import SpecError
from anyscene.models.janus import Janus
from anyscene.models.simplear import SimpleAR
from anyscene.training.autoregressive_policy import tokens_in_picture
from anyscene.training.config import GrpoConfig
from anyscene.training.launch import launched_for

__all__ = ["CLIP_RANGE", "trl_settings"]

CLIP_RANGE = 0.2
"""Of the published method, and of SimpleAR."""
COPIES = (DistributedType.NO, DistributedType.MULTI_CPU, DistributedType.MULTI_GPU)


def trl_settings(shape: SimpleAR | Janus, config: GrpoConfig, folder: Path) -> GRPOConfig:
    """TRL's settings for a process of a run.

    Args:
        shape: the model that is trained.
        config: of the run.
        folder: of the run; nothing is written there by TRL.

    Raises:
        SpecError: the rollouts of an update cannot be shared out among processes or passes.
    """
    tuned, rollout = config.optimization, config.rollout
    state = PartialState(cpu=shape.device == "cpu")
    wanted = launched_for()
    if wanted != "COPIES" or state.distributed_type not in COPIES:
        raise SpecError(
            f"{wanted if wanted != 'COPIES' else state.distributed_type.value}: a token-by-token policy is drawn from, and its head's bare "
            "weights are read, outside the passes for which weights are put together; train it with a copy on each process "
            "(python -m anyscene.training.launch ddp), and lora.rank above 0 where memory is short"
        )
    if rollout.captions % state.num_processes:
        raise SpecError(f"rollout.captions {rollout.captions}: it must be a multiple of the {state.num_processes} processes")
    share = rollout.captions // state.num_processes * rollout.group_size
    micro = min(tuned.micro_batch or share, share)
    if share % micro:
        raise SpecError(f"optimization.micro_batch {micro}: it must divide the {share} rollouts of a process")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs, about settings of theirs
        return GRPOConfig(
            output_dir=str(folder),
            use_cpu=shape.device == "cpu",
            num_generations=rollout.group_size,
            per_device_train_batch_size=micro,
            gradient_accumulation_steps=share // micro,
            steps_per_generation=share // micro,
            num_iterations=tuned.inner_updates,
            max_completion_length=tokens_in_picture(shape),
            temperature=rollout.temperature,
            loss_type="grpo",  # as published; all completions have the same length
            beta=0.0,  # the reference is given apart
            use_bias_correction_kl=False,  # the published estimator
            epsilon=CLIP_RANGE if tuned.clip_range is None else tuned.clip_range,
            scale_rewards=tuned.scale,
            learning_rate=tuned.learning_rate,
            max_grad_norm=tuned.max_grad_norm,
            bf16=tuned.precision == "bf16",
            fp16=tuned.precision == "fp16",
            gradient_checkpointing=False,  # switched on where the model is
            shuffle_dataset=False,
            dataloader_pin_memory=False,
            ddp_find_unused_parameters=False,
            seed=config.seed % 2**32,
            logging_steps=1,
            logging_nan_inf_filter=False,
            log_level="error",
            log_level_replica="error",
            report_to=[],
            save_strategy="no",
            disable_tqdm=True,
        )
