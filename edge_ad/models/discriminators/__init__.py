"""Detectors that learn the boundary of normality on frozen features: SimpleNet, PBAS, boundary shuffling."""

from edge_ad.models.discriminators.boundary_shuffling import BoundaryShuffling, BoundaryShufflingParameters
from edge_ad.models.discriminators.pbas import Pbas, PbasParameters
from edge_ad.models.discriminators.simplenet import SimpleNet, SimpleNetParameters

__all__ = [
    "BoundaryShuffling",
    "BoundaryShufflingParameters",
    "Pbas",
    "PbasParameters",
    "SimpleNet",
    "SimpleNetParameters",
]
