"""The cache between processes: computed once, and nothing is lost with a process that is killed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from edge_ad.training.feature_cache import cached_features, compute_features
from edge_ad.training.feature_files import exclusive
from tests.training import feature_process
from tests.training.feature_process import Slow, pictures

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no lock that goes with its process")


@pytest.fixture
def seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEEN", str(tmp_path / "seen"))
    return tmp_path / "seen"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "features"


def _start(result: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(Path(feature_process.__file__)), str(result), *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


def test_two_processes_that_start_together_compute_a_set_once(tmp_path: Path, seen: Path, folder: Path) -> None:
    results = [tmp_path / "0.npy", tmp_path / "1.npy"]
    for process in [_start(result) for result in results]:
        process.communicate(timeout=60)
        assert process.returncode == 0
    assert len(seen.read_text()) == len(pictures())
    expected = compute_features(Slow(), pictures()).numpy()
    for result in results:
        np.testing.assert_array_equal(np.load(result), expected)
    assert [path.suffix for path in folder.iterdir()] == [".features"]


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path, seen: Path, folder: Path) -> None:
    with _start(tmp_path / "never.npy", "stop") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "half\n"
        assert sorted(path.suffix for path in folder.iterdir()) == [".lock", ".partial"]
        process.kill()
    seen.unlink()
    features = cached_features(Slow(), pictures())
    assert len(seen.read_text()) == len(pictures())
    assert torch.equal(features, compute_features(Slow(), pictures()))
    assert [path.suffix for path in folder.iterdir()] == [".features"]


def test_nobody_waits_for_ever_for_a_process_that_is_suspended(tmp_path: Path) -> None:
    lock = tmp_path / "a.lock"
    with exclusive(lock) as first:
        with exclusive(lock, patience_s=0.3) as second:
            assert (first, second) == (True, False)
        assert lock.exists()
    assert not lock.exists()


def test_a_missing_folder_has_no_lock(tmp_path: Path) -> None:
    with exclusive(tmp_path / "missing" / "a.lock") as alone:
        assert not alone
