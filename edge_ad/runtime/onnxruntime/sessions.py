"""Sessions of ONNX Runtime on a deploy graph, whatever provider runs it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_ad.runtime.deploy_graph import INPUT_NAME, OUTPUT_NAMES, check_deploy_graph
from edge_ad.runtime.engine_source import backend_errors
from edge_ad.runtime.onnxruntime.api import onnxruntime_api

__all__ = ["Providers", "onnxruntime_version", "open_session", "run_session", "session_options"]

Providers = Sequence[str | tuple[str, dict[str, str]]]
"""Names of providers in their order, with options; none where the session's options name devices."""

_NAME = "ONNX Runtime"
_LOG_ERRORS_ONLY = 3
_PLANNED_PIXELS = 1 << 20  # of an input; the plan of a larger one takes up to twice the memory, and saves no time


def onnxruntime_version() -> str:
    """Version of the installed ONNX Runtime, such as ``"1.20.1"``.

    Raises:
        MissingDependencyError: It is not installed.
    """
    return str(onnxruntime_api().__version__)


def session_options(threads: int) -> Any:
    """Options of a session.

    Args:
        threads: CPU threads within one inference; 0 lets ONNX Runtime use every physical core.
    """
    options = onnxruntime_api().SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = _LOG_ERRORS_ONLY
    # Without VNNI, 8-bit products saturate at 16 bits unless ONNX Runtime is told to be exact.
    options.add_session_config_entry("session.x64quantprecision", "1")
    return options


def open_session(content: bytes, path: Path, options: Any, size_hw: tuple[int, int], providers: Providers) -> Any:
    """A session on a deploy graph.

    Args:
        content: The graph, as ONNX or in ONNX Runtime's own format.
        path: Where it comes from, for messages.
        options: Those of `session_options`.
        size_hw: Height and width of the images, in pixels.
        providers: What runs it.

    Raises:
        BundleError: It is no deploy graph of that size.
        DeviceError: ONNX Runtime refuses it.
    """
    runtime = onnxruntime_api()
    options.enable_mem_pattern = size_hw[0] * size_hw[1] <= _PLANNED_PIXELS
    with backend_errors(_NAME, f"load {path.name}"):
        session = runtime.InferenceSession(content, options, providers=list(providers) or None)
    inputs, outputs = session.get_inputs(), session.get_outputs()
    types = {item.name: item.type for item in (*inputs, *outputs)}
    shapes = {item.name: item.shape for item in inputs}
    check_deploy_graph(path, shapes, [item.name for item in outputs], size_hw, types)
    return session


def run_session(session: Any, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Scores and maps of a batch.

    Args:
        session: A session on a deploy graph.
        images: uint8 (N, H, W, 3).

    Returns:
        float32 scores (N,) and maps (N, H, W).

    Raises:
        DeviceError: ONNX Runtime fails.
    """
    with backend_errors(_NAME, "run the engine"):
        scores, maps = session.run(list(OUTPUT_NAMES), {INPUT_NAME: images})
    return scores, maps
