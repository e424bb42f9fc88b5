"""Training: losses, policies, loops, and the recipes that put them together."""

from anyscene.training.config import GrpoConfig, read_config
from anyscene.training.run_folder import Rollouts, TrainingRun

__all__ = ["GrpoConfig", "Rollouts", "TrainingRun", "read_config"]
