"""What a cell leaves on the disk: its result or why it failed, each file whole or not there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field, JsonValue, ValidationError

from edge_ad.document import Document
from edge_ad.errors import StorageError
from edge_ad.storage import write_file
from edge_ad.strict_json import to_json
from edge_ad.sweeps.cells import Cell, Limits

_Record = TypeVar("_Record", bound=Document)

__all__ = ["CellFolder", "Cost", "Failure", "Finished", "Holder", "Looked", "Order"]


class Cost(Document):
    """What a cell took.

    Attributes:
        seconds: From its start in the process to its result.
        cpu_seconds: Of its process and of those that it started.
        peak_mib: Largest resident memory of its process, in MiB.
        host: Name of the machine.
        finished: ISO 8601, UTC.
    """

    seconds: float
    cpu_seconds: float
    peak_mib: int
    host: str
    finished: str


class Failure(Document):
    """Why a cell has no result.

    Attributes:
        message: What is wrong, in one line.
        hint: What to do about it, in one line; may be empty.
        trace: The newest lines of the traceback; empty for what a user can mend.
    """

    message: str
    hint: str = ""
    trace: list[str] = Field(default_factory=list)


class Finished(Document):
    """A result and what it took."""

    result: dict[str, JsonValue]
    cost: Cost


class Order(Document):
    """What the process of a cell is given."""

    cell: Cell
    limits: Limits


class Looked(Document):
    """Looks at a training before its end.

    Attributes:
        figures: Number of the look, from 1 → image AUROC on held-out photos.
    """

    figures: dict[int, float] = Field(default_factory=dict)


class Holder(Document):
    """The process that works in the folder of a cell, while another cannot.

    Attributes:
        process: Its number.
        space: Where the number names it, as `edge_ad.sweeps.processes.process_space`.
        gpus: Indices of the GPUs that were given to it.
    """

    process: int
    space: str
    gpus: tuple[int, ...] = ()


class CellFolder:
    """The folder of one cell: the order, then the result or the failure; its task works beside them.

    Args:
        path: Where it is; made by `give`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.jobs = path / "job"
        names = ("cell", "result", "failure", "holder", "looks")
        self._order, self._result, self._failure, self._holder, self._looks = (path / f"{name}.json" for name in names)

    def give(self, order: Order) -> None:
        """Write what is to be done, and forget why it failed before.

        Raises:
            StorageError: It cannot be written.
        """
        _write(self._order, order)
        self._failure.unlink(missing_ok=True)

    def order(self) -> Order:
        """What is to be done.

        Raises:
            StorageError: It is damaged, or not there.
        """
        if (order := _parsed(Order, self._order)) is None:
            raise StorageError(f"{self._order} is not there.", "Give the command of the sweep again.")
        return order

    def hold(self, holder: Holder) -> None:
        """Write who works here.

        Raises:
            StorageError: It cannot be written.
        """
        _write(self._holder, holder)

    def holder(self) -> Holder | None:
        """Who works here, or did last; None where nobody has.

        Raises:
            StorageError: It is damaged.
        """
        return _parsed(Holder, self._holder)

    def finish(self, result: Mapping[str, Any], cost: Cost) -> None:
        """Write the result.

        Raises:
            StorageError: It cannot be written.
        """
        _write(self._result, {"result": result, "cost": cost})

    def fail(self, failure: Failure) -> None:
        """Write why there is no result.

        Raises:
            StorageError: It cannot be written.
        """
        _write(self._failure, failure)

    def look(self, number: int, figure: float) -> None:
        """Write what a training has come to.

        Args:
            number: Of the look, from 1.
            figure: Image AUROC on held-out photos.

        Raises:
            StorageError: It cannot be written.
        """
        _write(self._looks, Looked(figures={**self.looked(), number: figure}))

    def looked(self) -> dict[int, float]:
        """Number of each look → its figure.

        Raises:
            StorageError: It is damaged.
        """
        return (_parsed(Looked, self._looks) or Looked()).figures

    def finished(self) -> Finished | None:
        """The result; None while there is none.

        Raises:
            StorageError: It is damaged.
        """
        return _parsed(Finished, self._result)

    def failure(self) -> Failure | None:
        """Why there is no result; None where nothing says so.

        Raises:
            StorageError: It is damaged.
        """
        return _parsed(Failure, self._failure)


def _write(path: Path, content: object) -> None:
    write_file(path, (to_json(content) + "\n").encode())


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise StorageError(f"{path} is damaged: {error}.", "Delete it: the cell is run again.") from error
    except OSError as error:
        raise StorageError(
            f"{path} cannot be read: {error.strerror}.", "Look at the disk and at who may read it."
        ) from error


def _parsed(kind: type[_Record], path: Path) -> _Record | None:
    if (content := _read(path)) is None:
        return None
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise StorageError(f"{path} is not of this version.", "Delete it: the cell is run again.") from error
