"""edge-ad: visual anomaly detection, from photos of good parts to a verified engine on the line."""

__version__ = "0.1.0"

__all__ = ["__version__"]
