"""``edge-ad doctor --gpu`` on this machine, and on one whose driver is a library in host memory."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge_ad.cli import main
from edge_ad.gpu_check.run import check_gpu
from edge_ad.gpu_check.steps import STEPS
from edge_ad.runtime.cuda.device import has_gpu
from tests.runtime.cuda.test_genuine_packages import stub
from tests.tensorrt_contract.bindings import find_bindings

__all__ = ["stub"]

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.skipif(has_gpu(), reason="there is a GPU here")
def test_without_a_gpu_each_step_says_why_it_cannot_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    report = tmp_path / "report.md"
    assert main(["doctor", "--gpu", "--report", str(report), "--json"]) == 3
    shown = json.loads(capsys.readouterr().out)
    assert [step["name"] for step in shown["steps"]] == [step.name for step in STEPS]
    assert {step["outcome"] for step in shown["steps"]} == {"cannot run"}
    assert all(step["why"].endswith(".") for step in shown["steps"])
    page = report.read_text()
    assert "0 of 10 steps passed, 0 failed, 10 cannot run here." in page
    assert json.loads(page.partition("```json\n")[2].partition("```")[0]) == shown


def test_the_options_of_the_check_are_refused_without_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--bundle", "anything"]) == 2
    assert "belong to the check of a GPU" in capsys.readouterr().err


def test_a_broken_bundle_is_refused_before_anything_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--gpu", "--bundle", str(tmp_path), "--report", str(tmp_path / "report.md")]) != 0
    assert not (tmp_path / "report.md").exists()


@pytest.mark.parametrize("place", [".", "nowhere/report.md"])
def test_a_report_that_cannot_be_written_is_refused_before_anything_runs(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("edge_ad.gpu_check.run.check_gpu", lambda *_, **__: pytest.fail("it runs"))
    assert main(["doctor", "--gpu", "--report", str(tmp_path / place)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_the_genuine_package_passes_on_a_driver_in_host_memory(
    stub: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folders = [find_bindings("13.5.0"), find_bindings("1.9.0")]
    if missing := [folder for folder in folders if not (folder / "cuda").is_dir()]:
        pytest.skip(f"cuda-bindings is not in {missing[0]}; make test installs it")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, [ROOT, *folders])))
    monkeypatch.setenv("LD_LIBRARY_PATH", str(stub))
    report = check_gpu(tmp_path, steps=[step for step in STEPS if step.name in ("device", "cuda")])
    assert [(step.outcome, step.why) for step in report.steps] == [("passed", ""), ("passed", "")]
    assert len(report.steps[1].checks) == 5


def test_the_command_imports_no_step() -> None:
    script = (
        "import sys, edge_ad.gpu_check.run; print(sorted(set(sys.modules) & {'torch', 'onnx', 'cuda', 'onnxruntime'}))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
