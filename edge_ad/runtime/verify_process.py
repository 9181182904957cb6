"""The process in which an engine is loaded and verified, see `edge_ad.runtime.child`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edge_ad.bundle import Bundle
from edge_ad.bundle.bundle import MANIFEST_FILE
from edge_ad.bundle.reference import REFERENCE_FILE
from edge_ad.errors import BundleError
from edge_ad.manifest import Precision
from edge_ad.prediction import NOT_FINITE
from edge_ad.runtime.backends import OpenFrom, open_engine
from edge_ad.runtime.base import Engine
from edge_ad.runtime.child import answer
from edge_ad.runtime.parity import parity_of_engine, recorded_predictions
from edge_ad.storage import sha256_file

__all__ = ["main", "verify"]


def main() -> None:
    """Verify the engine that the request on the command line describes."""
    answer(_verify, engine_of=lambda request: str(request["root"]))


def _verify(request: dict[str, Any]) -> str:
    return verify(Path(request.pop("root")), request.pop("manifest_hash"), **request)


def verify(
    root: Path,
    manifest_hash: str,
    *,
    backend: str,
    precision: Precision,
    threads: int = 0,
    batch: int = 1,
    open_from: OpenFrom = "any",
    only_load: bool = False,
) -> str:
    """Open an engine, warm it up and hold it against the recorded outputs, if the bundle has any.

    Args:
        root: Folder of the bundle.
        manifest_hash: SHA-256 of the manifest of the bundle that is meant.
        backend: Name of the backend.
        precision: Graph to run.
        threads: CPU threads; 0 lets the backend decide.
        batch: Frames that a stream gives to it in one call.
        open_from: What it is opened from, see `open_engine`.
        only_load: Leave it at loading it.

    Returns:
        What it was opened from, as its description says.

    Raises:
        BundleError: It does not give them, or a number that is not finite; or another bundle is there.
        EdgeAdError: It cannot be opened.
    """
    bundle = Bundle.open(root)
    if sha256_file(root / MANIFEST_FILE) != manifest_hash:
        raise BundleError(f"{root} was replaced while it was verified.", "Try again.")
    with open_engine(bundle, backend=backend, precision=precision, threads=threads, open_from=open_from) as engine:
        source = engine.describe().source
        if only_load:
            return source
        engine.warm_up(1)
        problem = _problem(bundle, engine, batch)
    if problem:
        raise BundleError(
            f"{root} does not give the trained numbers with {backend} {precision}: {problem}.",
            "Look at it with: edge-ad verify; or build it again: edge-ad build-engine",
        )
    return source


def _problem(bundle: Bundle, engine: Engine, batch: int) -> str:
    if REFERENCE_FILE not in bundle.manifest.files:
        frame = np.random.default_rng(0).integers(0, 256, (1, *bundle.manifest.input_size_hw, 3), dtype=np.uint8)
        return "" if engine.infer(frame)[0].is_finite else NOT_FINITE
    reference = bundle.reference()
    return parity_of_engine(bundle, engine, reference.images, recorded_predictions(reference), batch=batch).problem
