"""``edge-ad stream``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from edge_ad.bundle import Bundle
    from edge_ad.runtime.base import Engine
    from edge_ad.streaming.session import Limits, Progress
    from edge_ad.streaming.sinks import Sink
    from edge_ad.streaming.sources import Source
    from edge_ad.streaming.statistics import Summary

__all__ = ["stream"]

_INTERRUPTED = 130


def stream(
    bundle: Annotated[Path | None, typer.Option(help="Bundle; the newest one under this folder if not given.")] = None,
    camera: Annotated[int | None, typer.Option(help="Camera at this machine, from 0.")] = None,
    source: Annotated[
        str | None, typer.Option(help="Video file, folder of images, or rtsp:// or http:// stream.")
    ] = None,
    backend: Annotated[str, typer.Option(help="auto, tensorrt, openvino or onnxruntime.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16, fp16, int8 or int8-bf16.")] = "auto",
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0 lets the backend decide.")] = 0,
    threshold: Annotated[float | None, typer.Option(help="Raw score; the bundle's own if not given.")] = None,
    save_video: Annotated[Path | None, typer.Option(help="Write the frames with their overlay to this video.")] = None,
    save_records: Annotated[Path | None, typer.Option(help="Write one line of JSON per frame to this file.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
    headless: Annotated[bool, typer.Option("--headless", help="Open no window.")] = False,
    max_frames: Annotated[int | None, typer.Option(min=1, help="End after so many frames.")] = None,
    max_seconds: Annotated[float | None, typer.Option(min=0.0, help="End after so many seconds.")] = None,
    max_outage: Annotated[
        float | None, typer.Option(min=0.0, help="End when a live source is gone for so many seconds.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Judge the frames of a camera, a video, a folder of images or a network stream.

    A file is judged frame by frame, to its end. A live source is judged at its newest frame, and waited for when it
    is gone. Ctrl-C ends the stream and completes its files.
    """
    from edge_ad.streaming.session import Limits

    _check_threshold(threshold)
    frames = _source(camera, source, max_outage)
    sinks = _sinks(save_video, save_records, overwrite=overwrite, headless=headless)
    engine = _engine(_bundle(bundle), backend, precision, threads)
    summary = _run(engine, frames, threshold, sinks, Limits(max_frames, max_seconds))
    _print(summary, as_json=json)
    if summary.ended_by == "interrupted":
        raise typer.Exit(_INTERRUPTED)


def _check_threshold(threshold: float | None) -> None:
    import math

    from edge_ad.errors import UsageError

    if threshold is not None and not math.isfinite(threshold):  # NaN would pass every frame
        raise UsageError(f"The threshold {threshold} is not a finite number.", "edge-ad inspect shows the bundle's.")


def _source(camera: int | None, uri: str | None, max_outage_s: float | None) -> Source:
    from edge_ad.errors import UsageError
    from edge_ad.streaming.sources import SourceOptions, camera_source, source_from_uri

    if camera is not None and uri is None:
        return camera_source(camera, SourceOptions(max_outage_s=max_outage_s))
    if uri is not None and camera is None:
        return source_from_uri(uri, SourceOptions(max_outage_s=max_outage_s))
    problem = "Give one source" if camera is None else "Give one source, not two"
    raise UsageError(f"{problem}.", "Use either --camera N or --source PATH_OR_URL.")


def _sinks(video: Path | None, records: Path | None, *, overwrite: bool, headless: bool) -> list[Sink]:
    from edge_ad.cli.console import note
    from edge_ad.streaming.sinks import RecordsSink, VideoSink, WindowSink, has_display

    sinks: list[Sink] = []
    if records is not None:
        sinks.append(RecordsSink(records, overwrite=overwrite))
    if video is not None:
        sinks.append(VideoSink(video, overwrite=overwrite))
    if not headless and has_display():
        sinks.append(WindowSink())
    elif not headless:
        note("There is no display here: running without a window, as with --headless.")
    return sinks


def _bundle(path: Path | None) -> Bundle:
    from edge_ad.bundle import Bundle, newest_bundle
    from edge_ad.cli.console import note

    if path is not None:
        return Bundle.open(path)
    newest = newest_bundle(Path.cwd())
    note(f"Bundle: {newest.root} (the newest here)")
    return newest


def _engine(bundle: Bundle, backend: str, precision: str, threads: int) -> Engine:
    from edge_ad.runtime import open_engine

    return open_engine(bundle, backend=backend, precision=precision, threads=threads)


def _run(engine: Engine, source: Source, threshold: float | None, sinks: list[Sink], limits: Limits) -> Summary:
    from edge_ad.streaming.session import run_stream

    progress = _ProgressLine()
    limit = engine.threshold.value if threshold is None else threshold
    with engine:
        try:
            return run_stream(engine, source, threshold=limit, sinks=sinks, limits=limits, on_progress=progress)
        finally:
            progress.end()


class _ProgressLine:
    """One line on stderr: rewritten in a terminal, a new one every ten seconds elsewhere."""

    def __init__(self) -> None:
        import sys

        self._is_terminal = sys.stderr.isatty()
        self._every_s = 0.5 if self._is_terminal else 10.0
        self._next_s = self._every_s
        self._is_inside_line = False

    def __call__(self, progress: Progress) -> None:
        """Say where the stream is, when it is time to."""
        if progress.seconds < self._next_s:
            return
        self._next_s = progress.seconds + self._every_s
        text = (
            f"{progress.seconds:.0f} s  {progress.frames} frames  {progress.defective} NG  {progress.fps:.1f} FPS  "
            f"{progress.dropped} dropped  {progress.reconnects} reconnects"
        )
        self._is_inside_line = self._is_terminal
        typer.echo(f"\r{text}\x1b[K" if self._is_terminal else text, err=True, nl=not self._is_terminal)

    def end(self) -> None:
        """Leave the line, so that what is printed next starts a new one."""
        if self._is_inside_line:
            typer.echo(err=True)


def _print(summary: Summary, *, as_json: bool) -> None:
    from edge_ad.cli.console import print_facts, print_json, print_table

    if as_json:
        print_json(summary.to_dict())
        return
    facts = summary.to_dict()
    stages = facts.pop("stages_ms")
    facts.pop("newest_gaps")
    print_facts({name.replace("_", " "): value for name, value in facts.items()})
    columns = ("mean_ms", "p50_ms", "p95_ms", "p99_ms", "max_ms")
    rows = [(name, *(times[column] for column in columns)) for name, times in stages.items()]
    print_table(("stage", *(column.replace("_", " ") for column in columns)), rows)
