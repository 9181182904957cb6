"""The report on this machine."""

import json
import platform
from pathlib import Path

import pytest

from edge_ad.errors import MissingDependencyError
from edge_ad.runtime import doctor
from edge_ad.runtime.backend import backend_names
from edge_ad.runtime.doctor import examine
from edge_ad.runtime.peripherals import list_cameras


def test_the_report_is_about_this_machine_and_is_json() -> None:
    report = examine()
    assert report.python == platform.python_version()
    assert [backend.name for backend in report.backends] == list(backend_names())
    assert report.can_stream
    assert json.loads(json.dumps(report.to_dict()))["processor"]["target"] == report.processor.target


def test_what_is_missing_comes_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_OPTIONAL", (("no_such_module", "no-such-package", "training", "train"),))
    missing = examine().packages[-1]
    assert not missing.available
    assert missing.install_command == "pip install 'edge-ad[train]'"


@pytest.mark.parametrize(
    ("reason", "command"),
    [
        ("No module named 'cv2'", "pip install opencv-python"),
        ("libGL.so.1: cannot open shared object file", "opencv-python-headless"),
    ],
)
def test_broken_opencv_is_found_by_importing_it(monkeypatch: pytest.MonkeyPatch, reason: str, command: str) -> None:
    def broken(module: str, *, extra: str) -> None:
        raise MissingDependencyError(f"{module} cannot be imported ({reason}).")

    monkeypatch.setattr(doctor, "require", broken)
    report = examine()
    assert command in report.packages[0].install_command
    assert not report.can_stream


def test_every_extra_is_in_the_report() -> None:
    packages = {package.name for package in examine().packages} | {backend.name for backend in examine().backends}
    assert {
        "torch",
        "matplotlib",
        "granian",
        "paho-mqtt",
        "pymodbus",
        "asyncua",
        "pypylon",
        "genicam",
        "aravis",
        "transformers",
    } <= packages


def test_cameras_are_listed_once_each_with_what_is_in_the_way(tmp_path: Path) -> None:
    for number, index, name in ((0, "0", "HD Webcam"), (1, "1", "HD Webcam"), (10, "0", "Inspector"), (2, "0", "Gone")):
        folder = tmp_path / "sys" / f"video{number}"
        folder.mkdir(parents=True)
        (folder / "index").write_text(f"{index}\n")
        (folder / "name").write_text(f"{name}\n")
    (tmp_path / "dev").mkdir()
    for number in (0, 1, 10):
        (tmp_path / "dev" / f"video{number}").touch()
    found = list_cameras(tmp_path / "sys", tmp_path / "dev")
    assert [(camera.number, camera.name) for camera in found] == [(0, "HD Webcam"), (2, "Gone"), (10, "Inspector")]
    assert [bool(camera.problem) for camera in found] == [False, True, False]
    assert list_cameras(tmp_path / "nowhere") == []
