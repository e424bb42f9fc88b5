"""Models by name."""

from __future__ import annotations

from anyscene.models.protocol import Model
from anyscene.plugins import load_plugin, plugin_names

__all__ = ["load_model", "model_names"]

GROUP = "anyscene.models"
_TABLE = {
    "diffusers": "anyscene.models.diffusers:DiffusersModel",
    "autoregressive": "anyscene.models.autoregressive:load_autoregressive",
    "openai": "anyscene.models.openai:OpenAIModel",
    "folder": "anyscene.models.folder:FolderModel",
}


def load_model(name: str, **options: object) -> Model:
    """The model that ``backend:name`` names: ``diffusers:stabilityai/sdxl-turbo``, ``folder:pictures``, ``sandbox:flawed``.

    Args:
        name: back-end and name, with a colon between.
        options: of the back-end; each one's docstring lists them. Text is read as the type that an option has.

    Raises:
        SpecError: no such back-end, or an option that it does not have.
        ModelError: the model cannot be loaded.
        MissingExtraError: a library that it needs is not installed.
    """
    model: Model = load_plugin(GROUP, _TABLE, name, options)
    return model


def model_names() -> list[str]:
    """The back-ends that there are."""
    return plugin_names(GROUP, _TABLE)
