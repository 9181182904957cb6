"""Watts and millijoules per frame of a block of work, from whatever this machine can read."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable
from typing import Any

from benchmarks.suites.power.rapl import energy_joules, find_zones, read_zones
from benchmarks.suites.power.tegrastats import mean_power_w

__all__ = ["measure_energy"]

_INTERVAL_MS = 100


def measure_energy(run: Callable[[], int]) -> tuple[dict[str, Any] | None, str]:
    """Run a block of work and read what it cost.

    Args:
        run: Does the work, for a second or more and less than a minute, and returns the number of frames.

    Returns:
        ``source``, ``watts`` and ``mj_per_frame``; None and the reason where the machine shows no power.
    """
    if shutil.which("tegrastats") is not None:
        return _by_tegrastats(run)
    zones, why = find_zones()
    if not zones:
        return None, why
    before, started = read_zones(zones), time.perf_counter()
    frames = run()
    seconds = time.perf_counter() - started
    joules = energy_joules(zones, before, read_zones(zones))
    return {"source": "rapl", "watts": joules / seconds, "mj_per_frame": joules / frames * 1000}, ""


def _by_tegrastats(run: Callable[[], int]) -> tuple[dict[str, Any] | None, str]:
    command = ["tegrastats", "--interval", str(_INTERVAL_MS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        started = time.perf_counter()
        frames = run()
        seconds = time.perf_counter() - started
        process.terminate()
        lines = process.communicate()[0].splitlines()
    found = mean_power_w(lines)
    if found is None:
        return None, "tegrastats shows no power rail (run it as root)"
    watts, rails = found
    return {"source": f"tegrastats, {rails}", "watts": watts, "mj_per_frame": watts * seconds / frames * 1000}, ""
