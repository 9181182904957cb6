"""GenTL producers, the files (.cti) by which makers of cameras and frame grabbers let any program reach them."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from edge_ad.errors import DeviceError, UsageError, require

__all__ = ["GentlCamera", "GentlProducers", "first_line", "load_genicam", "open_producers", "producer_files"]

_PATHS = "GENICAM_GENTL64_PATH"  # of the standard: folders with producers, which their installers set
_WAIT_MS = 1000  # for the cameras' answers


@dataclass(frozen=True)
class GentlCamera:
    """A camera that a producer finds.

    Attributes:
        serial: Its serial number; its id where it has none.
        name: Maker and model.
        device: What opens it, of the package ``genicam``.
    """

    serial: str
    name: str
    device: Any


def load_genicam() -> tuple[Any, Any]:
    """The modules ``genicam.gentl`` and ``genicam.genapi``.

    Raises:
        MissingDependencyError: The package is not installed.
    """
    return require("genicam.gentl", extra="genicam"), require("genicam.genapi", extra="genicam")


def producer_files(wanted: str = "") -> tuple[Path, ...]:
    """Files of the producers to use, in a fixed order.

    Args:
        wanted: A file, or a folder with some; empty for those of the variable ``GENICAM_GENTL64_PATH``.

    Raises:
        UsageError: The file or folder is not there.
    """
    if wanted:
        path = Path(wanted).expanduser()
        if not path.exists():
            raise UsageError(f"There is no GenTL producer {wanted}.", "Give a file that ends with .cti, or its folder.")
        return tuple(sorted(path.glob("*.cti"))) if path.is_dir() else (path.resolve(),)
    folders = (Path(folder) for folder in os.environ.get(_PATHS, "").split(os.pathsep) if folder)
    return tuple(dict.fromkeys(path.resolve() for folder in folders for path in sorted(folder.glob("*.cti"))))


class GentlProducers:
    """The producers of this process. Each can be open once, for all cameras, and stays open until the process ends."""

    def __init__(self) -> None:
        self._gentl, _ = load_genicam()
        self._systems: dict[Path, Any] = {}
        self._interfaces: dict[tuple[Path, str], Any] = {}
        self._looking = threading.RLock()

    def cameras(self, files: Sequence[Path]) -> list[GentlCamera]:
        """The cameras that producers find, which are not opened; those that are open stay so.

        Args:
            files: Of the producers. One that does not work is passed over where another does.

        Raises:
            DeviceError: None of them works.
        """
        found, problems = list[GentlCamera](), list[str]()
        with self._looking:
            for file in files:
                try:
                    found += self._cameras(file)
                except self._gentl.GenericException as error:
                    problems.append(f"{file.name}: {first_line(error)}")
        if len(problems) == len(files) > 0:
            raise DeviceError(f"No GenTL producer works: {'; '.join(problems)}", "Is it one for this machine?")
        return found

    def _cameras(self, file: Path) -> Iterator[GentlCamera]:
        system = self._system(file)
        system.update_interface_info_list(_WAIT_MS)
        for info in system.interface_info_list:
            interface = self._interfaces.get((file, info.id_))
            if interface is None:
                interface = info.create_interface()
                interface.open()
                self._interfaces[file, info.id_] = interface
            interface.update_device_info_list(_WAIT_MS)
            for device in interface.device_info_list:
                name = f"{_said(device, 'vendor')} {_said(device, 'model')}".strip()
                yield GentlCamera(_said(device, "serial_number") or device.id_, name, device)

    def _system(self, file: Path) -> Any:
        if file not in self._systems:
            producer = self._gentl.GenTLProducer.create_producer()
            producer.open(str(file))
            system = producer.create_system()
            system.open()
            self._systems[file] = system
        return self._systems[file]


@lru_cache(maxsize=1)
def open_producers() -> GentlProducers:
    """The producers that this process has open; none at first.

    Raises:
        MissingDependencyError: The package ``genicam`` is not installed.
    """
    return GentlProducers()


def first_line(error: Exception) -> str:
    """What an exception of the package ``genicam`` says, without where in its source it says so."""
    text = str(error).strip().partition("\n")[0].partition(" : ")[0]
    return text.removeprefix("GenTL exception: ").partition(" (Message from the source:")[0].rstrip(".") + "."


def _said(device: Any, what: str) -> str:
    """What a producer says of a camera; some say nothing."""
    try:
        return str(getattr(device, what) or "")
    except Exception:
        return ""
