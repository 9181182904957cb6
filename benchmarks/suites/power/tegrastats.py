"""Lines of a Jetson's ``tegrastats``.

The rails differ between modules and the format between releases; all of these are read:

    VDD_IN 3902/3611                      JetPack 4 (Xavier): milliwatts without a unit, now/mean
    VDD_GPU_SOC 3150mW/2971mW             JetPack 5 and 6 (Orin): now/mean since tegrastats was started
    VDD_GPU_SOC 3034mW/3049mW/3412mW      newer releases: now/mean/largest
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean

__all__ = ["TegraSample", "mean_power_w", "parse_line", "total_mw"]

_RAM = re.compile(r"\bRAM (\d+)/(\d+)MB")
_GPU = re.compile(r"\bGR3D_FREQ (\d+)%(?:@\[?(\d+))?")
_CPU = re.compile(r"\bCPU \[([^\]]*)\]")
_CORE = re.compile(r"(\d+)%@(\d+)")
_TEMPERATURE = re.compile(r"\b([A-Za-z][\w-]*)@(-?\d+(?:\.\d+)?)C")
_RAIL = re.compile(r"\b([A-Z][A-Z0-9_]+) (\d+)(?:mW)?/(\d+)(?:mW)?(?:/\d+(?:mW)?)?(?![\dM])")
_INPUT_RAILS = ("VDD_IN", "POM_5V_IN", "VIN")
_ABSENT_SENSOR_C = -200.0  # a rail that is off reads -256


@dataclass(frozen=True)
class TegraSample:
    """One line.

    Attributes:
        rails_mw: Rail → power at this moment, in milliwatts.
        ram_mb: Memory in use, in megabytes.
        ram_total_mb: Memory there is.
        gpu_percent: Load of the GPU; None where the line has none.
        gpu_mhz: Its clock; None where the line does not say.
        cpu_mhz: Clock of each core that is on.
        temperatures_c: Sensor → degrees Celsius; sensors that are off are left out.
    """

    rails_mw: Mapping[str, int]
    ram_mb: int
    ram_total_mb: int
    gpu_percent: int | None
    gpu_mhz: int | None
    cpu_mhz: tuple[int, ...]
    temperatures_c: Mapping[str, float]


def parse_line(line: str) -> TegraSample | None:
    """Read one line; None for what is not a line of figures."""
    ram = _RAM.search(line)
    if ram is None:
        return None
    gpu, cpu = _GPU.search(line), _CPU.search(line)
    cores = _CORE.findall(cpu[1]) if cpu else []
    sensors = ((name, float(value)) for name, value in _TEMPERATURE.findall(line))
    return TegraSample(
        rails_mw={name: int(now) for name, now, _ in _RAIL.findall(line) if name not in ("RAM", "SWAP", "IRAM", "NC")},
        ram_mb=int(ram[1]),
        ram_total_mb=int(ram[2]),
        gpu_percent=int(gpu[1]) if gpu else None,
        gpu_mhz=int(gpu[2]) if gpu and gpu[2] else None,
        cpu_mhz=tuple(int(mhz) for _, mhz in cores),
        temperatures_c={name: value for name, value in sensors if value > _ABSENT_SENSOR_C},
    )


def total_mw(rails: Mapping[str, int]) -> tuple[int, str] | None:
    """Power of the module, and what it is made of; None without rails.

    Orin Nano and NX measure their input (``VDD_IN``). An AGX Orin does not: the sum of its rails leaves out what the
    carrier board takes, and the words say so.
    """
    for name in _INPUT_RAILS:
        if name in rails:
            return rails[name], name
    return (sum(rails.values()), " + ".join(rails)) if rails else None


def mean_power_w(lines: Iterable[str]) -> tuple[float, str] | None:
    """Mean power over the lines of a measurement, in watts, and the rails it is the sum of; None without a rail.

    The mean that tegrastats prints itself begins when it was started, so the momentary values are averaged here.
    """
    totals = [
        found for line in lines if (sample := parse_line(line)) is not None and (found := total_mw(sample.rails_mw))
    ]
    if not totals:
        return None
    return fmean(milliwatts for milliwatts, _ in totals) / 1000, totals[0][1]
