"""The processor an engine runs on, which decides the kernels that a backend picks, and so an engine's numbers."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["Processor", "available_cores", "parse_cpuinfo", "processor"]

_CPUINFO = Path("/proc/cpuinfo")
_ARCHITECTURES = {"amd64": "x86_64", "x64": "x86_64", "arm64": "aarch64"}
# Best first: integer and float instructions that decide which kernels run.
_CAPABILITIES = {
    "x86_64": (
        ("amx_int8", "amx"),
        ("avx512_vnni", "avx512-vnni"),
        ("avx_vnni", "avx-vnni"),
        ("avx512f", "avx512"),
        ("avx2", "avx2"),
    ),
    "aarch64": (("i8mm", "i8mm"), ("asimddp", "dotprod"), ("asimd", "neon")),
}
_FLAGS_THAT_MATTER = (
    *("avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "avx512_fp16"),
    *("amx_int8", "amx_bf16", "amx_fp16", "asimd", "asimddp", "asimdhp", "i8mm", "bf16", "sve"),
)


@dataclass(frozen=True)
class Processor:
    """A CPU.

    Attributes:
        architecture: ``"x86_64"``, ``"aarch64"``, or the system's name for it.
        name: Model name; the architecture where the system does not say.
        flags: Instruction sets relevant to inference, by the system's names.
        target: Name of the engine target, such as ``"x86_64-avx512-vnni"``.
    """

    architecture: str
    name: str
    flags: tuple[str, ...]
    target: str

    @property
    def has_bf16(self) -> bool:
        """Whether it has bfloat16 multiplication; without it, numbers are converted, which is slower."""
        return not {"amx_bf16", "avx512_bf16", "bf16"}.isdisjoint(self.flags)


@cache
def processor() -> Processor:
    """The CPU of this machine."""
    try:
        text = _CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:  # not Linux: the target is the architecture alone
        text = ""
    return parse_cpuinfo(text, platform.machine())


def parse_cpuinfo(text: str, machine: str) -> Processor:
    """Parse the text of ``/proc/cpuinfo``.

    Args:
        text: The text; empty where there is none.
        machine: Name of the architecture as ``platform.machine()`` gives it.
    """
    architecture = _ARCHITECTURES.get(machine.lower(), machine.lower() or "unknown")
    fields: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip().lower(), value.strip())
    flags = set(fields.get("flags", fields.get("features", "")).split())
    capability = next((name for flag, name in _CAPABILITIES.get(architecture, ()) if flag in flags), "base")
    return Processor(
        architecture=architecture,
        name=fields.get("model name") or platform.processor() or architecture,
        flags=tuple(flag for flag in _FLAGS_THAT_MATTER if flag in flags),
        target=f"{architecture}-{capability}",
    )


def available_cores() -> int:
    """CPU cores this process may use, at least 1."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
