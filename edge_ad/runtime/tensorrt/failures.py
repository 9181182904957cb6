"""What the owner thread reports: one clear line, and no reference to anything that lives on the GPU."""

from __future__ import annotations

import traceback
from typing import Any

from edge_ad.errors import DeviceError, EdgeAdError

__all__ = ["CudaCallError", "lost_device", "release_frames", "translate"]

_LOST_HINT = "Look at nvidia-smi and dmesg, then start again."


class CudaCallError(RuntimeError):
    """A call through cuda-bindings failed."""


def translate(driver: Any, error: BaseException) -> tuple[BaseException, bool]:
    """What to tell the caller about an exception on the owner thread, and whether the device is lost by it.

    Args:
        driver: ``pycuda.driver``.
        error: What was raised.

    Returns:
        The exception for the caller, and whether no later call can succeed: CUDA keeps an error of the device for as
        long as the context lives.
    """
    if isinstance(error, driver.MemoryError):
        message = f"The GPU has not enough free memory ({one_line(error)})."
        return DeviceError(
            message, "Close other programs that use it, or build the engine with a smaller batch."
        ), False
    if isinstance(error, (driver.Error, CudaCallError)):
        return lost_device(one_line(error)), True
    return error, False


def lost_device(reason: str) -> DeviceError:
    """The error for a GPU that cannot be used any more."""
    return DeviceError(f"The GPU stopped working ({reason}).", _LOST_HINT)


def release_frames(error: BaseException | None) -> None:
    """Drop the local variables that an exception's traceback keeps alive.

    They may hold the last reference to a stream or to memory, which must die on the owner thread, in its context.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        traceback.clear_frames(error.__traceback__)
        release_frames(error.__cause__)
        error = error.__context__


def one_line(error: BaseException) -> str:
    """The message of an exception in one line."""
    if isinstance(error, EdgeAdError):
        return error.message
    return " ".join(str(error).split()) or type(error).__name__
