"""Detectors that learn the boundary of normality on frozen features: SimpleNet and its successors."""

from edge_ad.models.discriminators.boundary_shuffling import BoundaryShuffling, BoundaryShufflingParameters
from edge_ad.models.discriminators.pbas import Pbas, PbasParameters
from edge_ad.models.discriminators.simplenet import SimpleNet, SimpleNetParameters
from edge_ad.models.discriminators.supersimplenet import SuperSimpleNet, SuperSimpleNetParameters

__all__ = [
    "BoundaryShuffling",
    "BoundaryShufflingParameters",
    "Pbas",
    "PbasParameters",
    "SimpleNet",
    "SimpleNetParameters",
    "SuperSimpleNet",
    "SuperSimpleNetParameters",
]
