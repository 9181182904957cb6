"""Failures of the GPU as errors for the caller, and whether the device can still be used."""

from __future__ import annotations

import traceback

from edge_ad.errors import DeviceError, EdgeAdError
from edge_ad.runtime.cuda.calls import CudaCallError, CudaMemoryError
from edge_ad.runtime.cuda.driver import CudaDriver

__all__ = ["lost_device", "one_line", "release_frames", "translate"]

_LOST_HINT = "Look at nvidia-smi and dmesg, then start again."


def translate(driver: CudaDriver, error: BaseException) -> tuple[BaseException, bool]:
    """The error for the caller after an exception on the owner thread, and whether the device is lost.

    Args:
        driver: The driver whose calls may have raised it.
        error: What was raised.

    Returns:
        The exception for the caller, and whether no later call can succeed: a CUDA device error is kept for as long as
        the context lives.
    """
    if isinstance(error, (driver.memory_error, CudaMemoryError)):
        message = f"The GPU has too little free memory ({one_line(error)})."
        return DeviceError(
            message, "Close other programs that use it, or build the engine with a smaller batch."
        ), False
    if isinstance(error, (driver.error, CudaCallError)):
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
