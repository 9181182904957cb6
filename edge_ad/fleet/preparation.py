"""What is done with a pulled bundle before it is used: its engine is built, verified, and shown golden photos."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from edge_ad.bundle import Bundle, find_engine
from edge_ad.credentials import environment_for_child
from edge_ad.errors import (
    BundleError,
    DamagedEngineError,
    DataError,
    DeviceError,
    EdgeAdError,
    ForeignEngineError,
    MissingDependencyError,
    QualityGateError,
)
from edge_ad.fleet.state import Step
from edge_ad.photo_files import find_photos
from edge_ad.runtime.backend import choose_backend, get_backend
from edge_ad.runtime.engines import engine_key
from edge_ad.runtime.verification import Verification

__all__ = ["Preparation", "PreparationCancelledError", "Prepare", "check_golden_folder"]

Prepare = Callable[[Path], None]
"""Does something with a candidate; raises BundleError or QualityGateError where the bundle is at fault."""

_LONGEST_S = 3600.0
_POLL_S = 0.2
_END_S = 5.0
_KEPT = ("EDGE_AD_CACHE", "EDGE_AD_CUDA")  # settings that are no secrets
_VERDICTS = ("OK", "NG")


class PreparationCancelledError(Exception):
    """The preparation was ended from outside: nothing is known about the bundle."""


class Preparation:
    """The steps of one device. Engines are built and run in processes of their own, which may crash.

    Args:
        backend: ``"auto"`` or a backend's name.
        builds: Whether to build the engine of this device.
        golden: Folder with ``OK`` and ``NG``: photos that a bundle must judge so; None for none.
        verification: Verifies the engine; None for one that needs recorded outputs.
        log: Called with a line for each step.
    """

    def __init__(
        self,
        *,
        backend: str = "auto",
        builds: bool = True,
        golden: Path | None = None,
        verification: Verification | None = None,
        log: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._backend, self._builds, self._golden, self._log = backend, builds, golden, log
        self._verification = verification or Verification()
        self._is_cancelled = threading.Event()

    def steps(self) -> list[tuple[Step, Prepare]]:
        """The steps in their order."""
        steps: list[tuple[Step, Prepare]] = [("building", self.build)] if self._builds else []
        steps.append(("verifying", self.verify))
        return steps if self._golden is None else [*steps, ("golden check", self.check_golden)]

    def cancel(self) -> None:
        """End the step that is under way, with `PreparationCancelledError`; none begins any more.

        May be called from any thread.
        """
        self._is_cancelled.set()
        self._verification.cancel()

    def build(self, root: Path) -> None:
        """Build the engines of a bundle as ``edge-ad build-engine`` does.

        Raises:
            DeviceError: The backend is not there.
            QualityGateError: The accuracy gate failed.
            BundleError: The build failed, crashed or took more than an hour.
            PreparationCancelledError: It was ended from outside.
        """
        done = self._run("build-engine", str(root), "--backend", self._backend)
        lines = done.stderr.decode(errors="replace").splitlines()
        if done.returncode == 0:
            self._log(f"built: {lines[-1] if lines else 'engines are there'}")
            return
        raise _failure(done.returncode, f"No engine was built: {_reason(lines, 'the build crashed')}")

    def verify(self, root: Path) -> None:
        """Run the engine that a stream would open over the bundle's reference photos.

        Raises:
            BundleError: It does not give the trained numbers, or crashes.
            DeviceError: The backend is not there.
            PreparationCancelledError: It was ended from outside.
        """
        self._go_on()
        try:
            self._verification(Bundle.open(root), backend=self._backend)
        except EdgeAdError:
            self._go_on()
            raise

    def check_golden(self, root: Path) -> None:
        """Have a bundle judge the golden photos, each of which it must judge as its folder says.

        Raises:
            BundleError: One was judged otherwise, or could not be judged.
            DeviceError: The backend is not there.
            DataError: There are no photos of one kind, which is not the bundle's fault.
            PreparationCancelledError: It was ended from outside.
        """
        assert self._golden is not None
        count = check_golden_folder(self._golden)
        folders = [str(self._golden / verdict) for verdict in _VERDICTS]
        done = self._run("predict", str(root), *folders, "--json", "--backend", self._backend)
        judged = _judged(done.stdout)
        if len(judged) != count or done.returncode < 0:
            lines = done.stderr.decode(errors="replace").splitlines()
            raise _failure(done.returncode, f"The golden photos were not judged: {_reason(lines, 'it crashed')}")
        wrong = [text for one in judged if (text := _wrong(self._golden, one))]
        if wrong:
            raise BundleError(f"The golden check fails for {len(wrong)} of {len(judged)} photos: {wrong[0]}.")
        self._log(f"golden check: {len(judged)} photos are judged as they must be")

    def mend(self, root: Path) -> None:
        """Build the engines of a bundle in use again where one that this device would open was damaged since.

        So too where this device has another processor or version of a backend now that runs nothing but built engines.

        Raises:
            BundleError: The bundle itself is damaged.
            EdgeAdError: As `build`.
        """
        problem = _unusable_engine(Bundle.open(root), choose_backend(self._backend)[0])
        if problem:
            self._log(f"{problem} It is built again.")
            self.build(root)

    def _go_on(self) -> None:
        if self._is_cancelled.is_set():
            raise PreparationCancelledError

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "edge_ad", *arguments]
        environment = environment_for_child() | {name: os.environ[name] for name in _KEPT if name in os.environ}
        pipe, until = subprocess.PIPE, time.monotonic() + _LONGEST_S
        with subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe) as process:
            try:
                while time.monotonic() < until:
                    self._go_on()
                    with suppress(subprocess.TimeoutExpired):
                        out, err = process.communicate(timeout=_POLL_S)
                        return subprocess.CompletedProcess(command, process.returncode, out, err)
                raise BundleError(f"edge-ad {arguments[0]} did not end within {_LONGEST_S:g} s.")
            finally:
                _end(process)


def _unusable_engine(bundle: Bundle, backend: str) -> str:
    """What is wrong with an engine that only building it again mends, in words; empty for nothing."""
    mended = (DamagedEngineError, ForeignEngineError) if get_backend(backend).runs_plans_only else DamagedEngineError
    for precision in bundle.manifest.graphs:
        try:
            find_engine(bundle, engine_key(backend, precision))
        except mended as error:
            return error.message
        except BundleError:  # said, and refused or compiled from its graph, by what opens it
            continue
    return ""


def check_golden_folder(folder: Path) -> int:
    """Refuse a folder of golden photos that shows nothing; the number of its photos.

    Raises:
        DataError: It has no photos in ``OK``, or none in ``NG``.
    """
    counts = [_photo_count(folder / verdict) for verdict in _VERDICTS]
    for verdict, count in zip(_VERDICTS, counts, strict=True):
        if not count:
            raise DataError(
                f"{folder / verdict} holds no golden photos.",
                "Put photos of parts into OK and NG that every bundle must judge so.",
            )
    return sum(counts)


def _photo_count(folder: Path) -> int:
    return len(find_photos(folder, recursive=True).photos) if folder.is_dir() else 0


def _judged(output: bytes) -> list[dict[str, str]]:
    """The verdicts that a process has written; a line that it could not end is none."""
    return [json.loads(line) for line in output.splitlines() if line.startswith(b"{") and line.endswith(b"}")]


def _wrong(folder: Path, judged: dict[str, str]) -> str:
    """What is wrong with a verdict, in words; empty if nothing is."""
    photo = Path(judged["path"])
    expected = photo.relative_to(folder).parts[0]
    if judged["verdict"] == expected:
        return ""
    why = f" ({judged['reason'].rstrip('.')})" if judged["reason"] else ""
    return f"{photo.relative_to(folder)} is {judged['verdict']}{why}"


def _reason(lines: list[str], otherwise: str) -> str:
    return next((line.removeprefix("error: ") for line in lines if line.startswith("error: ")), otherwise)


def _failure(code: int, message: str) -> EdgeAdError:
    kinds: dict[int, type[EdgeAdError]] = {
        MissingDependencyError.exit_code: DeviceError,
        QualityGateError.exit_code: QualityGateError,
    }
    return kinds.get(code, BundleError)(message)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process that may still run: first so that it can remove what it began."""
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_END_S)
        process.kill()
