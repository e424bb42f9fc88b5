"""Rewards: pictures and the scenes that were asked for in, scores out, for our own training and for other trainers."""

from anyscene.rewards.adapters import as_flow_factory, as_flow_grpo, as_t2i_r1, as_trl, as_trl_async
from anyscene.rewards.client import RewardClient
from anyscene.rewards.combine import Gate, Weighted
from anyscene.rewards.guards import GuardReport, Guards, default_guards
from anyscene.rewards.metric import MetricReward, clip_reward
from anyscene.rewards.pictures import media_of
from anyscene.rewards.protocol import QuestionScore, Reward, Score
from anyscene.rewards.scene import SceneReward
from anyscene.rewards.server import RewardServer, ServerConfig

__all__ = [
    "Gate",
    "GuardReport",
    "Guards",
    "MetricReward",
    "QuestionScore",
    "Reward",
    "RewardClient",
    "RewardServer",
    "SceneReward",
    "Score",
    "ServerConfig",
    "Weighted",
    "as_flow_factory",
    "as_flow_grpo",
    "as_t2i_r1",
    "as_trl",
    "as_trl_async",
    "clip_reward",
    "default_guards",
    "media_of",
]
