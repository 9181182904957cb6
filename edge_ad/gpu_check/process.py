"""One step in a process of its own, so that its crash or hang does not take the others."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edge_ad.credentials import environment_for_child
from edge_ad.errors import EdgeAdError, MissingDependencyError
from edge_ad.gpu_check.report import Check, StepResult
from edge_ad.gpu_check.steps import CannotRunError, Step, Work
from edge_ad.runtime.cuda.device import PACKAGE_VARIABLE

__all__ = ["main", "run_step"]

_SHOWN_LINES = 20


def run_step(step: Step, work: Work, limit_s: float) -> StepResult:
    """Run a step in a process of its own.

    Args:
        step: The step.
        work: What it is given.
        limit_s: Longest that it may take, in seconds.

    Returns:
        What it found; a crash or a hang is a failure.
    """
    answer, log = work.folder / f"{step.name}.json", work.folder / f"{step.name}.log"
    answer.unlink(missing_ok=True)
    request = {"function": step.function, "folder": str(work.folder), "bundle": str(work.bundle), "answer": str(answer)}
    began = time.monotonic()
    problem = _run(request, work.folder, log, limit_s)
    found: dict[str, Any] = {"outcome": "failed", "why": problem} if problem else _read(answer)
    checks = tuple(Check(**check) for check in found.pop("checks", ()))
    lines = log.read_text(errors="replace").splitlines() if found["outcome"] == "failed" else []
    seconds = round(time.monotonic() - began, 2)
    return StepResult(step.name, step.title, checks=checks, seconds=seconds, log=tuple(lines[-_SHOWN_LINES:]), **found)


def main() -> None:
    """Inside that process: run the function that the request on the command line names, and write what it found."""
    request = json.loads(sys.argv[1])
    module, _, function = request["function"].partition(":")
    work = Work(Path(request["folder"]), Path(request["bundle"]))
    try:
        findings = getattr(importlib.import_module(module), function)(work)
        failed = [check.name for check in findings.checks if not check.passed]
        why = f"Failed: {'; '.join(failed)}." if failed else "" if findings.checks else "It checked nothing."
        found = {"outcome": "failed" if why else "passed", "why": why, **asdict(findings)}
    except CannotRunError as error:
        found = {"outcome": "cannot run", "why": error.why, "hint": error.hint}
    except MissingDependencyError as error:
        found = {"outcome": "cannot run", "why": error.message, "hint": error.hint}
    except EdgeAdError as error:
        found = {"outcome": "failed", "why": error.message, "hint": error.hint}
    Path(request["answer"]).write_text(json.dumps(found, default=str), encoding="utf-8")


def _run(request: Mapping[str, Any], folder: Path, log: Path, limit_s: float) -> str:
    """Run the process; what is wrong with its end, in words, or nothing."""
    command = [sys.executable, "-c", f"from {__name__} import main; main()", json.dumps(request)]
    own = {"EDGE_AD_CACHE": str(folder / "cache"), "PYTHONSAFEPATH": "1"}
    own |= {PACKAGE_VARIABLE: os.environ[PACKAGE_VARIABLE]} if PACKAGE_VARIABLE in os.environ else {}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=environment_for_child() | own,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # what it starts ends with it
        )
        try:
            code = process.wait(limit_s)
        except subprocess.TimeoutExpired:
            return f"It did not end within {limit_s:.0f} s."
        finally:
            _end(process)
    if code < 0:
        return f"Its process was ended by {signal.Signals(-code).name}."
    return f"Its process ended with {code}." if code else ""


def _end(process: subprocess.Popen[bytes]) -> None:
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.wait()


def _read(answer: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {"outcome": "failed", "why": "Its process ended without an answer."}
    return found
