"""Cameras and display of this machine, found without OpenCV, and without opening what a stream may hold."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

__all__ = ["LocalCamera", "has_display", "list_cameras"]

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
