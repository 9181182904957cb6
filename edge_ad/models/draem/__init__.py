"""DRAEM: restore, compare, and call anomalous what differs; learned from simulated defects."""

from edge_ad.models.draem.draem import Draem, DraemParameters

__all__ = ["Draem", "DraemParameters"]
