"""The Sink contract."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import StorageError, UsageError
from edge_ad.streaming.events import Event
from edge_ad.streaming.frame import Result, Unjudged
from edge_ad.streaming.sources.base import Source

if TYPE_CHECKING:
    from edge_ad.streaming.control import StreamControl

__all__ = ["DeliveryKind", "Sink", "check_output"]

DeliveryKind: TypeAlias = Literal["inline", "lossy", "lossless"]


class Sink(ABC):
    """Takes the results of one stream. A context manager; leaving it completes what was written.

    Attributes:
        needs_picture: Whether it wants the frame with the overlay drawn on it.
        wants_end: Whether the user ended the stream through it.
        delivery: How it is called. ``"inline"``: in the thread that runs the stream. ``"lossy"``: in a thread of its
            own; what does not fit into its bounded queue is dropped and counted. ``"lossless"``: in a thread of its
            own; a full queue makes the stream wait.
        waits_for_files: Of a lossy sink: whether a stream of files, in which every frame counts, waits for it.
        dropped: Records that the sink itself had to give up, beside those its queue had no room for.
        rows: Of a sink that records every judged frame: how many it has really stored, final once it is closed; the
            stream ends with an error when they are not as many as it judged. None for any other sink.
    """

    needs_picture: ClassVar[bool] = False
    wants_end: bool = False
    waits_for_files: ClassVar[bool] = False
    dropped: int = 0
    rows: int | None = None
    delivery: DeliveryKind = "lossless"

    def __enter__(self) -> Sink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except StorageError:
            if error is None:  # what went wrong first is what the user must read
                raise

    def attach(self, control: StreamControl) -> None:  # noqa: B027 - not every sink steers the stream
        """Called once, before `begin`, with the handle on the stream."""

    def begin(self, source: Source) -> None:  # noqa: B027 - not every sink asks about the source
        """Called once, with the open source, before the first result."""

    @abstractmethod
    def write(self, result: Result, picture: NDArray[np.uint8] | None) -> None:
        """Take one result.

        Args:
            result: The judged frame.
            picture: The frame with its overlay, uint8 (H, W, 3) BGR, for sinks that need it.

        Raises:
            StorageError: It cannot be written.
        """

    def unjudged(self, unjudged: Unjudged) -> None:  # noqa: B027 - not every sink keeps them
        """Take a frame that was looked at but not judged."""

    def event(self, event: Event) -> None:  # noqa: B027 - not every sink keeps them
        """Take what happened besides frames, in its order among the results."""

    @abstractmethod
    def close(self) -> None:
        """Complete what was written; may be called when nothing was."""


def check_output(path: Path, *, overwrite: bool) -> None:
    """Refuse an output file that cannot be made, before anything is started.

    Raises:
        UsageError: It exists and may not be overwritten, or its folder does not exist.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a folder, not a file.", "Give the name of a file in it.")
    if not path.parent.is_dir():
        raise UsageError(f"There is no folder {path.parent} for {path.name}.", f"Make it: mkdir -p {path.parent}")
    if path.exists() and not overwrite:
        raise UsageError(f"{path} exists.", "Choose another name, or add --overwrite.")
