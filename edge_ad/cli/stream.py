"""``edge-ad stream``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from edge_ad.cli import stream_options as options
from edge_ad.cli.options import BackendOption, JsonOption, PrecisionOption, ThreadsOption

if TYPE_CHECKING:
    from edge_ad.streaming.delivery import Judge
    from edge_ad.streaming.filters import FilterOptions
    from edge_ad.streaming.pipeline import Policy
    from edge_ad.streaming.session import Limits
    from edge_ad.streaming.sinks import Sink
    from edge_ad.streaming.sources import Source
    from edge_ad.streaming.statistics import Summary
    from edge_ad.streaming.swap import BundleSwapper

__all__ = ["COMMAND", "stream"]

COMMAND = options.StreamCommand

_INTERRUPTED = 130


def stream(
    bundle: options.Bundle = None,
    backend: BackendOption = "auto",
    precision: PrecisionOption = "auto",
    threads: ThreadsOption = 0,
    threshold: options.Threshold = None,
    watch_bundle: options.WatchBundle = False,
    camera: options.Camera = None,
    source: options.SourceUri = None,
    width: options.Width = None,
    height: options.Height = None,
    fps: options.Fps = None,
    pixel_format: options.PixelFormat = None,
    exposure: options.Exposure = None,
    gain: options.Gain = None,
    hardware_trigger: options.HardwareTrigger = None,
    loop: options.Loop = False,
    start: options.Start = 0.0,
    pace: options.Pace = "fast",
    watch: options.Watch = False,
    after: options.After = "leave",
    max_outage: options.MaxOutage = None,
    region: options.RegionOption = None,
    trigger: options.TriggerOption = "every",
    frame_health: options.FrameHealthOption = True,
    policy: options.PolicyOption = "auto",
    batch: options.Batch = None,
    part: options.PartOption = None,
    hysteresis: options.HysteresisOption = None,
    cool_down: options.CoolDownOption = None,
    drift: options.DriftOption = True,
    save_video: options.SaveVideo = None,
    save_records: options.SaveRecords = None,
    records: options.Records = None,
    durable: options.Durable = False,
    keep_records_days: options.KeepRecordsDays = None,
    save_ng: options.SaveNg = None,
    keep_ng_days: options.KeepNgDays = 30.0,
    keep_ng_gb: options.KeepNgGb = 10.0,
    mqtt: options.Mqtt = None,
    webhook: options.Webhook = None,
    metrics: options.Metrics = None,
    hook: options.Hook = None,
    web: options.Web = None,
    web_token: options.WebToken = None,
    overwrite: options.Overwrite = False,
    headless: options.Headless = False,
    max_frames: options.MaxFrames = None,
    max_seconds: options.MaxSeconds = None,
    as_json: JsonOption = False,
) -> None:
    """Judge the frames of cameras, videos, folders of images or network streams.

    A file is judged frame by frame, to its end. A live source is judged at its newest frame, and waited for when it
    is gone. Ctrl-C ends the stream and completes its files.
    """
    from edge_ad.cli.stream_report import print_summary
    from edge_ad.cli.stream_sinks import Outputs, open_sinks
    from edge_ad.cli.stream_sources import open_filters, open_sources
    from edge_ad.streaming.judgement import judges_from_options
    from edge_ad.streaming.session import Limits
    from edge_ad.streaming.sources import SourceOptions

    _check_threshold(threshold)
    asked = SourceOptions(
        width=width,
        height=height,
        fps=fps,
        pixel_format=pixel_format,
        exposure_us=exposure,
        gain=gain,
        hardware_trigger=hardware_trigger,
        loop=loop,
        start_s=start,
        pace=pace,
        watch=watch,
        after=after,
        max_outage_s=max_outage,
    )
    sources = open_sources(camera or [], source or [], asked)
    filters = open_filters(region, trigger, checks_health=frame_health)
    judges = judges_from_options(part=part, hysteresis=hysteresis, cool_down=cool_down, drift=drift)
    outputs = Outputs(
        save_video,
        save_records,
        records,
        save_ng,
        keep_ng_days,
        keep_ng_gb,
        mqtt,
        webhook,
        metrics,
        hook,
        web,
        web_token,
        overwrite,
        headless,
        durable,
        keep_records_days,
    )
    sinks = open_sinks(outputs)
    with _swapper(bundle, backend, precision, threads, is_watched=watch_bundle) as swapper:
        limits = Limits(max_frames, max_seconds)
        summary = _run(swapper, sources, threshold, sinks, judges, limits, filters, policy, batch)
    print_summary(summary, as_json=as_json)
    if summary.ended_by == "interrupted":
        raise typer.Exit(_INTERRUPTED)


def _check_threshold(threshold: float | None) -> None:
    import math

    from edge_ad.errors import UsageError

    if threshold is not None and not math.isfinite(threshold):  # NaN would pass every frame
        raise UsageError(f"The threshold {threshold} is not a finite number.", "edge-ad inspect shows the bundle's.")


def _swapper(path: Path | None, backend: str, precision: str, threads: int, *, is_watched: bool) -> BundleSwapper:
    from edge_ad.streaming.swap import BundleSwapper, OpenBundle, open_bundle

    def open_next(root: Path) -> OpenBundle:
        return open_bundle(root, backend=backend, precision=precision, threads=threads, check=True)

    root = path or _newest()
    first = open_bundle(root, backend=backend, precision=precision, threads=threads)
    return BundleSwapper(open_next, first, root if is_watched else None)


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
    judges: list[Judge],
    limits: Limits,
    filters: FilterOptions,
    policy: Policy,
    batch: int | None,
) -> Summary:
    from edge_ad.cli.stream_report import ProgressLine, event_lines
    from edge_ad.streaming.control import StreamControl
    from edge_ad.streaming.session import run_stream

    progress = ProgressLine(sources)
    first = swapper.first
    try:
        return run_stream(
            first.engine,
            sources,
            threshold=first.threshold if threshold is None else threshold,
            sinks=[*sinks, event_lines(progress.say)],
            judges=judges,
            limits=limits,
            on_progress=progress,
            control=StreamControl(first.threshold, first.bundle),
            policy=policy,
            batch=batch,
            filters=filters,
            swapper=swapper,
        )
    finally:
        progress.end()
