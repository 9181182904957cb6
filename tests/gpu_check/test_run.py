"""The steps of a GPU check, each in a process of its own: what one does there does not reach the others."""

import json
from pathlib import Path

import pytest

from edge_ad.errors import DeviceError, MissingDependencyError
from edge_ad.gpu_check.report import GpuReport, report_page
from edge_ad.gpu_check.run import check_gpu
from edge_ad.gpu_check.steps import CannotRunError, Findings, Step, Work
from tests.runtime.tiny_bundle import tiny_bundle

ROOT = Path(__file__).parents[2]


def passes(work: Work) -> Findings:
    findings = Findings(facts={"time, ms": 1.23456, "stages": {"h2d": 0.5, "graph": True}})
    findings.check("one and one are two", True, "2")
    (work.folder / "left for the next").touch()
    return findings


def finds_it(work: Work) -> Findings:
    findings = Findings()
    findings.check("what the step before left is there", (work.folder / "left for the next").is_file())
    return findings


def uses_the_bundle(work: Work) -> Findings:
    findings = Findings()
    (work.bundle / "engines").mkdir()  # a copy without the user's
    findings.check("the manifest is there", (work.bundle / "manifest.json").is_file())
    return findings


def fails(work: Work) -> Findings:
    print("a last word")
    findings = Findings()
    findings.check("a plan gives numbers", False, "NaN | NaN")
    return findings


def checks_nothing(work: Work) -> Findings:
    return Findings()


def crashes(work: Work) -> Findings:
    import os
    import signal

    print("about to crash", flush=True)
    os.kill(os.getpid(), signal.SIGSEGV)
    return Findings()


def hangs(work: Work) -> Findings:
    import threading

    print("about to hang", flush=True)
    threading.Event().wait()
    return Findings()


def raises(work: Work) -> Findings:
    raise ValueError("of a kind that nobody expected")


def device_fails(work: Work) -> Findings:
    raise DeviceError("The GPU stopped working.", "Look at nvidia-smi.")


def lacks_hardware(work: Work) -> Findings:
    raise CannotRunError("There is no NVIDIA driver.", "Install it.")


def lacks_a_package(work: Work) -> Findings:
    raise MissingDependencyError("pycuda is not installed.", "Install it: pip install pycuda")


def run(folder: Path, monkeypatch: pytest.MonkeyPatch, *names: str, limit_s: float = 600.0) -> GpuReport:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    limits = {"hangs": 1.0}
    steps = [Step(name, name, f"tests.gpu_check.test_run:{name}", limits.get(name, 300.0)) for name in names]
    return check_gpu(folder, steps=steps, limit_s=limit_s)


def test_each_step_says_what_it_found_and_none_takes_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("passes", "crashes", "fails", "raises", "device_fails", "lacks_hardware", "lacks_a_package", "finds_it")
    report = run(tmp_path, monkeypatch, *names, "checks_nothing")
    found = {step.name: (step.outcome, step.why, step.hint) for step in report.steps}
    assert found == {
        "passes": ("passed", "", ""),
        "crashes": ("failed", "Its process was ended by SIGSEGV.", ""),
        "fails": ("failed", "Failed: a plan gives numbers.", ""),
        "raises": ("failed", "Its process ended with 1.", ""),
        "device_fails": ("failed", "The GPU stopped working.", "Look at nvidia-smi."),
        "lacks_hardware": ("cannot run", "There is no NVIDIA driver.", "Install it."),
        "lacks_a_package": ("cannot run", "pycuda is not installed.", "Install it: pip install pycuda"),
        "finds_it": ("passed", "", ""),
        "checks_nothing": ("failed", "It checked nothing.", ""),
    }
    logs = {step.name: step.log[-1:] for step in report.steps if step.log}
    assert logs["crashes"] == ("about to crash",)
    assert logs["raises"] == ("ValueError: of a kind that nobody expected",)
    assert report.exit_code == 1
    page = report_page(report)
    assert "2 of 9 steps passed, 5 failed, 2 cannot run here." in page
    assert "- FAILED: a plan gives numbers (NaN | NaN)" in page
    assert "- time, ms: 1.235" in page
    content = json.loads(page.partition("```json\n")[2].partition("```")[0])
    assert content["exit_code"] == 1
    assert [step["outcome"] for step in content["steps"]] == [step.outcome for step in report.steps]


def test_a_step_that_hangs_is_ended_and_the_next_one_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = run(tmp_path, monkeypatch, "hangs", "passes")
    assert [(step.outcome, step.why) for step in report.steps] == [
        ("failed", "It did not end within 1 s."),
        ("passed", ""),
    ]


def test_a_step_that_no_time_is_left_for_is_not_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = run(tmp_path, monkeypatch, "passes", limit_s=0.0)
    assert report.steps[0].why == "The steps before it took all of the 0 s."
    assert not (tmp_path / "left for the next").exists()


def test_where_nothing_can_run_the_exit_code_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(tmp_path, monkeypatch, "lacks_hardware").exit_code == 3
    assert run(tmp_path, monkeypatch, "lacks_hardware", "passes").exit_code == 0


def test_a_bundle_of_the_users_is_copied_without_its_engines_and_none_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    bundle = tiny_bundle(tmp_path / "bundle")
    (bundle.root / "engines" / "of the user").mkdir(parents=True)
    names = ("passes", "uses_the_bundle")
    steps = [
        Step(name, name, f"tests.gpu_check.test_run:{name}", 60.0, makes_bundle=name == "passes") for name in names
    ]
    (tmp_path / "work").mkdir()
    report = check_gpu(tmp_path / "work", bundle=bundle.root, steps=steps)
    assert [(step.name, step.outcome) for step in report.steps] == [("uses_the_bundle", "passed")]
    assert [path.name for path in (bundle.root / "engines").iterdir()] == ["of the user"]
