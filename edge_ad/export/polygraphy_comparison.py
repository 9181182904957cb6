"""A comparison of a bundle's graphs by Polygraphy, left in a folder in which anybody can repeat it."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from edge_ad.bundle import Bundle, list_engines
from edge_ad.bundle.plan_layers import PLAN_FILE
from edge_ad.credentials import environment_for_child
from edge_ad.errors import EdgeAdError, require
from edge_ad.manifest import Precision
from edge_ad.runtime.backend import get_backend, probe_backend
from edge_ad.runtime.deploy_graph import INPUT_NAME, OUTPUT_NAMES
from edge_ad.storage import storage_errors, write_file

__all__ = ["Comparison", "compare_with_polygraphy"]

INPUTS_FILE = "inputs.json"
OUTPUTS_FILE = "fp32.json"
SCRIPT_FILE = "replay.sh"
_TOLERANCE = 0.05  # mean error, as a part of the largest FP32 output
_SHOWN_LINES = 3
# The command "polygraphy", from the environment that edge-ad runs in.
_MAIN = "import sys; sys.argv = sys.argv[1:]; from polygraphy.tools import main; sys.exit(main())"

Log = Callable[[str], None]


@dataclass(frozen=True)
class Comparison:
    """One graph or plan held against the FP32 graph in ONNX Runtime.

    Attributes:
        subject: File of the graph or the plan, inside the bundle.
        outcome: What Polygraphy says, or that it could not run here.
        command: The command line, to be run in the folder.
    """

    subject: str
    outcome: Literal["passed", "failed", "not run"]
    command: str


def compare_with_polygraphy(bundle: Bundle, folder: Path, log: Log = lambda text: None) -> list[Comparison]:
    """Compare every graph and every TensorRT plan of a bundle with its FP32 graph.

    The folder gets the inputs, the FP32 outputs, the log of each comparison and a script with every command. The inputs
    are the bundle's reference photos. A plan that this machine cannot run gets its command, and is not run.

    Args:
        bundle: The bundle.
        folder: Where to write.
        log: Told about each step.

    Raises:
        BundleError: The bundle has no reference photos.
        EdgeAdError: Polygraphy failed to run the FP32 graph.
        MissingDependencyError: Polygraphy is not installed.
        StorageError: No space or no permission.
    """
    require("polygraphy", extra="dev")
    photos = [{INPUT_NAME: image[np.newaxis]} for image in bundle.reference().images]
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _save(photos, folder / INPUTS_FILE)
    first = ["run", _inside(bundle, folder, "fp32"), "--onnxrt", "--load-inputs", INPUTS_FILE]
    log(f"Polygraphy: {len(photos)} photos through the FP32 graph.")
    done = _run([*first, "--save-outputs", OUTPUTS_FILE], folder, {})
    if done.returncode != 0:
        raise EdgeAdError(f"Polygraphy cannot run the FP32 graph: {_last_lines(done)}")
    tolerances = _tolerances(folder / OUTPUTS_FILE)
    commands = ["polygraphy " + shlex.join([*first, "--save-outputs", OUTPUTS_FILE])]
    results = []
    for subject, arguments, variables, runs_here in _subjects(bundle, folder):
        command = ["run", *arguments, "--load-inputs", INPUTS_FILE, "--load-outputs", OUTPUTS_FILE, *tolerances]
        results.append(_compare(subject, command, variables, folder, runs_here=runs_here))
        commands.append(results[-1].command)
        log(f"Polygraphy: {subject} {results[-1].outcome}.")
    write_file(folder / SCRIPT_FILE, ('#!/bin/sh\ncd "$(dirname "$0")"\n' + "\n".join(commands) + "\n").encode())
    return results


def _subjects(bundle: Bundle, folder: Path) -> list[tuple[str, list[str], dict[str, str], bool]]:
    """File, arguments, environment, and whether it runs on this machine."""
    graphs = [
        (info.file, [_inside(bundle, folder, precision), "--onnxrt"], dict[str, str](), True)
        for precision, info in bundle.manifest.graphs.items()
        if precision != "fp32"
    ]
    plans = []
    for engine in list_engines(bundle):
        plan = engine.path / PLAN_FILE
        if plan.is_file():
            backend = engine.sidecar.backend
            variables = dict(get_backend(backend).polygraphy_environment)
            arguments = [os.path.relpath(plan, folder), "--model-type", "engine", "--trt"]
            name = plan.relative_to(bundle.root).as_posix()
            plans.append((name, arguments, variables, probe_backend(backend).available))
    return graphs + plans


def _compare(
    subject: str, command: list[str], variables: dict[str, str], folder: Path, *, runs_here: bool
) -> Comparison:
    words = " ".join([*(f"{name}={value}" for name, value in variables.items()), "polygraphy", shlex.join(command)])
    if not runs_here:
        return Comparison(subject, "not run", words)
    done = _run(command, folder, variables)
    write_file(folder / f"{subject.replace('/', '-')}.log", (done.stdout + done.stderr).encode())
    return Comparison(subject, "passed" if done.returncode == 0 else "failed", words)


def _inside(bundle: Bundle, folder: Path, precision: Precision) -> str:
    return os.path.relpath(bundle.graph_path(precision), folder)


def _save(photos: Sequence[dict[str, np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]], path: Path) -> None:
    from polygraphy.json import save_json
    from polygraphy.logger import G_LOGGER

    with G_LOGGER.verbosity(G_LOGGER.CRITICAL):  # it logs to stdout
        save_json(photos, str(path))


def _tolerances(path: Path) -> list[str]:
    """Mean error allowed for each output: a part of its own largest value, since maps have no fixed range."""
    from polygraphy.comparator import RunResults
    from polygraphy.logger import G_LOGGER

    with G_LOGGER.verbosity(G_LOGGER.CRITICAL):
        (_, iterations) = RunResults.load(str(path))[0]
    largest = {name: max(float(np.abs(outputs[name]).max()) for outputs in iterations) for name in OUTPUT_NAMES}
    limits = [f"{name}:{_TOLERANCE * value:.6g}" for name, value in largest.items()]
    return ["--check-error-stat", "mean", "--rtol", "0", "--atol", *limits]


def _run(arguments: list[str], folder: Path, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _MAIN, "polygraphy", *arguments],
        cwd=folder,
        env={**environment_for_child(), **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def _last_lines(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return " ".join(lines[-_SHOWN_LINES:]) or f"exit code {done.returncode}"
