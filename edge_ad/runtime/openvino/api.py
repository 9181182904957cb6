"""Imports OpenVINO without its usage statistics, so that nothing leaves the device unasked; and its one core."""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from edge_ad.errors import require

__all__ = ["openvino_api", "openvino_core", "openvino_instruction_set", "openvino_version"]

_STATISTICS = "openvino_telemetry"
_REQUIREMENTS = b"meta="  # "meta=1.0;ov=2026.4.1;isa=Intel AVX2", behind its length
_LENGTH = struct.Struct("<Q")


def openvino_api() -> Any:
    """The ``openvino`` module.

    A plain import sends an event to a web service and writes an identifier into the home folder, unless the user has
    opted out. OpenVINO works without the package that does this, so that package is hidden during the import.

    Raises:
        MissingDependencyError: It is not installed.
    """
    if "openvino" in sys.modules:
        return require("openvino", extra="")
    with _hidden(_STATISTICS):
        return require("openvino", extra="")


@cache
def openvino_core() -> Any:
    """The ``openvino.Core`` of this process: made once, never released, usable from any thread.

    OpenVINO's CPU plugin gives the thread that loads it an alternate signal stack, and unmaps it with the core. When
    each engine had a core of its own and another thread closed it, as happens when a bundle takes over, the first
    thread's next signal (SIGTERM, Ctrl-C) was delivered to memory that was not there any more: SIGSEGV.

    Raises:
        MissingDependencyError: OpenVINO is not installed.
    """
    return openvino_api().Core()


@cache
def openvino_instruction_set() -> str:
    """The instruction set that OpenVINO compiles for here, in its own words, such as ``"Intel AVX2"``.

    The processor may have more: a virtual machine, or ONEDNN_MAX_CPU_ISA, hides some. OpenVINO records them in each
    compiled graph, and loads no graph with other ones.

    Raises:
        MissingDependencyError: OpenVINO is not installed.
    """
    openvino = openvino_api()
    parameter = openvino.opset13.parameter([1], openvino.Type.f32)
    model = openvino.Model([openvino.opset13.relu(parameter)], [parameter])
    try:
        blob = openvino_core().compile_model(model, "CPU").export_model()
    except Exception:  # this version compiles or exports nothing here; opening an engine reports why
        return ""
    return _instruction_set(blob if isinstance(blob, bytes) else blob.getvalue())


def _instruction_set(blob: bytes) -> str:
    """The instructions that a compiled graph needs; empty where it does not record them."""
    start = blob.find(_REQUIREMENTS)
    if start < _LENGTH.size:
        return ""
    (length,) = _LENGTH.unpack_from(blob, start - _LENGTH.size)
    fields = blob[start : start + length].decode("ascii", "replace").split(";")
    return next((field.partition("=")[2] for field in fields if field.startswith("isa=")), "")


def openvino_version() -> str:
    """Version of the installed OpenVINO, such as ``"2025.0.0"``.

    Raises:
        MissingDependencyError: It is not installed.
    """
    return str(openvino_api().get_version()).split("-")[0]


@contextmanager
def _hidden(name: str) -> Iterator[None]:
    modules: dict[str, Any] = sys.modules
    missing = object()
    before = modules.get(name, missing)
    modules[name] = None  # importing it now fails as if it were not installed
    try:
        yield
    finally:
        del modules[name]
        if before is not missing:
            modules[name] = before
