"""Detectors: one contract, one file per method."""

from edge_ad.models.base import AnomalyDetector, DetectorOutput
from edge_ad.models.registry import METHODS, create_detector, parse_parameters, restore_detector

__all__ = ["METHODS", "AnomalyDetector", "DetectorOutput", "create_detector", "parse_parameters", "restore_detector"]
