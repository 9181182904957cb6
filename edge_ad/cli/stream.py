"""``edge-ad stream``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from edge_ad.cli.options import takes_groups
from edge_ad.cli.stream_options import (
    Ending,
    Frames,
    Outputs,
    Recipes,
    Sources,
    SourceSettings,
    StreamCommand,
    StreamEngine,
    VerdictOptions,
)

if TYPE_CHECKING:
    from edge_ad.streaming.delivery import Observer
    from edge_ad.streaming.filters import FilterOptions
    from edge_ad.streaming.hot_swap import BundleSwapper
    from edge_ad.streaming.sinks import Sink
    from edge_ad.streaming.sources import Source
    from edge_ad.streaming.statistics import Summary

__all__ = ["COMMAND", "stream"]

COMMAND = StreamCommand

_INTERRUPTED = 130


@takes_groups
def stream(
    recipes: Recipes,
    engine: StreamEngine,
    sources: Sources,
    settings: SourceSettings,
    frames: Frames,
    verdicts: VerdictOptions,
    outputs: Outputs,
    ending: Ending,
) -> None:
    """Judge the frames of cameras, videos, folders of images or network streams.

    Of a file, every frame is judged. Of a live source, the newest frame is judged; when it is lost, the stream waits
    for its return. Ctrl-C ends the stream and completes its files.
    """
    from edge_ad.cli.stream_report import print_summary
    from edge_ad.cli.stream_setup import open_filters, open_plc_servers, open_sinks, open_sources, open_users, plc_sinks
    from edge_ad.server import HttpServer, HttpTrigger
    from edge_ad.streaming.sources import SourceOptions
    from edge_ad.streaming.verdicts import observers_from_options

    opened = open_sources(sources.cameras or [], sources.uris or [], SourceOptions(**vars(settings)))
    server = HttpServer(outputs.web_token, users=open_users(outputs), hosts=tuple(outputs.web_hosts or ()))
    plc_servers = open_plc_servers(outputs)
    filters = open_filters(
        frames.region,
        frames.trigger,
        checks_health=frames.checks_health,
        takes_8_bits=frames.takes_8_bits,
        server=server,
        plc_servers=plc_servers,
    )
    has_ids = filters.trigger is not None and filters.trigger.gives_ids
    observers = observers_from_options(**vars(verdicts), has_ids=has_ids)
    sinks = open_sinks(outputs, server)
    sinks += plc_sinks(plc_servers, outputs.gpio, has_parts=verdicts.part is not None)
    if isinstance(filters.trigger, HttpTrigger):
        sinks.append(filters.trigger.answers(len(opened)))
    with _swapper(engine, frames.batch or 1) as swapper:
        summary = _run(swapper, opened, engine.threshold, sinks, observers, filters, frames, ending)
        # Before engines are closed: that waits for a bundle still being opened, and a device may not answer.
        print_summary(summary, as_json=ending.as_json)
    if summary.ended_by == "interrupted":
        raise typer.Exit(_INTERRUPTED)
    _check_whole(opened)


def _check_whole(sources: list[Source]) -> None:
    """Fail where a file is cut off: what it lacks was not inspected."""
    from edge_ad.errors import DataError

    for source in sources:
        if source.shortage:
            raise DataError(f"{source.name} {source.shortage}.", "The file is cut off: copy or record it again.")


def _swapper(asked: StreamEngine, batch: int) -> BundleSwapper:
    from edge_ad.runtime.verification import Verification
    from edge_ad.streaming.hot_swap import BundleSwapper, OpenBundle, open_bundle
    from edge_ad.streaming.operator_thresholds import with_operator_threshold

    verification = Verification(allow_unverified=asked.allows_unverified, batch=batch)
    choice: dict[str, Any] = {"backend": asked.backend, "precision": asked.precision, "threads": asked.threads}

    def opener(root: Path) -> OpenBundle:
        opened = open_bundle(root, **choice, verification=verification)
        return opened if asked.takes_bundle_threshold else with_operator_threshold(opened)

    root = asked.bundle or _newest()
    return BundleSwapper(
        opener,
        opener(root),
        root if asked.is_watched else None,
        verification.cancel,
        any_product=asked.takes_any_product,
    )


def _newest() -> Path:
    from edge_ad.bundle import newest_bundle
    from edge_ad.cli.console import note

    newest = newest_bundle(Path.cwd())
    note(f"Bundle: {newest.root} (the newest here)")
    return newest.root


def _run(
    swapper: BundleSwapper,
    sources: list[Source],
    threshold: float | None,
    sinks: list[Sink],
    observers: list[Observer],
    filters: FilterOptions,
    frames: Frames,
    ending: Ending,
) -> Summary:
    from edge_ad.cli.stream_report import ProgressLine, event_lines
    from edge_ad.streaming.control import StreamControl
    from edge_ad.streaming.operator_thresholds import OperatorThresholds, tell_operator_threshold
    from edge_ad.streaming.session import Limits, run_stream

    progress = ProgressLine(sources)
    first = swapper.first
    control = StreamControl(first.threshold, first.bundle, OperatorThresholds().keep)
    if threshold is None and first.threshold_set:
        tell_operator_threshold(control, first)
    try:
        return run_stream(
            first.engine,
            sources,
            threshold=first.threshold if threshold is None else threshold,
            sinks=[*sinks, event_lines(progress.write_line)],
            observers=observers,
            limits=Limits(ending.max_frames, ending.max_seconds),
            on_progress=progress,
            control=control,
            policy=frames.policy,
            batch=frames.batch,
            filters=filters,
            swapper=swapper,
        )
    finally:
        progress.end()
