"""The same cells on a real SLURM of one node: the same results, and what is killed is done again."""

import itertools
import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from edge_ad.cli.app import main
from edge_ad.errors import DeviceError, EdgeAdError, UsageError
from edge_ad.sweeps.cell_folder import Order
from edge_ad.sweeps.cells import Cell, Limits
from edge_ad.sweeps.controller import folder_of, run_cells
from edge_ad.sweeps.slurm import Slurm
from tests.sweeps.one_node_slurm import missing_programs, one_node_slurm
from tests.sweeps.tasks import cell

pytest.importorskip("submitit", reason="submitit is not installed")
needs_slurm = pytest.mark.skipif(bool(missing_programs()), reason=missing_programs())


@pytest.fixture(scope="module")
def configuration() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder, one_node_slurm(Path(folder)) as path:
        yield path


@pytest.fixture
def cluster(configuration: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_CONF", str(configuration))


@needs_slurm
@pytest.mark.usefixtures("cluster")
def test_cells_are_jobs_within_their_limits(tmp_path: Path) -> None:
    cells = [cell("surroundings"), cell("refuse")]
    limits = Limits(cores=2, memory_bytes=1 << 30, minutes=5)
    found, refused = run_cells(cells, tmp_path, Slurm(2), limits, lambda answer: None)
    assert found.finished is not None
    assert found.finished.result["OMP_NUM_THREADS"] == "2"
    job = (folder_of(tmp_path, cells[0]).jobs / "slurm_job").read_text()
    assert found.finished.result["SLURM_JOB_ID"] == job
    script = next(folder_of(tmp_path, cells[0]).jobs.glob("*.sh")).read_text()
    assert {"#SBATCH --cpus-per-task=2", "#SBATCH --mem=1024M", "#SBATCH --time=5"} <= set(script.splitlines())
    assert refused.failure is not None
    assert refused.failure.message == "The photos are of a cat."


@pytest.mark.slow
@needs_slurm
@pytest.mark.usefixtures("cluster")
def test_a_killed_job_is_done_again_and_a_job_of_a_controller_that_is_gone_is_taken_over(tmp_path: Path) -> None:
    started, goes_on = tmp_path / "started", tmp_path / "goes_on"
    for pipe in (started, goes_on):
        os.mkfifo(pipe)
    waiting, limits = cell("wait", started=str(started), goes_on=str(goes_on)), Limits()

    class GoneError(Exception):
        pass

    def leave(running: tuple[Cell, ...]) -> None:
        if running:
            raise GoneError

    class Left(Slurm):
        """Jobs that nobody ends, as when their controller is killed."""

        def start(self, folder, limits):  # type: ignore[no-untyped-def]
            job = super().start(folder, limits)
            job.cancel = lambda: None
            return job

    with pytest.raises(GoneError):
        run_cells([waiting], tmp_path / "out", Left(1), limits, lambda answer: None, leave)
    assert started.read_text() == "started"
    told: list[str] = []

    def tick(running: tuple[Cell, ...]) -> None:
        if not told:
            told.append("go on")
            goes_on.write_text("go on")

    cells = [waiting, cell("die_once")]
    answers = run_cells(cells, tmp_path / "out", Slurm(1), limits, lambda answer: None, tick)
    results = [None if answer.finished is None else answer.finished.result for answer in answers]
    assert results == [{"told": "go on", "times": 1}, {"times": 2}]


@pytest.mark.slow
@needs_slurm
@pytest.mark.usefixtures("cluster")
def test_a_sweep_has_the_same_results_to_the_byte_on_slurm_and_on_local_processes(
    products: list[Path], tmp_path: Path
) -> None:
    content = {"out": "local", "products": [str(product) for product in products], "methods": ["patch-gaussian"]}
    path = tmp_path / "sweep.yaml"
    path.write_text(yaml.safe_dump({**content, "parameters": {"size": 64}}))
    assert main(["sweep", str(path)]) == 0
    assert main(["sweep", str(path), "--cluster", "slurm", "--out", str(tmp_path / "slurm")]) == 0
    local, slurm = ((tmp_path / name / "results.jsonl").read_bytes() for name in ("local", "slurm"))
    assert local == slurm
    assert [json.loads(line)["product"] for line in local.splitlines()] == ["bolt", "washer"]


@needs_slurm
@pytest.mark.usefixtures("cluster")
def test_what_slurm_refuses_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(EdgeAdError, match="Invalid partition"):
        run_cells([cell("die")], tmp_path, Slurm(1, {"partition": "moon"}), Limits(), lambda answer: None)
    with pytest.raises(UsageError, match="SLURM options"):
        run_cells([cell("die")], tmp_path, Slurm(1, {"phase": "full"}), Limits(), lambda answer: None)


def test_a_machine_without_slurm_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeviceError, match="no sbatch"):
        Slurm()


class Queue:
    """sbatch and squeue of a cluster that is not there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.says("echo 7; echo 9")
        self.submits("echo Submitted batch job 11")

    def submits(self, script: str) -> None:
        """What sbatch does."""
        self._program("sbatch", script)

    def says(self, script: str) -> None:
        """What squeue does."""
        self._program("squeue", script)

    def _program(self, name: str, script: str) -> None:
        path = self._folder / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Queue:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    clock = itertools.count(1e6, 10.0)
    monkeypatch.setattr("edge_ad.sweeps.slurm.time.monotonic", lambda: next(clock))
    return Queue(folder)


def test_a_squeue_that_does_not_answer_ends_no_job(queue: Queue, tmp_path: Path) -> None:
    cluster = Slurm()
    assert cluster.alive() == {"7", "9"}
    queue.says("exit 1")
    assert cluster.alive() == {"7", "9"}
    waiting = cell("square", number=2)
    folder = folder_of(tmp_path / "out", waiting)
    folder.give(Order(cell=waiting, limits=Limits()))
    job = cluster.start(folder, Limits())
    assert job.is_running()  # nobody has said anything since it was submitted
    queue.says("echo 11")
    assert job.is_running()
    queue.says("echo 9")
    assert not job.is_running()


def test_a_busy_controller_is_asked_again(queue: Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting, waited, sleep = cell("square", number=2), list[float](), time.sleep
    # submitit sleeps too
    monkeypatch.setattr(time, "sleep", lambda seconds: waited.append(seconds) if seconds >= 5 else sleep(seconds))
    folder = folder_of(tmp_path / "out", waiting)
    folder.give(Order(cell=waiting, limits=Limits()))
    tried = tmp_path / "tried"
    busy = "echo 'sbatch: error: Batch job submission failed: Socket timed out on send/recv operation' >&2; exit 1"
    queue.submits(f"if mkdir {tried}; then {busy}; fi; echo Submitted batch job 11")
    Slurm().start(folder, Limits())
    assert (folder.jobs / "slurm_job").read_text() == "11"
    assert waited == [5.0]


def test_a_job_that_may_still_run_is_not_started_twice(queue: Queue, tmp_path: Path) -> None:
    waiting = cell("square", number=2)
    folder = folder_of(tmp_path / "out", waiting)
    folder.give(Order(cell=waiting, limits=Limits()))
    Slurm().start(folder, Limits())
    queue.says("exit 1")
    with pytest.raises(DeviceError, match="squeue does not answer"):
        run_cells([waiting], tmp_path / "out", Slurm(), Limits(), lambda answer: None)
    queue.says("echo 11")
    assert Slurm().adopted(folder) is not None
    queue.says("echo 9")
    assert Slurm().adopted(folder) is None
