"""``edge-ad records verify``: whether the records are still what streams wrote."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from edge_ad.cli.console import local_time, print_facts, print_json, print_line
from edge_ad.errors import TrailError

if TYPE_CHECKING:
    from edge_ad.streaming.records.trail_check import TrailReport

__all__ = ["verify_records"]


def verify_records(database: Path, *, head: str | None, as_json: bool) -> None:
    """Verify the trail of a database, and print what was found.

    Args:
        database: The database.
        head: A head that somebody else noted, ``HASH`` or ``NUMBER:HASH``; None for none.
        as_json: Print JSON.

    Raises:
        TrailError: Something does not agree, or there is no trail.
        UsageError: ``head`` is no head.
    """
    from edge_ad.streaming.records.trail_check import verify_trail
    from edge_ad.streaming.records.trail_head import TrailHead

    report = verify_trail(database, None if head is None else TrailHead.parse(head))
    if as_json:
        print_json({"intact": not report.problems, **asdict(report)})
    else:
        for problem in report.problems:
            print_line(problem)
        print_facts(_facts(report))
    if report.problems:
        others = len(report.problems) - 1
        more = f" And {others} more." if others else ""
        hint = "The database was changed after it was written; compare it with a copy."
        raise TrailError(f"{database} does not agree with its trail: {report.problems[0]}{more}", hint)


def _facts(report: TrailReport) -> dict[str, object]:
    verdicts, events = report.uncovered
    facts: dict[str, object] = {
        "trail": "does not agree" if report.problems else "intact",
        "entries": report.entries,
        "verdicts": report.verdicts,
        "events": report.events,
    }
    if report.began_unix is not None:
        facts["began"] = _time(report.began_unix)
        if verdicts or events:
            facts["not covered before"] = f"{_time(report.began_unix)}: {verdicts} verdicts and {events} events"
    if report.removed_until_unix is not None:
        until = _time(report.removed_until_unix)
        facts["removed for age"] = f"up to entry {report.removed_until}, {until}"
    return facts | {"head": report.head, "head file": report.head_file}


def _time(at_unix: float) -> str:
    """Local time; a database that somebody changed may hold one beyond every calendar."""
    try:
        return local_time(at_unix)
    except (ValueError, OverflowError, OSError):
        return f"{at_unix:g} s since 1970"
