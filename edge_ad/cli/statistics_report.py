"""``edge-ad records report``: statistics of a period."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edge_ad.cli.console import note, print_json, print_table
from edge_ad.errors import UsageError

if TYPE_CHECKING:
    from edge_ad.spc import StatisticsRequest

__all__ = ["report_statistics"]

_HINT = "To write a page: edge-ad records report DB --out report.html, or report.pdf."


def report_statistics(database: Path, request: StatisticsRequest, *, out: Path | None, as_json: bool) -> None:
    """Compute statistics, and write them as a page or print them.

    Args:
        database: The records.
        request: What is asked for.
        out: ``.html`` or ``.pdf``; None to print a summary.
        as_json: Whether to print all numbers on stdout.

    Raises:
        UsageError: An ending that is unknown, or a request that cannot be carried out.
        MissingDependencyError: What draws the page is not installed.
    """
    from edge_ad.spc.page import statistics_data
    from edge_ad.spc.statistics import statistics_of
    from edge_ad.streaming.records.reader import RecordReader

    if out is not None and out.suffix.lower() not in {".html", ".pdf"}:
        raise UsageError(f"{out.name} is no page.", "Give a file that ends in .html or .pdf.")
    with RecordReader(database) as reader:
        found = statistics_of(reader, request)
    data = statistics_data(found)
    if as_json:
        print_json(data)
    if out is not None:
        from edge_ad.spc.page import render_statistics
        from edge_ad.spc.pdf import page_to_pdf
        from edge_ad.storage import write_file

        page = render_statistics(found, database.name)
        write_file(out, page_to_pdf(page) if out.suffix.lower() == ".pdf" else page.encode())
        note(f"Report: {out}")
    elif not as_json:
        signals = sum(len(chart["signals"]) for chart in data["charts"].values() if chart)
        print_table(
            ["frames", "NG", "subgroups", "signals"], [[found.frames, found.defective, len(found.subgroups), signals]]
        )
        note(_HINT)
    for text in [] if as_json else data["warnings"]:
        note(text)
