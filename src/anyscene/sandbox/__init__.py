"""The offline world: a small vocabulary that is drawn exactly, painters with known flaws, and a judge that looks at pixels."""

from anyscene.sandbox.loading import load_judge, load_metric, load_model, load_sandbox_taxonomy, sandbox_taxonomy_path
from anyscene.sandbox.looks import Seen, Thing
from anyscene.sandbox.renderer import Rendering, render, render_clip, render_views
from anyscene.sandbox.truth import true_answer, true_answers

__all__ = [
    "Rendering",
    "Seen",
    "Thing",
    "load_judge",
    "load_metric",
    "load_model",
    "load_sandbox_taxonomy",
    "render",
    "render_clip",
    "render_views",
    "sandbox_taxonomy_path",
    "true_answer",
    "true_answers",
]
