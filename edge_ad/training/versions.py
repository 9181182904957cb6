"""Versions of the packages that decide a result."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

__all__ = ["package_versions"]

_PACKAGES = ("torch", "numpy", "opencv-python", "onnx", "onnxscript", "onnxruntime", "openvino")


def package_versions() -> dict[str, str]:
    """Package → version, for those that are installed."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
