"""The steps of a GPU check, and what a step is given and gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_ad.gpu_check.report import Check

__all__ = ["STEPS", "CannotRunError", "Findings", "Step", "Work"]


class CannotRunError(Exception):
    """A step has nothing to run on here.

    Args:
        why: What is missing, in one line.
        hint: What to do about it; may be empty.
    """

    def __init__(self, why: str, hint: str = "") -> None:
        super().__init__(why)
        self.why = why
        self.hint = hint


@dataclass(frozen=True)
class Work:
    """What a step is given.

    Attributes:
        folder: For everything that steps make; later steps find it.
        bundle: The bundle to run; the one that the step ``graphs`` makes, or the user's.
    """

    folder: Path
    bundle: Path


@dataclass
class Findings:
    """What a step gives: it passed where all of its checks did.

    Attributes:
        checks: What was checked.
        facts: What was measured: name → a number or words.
    """

    checks: list[Check] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def check(self, name: str, passed: bool, detail: str = "") -> None:
        """Add something that was checked."""
        self.checks.append(Check(name, bool(passed), detail))


@dataclass(frozen=True)
class Step:
    """A step, which runs in a process of its own.

    Attributes:
        name: Its name.
        title: What it does, in words.
        function: ``module:function`` of what takes `Work` and gives `Findings`.
        limit_s: Longest that it may take, in seconds.
        makes_bundle: Whether it makes the bundle, and so is left out where the user gives one.
    """

    name: str
    title: str
    function: str
    limit_s: float
    makes_bundle: bool = False


_PACKAGE = "edge_ad.gpu_check"

STEPS = (
    Step("device", "Driver and GPU", f"{_PACKAGE}.cuda_step:check_device", 30),
    Step("cuda", "CUDA memory, streams, events and graphs", f"{_PACKAGE}.cuda_step:check_cuda", 60),
    Step("training", "Training on CUDA against the CPU", f"{_PACKAGE}.training_step:check_training", 240),
    Step(
        "graphs", "A bundle with FP32, FP16 and INT8", f"{_PACKAGE}.training_step:make_bundle", 240, makes_bundle=True
    ),
    Step("onnxruntime-cuda", "ONNX Runtime on CUDA", f"{_PACKAGE}.engine_step:check_onnxruntime_cuda", 60),
    Step("tensorrt", "TensorRT", f"{_PACKAGE}.engine_step:check_tensorrt", 240),
    Step("dla", "TensorRT on a DLA of a Jetson Orin", f"{_PACKAGE}.engine_step:check_dla", 120),
    Step("tensorrt-rtx", "TensorRT for RTX", f"{_PACKAGE}.engine_step:check_tensorrt_rtx", 120),
    Step("onnxruntime-rtx", "TensorRT for RTX in ONNX Runtime", f"{_PACKAGE}.engine_step:check_onnxruntime_rtx", 90),
    Step("stream", "A stream on the GPU", f"{_PACKAGE}.stream_step:check_stream", 60),
)
"""In the order in which they run."""
