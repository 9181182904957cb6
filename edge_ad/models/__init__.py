"""Detectors: one contract, one file per method."""

from edge_ad.models.base import AnomalyDetector, DetectorOutput
from edge_ad.models.registry import create_detector, method_class, method_names, parse_parameters, restore_detector

__all__ = [
    "AnomalyDetector",
    "DetectorOutput",
    "create_detector",
    "method_class",
    "method_names",
    "parse_parameters",
    "restore_detector",
]
