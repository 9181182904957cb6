"""edge-ad: visual anomaly detection, from photos of good parts to a verified engine on the line.

    import edge_ad as ead

    run = ead.train("./screw")
    bundle = run.export("screw.bundle")
    with ead.load("screw.bundle") as detector:
        result = detector.predict("photo.png")

Names are imported when they are used: training and export need torch (``edge-ad[train]``), ``load`` does not.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge_ad.api import Run, compare, evaluate, train
    from edge_ad.bundle import Bundle
    from edge_ad.detector import Detector, load
    from edge_ad.errors import EdgeAdError, QualityGateError
    from edge_ad.evaluation.comparison import Comparison
    from edge_ad.evaluation.results import Evaluation
    from edge_ad.regions import Region
    from edge_ad.streaming.frame import Result

__version__ = "0.1.0"

__all__ = [
    "Bundle",
    "Comparison",
    "Detector",
    "EdgeAdError",
    "Evaluation",
    "QualityGateError",
    "Region",
    "Result",
    "Run",
    "__version__",
    "compare",
    "evaluate",
    "load",
    "train",
]

_HOMES = {
    "Bundle": "edge_ad.bundle",
    "Comparison": "edge_ad.evaluation.comparison",
    "Detector": "edge_ad.detector",
    "EdgeAdError": "edge_ad.errors",
    "Evaluation": "edge_ad.evaluation.results",
    "QualityGateError": "edge_ad.errors",
    "Region": "edge_ad.regions",
    "Result": "edge_ad.streaming.frame",
    "Run": "edge_ad.api",
    "compare": "edge_ad.api",
    "evaluate": "edge_ad.api",
    "load": "edge_ad.detector",
    "train": "edge_ad.api",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
