"""Records of the production: without those of master parts, and a line that says how many these are."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from edge_ad.cli.console import note

if TYPE_CHECKING:
    from edge_ad.streaming.records.reader import RecordFilter, RecordReader

__all__ = ["of_production"]


def of_production(reader: RecordReader, chosen: RecordFilter) -> RecordFilter:
    """The same records without frames of master parts, whose number is told.

    Args:
        reader: The records.
        chosen: Which of them.
    """
    from edge_ad.streaming.golden.master_frames import master_frames

    chosen = replace(chosen, without=master_frames(reader, chosen.since_unix))
    if left_out := reader.count_left_out(chosen):
        note(f"{left_out} frames of master parts are left out.")
    return chosen
