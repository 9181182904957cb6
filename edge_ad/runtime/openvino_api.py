"""Importing OpenVINO without its usage statistics: nothing leaves the device unasked."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from edge_ad.errors import require

__all__ = ["openvino_api", "openvino_version"]

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
