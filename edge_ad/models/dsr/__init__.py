"""DSR: two decoders of one quantised space, and where they disagree; learned from anomalies made of codes."""

from edge_ad.models.dsr.dsr import Dsr, DsrParameters

__all__ = ["Dsr", "DsrParameters"]
