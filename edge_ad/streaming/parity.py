"""Whether an engine still says what was recorded when its bundle was exported: asked before it may take over."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_ad.bundle import Bundle
from edge_ad.bundle.reference import REFERENCE_FILE
from edge_ad.errors import BundleError
from edge_ad.manifest import Precision
from edge_ad.runtime.base import Engine

__all__ = ["check_parity"]

_MOST_IMAGES = 8  # it shares the processor with the stream
_FLOAT_CORRELATION = 0.99


def check_parity(bundle: Bundle, engine: Engine, precision: Precision) -> None:
    """Hold an engine against its bundle's recorded outputs; a bundle without any passes.

    Args:
        bundle: The bundle.
        engine: Its engine, open.
        precision: Graph that the engine runs: a quantised one is held to the limit of its own gate.

    Raises:
        BundleError: Its maps are not those of the trained network.
    """
    if REFERENCE_FILE not in bundle.manifest.files:
        return
    reference = bundle.reference()
    gate = bundle.graph(precision).gate
    limit = _FLOAT_CORRELATION if gate is None else gate.limits.get("map_correlation", _FLOAT_CORRELATION)
    images = reference.images[:_MOST_IMAGES]
    predictions = [engine.infer(images[index : index + 1])[0] for index in range(len(images))]
    pairs = zip(predictions, reference.maps, strict=False)
    correlation = float(np.mean([_correlation(ours.anomaly_map, theirs) for ours, theirs in pairs]))
    if not correlation >= limit:  # NaN fails too
        raise BundleError(
            f"{bundle.root} does not give the trained numbers here: its maps correlate by {correlation:.3f}, "
            f"not {limit:g}.",
            "Look at it with: edge-ad verify",
        )


def _correlation(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> float:
    """Pearson correlation of two maps; 1 for two flat ones, 0 when only one is flat."""
    a, b = (values.ravel() - values.mean(dtype=np.float64) for values in (ours, theirs))
    length = float(np.sqrt((a @ a) * (b @ b)))
    if length == 0.0:
        return 1.0 if not a.any() and not b.any() else 0.0
    return float(a @ b) / length
