"""SIGTERM and SIGHUP end every command as Ctrl-C does."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_ad.cli import main
from edge_ad.storage import atomic_directory

if sys.platform == "win32":
    pytest.skip("Windows has no SIGHUP", allow_module_level=True)

Plant = Callable[[Callable[..., None]], None]


@pytest.fixture(autouse=True)
def _default_signals() -> Iterator[None]:
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_nothing_half_written_is_left(
    number: signal.Signals, exit_code: int, plant_verb: Plant, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def write() -> None:
        with atomic_directory(tmp_path / "bundle") as folder:
            (folder / "model.onnx").write_bytes(b"half")
            os.kill(os.getpid(), number)

    plant_verb(write)
    assert main(["write"]) == exit_code
    assert list(tmp_path.iterdir()) == []
    assert "Traceback" not in capsys.readouterr().err
    assert signal.getsignal(number) == signal.SIG_DFL


def test_a_terminal_that_hangs_up_twice_does_not_cut_the_clearing_up(plant_verb: Plant) -> None:
    steps: list[str] = []

    def write() -> None:
        try:
            os.kill(os.getpid(), signal.SIGHUP)
        finally:
            os.kill(os.getpid(), signal.SIGHUP)
            steps.append("cleared up")

    plant_verb(write)
    assert main(["write"]) == 129
    assert steps == ["cleared up"]


def test_under_nohup_a_command_goes_on(plant_verb: Plant) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def write() -> None:
        os.kill(os.getpid(), signal.SIGHUP)

    plant_verb(write)
    assert main(["write"]) == 0
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
