"""The offline world: a small vocabulary that is drawn exactly, painters with known flaws, and a judge that looks at pixels."""

from anyscene.sandbox.loading import load_judge, load_model, load_sandbox_taxonomy, sandbox_taxonomy_path

__all__ = ["load_judge", "load_model", "load_sandbox_taxonomy", "sandbox_taxonomy_path"]
