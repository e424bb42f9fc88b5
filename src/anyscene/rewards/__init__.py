"""Rewards: pictures and the scenes that were asked for in, scores out, for our own training and for other trainers."""

from anyscene.rewards.metric import MetricReward, clip_reward
from anyscene.rewards.pictures import media_of
from anyscene.rewards.protocol import QuestionScore, Reward, Score
from anyscene.rewards.scene import SceneReward

__all__ = ["MetricReward", "QuestionScore", "Reward", "SceneReward", "Score", "clip_reward", "media_of"]
