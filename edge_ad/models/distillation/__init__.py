"""A student that gives back a teacher's features from a bottleneck, learned on good images alone.

Where it cannot, the teacher sees something that the bottleneck does not let through.
"""

from edge_ad.models.distillation.reverse_distillation import (
    DistillationParameters,
    ReverseDistillation,
    ReverseDistillationParameters,
)

__all__ = ["DistillationParameters", "ReverseDistillation", "ReverseDistillationParameters"]
