"""Cells are run once, failures are told apart, and what is killed is done again: cells and controllers."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edge_ad.errors import DeviceError, StorageError
from edge_ad.storage import one_at_a_time
from edge_ad.sweeps.cells import Cell, Limits, Told
from edge_ad.sweeps.controller import ATTEMPTS, Answer, Controller, folder_of, run_cells
from edge_ad.sweeps.executors import InThisProcess
from edge_ad.sweeps.local_processes import LocalProcesses
from edge_ad.sweeps.run import run_sweep
from edge_ad.sweeps.work import THREAD_VARIABLES
from tests.sweeps.conftest import ROOT
from tests.sweeps.tasks import cell

SILENT = Told(lambda text: None, lambda report: None, lambda done, total: None)
CONTROLLER = """
import sys
from pathlib import Path
from edge_ad.sweeps.cells import Limits
from edge_ad.sweeps.controller import run_cells
from edge_ad.sweeps.local_processes import LocalProcesses
from tests.sweeps.tasks import cell

out = Path(sys.argv[1])
cells = [cell("wait", started=sys.argv[2], goes_on=sys.argv[3]), cell("square", number=3)]
run_cells(cells, out, LocalProcesses(1), Limits(), lambda answer: None)
"""


def calls(out: Path, of: Cell) -> int:
    return len((folder_of(out, of).path / "calls").read_text())


def results(answers: list[Answer]) -> list[object]:
    return [None if answer.finished is None else answer.finished.result for answer in answers]


def test_a_cell_is_run_once_and_its_result_is_found_again(tmp_path: Path) -> None:
    cells = [cell("square", number=number) for number in (2, 3)]
    first = run_cells(cells, tmp_path, LocalProcesses(2), Limits(), lambda answer: None)
    assert results(first) == [{"square": 4}, {"square": 9}]
    again = run_cells(cells, tmp_path, LocalProcesses(2), Limits(), lambda answer: None)
    assert results(again) == results(first)
    assert [answer.is_new for answer in (*first, *again)] == [True, True, False, False]
    assert [calls(tmp_path, each) for each in cells] == [1, 1]


def test_a_cell_that_has_its_result_answers_without_a_process(tmp_path: Path) -> None:
    known = cell("square", number=2)
    run_cells([known], tmp_path, InThisProcess(SILENT), Limits(), lambda answer: None)
    controller = Controller(tmp_path, LocalProcesses(1), Limits())
    controller.start(known)
    assert results(list(controller.answers())) == [{"square": 4}]
    assert controller.running == ()
    assert not folder_of(tmp_path, known).jobs.exists()


def test_failures_are_apart_from_results_and_tried_again_next_time(tmp_path: Path) -> None:
    cells = [cell("refuse"), cell("square", number=2), cell("fail_once")]
    run_sweep(cells, tmp_path, InThisProcess(SILENT), Limits())
    (row,) = map(json.loads, (tmp_path / "results.jsonl").read_text().splitlines())
    assert row == {"key": cells[1].key, "task": "square", "number": 2, "square": 4}
    refused, failed = map(json.loads, (tmp_path / "failures.jsonl").read_text().splitlines())
    assert (refused["message"], refused["hint"]) == ("The photos are of a cat.", "Take photos of parts.")
    assert failed["message"] == "ValueError: the first time"
    assert "fail_once" in "".join(failed["trace"])

    progress = run_sweep(cells, tmp_path, InThisProcess(SILENT), Limits())
    assert [each.failed for each in progress.groups()] == [1, 0, 0]
    assert [json.loads(line)["task"] for line in (tmp_path / "results.jsonl").read_text().splitlines()] == [
        "square",
        "fail_once",
    ]


def test_a_cell_whose_process_is_killed_is_done_again(tmp_path: Path) -> None:
    (answer,) = run_cells([cell("die_once")], tmp_path, LocalProcesses(1), Limits(), lambda answer: None)
    assert results([answer]) == [{"times": 2}]


def test_a_cell_that_is_always_killed_fails_after_some_attempts(tmp_path: Path) -> None:
    dying = cell("die")
    (answer,) = run_cells([dying], tmp_path, LocalProcesses(1), Limits(), lambda answer: None)
    assert answer.failure is not None
    assert f"ended {ATTEMPTS} times before it answered, the last time by SIGKILL." in answer.failure.message
    assert "short of memory" in answer.failure.hint
    assert calls(tmp_path, dying) == ATTEMPTS


def test_the_log_of_a_cell_names_what_has_crashed(tmp_path: Path) -> None:
    crashing = cell("crash")
    (answer,) = run_cells([crashing], tmp_path, LocalProcesses(1), Limits(), lambda answer: None)
    assert answer.failure is not None
    assert "the last time by SIGSEGV" in answer.failure.message
    assert answer.failure.hint.startswith("A library has crashed")
    for log in folder_of(tmp_path, crashing).jobs.glob("*.log"):
        assert "Segmentation fault" in log.read_text()
        assert "in crash" in log.read_text()


def test_a_killed_controllers_cell_goes_on_and_is_taken_over(tmp_path: Path) -> None:
    started, goes_on = tmp_path / "started", tmp_path / "goes_on"
    for pipe in (started, goes_on):
        os.mkfifo(pipe)
    command = [sys.executable, "-c", CONTROLLER, str(tmp_path / "out"), str(started), str(goes_on)]
    controller = subprocess.Popen(command, cwd=ROOT)
    assert started.read_text() == "started"  # the cell runs
    controller.send_signal(signal.SIGKILL)
    controller.wait()

    told: list[str] = []

    def tick(running: tuple[Cell, ...]) -> None:
        if not told and running:
            told.append("go on")
            goes_on.write_text(told[0])

    cells = [cell("wait", started=str(started), goes_on=str(goes_on)), cell("square", number=3)]
    answers = run_cells(cells, tmp_path / "out", LocalProcesses(1), Limits(), lambda answer: None, tick)
    assert results(answers) == [{"told": "go on", "times": 1}, {"square": 9}]


def test_a_controller_that_is_stopped_ends_its_cells(tmp_path: Path) -> None:
    started, goes_on = tmp_path / "started", tmp_path / "goes_on"
    for pipe in (started, goes_on):
        os.mkfifo(pipe)
    waiting = cell("wait", started=str(started), goes_on=str(goes_on))

    def stop(running: tuple[Cell, ...]) -> None:
        if running:
            assert started.read_text() == "started"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_cells([waiting], tmp_path / "out", LocalProcesses(1), Limits(), lambda answer: None, stop)
    folder = folder_of(tmp_path / "out", waiting)
    with one_at_a_time(folder.path):  # free when the cell's process has ended
        assert folder.finished() is None
        assert folder.failure() is None


def test_a_cell_is_held_to_its_cores_memory_and_gpus(tmp_path: Path) -> None:
    limits = Limits(cores=2, memory_bytes=1 << 28, gpus=1)
    cells = [cell("surroundings"), cell("eat", bytes=1 << 29), cell("eat", bytes=1 << 10)]
    found, too_much, enough = run_cells(cells, tmp_path, LocalProcesses(1, gpus=[5]), limits, lambda answer: None)
    assert found.finished is not None
    assert {found.finished.result[name] for name in THREAD_VARIABLES} == {"2"}
    assert found.finished.result["CUDA_VISIBLE_DEVICES"] == "5"
    assert too_much.failure is not None
    assert too_much.failure.message == "Its memory was not enough."
    assert enough.finished is not None


def test_more_gpus_than_there_are_is_told_before_a_cell_waits_for_ever(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="to have 2 GPUs"):
        run_cells([cell("surroundings")], tmp_path, LocalProcesses(1, [0]), Limits(gpus=2), lambda answer: None)


def test_a_sweep_that_is_stopped_keeps_the_results_that_are_there(tmp_path: Path) -> None:
    cells = [cell("square", number=2), cell("square", number=3), cell("refuse")]
    run_sweep(cells[:2], tmp_path, InThisProcess(SILENT), Limits())
    before = (tmp_path / "results.jsonl").read_bytes()

    def stop(*told: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_sweep(cells, tmp_path, InThisProcess(SILENT), Limits(), stop)
    assert (tmp_path / "results.jsonl").read_bytes() == before


def test_a_damaged_result_is_one_line(tmp_path: Path) -> None:
    each = cell("square", number=2)
    folder = folder_of(tmp_path, each)
    folder.path.mkdir(parents=True)
    (folder.path / "result.json").write_text("{")
    with pytest.raises(StorageError, match=r"result\.json is damaged"):
        run_cells([each], tmp_path, InThisProcess(SILENT), Limits(), lambda answer: None)
