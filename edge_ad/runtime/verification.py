"""Before an engine may judge: does it give the trained network's numbers on this machine, without a crash or a hang?

The first time a bundle is opened on a machine its engine runs over the photos that the bundle carries, in a process of
its own: what crashes there, takes all memory or never answers is a bundle that is refused, and not the end of a line.
That it passed is remembered for this bundle and engine, so that the next opening costs nothing.
"""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass

from edge_ad import __version__, errors
from edge_ad.bundle import Bundle, find_engine
from edge_ad.bundle.bundle import MANIFEST_FILE
from edge_ad.bundle.engines import SIDECAR_FILE
from edge_ad.bundle.reference import REFERENCE_FILE
from edge_ad.credentials import environment_for_child
from edge_ad.errors import BundleError, EdgeAdError, ForeignEngineError
from edge_ad.manifest import Precision
from edge_ad.runtime.backends import first_that_works
from edge_ad.runtime.choice import choose_precision, engine_key
from edge_ad.storage import cache_folder, sha256_file, write_file

__all__ = ["EngineIdentity", "Verification"]

_TIMEOUT_S = 120.0  # a small board compiles a large graph for most of a minute
_POLL_S = 0.1
_PROGRAM = "from edge_ad.runtime.verify_process import main; main()"


@dataclass(frozen=True)
class EngineIdentity:
    """All that the numbers of an engine on this machine depend on.

    Attributes:
        backend: Name of the backend.
        precision: Graph that it runs.
        manifest: SHA-256 of the manifest, which holds the hash of every file.
        words: Versions and the other content hashes, for people too.
    """

    backend: str
    precision: Precision
    manifest: str
    words: str

    @classmethod
    def of(cls, bundle: Bundle, backend: str, precision: Precision) -> EngineIdentity:
        """That of the engine that `open_engine` opens now.

        Raises:
            BundleError: Its folder fits neither this machine nor the bundle.
        """
        key = engine_key(backend, precision)
        try:
            built = find_engine(bundle, key)
        except ForeignEngineError:  # its graph is compiled instead
            built = None
        engine = "in memory" if built is None else sha256_file(built.path / SIDECAR_FILE)
        words = f"edge-ad {__version__} {key.backend} {key.version} {key.precision} {key.target} engine {engine}"
        return cls(backend, precision, sha256_file(bundle.root / MANIFEST_FILE), words)


class Verification:
    """Verifies engines, one after the other.

    Args:
        allow_unverified: Let a bundle without recorded outputs pass, if its engine gives finite numbers.
        batch: Frames that the stream gives to an engine in one call.
        timeout_s: Longest that an engine may take to load and answer, in seconds.
    """

    def __init__(self, *, allow_unverified: bool = False, batch: int = 1, timeout_s: float = _TIMEOUT_S) -> None:
        self._allow_unverified, self._batch, self._timeout_s = allow_unverified, batch, timeout_s
        self._is_cancelled = threading.Event()

    def cancel(self) -> None:
        """Have a verification that is under way end at once, by an error; none begins any more."""
        self._is_cancelled.set()

    def __call__(
        self, bundle: Bundle, *, backend: str = "auto", precision: str = "auto", threads: int = 0
    ) -> EngineIdentity:
        """Verify the engine that `open_engine` would open with the same arguments.

        Returns:
            What was verified: an engine that is opened later must be of the same identity.

        Raises:
            BundleError: It does not give the recorded outputs, crashes, or does not answer in time; or the bundle has
                no recorded outputs, which must be allowed.
            EdgeAdError: It cannot be opened.
        """
        if REFERENCE_FILE not in bundle.manifest.files and not self._allow_unverified:
            raise BundleError(
                f"{bundle.root} has no recorded outputs: nobody can tell whether its engine judges as it was trained.",
                "Export it again: edge-ad export RUN; or let it pass with --allow-unverified.",
            )
        return first_that_works(backend, lambda name: self._verified(bundle, name, precision, threads))

    def _verified(self, bundle: Bundle, name: str, precision: str, threads: int) -> EngineIdentity:
        identity = EngineIdentity.of(bundle, name, choose_precision(bundle, precision, backend=name))
        words = f"bundle {identity.manifest} {identity.words} batch {self._batch}"
        remembered = cache_folder() / "verified" / hashlib.sha256(words.encode()).hexdigest()
        if not remembered.is_file():
            self._run(bundle, identity, threads)
            with suppress(EdgeAdError):  # a device may have nowhere to write: it verifies at each start
                write_file(remembered, f"{words}\n".encode())
        return identity

    def _run(self, bundle: Bundle, identity: EngineIdentity, threads: int) -> None:
        settings = (identity.manifest, identity.backend, identity.precision, str(threads), str(self._batch))
        command = [sys.executable, "-c", _PROGRAM, str(bundle.root), *settings]
        # Nothing is imported from where the user happens to stand.
        environment = environment_for_child() | {"PYTHONSAFEPATH": "1"}
        with subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
            try:
                answer = self._answer(process, bundle)
            finally:
                process.kill()
        _raise_problem(bundle, answer, process.returncode)

    def _answer(self, process: subprocess.Popen[bytes], bundle: Bundle) -> bytes:
        until = time.monotonic() + self._timeout_s
        while time.monotonic() < until:
            if self._is_cancelled.is_set():
                raise BundleError(f"{bundle.root} was not verified: the stream ends.")
            with suppress(subprocess.TimeoutExpired):
                return process.communicate(timeout=_POLL_S)[0]
        raise BundleError(
            f"The engine of {bundle.root} does not answer within {self._timeout_s:g} s.",
            "Build it again: edge-ad build-engine; if that does not help, use another backend.",
        )


def _raise_problem(bundle: Bundle, answer: bytes, code: int) -> None:
    """Raise what the process found; anything but its own word that all is well is a problem."""
    try:
        found = json.loads(answer.splitlines()[-1])  # a library may have said something before
        kind, message, hint = found["error"], str(found["message"]), str(found["hint"])
    except (ValueError, LookupError, TypeError) as error:
        why = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        raise BundleError(
            f"The engine of {bundle.root} crashes: the process that verifies it {why}.",
            "Build it again: edge-ad build-engine; if that does not help, use another backend.",
        ) from error
    if kind:
        raise getattr(errors, kind, BundleError)(message, hint)
