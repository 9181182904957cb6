"""The report on this machine."""

import json
import platform

import pytest

from edge_ad.errors import MissingDependencyError
from edge_ad.runtime import doctor
from edge_ad.runtime.doctor import examine


def test_the_report_is_about_this_machine_and_is_json() -> None:
    report = examine()
    assert report.python == platform.python_version()
    assert [backend.name for backend in report.backends] == ["tensorrt", "tensorrt-rtx", "openvino", "onnxruntime"]
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
