"""Where and in which precision a training runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn

from edge_ad.errors import DeviceError, UsageError
from edge_ad.models.base import AnomalyDetector
from edge_ad.runtime.target import processor

__all__ = ["autocast", "choose_device", "on_device", "ready_to_train", "sent_to"]


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


@contextmanager
def on_device(module: nn.Module, device: torch.device) -> Iterator[None]:
    """Have a module on a device, and back on the CPU when the block ends."""
    module.to(device)
    try:
        yield
    finally:
        module.cpu()


def sent_to(device: torch.device, tensor: Tensor) -> Tensor:
    """A tensor on a device; to a GPU by way of pinned memory, without waiting until it is there."""
    if device.type != "cuda":
        return tensor.to(device)
    pinned = tensor if tensor.is_pinned() else tensor.pin_memory()
    return pinned.to(device, non_blocking=True)


def ready_to_train(detector: AnomalyDetector, device: torch.device, *, compiled: bool = False) -> AnomalyDetector:
    """A detector on its device, with its convolutions in the form that a GPU computes fastest.

    Args:
        detector: Changed in place.
        device: Where to train.
        compiled: Compile the networks that are trained as a whole, by torch.compile: it takes minutes, once.
    """
    detector.to(device)
    if device.type == "cuda":
        detector.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for name in detector.compiled_modules if compiled else ():
        detector.get_submodule(name).compile()
    return detector
