"""``edge-ad doctor``."""

import json
import subprocess
import sys
import warnings

import pytest

from edge_ad.cli import main


def test_a_person_sees_what_works_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    for shown in ("processor", "onnxruntime", "opencv-python", "A bundle can run here."):
        assert shown in out


def test_a_program_gets_the_same_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["can_stream"] is True
    assert {"onnxruntime", "openvino"} <= {backend["name"] for backend in shown["backends"]}


def test_a_machine_where_nothing_runs_is_told_what_to_install_and_exits_3() -> None:
    script = (
        "import sys\n"
        "sys.modules['onnxruntime'] = sys.modules['openvino'] = None\n"
        "from edge_ad.cli import main\n"
        "sys.exit(main(['doctor']))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 3, done.stderr
    assert "pip install onnxruntime" in done.stdout
    assert "No bundle can run here yet." in done.stdout


def test_basler_cameras_are_listed_with_the_address_that_a_stream_takes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of the bindings' generator, on import
        pytest.importorskip("pypylon.pylon", reason="pypylon brings the emulated cameras")
    monkeypatch.setenv("PYLON_CAMEMU", "2")
    assert main(["doctor", "--json"]) == 0
    cameras = json.loads(capsys.readouterr().out)["basler_cameras"]
    assert [camera["address"] for camera in cameras] == ["basler://0815-0000", "basler://0815-0001"]
    assert main(["doctor"]) == 0
    assert "basler://0815-0001" in capsys.readouterr().out
