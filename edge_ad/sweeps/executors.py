"""What runs cells: this process, one after the other; `local_processes` and `slurm` are others."""

from __future__ import annotations

from typing import Protocol

from edge_ad.sweeps.cell_folder import CellFolder
from edge_ad.sweeps.cells import Limits, Told
from edge_ad.sweeps.work import run_cell

__all__ = ["Executor", "HasEnded", "InThisProcess", "Job"]


class Job(Protocol):
    """A cell that was started."""

    def is_running(self) -> bool:
        """Whether it runs, or waits for its turn."""

    def ended_by(self) -> int:
        """Number of the signal that ended it; 0 where none did, or nobody knows."""

    def cancel(self) -> None:
        """Ask it to end; it goes on from its last checkpoint when it is started again."""

    def release(self) -> None:
        """Give back what it held: the cell has answered, or was asked to end."""


class Executor(Protocol):
    """Runs cells.

    Attributes:
        workers: How many it takes at the same time.
        settle_s: Seconds that a file may take to be seen here after its process has ended.
    """

    workers: int
    settle_s: float

    def start(self, folder: CellFolder, limits: Limits) -> Job:
        """Start the cell of a folder.

        Raises:
            EdgeAdError: It cannot be started.
        """

    def adopted(self, folder: CellFolder) -> Job | None:
        """A job that an earlier controller has started and that still runs; None without one.

        Raises:
            EdgeAdError: Nothing can tell.
        """

    def wait(self) -> None:
        """Until it is worth while to look again."""


class HasEnded:
    """A job that has ended."""

    def is_running(self) -> bool:
        """No."""
        return False

    def ended_by(self) -> int:
        """No signal."""
        return 0

    def cancel(self) -> None:
        """Nothing is left to end."""

    def release(self) -> None:
        """It holds nothing."""


class InThisProcess:
    """One cell after the other, here, without limits: what it says is shown.

    Args:
        told: Who is told.
    """

    workers, settle_s = 1, 0.0

    def __init__(self, told: Told) -> None:
        self._told = told

    def start(self, folder: CellFolder, limits: Limits) -> Job:
        """Run it to its end."""
        run_cell(folder, self._told)
        return HasEnded()

    def adopted(self, folder: CellFolder) -> Job | None:
        """None: nothing runs when this process has ended."""
        return None

    def wait(self) -> None:
        """Not at all: a cell that was started has ended."""
        return
