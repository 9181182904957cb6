"""Energy counters of x86 processors, from ``/sys/class/powercap``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["RaplZone", "energy_joules", "find_zones", "read_zones"]

_ROOT = Path("/sys/class/powercap")


@dataclass(frozen=True)
class RaplZone:
    """One counter.

    Attributes:
        folder: Its folder.
        name: ``package-0``, ``dram`` or ``psys``.
        range_uj: The counter starts again at 0 after this, in microjoules.
    """

    folder: Path
    name: str
    range_uj: int


def find_zones(root: Path = _ROOT) -> tuple[list[RaplZone], str]:
    """The counters whose sum is the energy of processor and memory.

    Packages and their memory; cores and graphics are inside the package and would count twice, and ``psys`` holds the
    packages: it is left out. ``intel-rapl-mmio`` shows the packages a second time.

    Args:
        root: Folder of powercap.

    Returns:
        The zones; where there are none, why.
    """
    if not root.is_dir():
        return [], "this system has no powercap"
    zones, refused = [], False
    for folder in sorted(root.glob("intel-rapl:*")):
        name = _read(folder / "name") or ""
        if not (name.startswith("package") or name == "dram"):
            continue
        limit, energy = _read(folder / "max_energy_range_uj"), _read(folder / "energy_uj")
        if limit is None or energy is None:
            refused = True  # since Linux 5.10 only root may read the counter
            continue
        zones.append(RaplZone(folder, name, int(limit)))
    if zones:
        return zones, ""
    return [], "the RAPL counters may be read by root only" if refused else "this processor shows no RAPL counter"


def read_zones(zones: list[RaplZone]) -> dict[Path, int]:
    """Folder → counter, in microjoules.

    Raises:
        OSError: A counter cannot be read any more.
    """
    return {zone.folder: int((zone.folder / "energy_uj").read_text()) for zone in zones}


def energy_joules(zones: list[RaplZone], before: Mapping[Path, int], after: Mapping[Path, int]) -> float:
    """Energy between two readings, in joules.

    A counter that is smaller than before has started again once; read it more often than it does that (a minute at
    full power on the smallest ranges).
    """
    total = 0
    for zone in zones:
        used = after[zone.folder] - before[zone.folder]
        total += used if used >= 0 else used + zone.range_uj
    return total / 1e6


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return None
