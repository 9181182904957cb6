"""Detectors that learn the boundary of normality on frozen features: SimpleNet, PBAS, boundary shuffling."""

from edge_ad.models.discriminators.simplenet import SimpleNet, SimpleNetParameters

__all__ = ["SimpleNet", "SimpleNetParameters"]
