"""Where and in which precision a training runs."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from edge_ad.errors import DeviceError, UsageError
from edge_ad.runtime.target import processor

__all__ = ["autocast", "choose_device"]


def choose_device(name: str) -> torch.device:
    """``auto`` takes a CUDA GPU when there is one, else the CPU.

    Raises:
        DeviceError: The GPU asked for is not there.
        UsageError: Not a device name.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise _not_a_device(name) from error
    if device.type not in ("cpu", "cuda"):  # torch knows the names of many that it was not built for
        raise _not_a_device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise DeviceError(f"There is no GPU {name}.", "Use --device auto, or see edge-ad doctor.")
    return device


def _not_a_device(name: str) -> UsageError:
    return UsageError(f"{name!r} is not a device to train on.", "Use auto, cpu, cuda or cuda:N.")


def autocast(device: torch.device, *, enabled: bool) -> AbstractContextManager[object]:
    """bfloat16 for matrix products where the hardware has them: CUDA from Ampere on, CPUs with AMX or AVX512-BF16.

    bfloat16 keeps float32's range, so no loss scaling is needed.
    """
    if not enabled or not _has_bfloat16(device):
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return device.type == "cpu" and bool({"amx_bf16", "avx512_bf16"} & set(processor().flags))
