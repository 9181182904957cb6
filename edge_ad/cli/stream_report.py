"""What ``edge-ad stream`` prints, while it runs and at its end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from edge_ad.cli.console import local_time, note, print_facts, print_json, print_table, rewrite_line
from edge_ad.masked_address import masked_text
from edge_ad.streaming.golden.state import GOLDEN_ENDS, GOLDEN_STEPS

if TYPE_CHECKING:
    from edge_ad.streaming.progress import Progress
    from edge_ad.streaming.sinks import Sink
    from edge_ad.streaming.sources import Source
    from edge_ad.streaming.statistics import Summary

__all__ = ["ProgressLine", "event_lines", "print_summary"]

_TOLD = frozenset(
    {
        "source lost",
        "source returned",
        "alarm",
        "alarm cleared",
        "bundle swapped",
        "bundle refused",
        "recipe switched",
        "recipe refused",
        "drift",
        "drift over",
        "scene changed",
        "scene restored",
        "request lost",
        "frame size",
        "another shape",
        "trail broken",
        "threshold changed",
        "verdict corrected",
        "verdict agreed",
        "correction withdrawn",
        "paused",
        "resumed",
        *GOLDEN_STEPS,
        *GOLDEN_ENDS,
    }
)


class ProgressLine:
    """One line on stderr: rewritten in a terminal, a new one every ten seconds elsewhere.

    Args:
        sources: Their remarks are shown too.
    """

    def __init__(self, sources: Sequence[Source] = ()) -> None:
        self._sources = sources
        self._is_terminal = sys.stderr.isatty()
        self._every_s = 0.5 if self._is_terminal else 10.0
        self._next_s = self._every_s
        self._is_inside_line = False

    def __call__(self, progress: Progress) -> None:
        """Print the progress when it is due."""
        self._show_notes()
        if progress.seconds < self._next_s:
            return
        self._next_s = progress.seconds + self._every_s
        text = (
            f"{progress.seconds:.0f} s  {progress.frames} frames  {progress.defective} NG  {progress.fps:.1f} FPS  "
            f"{progress.dropped} dropped  {progress.reconnects} reconnects"
        )
        self._is_inside_line = self._is_terminal
        if self._is_terminal:
            rewrite_line(text)
        else:
            note(text)

    def write_line(self, text: str) -> None:
        """Print a line of its own above the progress."""
        self.end()
        note(text)

    def end(self) -> None:
        """End the line, so that later output starts a new one."""
        if self._is_inside_line:
            self._is_inside_line = False
            note("")

    def _show_notes(self) -> None:
        for source in self._sources:
            with suppress(IndexError):
                while source.notes:
                    self.write_line(masked_text(source.notes.popleft()))


def event_lines(write_line: Callable[[str], None]) -> Sink:
    """Make a sink that prints events.

    Args:
        write_line: Shows one line.
    """
    from edge_ad.streaming.frame import Event, Result
    from edge_ad.streaming.sinks import Sink

    class EventLines(Sink):
        delivery = "inline"

        def write(self, result: Result, picture: object) -> None:
            pass

        def event(self, event: Event) -> None:
            if event.kind in _TOLD:
                write_line(f"{local_time(event.at_unix)}  {event.kind}: {event.text}")

        def close(self) -> None:
            pass

    return EventLines()


def print_summary(summary: Summary, *, as_json: bool) -> None:
    """Print what a stream did."""
    if as_json:
        print_json(summary.to_dict())
        return
    facts = summary.to_dict()
    stages = facts.pop("stages_ms")
    sources = facts.pop("sources")
    facts.pop("newest_gaps")
    for name in ("unjudged", "sink_drops", "recorded"):
        facts[name] = ", ".join(f"{count} {reason}" for reason, count in facts[name].items()) or "none"
    facts["trail"] = ", ".join(summary.trail.values()) or "none"
    facts["bundle"] = summary.bundle[:12]
    print_facts({name.replace("_", " "): value for name, value in facts.items()})
    columns = ("mean_ms", "p50_ms", "p95_ms", "p99_ms", "max_ms")
    rows = [(name, *(times[column] for column in columns)) for name, times in stages.items()]
    print_table(("stage", *(column.replace("_", " ") for column in columns)), rows)
    if len(sources) > 1:
        counts = ("frames", "defective", "dropped", "duplicates", "corrupt", "missed", "reconnects")
        print_table(("source", *counts), [(row["name"], *(row[count] for count in counts)) for row in sources])
