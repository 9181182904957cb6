"""What is done with a pulled bundle before it is used: its engine is built on this device, and verified."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from edge_ad.bundle import Bundle
from edge_ad.credentials import environment_for_child
from edge_ad.errors import BundleError, DeviceError, MissingDependencyError, QualityGateError
from edge_ad.runtime.verification import Verification

__all__ = ["build_in_child", "verify_candidate"]

_LONGEST_BUILD_S = 3600.0
_KEPT = ("EDGE_AD_CACHE", "EDGE_AD_CUDA")  # settings that are no secrets
_UNAVAILABLE = MissingDependencyError.exit_code


def build_in_child(root: Path, *, backend: str, log: Callable[[str], None] = lambda text: None) -> None:
    """Build the engines of a bundle with ``edge-ad build-engine``, in a process that may crash or run out of memory.

    Raises:
        DeviceError: The backend is not there.
        QualityGateError: The accuracy gate failed.
        BundleError: The build failed, crashed or took more than an hour.
    """
    command = [sys.executable, "-m", "edge_ad", "build-engine", str(root), "--backend", backend]
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    environment = environment_for_child() | kept
    try:
        done = subprocess.run(
            command, env=environment, timeout=_LONGEST_BUILD_S, stdin=subprocess.DEVNULL, capture_output=True
        )
    except subprocess.TimeoutExpired as error:
        raise BundleError(f"The engine was not built within {_LONGEST_BUILD_S:g} s.", "") from error
    lines = done.stderr.decode(errors="replace").splitlines()
    if done.returncode == 0:
        log(f"built: {lines[-1] if lines else 'engines are there'}")
        return
    why = next((line.removeprefix("error: ") for line in lines if line.startswith("error: ")), "the build crashed")
    kinds = {_UNAVAILABLE: DeviceError, QualityGateError.exit_code: QualityGateError}
    raise kinds.get(done.returncode, BundleError)(f"No engine was built: {why}", "")


def verify_candidate(root: Path, *, backend: str) -> None:
    """Run the engine that a stream would open over the bundle's reference photos, in a process of its own.

    Raises:
        BundleError: It does not give the trained numbers, or crashes.
        DeviceError: The backend is not there.
    """
    Verification()(Bundle.open(root), backend=backend)
