"""The options of ``edge-ad stream``, in the groups of its help."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from edge_ad.cli.options import BackendOption, JsonOption, OptionalValueCommand, PrecisionOption, ThreadsOption
from edge_ad.credentials import WEB_TOKEN

__all__ = ["Ending", "Frames", "JudgingEngine", "Outputs", "SourceSettings", "Sources", "StreamCommand", "StreamEngine"]

_SOURCE, _FRAMES, _VERDICT, _OUTPUT, _END = "Source", "Frames", "Verdict", "Output", "End"


@dataclass(frozen=True)
class StreamEngine:
    """What judges."""

    bundle: Annotated[
        Path | None, typer.Option("--bundle", help="Bundle; the newest one under this folder if not given.")
    ] = None
    backend: BackendOption = "auto"
    precision: PrecisionOption = "auto"
    threads: ThreadsOption = 0
    threshold: Annotated[
        float | None, typer.Option("--threshold", help="Raw score; the bundle's own if not given.")
    ] = None
    is_watched: Annotated[
        bool,
        typer.Option("--watch-bundle", help="Take over the bundle, between two frames, when its folder is replaced."),
    ] = False
    takes_any_product: Annotated[
        bool,
        typer.Option("--any-product", help="With --watch-bundle: take over a bundle of another product too."),
    ] = False
    allows_unverified: Annotated[
        bool,
        typer.Option(
            "--allow-unverified", help="Judge with a bundle that has no recorded outputs to verify its engine by."
        ),
    ] = False


@dataclass(frozen=True)
class Sources:
    """What is looked at."""

    cameras: Annotated[
        list[str] | None,
        typer.Option(
            "--camera",
            metavar="[NAME=]N|ADDRESS",
            help="Camera at this machine, from 0, or basler://, csi://. Repeatable.",
            rich_help_panel=_SOURCE,
        ),
    ] = None
    uris: Annotated[
        list[str] | None,
        typer.Option(
            "--source",
            metavar="[NAME=]PATH|URL",
            help="Video file, folder of images, or rtsp:// or http:// stream. Repeatable; NAME is what records show.",
            rich_help_panel=_SOURCE,
        ),
    ] = None


@dataclass(frozen=True)
class SourceSettings:
    """What is asked of every source; the fields are those of `SourceOptions`."""

    width: Annotated[
        int | None, typer.Option("--width", help="Of a camera's frames, in pixels.", rich_help_panel=_SOURCE)
    ] = None
    height: Annotated[
        int | None, typer.Option("--height", help="Of a camera's frames, in pixels.", rich_help_panel=_SOURCE)
    ] = None
    fps: Annotated[
        float | None, typer.Option("--fps", help="Frames per second to ask of a camera.", rich_help_panel=_SOURCE)
    ] = None
    pixel_format: Annotated[
        str | None, typer.Option("--pixel-format", help="Such as MJPG, YUYV, Mono8, BGR8.", rich_help_panel=_SOURCE)
    ] = None
    exposure_us: Annotated[
        float | None,
        typer.Option("--exposure", metavar="MICROSECONDS", help="Exposure time; fixed.", rich_help_panel=_SOURCE),
    ] = None
    gain: Annotated[
        float | None, typer.Option("--gain", help="In the camera's own unit; fixed.", rich_help_panel=_SOURCE)
    ] = None
    hardware_trigger: Annotated[
        str | None,
        typer.Option(
            "--hardware-trigger",
            metavar="LINE",
            help="Input that starts an exposure, such as Line1.",
            rich_help_panel=_SOURCE,
        ),
    ] = None
    loop: Annotated[
        bool, typer.Option("--loop", help="Start a file or folder again at its end.", rich_help_panel=_SOURCE)
    ] = False
    start_s: Annotated[
        float, typer.Option("--start", metavar="SECONDS", help="Where to start in a video.", rich_help_panel=_SOURCE)
    ] = 0.0
    pace: Annotated[
        Literal["fast", "source"],
        typer.Option("--pace", help="Read a file as fast as it goes, or at its own rate.", rich_help_panel=_SOURCE),
    ] = "fast"
    watch: Annotated[
        bool, typer.Option("--watch", help="Wait for new images in a folder.", rich_help_panel=_SOURCE)
    ] = False
    after: Annotated[
        Literal["leave", "move"],
        typer.Option("--after", help="Leave a watched image, or move it to done/.", rich_help_panel=_SOURCE),
    ] = "leave"
    max_outage_s: Annotated[
        float | None,
        typer.Option(
            "--max-outage",
            min=0.0,
            metavar="SECONDS",
            help="End when a live source is gone for so long.",
            rich_help_panel=_SOURCE,
        ),
    ] = None
    timeout_s: Annotated[
        float,
        typer.Option(
            "--timeout",
            metavar="SECONDS",
            help="Longest silence of a network stream before it counts as lost.",
            rich_help_panel=_SOURCE,
        ),
    ] = 2.0


@dataclass(frozen=True)
class Frames:
    """Which frames are judged, and how many at a time."""

    region: Annotated[
        str | None,
        typer.Option("--region", metavar="X,Y,W,H", help="Part of the frame to judge.", rich_help_panel=_FRAMES),
    ] = None
    trigger: Annotated[
        str,
        typer.Option(
            "--trigger",
            metavar="KIND",
            help="every, every:N, motion:x1,y1,x2,y2, http:PORT or mqtt://host/topic.",
            rich_help_panel=_FRAMES,
        ),
    ] = "every"
    takes_8_bits: Annotated[
        bool,
        typer.Option(
            "--allow-8-bit",
            help="Judge frames of 8 bits by a bundle whose photos used more.",
            rich_help_panel=_FRAMES,
        ),
    ] = False
    checks_health: Annotated[
        bool,
        typer.Option(
            "--frame-health/--no-frame-health",
            help="Report black, over-exposed and frozen frames instead of judging them.",
            rich_help_panel=_FRAMES,
        ),
    ] = True
    policy: Annotated[
        Literal["auto", "newest", "every"],
        typer.Option(
            "--policy",
            help="Judge the newest frame or every one; auto: newest of live sources, every one of files.",
            rich_help_panel=_FRAMES,
        ),
    ] = "auto"
    batch: Annotated[
        int | None,
        typer.Option(
            "--batch",
            min=1,
            max=1024,
            help="Frames for one call of the engine; otherwise several calls are in flight.",
            rich_help_panel=_FRAMES,
        ),
    ] = None


@dataclass(frozen=True)
class JudgingEngine:
    """What follows from several frames; the fields are the arguments of `judges_from_options`."""

    part: Annotated[
        str | None,
        typer.Option(
            "--part",
            metavar="N/M|N/gap:S",
            help="A part is defective when N of its M frames are; or its frames end with a gap of S.",
            rich_help_panel=_VERDICT,
        ),
    ] = None
    hysteresis: Annotated[
        float | None,
        typer.Option(
            "--hysteresis",
            metavar="SHARE",
            help="After a defective frame, OK only below this share of the threshold.",
            rich_help_panel=_VERDICT,
        ),
    ] = None
    cool_down: Annotated[
        str | None,
        typer.Option(
            "--cool-down", metavar="TIME", help="One alarm in so long: 2s, 500ms or 30f.", rich_help_panel=_VERDICT
        ),
    ] = None
    drift: Annotated[
        bool,
        typer.Option(
            "--drift/--no-drift",
            help="Report a slow rise of good scores, and that nearly all parts fail.",
            rich_help_panel=_VERDICT,
        ),
    ] = True
    scene: Annotated[
        bool,
        typer.Option(
            "--scene/--no-scene",
            help="Report light, sharpness, noise or colours unlike those of the training photos.",
            rich_help_panel=_VERDICT,
        ),
    ] = True


@dataclass(frozen=True)
class Outputs:
    """What the options ask for; None is not asked for, an empty address is the usual one."""

    video: Annotated[
        Path | None,
        typer.Option(
            "--save-video", help="Write the frames with their overlay to this video.", rich_help_panel=_OUTPUT
        ),
    ] = None
    lines: Annotated[
        Path | None,
        typer.Option(
            "--verdict-file",
            "--save-records",
            metavar="FILE",
            help="Write one line per frame to this file: CSV, or else JSON.",
            rich_help_panel=_OUTPUT,
        ),
    ] = None
    database: Annotated[
        Path | None,
        typer.Option(
            "--database",
            "--records",
            metavar="FILE.sqlite",
            help="Add every verdict and event to this database; see edge-ad records.",
            rich_help_panel=_OUTPUT,
        ),
    ] = None
    sinks: Annotated[
        list[str] | None,
        typer.Option(
            "--sink",
            metavar="URI",
            help="A sink of another distribution, by its scheme; repeat it for more.",
            rich_help_panel=_OUTPUT,
        ),
    ] = None
    durable: Annotated[
        bool,
        typer.Option(
            "--durable", help="Keep what was recorded through a power cut, not only a crash.", rich_help_panel=_OUTPUT
        ),
    ] = False
    keep_records_days: Annotated[
        float | None,
        typer.Option(
            "--keep-records-days", help="Remove records from the database after so many days.", rich_help_panel=_OUTPUT
        ),
    ] = None
    ng_images: Annotated[
        Path | None,
        typer.Option(
            "--save-ng", metavar="DIR", help="Keep an image of every defective frame.", rich_help_panel=_OUTPUT
        ),
    ] = None
    keep_ng_days: Annotated[
        float, typer.Option("--keep-ng-days", help="Remove those images after so many days.", rich_help_panel=_OUTPUT)
    ] = 30.0
    keep_ng_gb: Annotated[
        float, typer.Option("--keep-ng-gb", help="Remove the oldest beyond so many gigabytes.", rich_help_panel=_OUTPUT)
    ] = 10.0
    mqtt: Annotated[
        str | None,
        typer.Option(
            "--mqtt", metavar="URL", help="Publish verdicts and events: mqtt://host/topic.", rich_help_panel=_OUTPUT
        ),
    ] = None
    webhook: Annotated[
        str | None,
        typer.Option("--webhook", metavar="URL", help="Post what calls for action there.", rich_help_panel=_OUTPUT),
    ] = None
    metrics: Annotated[
        str | None,
        typer.Option(
            "--metrics",
            metavar="[HOST:PORT]",
            help="Serve numbers for Prometheus; at 127.0.0.1:9464 if nothing is given.",
            rich_help_panel=_OUTPUT,
        ),
    ] = None
    hook: Annotated[
        str | None,
        typer.Option(
            "--hook",
            metavar="COMMAND",
            help="Run this when something calls for action.",
            rich_help_panel=_OUTPUT,
        ),
    ] = None
    web: Annotated[
        str | None,
        typer.Option(
            "--web",
            metavar="[HOST:PORT]",
            help="Serve the live page; at 127.0.0.1:8080 if nothing is given.",
            rich_help_panel=_OUTPUT,
        ),
    ] = None
    web_token: Annotated[
        str | None,
        typer.Option(
            "--web-token",
            envvar=WEB_TOKEN,
            metavar="TOKEN",
            help="What one must know to see the page; made when other machines can reach it.",
            rich_help_panel=_OUTPUT,
        ),
    ] = None
    web_hosts: Annotated[
        list[str] | None,
        typer.Option(
            "--web-host",
            metavar="NAME",
            help="Name under which a reverse proxy on this machine makes the page known. Repeatable.",
            rich_help_panel=_OUTPUT,
        ),
    ] = None
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files that exist.", rich_help_panel=_OUTPUT)
    ] = False
    headless: Annotated[bool, typer.Option("--headless", help="Open no window.", rich_help_panel=_OUTPUT)] = False


@dataclass(frozen=True)
class Ending:
    """When the stream ends, and how its summary is printed."""

    max_frames: Annotated[
        int | None, typer.Option("--max-frames", min=1, help="End after so many frames.", rich_help_panel=_END)
    ] = None
    max_seconds: Annotated[
        float | None, typer.Option("--max-seconds", min=0.0, help="End after so many seconds.", rich_help_panel=_END)
    ] = None
    as_json: JsonOption = False


class StreamCommand(OptionalValueCommand):
    """Groups the options in the help, and takes an address option without an address."""

    may_be_bare = frozenset({"--metrics", "--web"})

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """One list for each group, those without a group first."""
        groups: dict[str, list[tuple[str, str]]] = {"Options": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                groups.setdefault(getattr(parameter, "rich_help_panel", None) or "Options", []).append(record)
        for name, records in groups.items():
            with formatter.section(name):
                formatter.write_dl(records)
