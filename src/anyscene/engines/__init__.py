"""Engines: where the work of a long command is done. In this process, in processes of this machine, or on a Ray cluster."""

from anyscene.engines.engine import ENGINES, ActorGroup, Engine, open_engine
from anyscene.engines.failures import WorkerTraceback
from anyscene.engines.local_engine import LocalEngine

__all__ = ["ENGINES", "ActorGroup", "Engine", "LocalEngine", "WorkerTraceback", "open_engine"]
