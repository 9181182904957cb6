"""``edge-ad records golden``: the golden checks of a line as an audit document."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_ad.cli.console import local_time, print_json, print_line, print_table
from edge_ad.errors import TrailError
from edge_ad.streaming.golden.state import GOLDEN_ENDS, GOLDEN_STEPS

if TYPE_CHECKING:
    from edge_ad.streaming.records.reader import RecordFilter, RecordReader

__all__ = ["print_golden_checks"]

_COLUMNS = ("part", "must be", "was", "right", "score", "threshold", "bundle", "time")
_NOT_DONE = "not done"


def print_golden_checks(database: Path, reader: RecordReader, chosen: RecordFilter, *, as_json: bool) -> None:
    """Print every golden check that was asked for, with its outcome, and whether the records are as they were written.

    Args:
        database: The database.
        reader: The same, open.
        chosen: Which time.
        as_json: Print JSON.

    Raises:
        TrailError: The records were changed after they were written; what is printed cannot be relied on.
    """
    from edge_ad.streaming.records.trail_check import verify_trail

    report = verify_trail(database)
    checks = list(_checks(reader.events(chosen)))
    if as_json:
        print_json({"database": database, "intact": not report.problems, "head": report.head, "checks": checks})
    else:
        _print(database, checks, "intact" if not report.problems else report.problems[0].rstrip("."), report.head)
    if report.problems:
        raise TrailError(f"{database} does not agree with its trail: {report.problems[0]}", "edge-ad records verify")


def _checks(events: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Each check with its outcome; one that was asked for and has none was not done."""
    reached: Mapping[str, Any] | None = None  # the newest step of a check that has not ended
    for event in events:
        if event["event"] not in (*GOLDEN_STEPS, *GOLDEN_ENDS):
            continue
        is_step = event["event"] in GOLDEN_STEPS
        if is_step and reached is not None and _asked_unix(event) != _asked_unix(reached):
            yield _check(reached, _NOT_DONE)
        reached = event if is_step else None
        if not is_step:
            yield _check(event, event["event"].removeprefix("golden check "))
    if reached is not None:
        yield _check(reached, _NOT_DONE)


def _asked_unix(event: Mapping[str, Any]) -> object:
    return event["data"].get("asked_unix")


def _check(event: Mapping[str, Any], outcome: str) -> dict[str, Any]:
    data = event["data"]
    return {
        "id": event["id"],
        "time": event["time"],
        "outcome": outcome,
        "text": f"Last of it: {event['text']}" if outcome == _NOT_DONE else event["text"],
        "asked_unix": data.get("asked_unix"),
        "asked": data.get("asked", ""),
        "begun_by": data.get("begun_by", ""),
        "by": data.get("by", ""),
        "why": data.get("why", ""),
        "recipe": data.get("recipe", ""),
        "recipe_hash": data.get("recipe_hash", ""),
        "results": data.get("results", []),
    }


def _print(database: Path, checks: list[dict[str, Any]], trail: str, head: str) -> None:
    print_line(f"Golden checks in {database}")
    for check in checks:
        print_line()
        at = local_time(datetime.fromisoformat(check["time"]).timestamp())
        print_line(f"{at}  {check['outcome'].upper()}  (event {check['id']})")
        print_line(check["text"])
        asked = "" if check["asked_unix"] is None else f" at {local_time(check['asked_unix'])}"
        print_line(f"Asked for{asked}, because of: {check['asked']}. Begun by {check['begun_by'] or 'nobody'}.")
        if check["recipe"]:
            print_line(f"Recipe {check['recipe']}, {check['recipe_hash']}")
        if check["results"]:
            print_table(_COLUMNS, [_row(one) for one in check["results"]])
    print_line()
    print_line(f"{len(checks)} {'check' if len(checks) == 1 else 'checks'}. Trail: {trail}. Head: {head}")


def _row(one: Mapping[str, Any]) -> list[object]:
    was = one.get("reason") or one["verdict"]
    at = local_time(one["at_unix"])
    return [one["part"], one["expect"], was, one["right"], one["score"], one["threshold"], one["bundle"][:12], at]
