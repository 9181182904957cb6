"""Sinks for permanent storage: a database of records, and pictures of NG parts."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import StorageError
from edge_ad.streaming.frame import Event, Result, Unjudged
from edge_ad.streaming.records.group_commit import GroupCommit
from edge_ad.streaming.records.ng_images import NgImageStore, ng_image_name
from edge_ad.streaming.records.retention import Retention
from edge_ad.streaming.records.schema import Durability, finite, open_for_reading, regions_of, unwritable_hint
from edge_ad.streaming.records.store import RecordStore, Row, UnjudgedRow, VerdictRow
from edge_ad.streaming.sinks.base import Sink, check_output
from edge_ad.streaming.sinks.hook import Alarm
from edge_ad.streaming.sources.base import Source
from edge_ad.strict_json import to_json

if TYPE_CHECKING:
    from edge_ad.streaming.control import StreamControl

__all__ = ["DatabaseSink", "NgImagesSink"]

_TELL_HEAD_S = 3600.0


class DatabaseSink(Sink):
    """Adds the records of a stream to a database; those of earlier streams stay.

    A record is durable at most about a tenth of a second after `write`. While the disk is full the stream continues,
    an alarm is raised, and the newest records wait in memory. Once an hour an event tells the head of the trail, so
    that it is known elsewhere too.

    Args:
        path: The database; made when it is not there.
        ng_images: Folder in which another sink keeps the NG images; the records then name them.
        durability: What a committed record survives.
        keep_days: Remove records that are older; None for no limit.
        on_commit: Told how many records of this stream are durable, after every transaction.

    Raises:
        UsageError: The folder of the database does not exist, or it is a folder itself, or the limit is not positive.
        DataError: The file is not a database of records, or a newer edge-ad wrote it.
    """

    delivery = "lossless"

    def __init__(
        self,
        path: Path,
        *,
        ng_images: Path | None = None,
        durability: Durability = "normal",
        keep_days: float | None = None,
        on_commit: Callable[[int], None] | None = None,
    ) -> None:
        check_output(path, overwrite=True)
        if path.exists() and path.stat().st_size > 0:
            open_for_reading(path).close()
        Retention(keep_days)  # report a wrong limit before the stream begins
        self._path, self._ng_images, self._durability, self._on_commit = path, ng_images, durability, on_commit
        self._keep_days = keep_days
        self._alarm = Alarm("records")
        self._store: RecordStore | None = None
        self._commits: GroupCommit[Row] | None = None
        self._source_name = self._why = ""
        self._control: StreamControl | None = None
        self._tell_head_at = 0.0

    def attach(self, control: StreamControl) -> None:
        """Raise alarms there."""
        self._control = control
        self._alarm.attach(control)

    def begin(self, source: Source) -> None:
        """Open the database; a stream that cannot record does not start."""
        self._source_name = source.name
        self._store = RecordStore(
            self._path,
            source=source.name,
            ng_images=self._ng_images,
            durability=self._durability,
            keep_days=self._keep_days,
        )
        self._commits = GroupCommit(
            self._store.commit, on_commit=self._committed, on_failure=self._failed, on_recovery=self._recovered
        )
        self._tell_head_at = time.monotonic() + _TELL_HEAD_S
        if self._store.trail_fault:
            self._tell("trail broken", self._store.trail_fault)

    def write(self, result: Result, picture: NDArray[np.uint8] | None) -> None:
        """Record a verdict."""
        frame, verdict = result.frame, result.verdict
        has_image = self._ng_images is not None and verdict.is_anomalous
        self._add(
            VerdictRow(
                source=frame.source or self._source_name,
                bundle=result.bundle,
                frame=frame.index,
                time_unix=frame.captured_unix,
                score=finite(verdict.score),
                threshold=finite(verdict.threshold),
                is_ng=bool(verdict.is_anomalous),
                reason=verdict.reason,
                path=frame.path,
                regions=to_json(regions) if (regions := regions_of(result)) else "",
                latency_ms=round(result.prepare_ms + result.infer_ms, 3),
                age_ms=round(result.age_ms, 3),
                image=ng_image_name(frame, self._source_name) if has_image else None,
                recipe=result.recipe,
                product=result.product,
            )
        )

    def unjudged(self, unjudged: Unjudged) -> None:
        """Count a frame that was not judged: by minute, source and reason."""
        frame = unjudged.frame
        self._add(UnjudgedRow(frame.captured_unix, frame.source or self._source_name, unjudged.reason))

    def event(self, event: Event) -> None:
        """Record an event."""
        self._add(event)

    def close(self) -> None:
        """Commit what waits.

        Raises:
            StorageError: Records were lost for lack of space.
            BaseException: What ended the thread that writes.
        """
        if self._commits is None or self._store is None:
            return
        commits, self._commits = self._commits, None
        try:
            commits.close()
        finally:
            self.rows, self.dropped = self._store.rows, commits.lost
            self.trail_head = "" if self._store.trail_head is None else self._store.trail_head.name
            self._store.close()
        if commits.lost:
            message = f"{commits.lost} records could not be written to {self._path}."
            raise StorageError(message, unwritable_hint(self._why))

    def _add(self, row: Row) -> None:
        assert self._commits is not None
        self._commits.add(row)
        self.dropped = self._commits.lost

    def _committed(self, count: int) -> None:
        if self._on_commit is not None:
            self._on_commit(count)
        if (now := time.monotonic()) >= self._tell_head_at and self._store is not None:
            self._tell_head_at = now + _TELL_HEAD_S
            if (head := self._store.trail_head) is not None:
                facts = {"entry": head.entry, "hash": head.hash.hex()}
                self._tell("trail head", f"The trail of {self._path.name} is at {head.name}.", **facts)

    def _tell(self, kind: str, text: str, **data: object) -> None:
        if self._control is not None:
            self._control.emit(Event(kind, time.time(), text=text, data=data))

    def _failed(self, why: str) -> None:
        self._why = why
        self._alarm.raise_once(why)

    def _recovered(self, lost: int) -> None:
        text = f"Records are written to {self._path} again; " + (f"{lost} were lost." if lost else "none was lost.")
        self._alarm.clear(text, lost=lost)


class NgImagesSink(Sink):
    """Keeps the captured frame as a PNG. Raises an alarm while none can be written.

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
        """Count what the folder holds, and remove what is over the limits."""
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
        """Does nothing: each picture is complete once it is written."""
