"""A student that gives back a teacher's features from a bottleneck, learned on good images alone.

Where it cannot, the teacher sees something that the bottleneck does not let through.
"""

from edge_ad.models.distillation.fico import Fico, FicoParameters
from edge_ad.models.distillation.gnl import Gnl, GnlParameters
from edge_ad.models.distillation.reverse_distillation import (
    DistillationParameters,
    ReverseDistillation,
    ReverseDistillationParameters,
)

__all__ = [
    "DistillationParameters",
    "Fico",
    "FicoParameters",
    "Gnl",
    "GnlParameters",
    "ReverseDistillation",
    "ReverseDistillationParameters",
]
