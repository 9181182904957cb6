"""The process in which an engine is verified: opens it, runs it over the bundle's photos, prints one JSON object."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import cast

import numpy as np

from edge_ad.bundle import Bundle
from edge_ad.bundle.reference import REFERENCE_FILE
from edge_ad.errors import BundleError, EdgeAdError
from edge_ad.manifest import Precision
from edge_ad.prediction import NOT_FINITE
from edge_ad.runtime.backends import open_engine
from edge_ad.runtime.base import Engine
from edge_ad.runtime.parity import parity_of, recorded_predictions

__all__ = ["main", "verify"]

_OUT_OF_MEMORY_SCORE = Path("/proc/self/oom_score_adj")  # Linux: which process goes first


def main() -> None:
    """Verify the engine of the command line: bundle, backend, precision, threads.

    Prints ``error`` (name of the class; empty when it passed), ``message`` and ``hint``.
    """
    root, backend, precision, threads = sys.argv[1:]
    with suppress(OSError):  # a graph that takes all memory must not take the stream along
        _OUT_OF_MEMORY_SCORE.write_text("1000")
    try:
        verify(Path(root), backend, cast("Precision", precision), int(threads))
        found = {"error": "", "message": "", "hint": ""}
    except EdgeAdError as error:
        found = {"error": type(error).__name__, "message": error.message, "hint": error.hint}
    except Exception as error:  # whatever is wrong with it, it must not judge
        message = f"The engine of {root} fails: {type(error).__name__}: {' '.join(str(error).split())}."
        found = {"error": BundleError.__name__, "message": message, "hint": "Build it again: edge-ad build-engine"}
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()


def verify(root: Path, backend: str, precision: Precision, threads: int) -> None:
    """Open an engine, warm it up and hold it against the recorded outputs, if the bundle has any.

    Raises:
        BundleError: It does not give them, or a number that is not finite.
        EdgeAdError: It cannot be opened.
    """
    bundle = Bundle.open(root)
    with open_engine(bundle, backend=backend, precision=precision, threads=threads) as engine:
        engine.warm_up(1)
        problem = _problem(bundle, engine, backend, precision)
    if problem:
        raise BundleError(
            f"{root} does not give the trained numbers with {backend} {precision}: {problem}.",
            "Look at it with: edge-ad verify; or build it again: edge-ad build-engine",
        )


def _problem(bundle: Bundle, engine: Engine, backend: str, precision: Precision) -> str:
    if REFERENCE_FILE not in bundle.manifest.files:
        frame = np.random.default_rng(0).integers(0, 256, (1, *bundle.manifest.input_size_hw, 3), dtype=np.uint8)
        return "" if engine.infer(frame)[0].is_finite else NOT_FINITE
    reference = bundle.reference()
    images = reference.images
    predictions = [engine.infer(images[index : index + 1])[0] for index in range(len(images))]
    return parity_of(bundle, precision, backend, predictions, recorded_predictions(reference)).problem
