"""The options of ``edge-ad stream``, in the groups of its help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import typer

from edge_ad.cli.optional_values import OptionalValueCommand

__all__ = ["StreamCommand"]

_SOURCE, _FRAMES, _VERDICT, _OUTPUT, _END = "Source", "Frames", "Verdict", "Output", "End"

Bundle: TypeAlias = Annotated[
    Path | None, typer.Option("--bundle", help="Bundle; the newest one under this folder if not given.")
]
Threshold: TypeAlias = Annotated[
    float | None, typer.Option("--threshold", help="Raw score; the bundle's own if not given.")
]
WatchBundle: TypeAlias = Annotated[
    bool,
    typer.Option("--watch-bundle", help="Take over the bundle, between two frames, when its folder is replaced."),
]

Camera: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--camera",
        metavar="N|ADDRESS",
        help="Camera at this machine, from 0, or basler://, csi://. Repeatable.",
        rich_help_panel=_SOURCE,
    ),
]
SourceUri: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--source",
        metavar="PATH|URL",
        help="Video file, folder of images, or rtsp:// or http:// stream. Repeatable.",
        rich_help_panel=_SOURCE,
    ),
]
Width: TypeAlias = Annotated[
    int | None, typer.Option("--width", help="Of a camera's frames, in pixels.", rich_help_panel=_SOURCE)
]
Height: TypeAlias = Annotated[
    int | None, typer.Option("--height", help="Of a camera's frames, in pixels.", rich_help_panel=_SOURCE)
]
Fps: TypeAlias = Annotated[
    float | None, typer.Option("--fps", help="Frames per second to ask of a camera.", rich_help_panel=_SOURCE)
]
PixelFormat: TypeAlias = Annotated[
    str | None, typer.Option("--pixel-format", help="Such as MJPG, YUYV, Mono8, BGR8.", rich_help_panel=_SOURCE)
]
Exposure: TypeAlias = Annotated[
    float | None,
    typer.Option("--exposure", metavar="MICROSECONDS", help="Exposure time; fixed.", rich_help_panel=_SOURCE),
]
Gain: TypeAlias = Annotated[
    float | None, typer.Option("--gain", help="In the camera's own unit; fixed.", rich_help_panel=_SOURCE)
]
HardwareTrigger: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--hardware-trigger",
        metavar="LINE",
        help="Input that starts an exposure, such as Line1.",
        rich_help_panel=_SOURCE,
    ),
]
Loop: TypeAlias = Annotated[
    bool, typer.Option("--loop", help="Start a file or folder again at its end.", rich_help_panel=_SOURCE)
]
Start: TypeAlias = Annotated[
    float, typer.Option("--start", metavar="SECONDS", help="Where to start in a video.", rich_help_panel=_SOURCE)
]
Pace: TypeAlias = Annotated[
    Literal["fast", "source"],
    typer.Option("--pace", help="Read a file as fast as it goes, or at its own rate.", rich_help_panel=_SOURCE),
]
Watch: TypeAlias = Annotated[
    bool, typer.Option("--watch", help="Wait for new images in a folder.", rich_help_panel=_SOURCE)
]
After: TypeAlias = Annotated[
    Literal["leave", "move"],
    typer.Option("--after", help="Leave a watched image, or move it to done/.", rich_help_panel=_SOURCE),
]
MaxOutage: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--max-outage",
        min=0.0,
        metavar="SECONDS",
        help="End when a live source is gone for so long.",
        rich_help_panel=_SOURCE,
    ),
]

RegionOption: TypeAlias = Annotated[
    str | None, typer.Option("--region", metavar="X,Y,W,H", help="Part of the frame to judge.", rich_help_panel=_FRAMES)
]
TriggerOption: TypeAlias = Annotated[
    str,
    typer.Option(
        "--trigger",
        metavar="KIND",
        help="every, every:N, motion:x1,y1,x2,y2, http:PORT or mqtt://host/topic.",
        rich_help_panel=_FRAMES,
    ),
]
FrameHealthOption: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--frame-health/--no-frame-health",
        help="Report black, over-exposed and frozen frames instead of judging them.",
        rich_help_panel=_FRAMES,
    ),
]
PolicyOption: TypeAlias = Annotated[
    Literal["auto", "newest", "every"],
    typer.Option(
        "--policy",
        help="Judge the newest frame or every one; auto: newest of live sources, every one of files.",
        rich_help_panel=_FRAMES,
    ),
]
Batch: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--batch",
        min=1,
        help="Frames for one call of the engine; otherwise several calls are in flight.",
        rich_help_panel=_FRAMES,
    ),
]

PartOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--part",
        metavar="N/M|N/gap:S",
        help="A part is defective when N of its M frames are; or its frames end with a gap of S.",
        rich_help_panel=_VERDICT,
    ),
]
HysteresisOption: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--hysteresis",
        metavar="SHARE",
        help="After a defective frame, OK only below this share of the threshold.",
        rich_help_panel=_VERDICT,
    ),
]
CoolDownOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--cool-down", metavar="TIME", help="One alarm in so long: 2s, 500ms or 30f.", rich_help_panel=_VERDICT
    ),
]
DriftOption: TypeAlias = Annotated[
    bool,
    typer.Option("--drift/--no-drift", help="Report a slow rise of good scores.", rich_help_panel=_VERDICT),
]

SaveVideo: TypeAlias = Annotated[
    Path | None,
    typer.Option("--save-video", help="Write the frames with their overlay to this video.", rich_help_panel=_OUTPUT),
]
SaveRecords: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--save-records", help="Write one line per frame to this file: CSV, or else JSON.", rich_help_panel=_OUTPUT
    ),
]
Records: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--records",
        metavar="FILE.sqlite",
        help="Add every verdict and event to this database; see edge-ad records.",
        rich_help_panel=_OUTPUT,
    ),
]
Durable: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--durable", help="Keep what was recorded through a power cut, not only a crash.", rich_help_panel=_OUTPUT
    ),
]
KeepRecordsDays: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--keep-records-days", help="Remove records from the database after so many days.", rich_help_panel=_OUTPUT
    ),
]
SaveNg: TypeAlias = Annotated[
    Path | None,
    typer.Option("--save-ng", metavar="DIR", help="Keep an image of every defective frame.", rich_help_panel=_OUTPUT),
]
KeepNgDays: TypeAlias = Annotated[
    float, typer.Option("--keep-ng-days", help="Remove those images after so many days.", rich_help_panel=_OUTPUT)
]
KeepNgGb: TypeAlias = Annotated[
    float, typer.Option("--keep-ng-gb", help="Remove the oldest beyond so many gigabytes.", rich_help_panel=_OUTPUT)
]
Mqtt: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--mqtt", metavar="URL", help="Publish verdicts and events: mqtt://host/topic.", rich_help_panel=_OUTPUT
    ),
]
Webhook: TypeAlias = Annotated[
    str | None,
    typer.Option("--webhook", metavar="URL", help="Post what calls for action there.", rich_help_panel=_OUTPUT),
]
Metrics: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--metrics",
        metavar="[HOST:PORT]",
        help="Serve numbers for Prometheus; at 127.0.0.1:9464 if nothing is given.",
        rich_help_panel=_OUTPUT,
    ),
]
Hook: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--hook",
        metavar="COMMAND",
        help="Run this when something calls for action.",
        rich_help_panel=_OUTPUT,
    ),
]
Web: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--web",
        metavar="[HOST:PORT]",
        help="Serve the live page; at 127.0.0.1:8080 if nothing is given.",
        rich_help_panel=_OUTPUT,
    ),
]
WebToken: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--web-token",
        envvar="EDGE_AD_WEB_TOKEN",
        metavar="TOKEN",
        help="What one must know to see the page; made when other machines can reach it.",
        rich_help_panel=_OUTPUT,
    ),
]
Overwrite: TypeAlias = Annotated[
    bool, typer.Option("--overwrite", help="Replace files that exist.", rich_help_panel=_OUTPUT)
]
Headless: TypeAlias = Annotated[bool, typer.Option("--headless", help="Open no window.", rich_help_panel=_OUTPUT)]

MaxFrames: TypeAlias = Annotated[
    int | None, typer.Option("--max-frames", min=1, help="End after so many frames.", rich_help_panel=_END)
]
MaxSeconds: TypeAlias = Annotated[
    float | None, typer.Option("--max-seconds", min=0.0, help="End after so many seconds.", rich_help_panel=_END)
]


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
