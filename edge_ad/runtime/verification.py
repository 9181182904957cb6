"""Verification of an engine before a stream uses it: it must give the trained network's numbers on this machine.

The first time a bundle is opened on a machine, its engine runs over the reference photos of the bundle in a separate
process, so that a crash, a hang or a lack of memory there does not end the stream. If a compiled engine crashes, its
graph is compiled instead; if that fails too, the bundle is refused. A passed verification is remembered for this bundle
and engine, so that the next opening costs nothing.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge_ad import __version__
from edge_ad.bundle import Bundle, find_engine
from edge_ad.bundle.bundle import MANIFEST_FILE
from edge_ad.bundle.documents import REFERENCE_FILE
from edge_ad.bundle.engines import SIDECAR_FILE
from edge_ad.errors import BundleError, EdgeAdError, EngineCrashError, ForeignEngineError
from edge_ad.manifest import Precision
from edge_ad.prediction import NOT_FINITE
from edge_ad.runtime.backend import get_backend
from edge_ad.runtime.child import answer, call
from edge_ad.runtime.engine import Engine
from edge_ad.runtime.engine_source import EngineSource
from edge_ad.runtime.engines import OpenFrom, choose_precision, engine_key, first_that_works, open_engine
from edge_ad.runtime.parity import parity_of_engine, recorded_predictions
from edge_ad.storage import cache_folder, sha256_file, write_file

__all__ = ["EngineIdentity", "Verification", "check_opens", "main", "verify"]

_TIMEOUT_S = 120.0  # a small board takes most of a minute to compile a large graph
_PROCESS = "edge_ad.runtime.verification"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EngineIdentity:
    """All that the outputs of an engine on this machine depend on.

    Attributes:
        backend: Name of the backend.
        precision: Graph that it runs.
        manifest: SHA-256 of the manifest, which holds the hash of every file.
        open_from: ``"built"`` for an engine directory, ``"graph"`` for a graph that is compiled in memory.
        source: What it is opened from, as its description says.
        words: Versions and the other content hashes, for people too.
    """

    backend: str
    precision: Precision
    manifest: str
    open_from: OpenFrom
    source: str
    words: str

    @classmethod
    def of(cls, bundle: Bundle, backend: str, precision: Precision, open_from: OpenFrom = "any") -> EngineIdentity:
        """The identity of the engine that `open_engine` would open now.

        Raises:
            BundleError: Its folder fits neither this machine nor the bundle.
        """
        key = engine_key(backend, precision)
        built = None
        if open_from != "graph":
            with suppress(ForeignEngineError):  # its graph is compiled instead
                built = find_engine(bundle, key)
        engine = "in memory" if built is None else sha256_file(built.path / SIDECAR_FILE)
        return cls(
            backend,
            precision,
            sha256_file(bundle.root / MANIFEST_FILE),
            "graph" if built is None else "built",
            EngineSource.of(bundle, precision, built).words,
            f"edge-ad {__version__} {key.backend} {key.version} {key.precision} {key.target} engine {engine}",
        )


class Verification:
    """Verifies engines, one at a time.

    Args:
        allow_unverified: Let a bundle without recorded outputs pass, if its engine gives finite numbers.
        batch: Frames that the stream gives to an engine in one call.
        timeout_s: Longest that an engine may take to load and answer, in seconds.
    """

    def __init__(self, *, allow_unverified: bool = False, batch: int = 1, timeout_s: float = _TIMEOUT_S) -> None:
        self._allow_unverified, self._batch, self._timeout_s = allow_unverified, batch, timeout_s
        self._is_cancelled = threading.Event()

    def cancel(self) -> None:
        """End a running verification at once, with an error; none begins any more."""
        self._is_cancelled.set()

    def __call__(
        self,
        bundle: Bundle,
        *,
        backend: str = "auto",
        precision: str = "auto",
        threads: int = 0,
        open_from: OpenFrom = "any",
    ) -> EngineIdentity:
        """Verify the engine that `open_engine` would open with the same arguments.

        Returns:
            The identity of what was verified, ``open_from`` included; an engine opened later must have the same.

        Raises:
            BundleError: It does not give the recorded outputs, crashes, or does not answer in time; or the bundle has
                no recorded outputs and that is not allowed.
            EdgeAdError: It cannot be opened.
        """
        if REFERENCE_FILE not in bundle.manifest.files and not self._allow_unverified:
            raise BundleError(
                f"{bundle.root} has no recorded outputs, so its engine cannot be verified.",
                "Export it again: edge-ad export RUN; or accept it with --allow-unverified.",
            )
        return first_that_works(backend, lambda name: self._verified(bundle, name, precision, threads, open_from))

    def _verified(self, bundle: Bundle, name: str, precision: str, threads: int, open_from: OpenFrom) -> EngineIdentity:
        chosen = choose_precision(bundle, precision, backend=name)
        if open_from == "any":
            _mention_foreign(bundle, name, chosen)
        identity = EngineIdentity.of(bundle, name, chosen, open_from)
        if self._is_remembered(identity):
            return identity
        try:
            source = self._run(bundle, identity, threads)
        except EngineCrashError as error:
            if identity.open_from == "graph" or get_backend(name).runs_plans_only:
                raise
            _log.warning("%s Its graph is compiled instead of opening %s.", error.message, identity.source)
            identity = EngineIdentity.of(bundle, name, chosen, "graph")
            source = self._run(bundle, identity, threads)
        if source != identity.source:
            _log.warning("%s does not load here. Its graph is compiled instead.", identity.source)
            identity = EngineIdentity.of(bundle, name, chosen, "graph")
        self._remember(identity)
        return identity

    def _run(self, bundle: Bundle, identity: EngineIdentity, threads: int) -> str:
        request = {
            "root": str(bundle.root),
            "manifest_hash": identity.manifest,
            "backend": identity.backend,
            "precision": identity.precision,
            "threads": threads,
            "batch": self._batch,
            "open_from": "graph" if identity.open_from == "graph" else "any",
        }
        return call(
            _PROCESS, request, engine_of=bundle.root, timeout_s=self._timeout_s, is_cancelled=self._is_cancelled
        )

    def _is_remembered(self, identity: EngineIdentity) -> bool:
        return (cache_folder() / "verified" / self._hash(identity)).is_file()

    def _remember(self, identity: EngineIdentity) -> None:
        with suppress(EdgeAdError):  # a device without writable storage verifies at each start
            write_file(cache_folder() / "verified" / self._hash(identity), f"{self._words(identity)}\n".encode())

    def _hash(self, identity: EngineIdentity) -> str:
        return hashlib.sha256(self._words(identity).encode()).hexdigest()

    def _words(self, identity: EngineIdentity) -> str:
        return f"bundle {identity.manifest} {identity.words} batch {self._batch}"


def _mention_foreign(bundle: Bundle, backend: str, precision: Precision) -> None:
    try:
        find_engine(bundle, engine_key(backend, precision))
    except ForeignEngineError as error:
        if not get_backend(backend).runs_plans_only:
            _log.warning("%s Its graph is compiled instead. %s", error.message, error.hint)


def check_opens(bundle: Bundle, backend: str, precision: Precision, open_from: OpenFrom) -> None:
    """Try to open an engine in a separate process: some backends crash on a processor that they have no kernels for.

    Raises:
        DeviceError: The backend cannot compile or load it here.
        EngineCrashError: It crashes.
        EdgeAdError: It cannot be opened.
    """
    request = {
        "root": str(bundle.root),
        "manifest_hash": sha256_file(bundle.root / MANIFEST_FILE),
        "backend": backend,
        "precision": precision,
        "open_from": open_from,
        "only_load": True,
    }
    call(_PROCESS, request, engine_of=bundle.root, timeout_s=_TIMEOUT_S)


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
    """Open an engine, warm it up and compare it with the recorded outputs, if the bundle has any.

    Args:
        root: Folder of the bundle.
        manifest_hash: Expected SHA-256 of the bundle's manifest.
        backend: Name of the backend.
        precision: Graph to run.
        threads: CPU threads; 0 lets the backend decide.
        batch: Frames that a stream gives to it in one call.
        open_from: What it is opened from, see `open_engine`.
        only_load: Load it, and do not run it.

    Returns:
        What it was opened from, as its description says.

    Raises:
        BundleError: It gives other numbers or ones that are not finite, or another bundle is there.
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
            "See what differs: edge-ad verify; or build it again: edge-ad build-engine",
        )
    return source


def _problem(bundle: Bundle, engine: Engine, batch: int) -> str:
    if REFERENCE_FILE not in bundle.manifest.files:
        frame = np.random.default_rng(0).integers(0, 256, (1, *bundle.manifest.input_size_hw, 3), dtype=np.uint8)
        return "" if engine.infer(frame)[0].is_finite else NOT_FINITE
    reference = bundle.reference()
    return parity_of_engine(bundle, engine, reference.images, recorded_predictions(reference), batch=batch).problem
