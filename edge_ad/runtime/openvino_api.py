"""Importing OpenVINO without its usage statistics (nothing leaves the device unasked), and its one core."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from edge_ad.errors import require

__all__ = ["openvino_api", "openvino_core", "openvino_version"]

_STATISTICS = "openvino_telemetry"


def openvino_api() -> Any:
    """The ``openvino`` module.

    Importing it plainly sends an event to a web service and writes an identifier into the home folder, unless the user
    has opted out. OpenVINO works without the package that does so, and so it is hidden while OpenVINO is imported.

    Raises:
        MissingDependencyError: It is not installed.
    """
    if "openvino" in sys.modules:
        return require("openvino", extra="")
    with _hidden(_STATISTICS):
        return require("openvino", extra="")


@cache
def openvino_core() -> Any:
    """The ``openvino.Core`` of this process: made once, kept to its end, used from any thread.

    OpenVINO's CPU plugin gives the thread that loads it an alternate signal stack, and unmaps it with the core. When
    each engine had a core of its own and another thread closed it, as happens when a bundle takes over, the first
    thread's next signal (SIGTERM, Ctrl-C) was delivered to memory that was not there any more: SIGSEGV.

    Raises:
        MissingDependencyError: OpenVINO is not installed.
    """
    return openvino_api().Core()


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
    modules[name] = None  # an import of it now fails as if it were not installed
    try:
        yield
    finally:
        del modules[name]
        if before is not missing:
            modules[name] = before
