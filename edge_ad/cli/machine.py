"""The machine a measurement was taken on."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from edge_ad.runtime.target import available_cores, processor

__all__ = ["describe_machine"]

_PACKAGES = ("edge-ad", "numpy", "opencv-python", "onnxruntime", "openvino")


def describe_machine(packages: Sequence[str] = ()) -> dict[str, Any]:
    """What decides a latency: processor, cores, system, versions.

    Args:
        packages: Packages to give the version of, beside those of the device side.

    Returns:
        ``processor``, ``instructions``, ``cores``, ``system``, ``python`` and ``versions``.
    """
    cpu = processor()
    return {
        "processor": cpu.name,
        "instructions": list(cpu.flags),
        "cores": available_cores(),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "versions": {name: found for name in (*_PACKAGES, *packages) if (found := _version(name))},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
