"""A picture of every defective frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import StorageError
from edge_ad.streaming.frame import Result
from edge_ad.streaming.records.ng_images import NgImageStore, ng_image_name
from edge_ad.streaming.sinks.alarm import Alarm
from edge_ad.streaming.sinks.base import Sink
from edge_ad.streaming.sources.base import Source

if TYPE_CHECKING:
    from edge_ad.streaming.control import StreamControl

__all__ = ["NgImagesSink"]


class NgImagesSink(Sink):
    """Keeps the frame itself, as it was captured, as a PNG. While none can be written, an alarm says so.

    Args:
        store: The folder and its limits.
    """

    delivery = "lossless"

    def __init__(self, store: NgImageStore) -> None:
        self._store = store
        self._alarm = Alarm("NG images")
        self._source_name = ""
        self._lost = 0

    def attach(self, control: StreamControl) -> None:
        """Raise alarms there."""
        self._alarm.attach(control)

    def begin(self, source: Source) -> None:
        """Take stock of the folder and remove what is over the limits."""
        self._source_name = source.name
        self._store.scan()

    def write(self, result: Result, picture: NDArray[np.uint8] | None) -> None:
        """Keep the frame if it is defective."""
        if not result.verdict.is_anomalous:
            return
        try:
            self._store.write(ng_image_name(result.frame, self._source_name), result.frame.image)
        except StorageError as error:
            self._lost += 1
            self.dropped += 1
            self._alarm.raise_once(error.message)
            return
        self._alarm.clear(f"NG images are kept again; {self._lost} were lost.", lost=self._lost)
        self._lost = 0

    def close(self) -> None:
        """Nothing to complete: every picture was, or is not there."""
