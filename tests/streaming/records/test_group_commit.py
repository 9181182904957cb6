"""Group commit: soon, in order, none twice; a failure costs neither the stream nor its memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import pytest

from edge_ad.errors import StorageError
from edge_ad.streaming.records.group_commit import GroupCommit
from tests.streaming.results import PATIENCE_S, wait_until


class _Disk:
    """Takes batches; full while it is told to be."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.batches = 0
        self.is_full = False
        self.free = threading.Event()
        self.free.set()
        self.said: list[str] = []

    def commit(self, rows: Sequence[int]) -> None:
        self.free.wait(PATIENCE_S)
        if self.is_full:
            raise StorageError("the disk is full")
        self.rows += rows
        self.batches += 1

    def group(self, **limits: int | float) -> GroupCommit[int]:
        return GroupCommit(
            self.commit,
            on_failure=lambda why: self.said.append(why),
            on_recovery=lambda lost: self.said.append(f"well again, {lost} lost"),
            retry_s=0.01,
            **limits,  # type: ignore[arg-type]
        )


def test_a_single_record_is_durable_without_another_one_and_many_share_a_transaction() -> None:
    disk = _Disk()
    group = disk.group()
    group.add(0)
    wait_until(lambda: disk.rows == [0])
    for number in range(1, 200):
        group.add(number)
    group.close()
    assert disk.rows == list(range(200))
    assert disk.batches < 20


def test_a_disk_that_is_slow_makes_the_stream_wait() -> None:
    disk = _Disk()
    group = disk.group(capacity=4, batch=2)
    disk.free.clear()
    added: list[int] = []

    def produce() -> None:
        for number in range(20):
            group.add(number)
            added.append(number)

    thread = threading.Thread(target=produce)
    thread.start()
    time.sleep(0.1)
    assert len(added) <= 6  # four wait, two are under way
    disk.free.set()
    thread.join()
    group.close()
    assert (disk.rows, group.lost) == (list(range(20)), 0)


def test_a_full_disk_does_not_stop_the_stream_and_the_newest_records_get_through(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("edge_ad.streaming.records.group_commit._GATHER_S", PATIENCE_S)  # the first two are a batch
    disk = _Disk()
    disk.is_full = True
    group = disk.group(capacity=4, batch=2)
    group.add(0)
    group.add(1)
    wait_until(lambda: bool(disk.said))
    for number in range(2, 100):
        group.add(number)
    disk.is_full = False
    wait_until(lambda: len(disk.rows) == 6)
    group.close()
    assert disk.rows == [0, 1, 96, 97, 98, 99]
    assert (group.lost, group.committed) == (94, 6)
    assert set(disk.said[:-1]) == {"the disk is full"}
    assert disk.said[-1] == "well again, 94 lost"


def test_closing_with_a_full_disk_ends_and_counts_what_was_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_ad.streaming.records.group_commit._CLOSE_S", 0.1)
    disk = _Disk()
    disk.is_full = True
    group = disk.group()
    for number in range(10):
        group.add(number)
    group.close()
    assert (group.lost, disk.rows) == (10, [])


def _add_for_ever(group: GroupCommit[int]) -> None:
    while True:
        group.add(1)


def test_what_is_no_failure_of_the_disk_is_raised_to_the_stream() -> None:
    has_failed = threading.Event()

    def broken(rows: Sequence[int]) -> None:
        has_failed.set()
        raise ZeroDivisionError

    group: GroupCommit[int] = GroupCommit(broken, on_failure=print, on_recovery=print, capacity=1)
    group.add(0)
    has_failed.wait(PATIENCE_S)
    with pytest.raises(ZeroDivisionError):
        _add_for_ever(group)  # at the latest when there is no room any more
    with pytest.raises(ZeroDivisionError):
        group.close()


def test_what_ended_the_thread_is_raised_at_the_end_when_nothing_comes_any_more() -> None:
    def broken(rows: Sequence[str]) -> None:
        "\udcff".encode()

    group: GroupCommit[str] = GroupCommit(broken, on_failure=print, on_recovery=print)
    group.add("the only one")
    with pytest.raises(UnicodeEncodeError):
        group.close()
