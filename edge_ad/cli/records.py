"""``edge-ad records``: what streams recorded."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from edge_ad.cli.console import note, print_json, print_table
from edge_ad.cli.options import JsonOption
from edge_ad.cli.production_records import of_production
from edge_ad.cli.record_times import local_iso, span_from_text, time_from_text
from edge_ad.cli.record_trend import show_trend
from edge_ad.cli.statistics_report import report_statistics
from edge_ad.errors import UsageError

if TYPE_CHECKING:
    from edge_ad.spc import StatisticsRequest
    from edge_ad.spc.run_rules import RuleSet
    from edge_ad.streaming.records.reader import RecordFilter, RecordReader

__all__ = ["records"]

_LISTED = 50
_MOST_CONFIRMED = 1_000_000


def records(
    action: Annotated[
        Literal["list", "export", "trend", "report", "golden", "confirm", "labels", "verify"],
        typer.Argument(metavar="list|export|trend|report|golden|confirm|labels|verify"),
    ],
    database: Annotated[Path, typer.Argument(metavar="DB", help="Database written by edge-ad stream --database.")],
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            "--from",
            metavar="TIME",
            help="From this time on: 2026-11-22T08:00 (the zone that is shown), 08:00+01:00, or 30m, 12h, 7d ago.",
        ),
    ] = None,
    until: Annotated[str | None, typer.Option("--until", "--to", metavar="TIME", help="Up to this time.")] = None,
    source: Annotated[str | None, typer.Option(help="Only records of this source.")] = None,
    verdict: Annotated[
        Literal["OK", "NG"] | None, typer.Option(help="Only records with this verdict.", case_sensitive=False)
    ] = None,
    bundle: Annotated[
        str | None, typer.Option(metavar="HASH", help="Only what this bundle judged: the start of its hash.")
    ] = None,
    recipe: Annotated[str | None, typer.Option(metavar="NAME", help="Only what was judged under this recipe.")] = None,
    min_score: Annotated[float | None, typer.Option(help="Only records with at least this raw score.")] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help=f"At most this many, the newest; list shows {_LISTED} by default.")
    ] = None,
    events: Annotated[
        bool, typer.Option("--events", help="Events (alarms, parts, changes) instead of frames.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File to write: .csv, .jsonl or .parquet; .png for trend; .html or .pdf for report.",
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")] = False,
    ids: Annotated[
        str | None, typer.Option("--id", metavar="NUMBERS", help="For confirm: which records, such as 17 or 17,20-35.")
    ] = None,
    by: Annotated[str | None, typer.Option("--by", metavar="NAME", help="For confirm: who says so.")] = None,
    withdraw: Annotated[bool, typer.Option("--withdraw", help="For confirm: take it back.")] = False,
    head: Annotated[
        str | None,
        typer.Option("--head", metavar="HEAD", help="For verify: a head of the trail that somebody else noted."),
    ] = None,
    shifts: Annotated[
        list[str] | None,
        typer.Option(
            "--shift",
            metavar="[NAME=]HH:MM-HH:MM",
            help="For report: only these times of the local day. Repeatable: one row for each.",
        ),
    ] = None,
    subgroup: Annotated[
        str | None,
        typer.Option(metavar="SPAN", help="For report: length of a subgroup, such as 15m, 1h or 1d."),
    ] = None,
    base_since: Annotated[
        str | None,
        typer.Option(
            "--base-since",
            "--base-from",
            metavar="TIME",
            help="For report: start of the stable period that limits come from; by default seven days before.",
        ),
    ] = None,
    base_until: Annotated[
        str | None, typer.Option("--base-until", "--base-to", metavar="TIME", help="For report: end of that period.")
    ] = None,
    rules: Annotated[
        Literal["western-electric", "nelson"], typer.Option(help="For report: which run rules give signals.")
    ] = "western-electric",
    with_dispersion: Annotated[
        bool,
        typer.Option(
            "--between-subgroups",
            help="For report: widen limits by how much the subgroups of the stable period differ (Laney).",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List, export, draw, report or verify what streams recorded, also while one is recording; or confirm good parts.

    trend shows scores against the threshold and the share of NG frames of each hour: in the terminal, or as a picture
    with --out FILE.png. report holds a period against a stable one before it: control charts, places of defects and
    shifts, as a page with --out FILE.html or FILE.pdf. confirm notes that the parts of some records were good,
    whatever their verdict: false alarms, and parts that passed. edge-ad threshold sets thresholds on them. labels shows
    what people said of single frames on the live page: false alarms, missed defects, their kinds and places. golden
    prints every golden check, with who signed it, as an audit document. verify finds what was changed, removed,
    exchanged or added since it was written.
    """
    from edge_ad.streaming.records.reader import RecordFilter, RecordReader
    from edge_ad.streaming.sinks.base import check_output

    if action == "verify":
        from edge_ad.cli.trail import verify_records

        verify_records(database, head=head, as_json=as_json)
        return
    narrowing: dict[str, object] = {"--verdict": verdict, "--min-score": min_score, "--limit": limit}
    narrowing |= {"--events": events}
    if action == "golden":
        others: dict[str, object] = {"--source": source, "--bundle": bundle, "--recipe": recipe, "--out": out}
        _refuse_without_effect(
            {**narrowing, **others},
            "golden checks",
            "Leave it out; --since and --until choose. To write a file: > FILE",
        )
    if out is not None:
        check_output(out, overwrite=overwrite)
    chosen = RecordFilter(
        time_from_text(since, option="--since"),
        time_from_text(until, option="--until"),
        source,
        verdict,
        min_score,
        limit,
        bundle=bundle,
        recipe=recipe,
    )
    if action == "report":
        _refuse_without_effect(narrowing, "a report", "It counts all judged frames: leave it out.")
        request = _request(chosen, (base_since, base_until), shifts or [], subgroup, rules, wide=with_dispersion)
        report_statistics(database, request, out=out, as_json=as_json)
        return
    with RecordReader(database) as reader:
        if action == "golden":
            from edge_ad.cli.golden_report import print_golden_checks

            print_golden_checks(database, reader, chosen, as_json=as_json)
        elif action == "list":
            _list(reader, chosen, events=events, as_json=as_json, out=out)
        elif action == "export":
            _export(reader, chosen, events=events, out=out)
        elif action == "labels":
            _labels(database, chosen, as_json=as_json, out=out)
        elif action == "confirm":
            _confirm(database, reader, chosen, ids=ids, by=by, withdraw=withdraw, as_json=as_json)
        else:
            show_trend(reader, chosen, out=out, as_json=as_json, title=database.name)


def _request(
    chosen: RecordFilter,
    base: tuple[str | None, str | None],
    shifts: Sequence[str],
    subgroup: str | None,
    rules: RuleSet,
    *,
    wide: bool,
) -> StatisticsRequest:
    from edge_ad.spc import StatisticsRequest, parse_shift

    return StatisticsRequest(
        chosen.since_unix,
        chosen.until_unix,
        time_from_text(base[0], option="--base-since"),
        time_from_text(base[1], option="--base-until"),
        chosen.source,
        chosen.bundle,
        tuple(map(parse_shift, shifts)),
        span_from_text(subgroup, option="--subgroup"),
        rules,
        wide,
        chosen.recipe,
    )


def _refuse_without_effect(given: Mapping[str, object], on: str, hint: str) -> None:
    """Refuse options that would be left alone without a word."""
    for option, value in given.items():
        if value is not None and value is not False:
            raise UsageError(f"{option} has no effect on {on}.", hint)


def _list(reader: RecordReader, chosen: RecordFilter, *, events: bool, as_json: bool, out: Path | None) -> None:
    from dataclasses import replace

    if out is not None:
        raise UsageError("A list goes to the terminal.", "To write a file: edge-ad records export DB --out FILE.csv")
    shown = replace(chosen, limit=_LISTED) if chosen.limit is None else chosen
    found = [_in_local_time(record) for record in (reader.events(shown) if events else reader.records(shown))]
    if as_json:
        print_json(found)
    elif events:
        columns = ["id", "time", "event", "source", "text"]
        print_table(columns, [[record[name] for name in columns] for record in found])
    else:
        columns = ["id", "time", "source", "frame", "score", "threshold", "verdict", "latency_ms", "age_ms"]
        columns += ["image", "path"]
        print_table(columns, [[_shown(record, name) for name in columns] for record in found])


def _labels(database: Path, chosen: RecordFilter, *, as_json: bool, out: Path | None) -> None:
    from edge_ad.streaming.records.export import export_records
    from edge_ad.streaming.records.labels import LABEL_COLUMNS, read_labels

    rows = [_in_local_time(label.to_json()) for label in read_labels(database, chosen)]
    if out is not None:
        note(f"{export_records(rows, LABEL_COLUMNS, out)} labels: {out}")
    elif as_json:
        print_json(rows)
    else:
        columns = ["time", "by", "label", "kind", "verdict", "record", "source", "frame", "score", "files", "photo"]
        print_table(columns, [[row[name] for name in columns] for row in rows])


def _confirm(
    database: Path,
    reader: RecordReader,
    chosen: RecordFilter,
    *,
    ids: str | None,
    by: str | None,
    withdraw: bool,
    as_json: bool,
) -> None:
    from edge_ad.cli.console import user_name
    from edge_ad.streaming.records.confirmation import confirm_records
    from edge_ad.streaming.records.reader import RecordFilter

    if (ids is None) == (chosen == RecordFilter()):
        hint = "Such as --id 17,20-35, or --since 08:00 --until 09:00 for all of an hour in which every part was good."
        raise UsageError("Say which records: by --id, or else by time, source, verdict or score.", hint)
    if ids is not None:
        wanted = sorted(set(_numbers(ids)))
    else:  # a master part that is NG must not count as good because it was shown in an hour of good parts
        of_time = chosen if withdraw else of_production(reader, chosen)
        wanted = [record["id"] for record in reader.records(of_time)]
    if not wanted:
        raise UsageError("There are no such records.", f"edge-ad records list {database} shows them.")
    name = by or user_name()
    count = confirm_records(database, wanted, by=name, withdraw=withdraw)
    if as_json:
        print_json({"records": len(wanted), "changed": count, "by": name, "confirmed": "" if withdraw else "good"})
    else:
        what = "no longer confirmed as good" if withdraw else "confirmed as good"
        noun = "record" if len(wanted) == 1 else "records"
        note(f"{len(wanted)} {noun} {what} by {name}; {len(wanted) - count} were so before.")


def _numbers(text: str) -> list[int]:
    """``17,20-35`` → the numbers."""
    numbers: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,18})\s*(?:-\s*(\d{1,18}))?\s*", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not first <= last < first + _MOST_CONFIRMED:
            hint = f"Such as 17 or 17,20-35; a range has at most {_MOST_CONFIRMED:,}."
            raise UsageError(f"{part.strip()!r} is no number of a record.", hint)
        numbers += range(first, last + 1)
    return numbers


def _in_local_time(record: dict[str, Any]) -> dict[str, Any]:
    """The same time in the zone in which ``--since`` is read."""
    return {**record, "time": local_iso(datetime.fromisoformat(record["time"]).timestamp())}


def _shown(record: dict[str, object], name: str) -> object:
    if name == "image" and record["image"] is not None and not record["image_is_there"]:
        return "gone"
    if name == "verdict" and (record["reason"] or record["confirmed"]):
        said = [f": {record['reason']}"] if record["reason"] else []
        said += [f" (confirmed {record['confirmed']})"] if record["confirmed"] else []
        return "".join([str(record["verdict"]), *said])
    return record[name]


def _export(reader: RecordReader, chosen: RecordFilter, *, events: bool, out: Path | None) -> None:
    from edge_ad.streaming.records.export import export_records
    from edge_ad.streaming.records.reader import COLUMNS, EVENT_COLUMNS

    if out is None:
        raise UsageError("Give a file to export to.", "Such as --out records.csv; .jsonl and .parquet are known too.")
    rows = reader.events(chosen) if events else reader.records(chosen)
    count = export_records(map(_in_local_time, rows), EVENT_COLUMNS if events else COLUMNS, out)
    note(f"{count} {'events' if events else 'records'}: {out}")
