"""Content moderation: detectors of generated pictures, the data they learn from, and the shortcuts they must not take."""

from anyscene.moderation.build import BuildOptions, build_dataset
from anyscene.moderation.dataset import DetectorData, Picture, open_dataset
from anyscene.moderation.probe import Audit, audit, audit_sources

__all__ = ["Audit", "BuildOptions", "DetectorData", "Picture", "audit", "audit_sources", "build_dataset", "open_dataset"]
