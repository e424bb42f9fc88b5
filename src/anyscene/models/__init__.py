"""Text-to-image, text-to-video and text-to-3D models behind one protocol."""

from anyscene.models.loading import load_model, model_names
from anyscene.models.protocol import Failure, Model

__all__ = ["Failure", "Model", "load_model", "model_names"]
