"""Calls through cuda-bindings, which give a result code, as calls that give a value or raise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["CudaCallError", "CudaCalls", "CudaMemoryError"]

_OUT_OF_MEMORY = 2  # CUDA_ERROR_OUT_OF_MEMORY


class CudaCallError(RuntimeError):
    """A call through cuda-bindings failed."""


class CudaMemoryError(CudaCallError):
    """The device or the host has too little memory for a call through cuda-bindings."""


class CudaCalls:
    """The calls of ``cuda.bindings.driver`` as methods.

    A call that answers with one value gives it, with several a tuple, with none an empty tuple.

    Args:
        api: The module.
    """

    def __init__(self, api: Any) -> None:
        self._api = api

    def __getattr__(self, name: str) -> Callable[..., Any]:
        call = getattr(self._api, name)

        def checked(*arguments: Any) -> Any:
            try:
                error, *values = call(*arguments)
            except RuntimeError as reason:  # it finds no driver library, or none that has this call
                raise CudaCallError(f"{name} failed: {reason}") from reason
            if int(error) != 0:
                raise self._failure(name, error)
            return values[0] if len(values) == 1 else tuple(values)

        setattr(self, name, checked)  # the next use finds it there
        return checked

    def _failure(self, name: str, error: Any) -> CudaCallError:
        known, *text = self._api.cuGetErrorString(error)
        words = f", {text[0].decode(errors='replace')}" if int(known) == 0 and text[0] else ""
        kind = CudaMemoryError if int(error) == _OUT_OF_MEMORY else CudaCallError
        return kind(f"{name} failed: {getattr(error, 'name', error)}{words}")
