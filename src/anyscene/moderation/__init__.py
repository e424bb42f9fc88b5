"""Content moderation: detectors of generated pictures, the data they learn from, and the shortcuts they must not take."""

from anyscene.moderation.build import BuildOptions, build_dataset
from anyscene.moderation.dataset import DetectorData, Picture, open_dataset
from anyscene.moderation.detector import Detector, load_detector
from anyscene.moderation.findings import Finding, read_findings
from anyscene.moderation.hard_cases import HardCases, SceneSkills, find_hard_cases
from anyscene.moderation.hardening import harden
from anyscene.moderation.matrix import evaluate_matrix
from anyscene.moderation.probe import Audit, audit, audit_sources
from anyscene.moderation.scan import ScanSummary, scan, scan_pictures
from anyscene.moderation.training import TrainOptions, train_detector

__all__ = [
    "Audit",
    "BuildOptions",
    "Detector",
    "DetectorData",
    "Finding",
    "HardCases",
    "Picture",
    "ScanSummary",
    "SceneSkills",
    "TrainOptions",
    "audit",
    "audit_sources",
    "build_dataset",
    "evaluate_matrix",
    "find_hard_cases",
    "harden",
    "load_detector",
    "open_dataset",
    "read_findings",
    "scan",
    "scan_pictures",
    "train_detector",
]
