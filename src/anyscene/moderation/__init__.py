"""Content moderation: detectors of generated pictures, the data they learn from, and the shortcuts they must not take."""

from anyscene.moderation.build import BuildOptions, build_dataset
from anyscene.moderation.dataset import DetectorData, Picture, open_dataset

__all__ = ["BuildOptions", "DetectorData", "Picture", "build_dataset", "open_dataset"]
