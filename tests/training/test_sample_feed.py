"""Samples painted ahead: the same with and without processes, and what a user sees when one ends."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_ad.cli import main
from edge_ad.data.simulated_defects import DefectSimulator, SimulatedDefect
from edge_ad.errors import DataError, EdgeAdError
from edge_ad.training.simulated_samples import BatchOrder, SampleFeed, Samples

ORDERS = [BatchOrder((0, epoch), part) for epoch in (3, 4) for part in ((0, 3, 1), (4, 2), (1, 0, 2))]


def _images() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (5, 32, 40, 3), dtype=np.uint8)


class _Ending:
    """Ends its process at the image of one index; paints nothing."""

    def sample(self, image: NDArray[np.uint8], key: Sequence[int]) -> SimulatedDefect:
        if key[-1] == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return SimulatedDefect(image, image, np.zeros(image.shape[:2], np.bool_))


def _all(workers: int) -> list[Samples]:
    simulator = DefectSimulator(0, rotation=10.0)
    with SampleFeed(simulator, _images(), ORDERS, batch_size=3, workers=workers) as feed:
        return _take(feed)


def _take(feed: SampleFeed) -> list[Samples]:
    return [feed.take() for _ in ORDERS]


def test_workers_paint_what_the_training_itself_would_paint() -> None:
    alone, helped = _all(0), _all(2)
    assert [len(samples.good) for samples in alone] == [3, 2, 3, 3, 2, 3]
    for one, other in zip(alone, helped, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    assert any(samples.masks.any() for samples in alone)
    assert not np.array_equal(alone[0].masks, alone[3].masks)  # another epoch, other defects
    assert not multiprocessing.active_children()


def test_a_batch_stays_as_it_was_when_the_next_ones_are_painted() -> None:
    with SampleFeed(DefectSimulator(0), _images(), ORDERS, batch_size=3, workers=1) as feed:
        first = feed.take()
        kept = [part.copy() for part in first]
        for _ in ORDERS[1:]:
            feed.take()
    assert all(np.array_equal(a, b) for a, b in zip(first, kept, strict=True))


def test_waiting_is_counted_and_counted_anew() -> None:
    with SampleFeed(DefectSimulator(0, clean_share=0.0), _images(), ORDERS, batch_size=3) as feed:
        began = time.perf_counter()
        feed.take()
        assert 0 < feed.waited_seconds() <= time.perf_counter() - began
        assert feed.waited_seconds() == 0


def test_a_worker_that_dies_ends_the_training_with_one_line() -> None:
    with (
        SampleFeed(_Ending(), _images(), ORDERS, batch_size=3, workers=1) as feed,
        pytest.raises(EdgeAdError, match=r"simulates defects ended \(exit code -9\)") as caught,
    ):
        _take(feed)
    assert "--workers 0" in caught.value.hint
    assert not multiprocessing.active_children()


def test_a_texture_that_cannot_be_read_is_told_as_without_a_worker(tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    messages = []
    for workers in (0, 1):
        with (
            pytest.raises(DataError) as caught,
            SampleFeed(
                DefectSimulator(0, (broken,), clean_share=0.0), _images(), ORDERS, batch_size=3, workers=workers
            ) as feed,
        ):
            feed.take()
        messages.append((caught.value.message, caught.value.hint))
    assert messages[0] == messages[1]
    assert "broken.png" in messages[0][0]


def test_a_worker_imports_no_torch() -> None:
    code = "import sys; import edge_ad.training.simulated_samples; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# The tests may run in the background of a shell, where Ctrl-C is ignored by whatever is started.
_INTERRUPTIBLE = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from edge_ad.cli import main
raise SystemExit(main())
"""


@pytest.mark.skipif(os.name != "posix", reason="sends signals to a group of processes")
def test_ctrl_c_ends_a_training_with_workers_tidily(product: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", _INTERRUPTIBLE, "train", "draem", "--data", str(product), "--runs", str(tmp_path)]
    options = ["--name", "run", "--size", "64", "--epochs", "50000", "--workers", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [*command, *options], env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            deadline = time.monotonic() + 600
            while not (tmp_path / "run" / "training.safetensors").exists() and time.monotonic() < deadline:
                time.sleep(0.05)
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the training and its workers
            _, error = process.communicate(timeout=300)
        finally:
            process.kill()
    assert process.returncode == 130
    assert "Traceback" not in error
    assert error.splitlines()[-1].startswith("Stopped. To continue")
    assert _is_gone(process.pid)


def test_the_log_tells_how_long_the_training_waited(product: Path, tmp_path: Path) -> None:
    options = ["--name", "run", "--size", "64", "--epochs", "1", "--workers", "0"]
    assert main(["train", "draem", "--data", str(product), "--runs", str(tmp_path), *options]) == 0
    assert '"waited_seconds": ' in (tmp_path / "run" / "log.jsonl").read_text()


def _is_gone(group: int) -> bool:
    """Whether every process of a group ends; what watches over shared memory ends after the training."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False
