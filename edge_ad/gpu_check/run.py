"""Runs the steps of a GPU check one after the other, within a time limit for all of them."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path

from edge_ad.gpu_check.process import run_step
from edge_ad.gpu_check.report import GpuReport, StepResult
from edge_ad.gpu_check.steps import STEPS, Step, Work
from edge_ad.runtime.target import available_cores, processor
from edge_ad.storage import storage_errors

__all__ = ["LIMIT_S", "check_gpu"]

LIMIT_S = 600.0
"""Longest that all steps may take together, in seconds."""

_OWN_BUNDLE = "run/bundle"
_PACKAGES = (
    "torch",
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-ep-nv-tensorrt-rtx",
    "tensorrt",
    "tensorrt-rtx-cu13",
    "tensorrt-rtx-cu12",
    "cuda-bindings",
    "pycuda",
)


def check_gpu(
    folder: Path,
    *,
    bundle: Path | None = None,
    steps: Sequence[Step] = STEPS,
    limit_s: float = LIMIT_S,
    log: Callable[[str], None] = lambda text: None,
) -> GpuReport:
    """Run every step, each in a process of its own.

    Args:
        folder: Empty folder for what the steps make.
        bundle: Bundle to run, of which a copy is used; None to train and export a small one.
        steps: The steps.
        limit_s: Longest that all may take together, in seconds; a step that no time is left for has failed.
        log: Told about each step.
    """
    began, made_at = time.monotonic(), datetime.now(timezone.utc).isoformat(timespec="seconds")
    work = Work(folder, folder / _OWN_BUNDLE if bundle is None else _copied(bundle, folder))
    results = []
    for step in steps:
        if step.makes_bundle and bundle is not None:
            continue
        log(f"{step.title}: up to {step.limit_s:.0f} s.")
        left_s = limit_s - (time.monotonic() - began)
        results.append(run_step(step, work, min(step.limit_s, left_s)) if left_s > 0 else _no_time(step, limit_s))
    return GpuReport(
        edge_ad=_version("edge-ad"),
        made_at=made_at,
        machine=_machine(),
        steps=tuple(results),
        seconds=round(time.monotonic() - began, 1),
    )


def _copied(bundle: Path, folder: Path) -> Path:
    """A copy of a bundle without its engines: they are built anew, and not in the user's folder."""
    with storage_errors(folder):
        return Path(shutil.copytree(bundle, folder / "bundle", ignore=shutil.ignore_patterns("engines")))


def _no_time(step: Step, limit_s: float) -> StepResult:
    return StepResult(step.name, step.title, "failed", f"The steps before it took all of the {limit_s:.0f} s.")


def _machine() -> dict[str, str]:
    packages = {name: version for name in _PACKAGES if (version := _version(name))}
    return {
        "system": platform.platform(terse=False),
        "processor": f"{processor().name}, {available_cores()} cores",
        "python": platform.python_version(),
        "packages": ", ".join(f"{name} {version}" for name, version in packages.items()),
    }


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
