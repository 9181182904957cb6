"""Cameras and display of this machine, found without OpenCV, and without opening what a stream may hold."""

from __future__ import annotations

import os
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_ad.errors import MissingDependencyError, require

__all__ = ["BaslerCamera", "LocalCamera", "has_display", "list_basler_cameras", "list_cameras", "load_pylon"]

_SYSTEM = Path("/sys/class/video4linux")
_DEVICES = Path("/dev")


@dataclass(frozen=True)
class LocalCamera:
    """A camera that the system knows.

    Attributes:
        number: What ``--camera`` takes.
        name: What its driver calls it.
        problem: Why this user cannot open it; empty when nothing is in the way.
    """

    number: int
    name: str
    problem: str = ""


@dataclass(frozen=True)
class BaslerCamera:
    """A camera that pylon finds.

    Attributes:
        address: What ``--source`` takes; by serial number, which stays when cameras are plugged in another order.
        name: Its model, and its address in the network where it has one.
    """

    address: str
    name: str


def load_pylon() -> tuple[Any, Any]:
    """The modules ``pypylon.pylon`` and ``pypylon.genicam``.

    Raises:
        MissingDependencyError: pypylon is not installed.
    """
    with warnings.catch_warnings():
        # Its import warns on some Pythons, and ends the process where warnings are errors.
        warnings.simplefilter("ignore", DeprecationWarning)
        return require("pypylon.pylon", extra="basler"), require("pypylon.genicam", extra="basler")


def list_basler_cameras() -> list[BaslerCamera]:
    """The cameras that pylon finds, which are not opened; empty where pypylon is not installed or does not work."""
    try:
        pylon, genicam = load_pylon()
    except MissingDependencyError:
        return []
    try:
        devices = pylon.TlFactory.GetInstance().EnumerateDevices()
        return [BaslerCamera(f"basler://{device.GetSerialNumber()}", _basler_name(device)) for device in devices]
    except genicam.GenericException:
        return []


def _basler_name(device: Any) -> str:
    place = f" at {device.GetIpAddress()}" if device.IsIpAddressAvailable() else ""
    return f"{device.GetModelName()}{place}"


def list_cameras(system: Path = _SYSTEM, devices: Path = _DEVICES) -> list[LocalCamera]:
    """The Video4Linux cameras, by number; empty on other systems, which do not list theirs.

    Args:
        system: Folder in which the kernel describes them.
        devices: Folder of their device files.
    """
    found = []
    for folder in system.glob("video*"):
        number = folder.name.removeprefix("video")
        # One camera has several device files; frames come from the one with index 0.
        if number.isdecimal() and _text(folder / "index") in ("", "0"):
            found.append(LocalCamera(int(number), _text(folder / "name"), _problem(devices / folder.name)))
    return sorted(found, key=lambda camera: camera.number)


def has_display() -> bool:
    """Whether a window can be shown here."""
    # Only on Linux does a window need a display server, which may be missing.
    return sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def _problem(device: Path) -> str:
    if not device.exists():
        return f"{device} is not there; in a container, pass it on"
    return "" if os.access(device, os.R_OK | os.W_OK) else f"no permission for {device}: join its group, often video"
