"""The machine a measurement was taken on: processor, versions, clocks, governor, load, and a Jetson's power mode."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from edge_ad.evaluation.latency import describe_machine

__all__ = ["clocks", "machine_facts", "parse_nvpmodel"]

_CPU = Path("/sys/devices/system/cpu")
_CPUINFO = Path("/proc/cpuinfo")
_MODE = re.compile(r"NV Power Mode:\s*(\S+)")


def machine_facts(yardstick: str, *, packages: tuple[str, ...] = ()) -> dict[str, Any]:
    """What decides a latency, at this moment.

    Args:
        yardstick: Name of the yardstick.
        packages: Packages whose versions are recorded beside those of the device side.
    """
    facts = describe_machine(packages)
    return {**facts, "yardstick": yardstick, "clocks": clocks(), "virtual": _is_virtual(), "nvpmodel": _nvpmodel()}


def clocks(cpu: Path = _CPU, cpuinfo: Path = _CPUINFO) -> dict[str, Any]:
    """Clocks of the cores in MHz, their governor, and the load of the last minute.

    Args:
        cpu: Folder of the CPUs in sysfs.
        cpuinfo: Where the clock stands when sysfs does not say, as in most virtual machines.

    Returns:
        ``mhz`` (list, empty where nothing says), ``governor`` (or None), ``load``.
    """
    folders = sorted(cpu.glob("cpu[0-9]*/cpufreq"))
    mhz = [int(text) / 1000 for folder in folders if (text := _text(folder / "scaling_cur_freq"))]
    if not mhz:
        mhz = [float(found) for found in re.findall(r"cpu MHz\s*:\s*([\d.]+)", _text(cpuinfo) or "")]
    governors = sorted({text for folder in folders if (text := _text(folder / "scaling_governor"))})
    load = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
    return {"mhz": mhz, "governor": ", ".join(governors) or None, "load": load}


def parse_nvpmodel(text: str) -> str | None:
    """The power mode in what ``nvpmodel -q`` prints, such as ``MAXN`` or ``15W``; None where it says none."""
    found = _MODE.search(text)
    return None if found is None else found[1]


def _nvpmodel() -> str | None:
    if shutil.which("nvpmodel") is None:
        return None
    done = subprocess.run(["nvpmodel", "-q"], capture_output=True, text=True, timeout=10, check=False)
    return parse_nvpmodel(done.stdout)


def _is_virtual() -> bool:
    return "hypervisor" in (_text(_CPUINFO) or "")


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None
