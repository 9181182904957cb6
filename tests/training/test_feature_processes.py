"""The cache between processes: what one writes, even one that is killed, never harms another."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from edge_ad.training.feature_cache import cached_features, compute_features
from tests.training import feature_process
from tests.training.feature_process import Slow, pictures


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "features"


def _start(result: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(Path(feature_process.__file__)), str(result), *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


def test_two_processes_that_start_together_have_the_same_features(tmp_path: Path, folder: Path) -> None:
    results = [tmp_path / "0.npy", tmp_path / "1.npy"]
    for process in [_start(result) for result in results]:
        process.communicate(timeout=300)
        assert process.returncode == 0
    expected = compute_features(Slow(), pictures()).numpy()
    for result in results:
        np.testing.assert_array_equal(np.load(result), expected)
    (kept,) = folder.iterdir()
    np.testing.assert_array_equal(np.load(kept), expected)


def test_what_a_killed_process_left_is_never_read_and_deleted_after_an_hour(tmp_path: Path, folder: Path) -> None:
    with _start(tmp_path / "never.npy", "stop") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "half\n"
        left = sorted(folder.iterdir())
        process.kill()
    features = cached_features(Slow(), pictures())
    assert torch.equal(features, compute_features(Slow(), pictures()))
    assert sorted(path.suffix for path in folder.iterdir()) == [".lock", ".npy", ".partial"]
    for path in left:
        os.utime(path, (time.time() - 4000,) * 2)
    cached_features(Slow(), pictures(9))
    assert [path.suffix for path in folder.iterdir()] == [".npy", ".npy"]
