"""Normalising flows on the levels of a frozen backbone, learned on good images alone."""

from edge_ad.models.msflow.detector import MsFlow, MsFlowParameters

__all__ = ["MsFlow", "MsFlowParameters"]
