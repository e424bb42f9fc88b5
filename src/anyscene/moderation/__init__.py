"""Content moderation: detectors of generated pictures, the data they learn from, and the shortcuts they must not take."""

from anyscene.moderation.build import BuildOptions, build_dataset
from anyscene.moderation.dataset import DetectorData, Picture, open_dataset
from anyscene.moderation.detector import Detector, load_detector
from anyscene.moderation.matrix import evaluate_matrix
from anyscene.moderation.probe import Audit, audit, audit_sources
from anyscene.moderation.training import TrainOptions, train_detector

__all__ = [
    "Audit",
    "BuildOptions",
    "Detector",
    "DetectorData",
    "Picture",
    "TrainOptions",
    "audit",
    "audit_sources",
    "build_dataset",
    "evaluate_matrix",
    "load_detector",
    "open_dataset",
    "train_detector",
]
