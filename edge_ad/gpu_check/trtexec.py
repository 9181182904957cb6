"""NVIDIA's own measuring program on a plan, for comparison."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from edge_ad.runtime.tensorrt.backend import TensorRtBackend

__all__ = ["find_trtexec", "measure_with_trtexec", "parse_trtexec"]

_JETPACK_FOLDER = "/usr/src/tensorrt/bin"
_TIMES = {"h2d_ms": "H2D Latency", "compute_ms": "GPU Compute Time", "d2h_ms": "D2H Latency", "latency_ms": "Latency"}
_LIMIT_S = 60
_SHOWN_CHARACTERS = 1000


def find_trtexec(backend: TensorRtBackend) -> Path | None:
    """The program of a backend; None where it is not installed."""
    name = backend.measuring_program
    found = shutil.which(name) or shutil.which(name, path=_JETPACK_FOLDER)
    return None if found is None else Path(found)


def measure_with_trtexec(
    backend: TensorRtBackend, program: Path, plan: Path, size_hw: tuple[int, int]
) -> dict[str, float]:
    """Times of one frame, launched as a CUDA graph where the program takes the option for it.

    Args:
        backend: Whose plan it is.
        program: What `find_trtexec` found.
        plan: The plan.
        size_hw: Height and width of the frames, in pixels.

    Returns:
        Medians in milliseconds, as `parse_trtexec` gives them; empty where the program fails.
    """
    shape = f"--shapes=image:1x{size_hw[0]}x{size_hw[1]}x3"
    command = [str(program), f"--loadEngine={plan}", shape, "--warmUp=300", "--duration=3"]
    for options in ([backend.graph_option], []):
        done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=_LIMIT_S, check=False)
        if done.returncode == 0:
            return parse_trtexec(done.stdout)
        sys.stdout.write(done.stdout[-_SHOWN_CHARACTERS:] + done.stderr[-_SHOWN_CHARACTERS:])  # into the step's log
    return {}


def parse_trtexec(output: str) -> dict[str, float]:
    """Medians in milliseconds, by stage, out of what the program prints; what is not there is left out."""
    found = {
        name: re.search(rf"\] {re.escape(label)}: .*?median = ([0-9.]+) ms", output) for name, label in _TIMES.items()
    }
    return {name: float(match.group(1)) for name, match in found.items() if match is not None}
