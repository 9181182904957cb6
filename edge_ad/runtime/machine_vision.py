"""Machine-vision cameras that this machine reaches, by each way to them, found without opening one."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

from edge_ad.errors import DeviceError, MissingDependencyError, require
from edge_ad.runtime.aravis import load_aravis
from edge_ad.runtime.gentl import open_producers, producer_files

__all__ = [
    "MachineVisionCamera",
    "list_aravis_cameras",
    "list_basler_cameras",
    "list_genicam_cameras",
    "load_pylon",
]


@dataclass(frozen=True)
class MachineVisionCamera:
    """A camera that can be reached.

    Attributes:
        address: What ``--source`` takes; by serial number, which stays when cameras are plugged in another order.
        name: Its maker and model, and its address in the network where it has one.
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


def list_basler_cameras() -> list[MachineVisionCamera]:
    """The cameras that pylon finds; empty where pypylon is not installed or does not work."""
    try:
        pylon, genicam = load_pylon()
    except MissingDependencyError:
        return []
    try:
        devices = pylon.TlFactory.GetInstance().EnumerateDevices()
        return [MachineVisionCamera(f"basler://{device.GetSerialNumber()}", _basler_name(device)) for device in devices]
    except genicam.GenericException:
        return []


def list_aravis_cameras() -> list[MachineVisionCamera]:
    """The cameras that Aravis finds within a second; empty where Aravis is not installed."""
    try:
        cameras = load_aravis().cameras()
    except MissingDependencyError:
        return []
    return [MachineVisionCamera(f"aravis://{camera.serial}", camera.name) for camera in cameras]


def list_genicam_cameras() -> list[MachineVisionCamera]:
    """The cameras that the GenTL producers of this machine find; empty where there is none, or none that works."""
    try:
        cameras = open_producers().cameras(producer_files())
    except (MissingDependencyError, DeviceError):
        return []
    return [MachineVisionCamera(f"genicam://{camera.serial}", camera.name) for camera in cameras]


def _basler_name(device: Any) -> str:
    place = f" at {device.GetIpAddress()}" if device.IsIpAddressAvailable() else ""
    return f"{device.GetModelName()}{place}"
