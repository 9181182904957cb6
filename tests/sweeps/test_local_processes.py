"""Processes of cells: each within its time, and none lost with the server that forks them or the controller."""

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edge_ad.errors import DeviceError
from edge_ad.storage import one_at_a_time
from edge_ad.sweeps.cell_folder import CellFolder, Holder, Order
from edge_ad.sweeps.cells import Cell, Limits
from edge_ad.sweeps.controller import folder_of, run_cells
from edge_ad.sweeps.fork_server import ForkOrder
from edge_ad.sweeps.local_processes import ForkServer, LocalProcesses
from edge_ad.sweeps.processes import process_space
from tests.sweeps.conftest import ROOT
from tests.sweeps.tasks import cell

LEFT = """
import os, signal, sys
from pathlib import Path
from edge_ad.sweeps.cells import Limits
from edge_ad.sweeps.controller import Controller
from edge_ad.sweeps.local_processes import LocalProcesses
from tests.sweeps.tasks import cell

controller = Controller(Path(sys.argv[1]), LocalProcesses(2, [0, 1]), Limits(gpus=1))
for goes_on in sys.argv[3:]:
    controller.start(cell("wait", started=sys.argv[2], goes_on=goes_on))
    Path(sys.argv[2]).read_text()
os.kill(os.getpid(), signal.SIGKILL)
"""


def given(out: Path, of: Cell) -> CellFolder:
    folder = folder_of(out, of)
    folder.give(Order(cell=of, limits=Limits()))
    return folder


def pipes(folder: Path, *names: str) -> list[Path]:
    for name in names:
        os.mkfifo(folder / name)
    return [folder / name for name in names]


@pytest.mark.parametrize("task", ["wait", "hang"])
def test_a_cell_is_asked_to_end_before_its_time_is_over_and_gone_after_it(task: str, tmp_path: Path) -> None:
    started, goes_on = pipes(tmp_path, "started", "goes_on")
    folder = given(tmp_path / "out", cell(task, started=str(started), goes_on=str(goes_on)))
    process = ForkServer(cores=1).start(ForkOrder(folder=folder.path, gpus=(), seconds=4.0))
    assert started.read_text() == "started"
    assert process.has_ended(within_s=60.0)
    assert folder.finished() is None
    assert folder.failure() is None
    (log,) = folder.jobs.glob("*.log")
    assert ("Timeout" if task == "hang" else "KeyboardInterrupt") in log.read_text()


def test_a_server_that_is_killed_takes_no_cell_with_it_and_another_one_starts_the_next(tmp_path: Path) -> None:
    started, goes_on = pipes(tmp_path, "started", "goes_on")
    cells = [cell("wait", started=str(started), goes_on=str(goes_on)), cell("server_of_this_process")]
    server: list[int] = []

    def tick(running: tuple[Cell, ...]) -> None:
        if running and not server:
            assert started.read_text() == "started"
            log = next(folder_of(tmp_path / "out", cells[0]).jobs.glob("*.log"))
            server.append(int(Path(f"/proc/{log.stem}/stat").read_text().rpartition(")")[2].split()[1]))
            os.kill(server[0], signal.SIGKILL)
            goes_on.write_text("go on")

    waited, forked = run_cells(cells, tmp_path / "out", LocalProcesses(1), Limits(), lambda answer: None, tick)
    assert waited.finished is not None
    assert waited.finished.result == {"told": "go on", "times": 1}
    assert forked.finished is not None
    assert forked.finished.result["server"] != server[0]


def test_cells_of_a_killed_controller_count_keep_their_gpus_and_end_by_ctrl_c(tmp_path: Path) -> None:
    started, first, second = pipes(tmp_path, "started", "first", "second")
    left = [cell("wait", started=str(started), goes_on=str(each)) for each in (first, second)]
    command = [sys.executable, "-c", LEFT, str(tmp_path / "out"), str(started), str(first), str(second)]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == -signal.SIGKILL
    cells, told = [cell("surroundings"), *left], list[tuple[str, ...]]()

    def tick(running: tuple[Cell, ...]) -> None:
        told.append(tuple(each.group for each in running))
        if len(told) == 1:
            second.write_text("go on")  # the one with GPU 1
        elif told[-1] == ("wait",) and "surroundings" in told[-2]:
            raise KeyboardInterrupt

    limits = Limits(gpus=1)
    with pytest.raises(KeyboardInterrupt):
        run_cells(cells, tmp_path / "out", LocalProcesses(2, [0, 1]), limits, lambda answer: None, tick)
    assert told[0] == ("wait", "wait")  # nothing more is started: both workers are busy
    found = folder_of(tmp_path / "out", cells[0]).finished()
    assert found is not None
    assert found.result["CUDA_VISIBLE_DEVICES"] == "1"
    with one_at_a_time(folder_of(tmp_path / "out", left[0]).path):  # free when its process has ended
        assert folder_of(tmp_path / "out", left[0]).finished() is None


def test_a_process_of_another_machine_is_neither_taken_over_nor_ended(tmp_path: Path) -> None:
    folder = given(tmp_path, cell("square", number=2))
    holder = Holder(process=os.getpid(), space=process_space())
    with one_at_a_time(folder.path):  # as a job on another node has it
        folder.hold(holder)
        assert LocalProcesses().adopted(folder) is not None
        folder.hold(holder.model_copy(update={"space": "another"}))
        assert LocalProcesses().adopted(folder) is None


def test_a_system_without_descriptors_of_processes_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(number: int) -> int:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", missing)
    with pytest.raises(DeviceError, match=r"Linux 5\.3"):
        LocalProcesses()


def test_more_memory_than_this_process_may_have_is_as_much_as_it_may(tmp_path: Path) -> None:
    script = """
import resource, sys
from pathlib import Path
from edge_ad.sweeps.cells import Limits
from edge_ad.sweeps.controller import run_cells
from edge_ad.sweeps.local_processes import LocalProcesses
from tests.sweeps.tasks import cell

resource.setrlimit(resource.RLIMIT_DATA, (1 << 30, 1 << 30))
limits = Limits(memory_bytes=1 << 31)
(answer,) = run_cells([cell("eat", bytes=1)], Path(sys.argv[1]), LocalProcesses(1), limits, lambda answer: None)
print(answer.finished.model_dump_json())
"""
    command = [sys.executable, "-c", script, str(tmp_path / "out")]
    said = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert json.loads(said)["result"] == {"eaten": 1}
