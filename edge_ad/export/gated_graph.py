"""What an INT8 and an FP16 graph of a bundle share: where they come from, their report, and their own threshold."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_ad import __version__
from edge_ad.bundle import Bundle
from edge_ad.calibration.gate import GateLimits
from edge_ad.errors import BundleError
from edge_ad.evaluation.thresholds import fit_threshold
from edge_ad.manifest import Precision, Threshold
from edge_ad.runtime.backend import probe_backend
from edge_ad.runtime.engine import Engine, EngineDescription
from edge_ad.strict_json import to_json

__all__ = ["describe_engine", "graph_source", "is_from_present_fp32", "own_threshold", "read_report", "report_bytes"]


def graph_source(bundle: Bundle, backend: str, limits: GateLimits, calibration: str) -> dict[str, Any]:
    """What a graph depends on, beside the images of the run, which the FP32 graph stands for.

    Args:
        bundle: Its bundle.
        backend: Backend whose engine passed the gate.
        limits: Of the gate.
        calibration: Identity of the calibration images.
    """
    return {
        "edge-ad": __version__,
        "fp32": bundle.graph_sha256("fp32"),
        "backend": f"{backend} {probe_backend(backend).version}",
        "limits": asdict(limits),
        "calibration_images": calibration,
    }


def read_report(bundle: Bundle, precision: Precision) -> dict[str, Any]:
    """The report ``precision/<precision>.json``; empty where the bundle has no such graph or report.

    Raises:
        BundleError: The report is damaged.
    """
    name = f"precision/{precision}.json"
    if precision not in bundle.manifest.graphs or name not in bundle.manifest.files:
        return {}
    try:
        report = json.loads(bundle.read_file(name))
    except (ValueError, RecursionError) as error:
        raise _not_a_report(bundle, name, str(error)) from error
    if not isinstance(report, dict) or not isinstance(report.get("source", {}), dict):
        raise _not_a_report(bundle, name, "it is another document")
    return report


def _not_a_report(bundle: Bundle, name: str, why: str) -> BundleError:
    return BundleError(
        f"{bundle.root / name} is not a report of a calibration ({why}).",
        f"Make it again: edge-ad calibrate {bundle.root}",
    )


def is_from_present_fp32(bundle: Bundle, precision: Precision) -> bool:
    """Whether the bundle has a graph of this precision made from its present FP32 graph, whatever the options."""
    return bool(read_report(bundle, precision).get("source", {}).get("fp32") == bundle.graph_sha256("fp32"))


def report_bytes(document: dict[str, Any]) -> bytes:
    """Content of a report file."""
    return (to_json(document, indent=2) + "\n").encode()


def own_threshold(engine: Engine, images: NDArray[np.uint8]) -> Threshold:
    """Threshold of an engine on its own scores of held-out good images, uint8 (N, H, W, 3)."""
    scores: Sequence[float] = [engine.infer(images[i : i + 1])[0].score for i in range(len(images))]
    return fit_threshold(np.array(scores))


def describe_engine(engine: EngineDescription) -> str:
    """Backend, version and device, in words."""
    return f"{engine.backend} {engine.version}, {engine.device}"
