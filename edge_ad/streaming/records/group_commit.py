"""Passes records to a commit function in batches, in a thread of its own."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from edge_ad.errors import EdgeAdError

__all__ = ["GroupCommit"]

_Item = TypeVar("_Item")
_GATHER_S = 0.05  # the disk gets the other half of the tenth of a second
_CLOSE_S = 2.0


class GroupCommit(Generic[_Item]):
    """Passes records to a commit function, in its own thread, in order, each once.

    While commits succeed, `add` waits when the queue is full (back-pressure). While they fail, the same batch is tried
    again every ``retry_s``; new records are queued, and once the queue is full the oldest are dropped and counted. So a
    full disk neither stops the stream nor fills its memory.

    Args:
        commit: Makes a batch durable; an `EdgeAdError` means that nothing of it is.
        on_commit: Told how many records in all are durable, after every batch.
        on_failure: Told in a sentence why the first of several tries failed.
        on_recovery: Told, once commits succeed again, how many records were lost.
        batch: Most records in one transaction.
        capacity: Most records that wait.
        retry_s: Time between two tries.

    Attributes:
        lost: Records that were given up.
        committed: Records that are durable.
    """

    def __init__(
        self,
        commit: Callable[[Sequence[_Item]], None],
        *,
        on_commit: Callable[[int], None] | None = None,
        on_failure: Callable[[str], None],
        on_recovery: Callable[[int], None],
        batch: int = 512,
        capacity: int = 8192,
        retry_s: float = 0.5,
    ) -> None:
        self.lost = 0
        self.committed = 0
        self._commit, self._on_commit = commit, on_commit
        self._on_failure, self._on_recovery = on_failure, on_recovery
        self._batch_size, self._capacity, self._retry_s = batch, capacity, retry_s
        self._waiting: deque[_Item] = deque()
        self._changed = threading.Condition()
        self._is_closing = self._is_failing = False
        self._lost_before = 0
        self._give_up_at = 0.0
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="records", daemon=True)
        self._thread.start()

    def add(self, item: _Item) -> None:
        """Take a record.

        Raises:
            BaseException: What ended the thread, other than a commit that failed.
        """
        with self._changed:
            self._changed.wait_for(lambda: len(self._waiting) < self._capacity or self._is_failing or self._error)
            if self._error is not None:
                raise self._error
            if len(self._waiting) >= self._capacity:
                self._waiting.popleft()
                self.lost += 1
            self._waiting.append(item)
            if len(self._waiting) in (1, self._batch_size):
                self._changed.notify_all()

    def close(self) -> None:
        """Commit what waits; give up and count what cannot be committed within two seconds.

        Raises:
            BaseException: What ended the thread, other than a commit that failed; what waited then is lost.
        """
        with self._changed:
            self._is_closing, self._give_up_at = True, time.monotonic() + _CLOSE_S
            self._changed.notify_all()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            while (batch := self._next_batch()) is not None:
                self._commit_or_wait(batch)
        except BaseException as error:  # raised again by add and close
            with self._changed:
                self.lost += len(self._waiting)
                self._waiting.clear()
                self._error = error
                self._changed.notify_all()

    def _next_batch(self) -> list[_Item] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closing)
            self._changed.wait_for(lambda: len(self._waiting) >= self._batch_size or self._is_closing, _GATHER_S)
            batch = [self._waiting.popleft() for _ in range(min(self._batch_size, len(self._waiting)))]
            self._changed.notify_all()
            return batch or None

    def _commit_or_wait(self, batch: list[_Item]) -> None:
        """Try until it succeeds, or until closing takes too long."""
        while not self._try(batch):
            with self._changed:
                if not self._is_closing:
                    self._changed.wait_for(lambda: self._is_closing, self._retry_s)
                elif time.monotonic() < self._give_up_at:
                    self._changed.wait(self._retry_s)
                else:
                    self.lost += len(batch) + len(self._waiting)
                    self._waiting.clear()
                    return

    def _try(self, batch: list[_Item]) -> bool:
        try:
            self._commit(batch)
        except EdgeAdError as error:
            with self._changed:
                if not self._is_failing:
                    self._is_failing, self._lost_before = True, self.lost
                self._changed.notify_all()
            self._on_failure(error.message)
            return False
        self.committed += len(batch)
        if self._is_failing:
            with self._changed:
                self._is_failing = False
            self._on_recovery(self.lost - self._lost_before)
        if self._on_commit is not None:
            self._on_commit(self.committed)
        return True
