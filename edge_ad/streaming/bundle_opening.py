"""Opens a bundle with its engine, verified, or says why not."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from edge_ad.bundle import Bundle
from edge_ad.bundle.bundle import MANIFEST_FILE
from edge_ad.errors import BundleError, DeviceError
from edge_ad.runtime import open_engine
from edge_ad.runtime.backend import get_backend
from edge_ad.runtime.engine import Engine
from edge_ad.runtime.kserve import ServerAddress, served_engine
from edge_ad.runtime.verification import EngineIdentity, Verification
from edge_ad.streaming.active_engine import JudgingEngine
from edge_ad.streaming.control import BundleFacts
from edge_ad.streaming.product_mark import ProductMark

__all__ = ["OpenBundle", "Opener", "manifest_hash", "open_bundle", "open_served_bundle"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OpenBundle:
    """A bundle whose engine is open.

    Attributes:
        judging: The engine and what is known about it.
        stack: Closes the engine; closing it again has no effect.
    """

    judging: JudgingEngine
    stack: ExitStack


Opener = Callable[[Path], OpenBundle]


def open_bundle(
    path: Path,
    *,
    backend: str = "auto",
    precision: str = "auto",
    threads: int = 0,
    verification: Verification | None = None,
) -> OpenBundle:
    """Open a bundle and its engine, after the engine has reproduced the outputs that the bundle recorded.

    Args:
        path: Folder of the bundle.
        backend: ``"auto"`` or a backend's name.
        precision: ``"auto"`` or a precision.
        threads: CPU threads; 0 lets the backend decide.
        verification: Verifies the engine; None for one that needs recorded outputs.

    Raises:
        EdgeAdError: It is broken, cannot run here, does not give the recorded outputs, or has none.
    """
    before = manifest_hash(path)
    bundle = Bundle.open(path)
    if manifest_hash(path) != before:
        raise BundleError(
            f"{path} changed while it was opened.", "Write a bundle's manifest last, or rename its folder."
        )
    verification = verification or Verification()
    verified = verification(bundle, backend=backend, precision=precision, threads=threads)
    try:
        return _opened(bundle, verified, threads, before)
    except DeviceError as error:  # it has been verified when it was loaded
        if verified.open_from == "graph" or get_backend(verified.backend).runs_plans_only:
            raise
        _log.warning("%s Its graph is compiled instead.", error.message)
    choice = {"backend": verified.backend, "precision": verified.precision}
    return _opened(bundle, verification(bundle, **choice, threads=threads, open_from="graph"), threads, before)


def _opened(bundle: Bundle, verified: EngineIdentity, threads: int, expected: str) -> OpenBundle:
    """Open exactly what was verified."""
    choice = {"backend": verified.backend, "precision": verified.precision}
    engine = open_engine(bundle, **choice, threads=threads, open_from=verified.open_from)
    with ExitStack() as stack:
        stack.enter_context(engine)
        now = EngineIdentity.of(bundle, verified.backend, verified.precision, verified.open_from)
        if now != verified or engine.describe().source != verified.source or verified.manifest != expected:
            raise BundleError(f"{bundle.root} or its engine changed while it was verified.", "Try again.")
        return OpenBundle(_judging(bundle, engine, expected), stack.pop_all())


def _judging(bundle: Bundle, engine: Engine, expected: str) -> JudgingEngine:
    description, threshold, manifest = engine.describe(), engine.threshold.value, bundle.manifest
    facts = BundleFacts(
        name=manifest.product or bundle.root.name,
        hash=expected,
        method=manifest.method,
        precision=description.precision,
        backend=description.backend,
        threshold=threshold,
    )
    split = manifest.split
    product = ProductMark.of(manifest.product, (*split.fit, *split.calibrate, *split.threshold))
    return JudgingEngine(engine, facts, threshold, manifest.photos, product, bundle.scene())


def open_served_bundle(
    path: Path, address: ServerAddress, *, precision: str, timeout_s: float, batch: int
) -> OpenBundle:
    """Open a bundle whose engine is on a server, which has reproduced the outputs that the bundle recorded.

    Args:
        path: Folder of the bundle.
        address: Server and model.
        precision: ``"auto"`` for the server's, or a precision.
        timeout_s: Longest that a call may take, in seconds; after it the server counts as lost and is waited for.
        batch: Frames that the stream gives in one call.

    Raises:
        EdgeAdError: The bundle is broken, or the server does not answer, or has another model.
    """
    bundle = Bundle.open(path)
    with ExitStack() as stack:
        engine = served_engine(bundle, address, precision=precision, timeout_s=timeout_s, batch=batch)
        stack.enter_context(engine)
        return OpenBundle(_judging(bundle, engine, manifest_hash(path)), stack.pop_all())


def manifest_hash(path: Path) -> str:
    """Content hash of a bundle: that of its manifest, which has those of all other files; empty where there is none."""
    manifest = path / MANIFEST_FILE
    return hashlib.sha256(manifest.read_bytes()).hexdigest() if manifest.is_file() else ""
