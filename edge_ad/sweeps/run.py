"""A whole sweep: plan, run what is missing, write the results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from edge_ad.errors import DeviceError
from edge_ad.sweeps.cells import Cell, Limits
from edge_ad.sweeps.controller import Answer, run_cells
from edge_ad.sweeps.executors import Executor
from edge_ad.sweeps.local_processes import LocalProcesses
from edge_ad.sweeps.progress import SweepProgress
from edge_ad.sweeps.results import write_results
from edge_ad.sweeps.slurm import Slurm
from edge_ad.sweeps.specification import Place

__all__ = ["executor_of", "run_sweep"]

_SLURM_JOBS = 100


def executor_of(place: Place, limits: Limits) -> Executor:
    """Where the cells of a sweep run.

    Args:
        place: As its file says.
        limits: What each cell may use.

    Raises:
        MissingDependencyError: submitit is not installed.
        DeviceError: There is no SLURM here, or there are fewer GPUs than cells at the same time need.
    """
    if place.cluster == "slurm":
        return Slurm(place.workers or _SLURM_JOBS, place.slurm)
    workers = place.workers or 1
    if (needed := workers * limits.gpus) > len(place.gpus):
        raise DeviceError(
            f"{workers} cells at the same time need {needed} GPUs, and the file names {len(place.gpus)}.",
            "run: {gpus: [0, 1]}, or fewer workers",
        )
    return LocalProcesses(workers, place.gpus)


def run_sweep(
    cells: Sequence[Cell],
    out: Path,
    executor: Executor,
    limits: Limits,
    show: Callable[[SweepProgress, Answer | None], None] = lambda progress, answer: None,
) -> SweepProgress:
    """Run what has no result yet, and keep the files of results up to date.

    Args:
        cells: In the order in which they are started, and have their rows.
        out: Folder of the sweep.
        executor: Where they run.
        limits: What each may use.
        show: Called with each new answer, and with None while there is none.

    Raises:
        EdgeAdError: Cells cannot be started, or a file cannot be written.
        KeyboardInterrupt: Stopped; the same call goes on.
    """
    progress = SweepProgress(cells, executor.workers)

    def listen(answer: Answer) -> None:
        progress.add(answer)
        if answer.is_new:
            write_results(out, cells, progress.answers)
        show(progress, answer)

    def tick(running: Sequence[Cell]) -> None:
        progress.runs(running)
        show(progress, None)

    run_cells(cells, out, executor, limits, listen, tick)
    write_results(out, cells, progress.answers)
    return progress
