"""OpenVINO's own ``benchmark_app`` on a graph of ours, with our settings and our frames: the engine's ceiling."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.suites.ways import Block, Way

__all__ = ["benchmark_app", "parse_benchmark_app"]

_MEDIAN = re.compile(r"Median:\s*([\d.]+)\s*(ms|us)")
_COUNT = re.compile(r"Count:\s*(\d+)\s*iterations")


def benchmark_app(graph: Path, frames: list[NDArray[np.uint8]], threads: int, folder: Path) -> Way:
    """Time a graph by ``benchmark_app``, in a process of its own, one synchronous request.

    The graph is saved as OpenVINO's IR, as `edge-ad build-engine` saves it. The settings are those of our engine and go
    in by a file: on its command line the ``latency`` hint takes no number of threads.

    Args:
        graph: ONNX file.
        frames: uint8 (1, H, W, 3) each; without them it would make up random ones.
        threads: CPU threads.
        folder: Empty folder for the graph, the frames and the settings.
    """
    shape = f"[{','.join(map(str, frames[0].shape))}]"
    command = [_script(), "-m", str(_saved_graph(graph, folder)), "-d", "CPU", "-api", "sync", "-shape", shape]
    command += [
        "-inference_only",
        "false",
        "-load_config",
        str(_saved_settings(threads, folder)),
        "-i",
        str(_saved_frames(frames, folder)),
    ]

    def measure(seconds: float) -> Block:
        lasting = ["-t", str(max(1, round(seconds)))]
        done = subprocess.run([*command, *lasting], capture_output=True, text=True, check=False)
        return parse_benchmark_app(done.stdout + done.stderr)

    return measure


def parse_benchmark_app(text: str) -> Block:
    """The median and the number of runs that ``benchmark_app`` prints.

    Raises:
        ValueError: It printed none; its last line is quoted.
    """
    median, count = _MEDIAN.search(text), _COUNT.search(text)
    if median is None or count is None:
        raise ValueError(f"benchmark_app gave no median: {text.strip().splitlines()[-1:]}")
    return Block(float(median[1]) / (1000 if median[2] == "us" else 1), int(count[1]))


def _script() -> str:
    beside = Path(sys.executable).with_name("benchmark_app")
    return str(beside) if beside.is_file() else shutil.which("benchmark_app") or "benchmark_app"


def _saved_graph(graph: Path, folder: Path) -> Path:
    import openvino

    path = folder / "graph.xml"
    openvino.save_model(openvino.Core().read_model(graph), path, compress_to_fp16=False)
    return path


def _saved_settings(threads: int, folder: Path) -> Path:
    settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    path = folder / "settings.json"
    path.write_text(json.dumps({"CPU": {**settings, "INFERENCE_NUM_THREADS": threads}}), encoding="utf-8")
    return path


def _saved_frames(frames: list[NDArray[np.uint8]], folder: Path) -> Path:
    saved = folder / "frames"
    saved.mkdir()
    for index, frame in enumerate(frames):
        np.save(saved / f"{index:03d}.npy", frame)
    return saved
