"""Verbs go on where OpenVINO cannot compile: ONEDNN_MAX_CPU_ISA has it take the processor for an older one."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from edge_ad.bundle import Bundle
from edge_ad.images import read_resized
from edge_ad.training.runs import Run

OLDER = ("SSE41", "AVX")


def _edge_ad(instruction_set: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": instruction_set}
    command = [sys.executable, "-m", "edge_ad", *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def copy(run: Run, calibrated: Bundle, tmp_path: Path) -> Path:
    """A run with its INT8 graph, and no engines."""
    shutil.copytree(run.root, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "bundle" / "engines", ignore_errors=True)
    return tmp_path / "run"


@pytest.mark.parametrize("instruction_set", OLDER)
def test_engines_are_built_verified_and_streamed(copy: Path, run: Run, tmp_path: Path, instruction_set: str) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for index, photo in enumerate(read_resized(run.split.threshold[:3], (64, 64))):
        cv2.imwrite(str(photos / f"{index}.png"), photo)
    for arguments in (
        ["build-engine", copy],
        ["build-engine", copy / "bundle", "--precision", "fp32"],
        ["verify", copy],
        ["stream", "--bundle", copy / "bundle", "--source", photos, "--json"],
    ):
        done = _edge_ad(instruction_set, *arguments)
        assert done.returncode in ((0,) if arguments[0] != "stream" else (0, 4)), done.stderr
        assert "Traceback" not in done.stderr


def test_a_run_is_calibrated(copy: Path) -> None:
    done = _edge_ad("SSE41", "calibrate", copy, "--force")
    assert done.returncode == 0, done.stderr


def test_a_backend_that_was_asked_for_by_name_is_not_replaced(copy: Path) -> None:
    done = _edge_ad("SSE41", "calibrate", copy, "--force", "--backend", "openvino")
    assert done.returncode in (0, 3)  # a processor whose smallest instruction set OpenVINO still compiles for
    if done.returncode:
        assert "OpenVINO could not compile" in done.stderr
        assert "onnxruntime" not in done.stderr
