"""The process in which an engine is verified: opens it, runs it over the bundle's photos, prints one JSON object."""

from __future__ import annotations

import json
import logging
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import cast

import numpy as np

from edge_ad.bundle import Bundle
from edge_ad.bundle.bundle import MANIFEST_FILE
from edge_ad.bundle.reference import REFERENCE_FILE
from edge_ad.errors import BundleError, EdgeAdError
from edge_ad.manifest import Precision
from edge_ad.prediction import NOT_FINITE
from edge_ad.runtime.backends import open_engine
from edge_ad.runtime.base import Engine
from edge_ad.runtime.parity import parity_of_engine, recorded_predictions
from edge_ad.storage import sha256_file

__all__ = ["main", "verify"]

_LONGEST_S = 600  # far longer than anybody waits
_OUT_OF_MEMORY_SCORE = Path("/proc/self/oom_score_adj")  # Linux: which process goes first


def main() -> None:
    """Verify the engine of the command line: bundle, hash of its manifest, backend, precision, threads, batch.

    Prints ``error`` (name of the class; empty when it passed), ``message`` and ``hint``.
    """
    logging.disable()  # whoever asked opens the engine too, and says the same
    root, manifest_hash, backend, precision, threads, batch = sys.argv[1:]
    if hasattr(signal, "alarm"):
        signal.alarm(_LONGEST_S)  # whoever asked may have been killed
    with suppress(OSError):  # a graph that takes all memory must not take the stream along
        _OUT_OF_MEMORY_SCORE.write_text("1000")
    try:
        verify(Path(root), manifest_hash, backend, cast("Precision", precision), threads=int(threads), batch=int(batch))
        found = {"error": "", "message": "", "hint": ""}
    except EdgeAdError as error:
        found = {"error": type(error).__name__, "message": error.message, "hint": error.hint}
    except Exception as error:  # whatever is wrong with it, it must not judge
        message = f"The engine of {root} fails: {type(error).__name__}: {' '.join(str(error).split())}."
        found = {"error": BundleError.__name__, "message": message, "hint": "Build it again: edge-ad build-engine"}
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()


def verify(
    root: Path, manifest_hash: str, backend: str, precision: Precision, *, threads: int = 0, batch: int = 1
) -> None:
    """Open an engine, warm it up and hold it against the recorded outputs, if the bundle has any.

    Args:
        root: Folder of the bundle.
        manifest_hash: SHA-256 of the manifest of the bundle that is meant.
        backend: Name of the backend.
        precision: Graph to run.
        threads: CPU threads; 0 lets the backend decide.
        batch: Frames that a stream gives to it in one call.

    Raises:
        BundleError: It does not give them, or a number that is not finite; or another bundle is there.
        EdgeAdError: It cannot be opened.
    """
    bundle = Bundle.open(root)
    if sha256_file(root / MANIFEST_FILE) != manifest_hash:
        raise BundleError(f"{root} was replaced while it was verified.", "Try again.")
    with open_engine(bundle, backend=backend, precision=precision, threads=threads) as engine:
        engine.warm_up(1)
        problem = _problem(bundle, engine, batch)
    if problem:
        raise BundleError(
            f"{root} does not give the trained numbers with {backend} {precision}: {problem}.",
            "Look at it with: edge-ad verify; or build it again: edge-ad build-engine",
        )


def _problem(bundle: Bundle, engine: Engine, batch: int) -> str:
    if REFERENCE_FILE not in bundle.manifest.files:
        frame = np.random.default_rng(0).integers(0, 256, (1, *bundle.manifest.input_size_hw, 3), dtype=np.uint8)
        return "" if engine.infer(frame)[0].is_finite else NOT_FINITE
    reference = bundle.reference()
    return parity_of_engine(bundle, engine, reference.images, recorded_predictions(reference), batch=batch).problem
