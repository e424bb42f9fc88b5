"""The sandbox by name: its vocabulary, its models (``sandbox:flawed``), judges (``sandbox:pixels``) and metric (``sandbox:contrastive``).

The tables point at factories by ``module:attribute``, so that a painter is loaded without the trained models' libraries.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from anyscene.errors import SpecError
from anyscene.judges import Judge
from anyscene.models import Model
from anyscene.plugins import checked_options
from anyscene.scoring.metrics import Metric
from anyscene.taxonomy import Taxonomy, load_taxonomy

__all__ = ["JUDGES", "METRICS", "MODELS", "load_judge", "load_metric", "load_model", "load_sandbox_taxonomy", "sandbox_taxonomy_path"]

MODELS: Mapping[str, str] = {
    "renderer": "anyscene.sandbox.painters:load_renderer",
    "flawed": "anyscene.sandbox.painters:load_flawed",
    "camera": "anyscene.sandbox.camera:load_camera",
    "autoregressive": "anyscene.sandbox.trained:load_autoregressive",
    "diffusion": "anyscene.sandbox.trained:load_diffusion",
}
JUDGES: Mapping[str, str] = {
    "pixels": "anyscene.sandbox.judges:load_pixels",
    "yes": "anyscene.sandbox.judges:load_yes",
    "noisy": "anyscene.sandbox.judges:load_noisy",
}
METRICS: Mapping[str, str] = {"contrastive": "anyscene.sandbox.trained:load_contrastive"}


def sandbox_taxonomy_path() -> Path:
    """The folder of the sandbox's vocabulary, for ``--taxonomy``."""
    return Path(__file__).parent / "taxonomy"


@cache
def load_sandbox_taxonomy() -> Taxonomy:
    """The sandbox's vocabulary; loaded once."""
    return load_taxonomy(sandbox_taxonomy_path())


def load_model(name: str = "renderer", **options: object) -> Model:
    """A model of the sandbox: ``renderer`` (also for an empty name), ``flawed``, ``camera``, ``autoregressive`` or ``diffusion``.

    Raises:
        SpecError: there is no such model, or it has no such option.
    """
    model: Model = _load("model", MODELS, name or "renderer", options)
    return model


def load_judge(name: str = "pixels", **options: object) -> Judge:
    """A judge of the sandbox: ``pixels`` (also for an empty name), ``yes`` or ``noisy``.

    Raises:
        SpecError: there is no such judge, or it has no such option.
    """
    judge: Judge = _load("judge", JUDGES, name or "pixels", options)
    return judge


def load_metric(name: str = "contrastive", **options: object) -> Metric:
    """A metric of the sandbox: ``contrastive`` (also for an empty name).

    Raises:
        SpecError: there is no such metric, or it has no such option.
    """
    metric: Metric = _load("metric", METRICS, name or "contrastive", options)
    return metric


def _load(what: str, table: Mapping[str, str], name: str, options: Mapping[str, object]) -> Any:
    """Calls the factory of a table with the options as its signature has them."""
    asked = f"sandbox:{name}"
    if name not in table:
        raise SpecError(f"{what} {asked!r}: the sandbox has no {what} {name!r}; it has {', '.join(table)}")
    module, _, attribute = table[name].partition(":")
    factory = getattr(import_module(module), attribute)
    return factory(**checked_options(factory, asked, options))
