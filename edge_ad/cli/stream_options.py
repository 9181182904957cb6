"""The options of ``edge-ad stream``, in the groups of its help."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from edge_ad.cli.options import (
    LONGEST_WATCH_S,
    BackendOption,
    JsonOption,
    OptionalValueCommand,
    PlainHttpOption,
    PrecisionOption,
    ThreadsOption,
    TrustOption,
)

__all__ = [
    "Ending",
    "Frames",
    "Recipes",
    "Registry",
    "SourceSettings",
    "Sources",
    "StreamCommand",
    "StreamEngine",
    "VerdictOptions",
]

# One for each group of the help.
_recipe_option, _source_option, _frames_option, _verdict_option, _end_option = (
    partial(typer.Option, rich_help_panel=group) for group in ("Recipe", "Source", "Frames", "Verdict", "End")
)


_GIVEN = ("COMMANDLINE", "ENVIRONMENT")


@dataclass(frozen=True)
class StreamEngine:
    """The bundle, and how to run it."""

    bundle: Annotated[
        str | None,
        typer.Option(
            "--bundle",
            metavar="FOLDER|oci://REGISTRY/NAME:TAG",
            help="Bundle; by default the newest one below this folder. One in a registry is pulled.",
        ),
    ] = None
    backend: BackendOption = "auto"
    precision: PrecisionOption = "auto"
    threads: ThreadsOption = 0
    server: Annotated[
        str | None,
        typer.Option(
            "--server",
            metavar="grpc://HOST:PORT/MODEL",
            help="Judge frames on this Triton, OpenVINO or KServe server, which must have the bundle's model.",
        ),
    ] = None
    server_timeout_s: Annotated[
        float,
        typer.Option(
            "--server-timeout",
            metavar="SECONDS",
            min=0.1,
            help="Longest that --server may take for a call; then it counts as lost, and is waited for.",
        ),
    ] = 10.0
    threshold: Annotated[
        float | None,
        typer.Option("--threshold", help="Raw score above which a frame is NG; by default the bundle's own."),
    ] = None
    takes_bundle_threshold: Annotated[
        bool,
        typer.Option("--bundle-threshold", help="Ignore the threshold that an operator set on the page before."),
    ] = False
    is_watched: Annotated[
        bool,
        typer.Option(
            "--watch-bundle",
            help="When the bundle's folder is replaced, or the tag in the registry names another bundle, "
            "switch to the new one between two frames.",
        ),
    ] = False
    takes_any_product: Annotated[
        bool,
        typer.Option(
            "--any-product", help="With --watch-bundle or oci://: also switch to a bundle of another product."
        ),
    ] = False
    allows_unverified: Annotated[
        bool,
        typer.Option(
            "--allow-unverified", help="Use a bundle without recorded outputs, whose engine cannot be verified."
        ),
    ] = False


@dataclass(frozen=True)
class Registry:
    """How a registry of bundles is asked."""

    trust: TrustOption = None
    plain_http: PlainHttpOption = False
    every_s: Annotated[
        float,
        typer.Option(
            "--watch-every",
            min=1.0,
            max=LONGEST_WATCH_S,
            metavar="S",
            help="With --watch-bundle and a tag in a registry: seconds between two looks at it.",
        ),
    ] = 60.0


@dataclass(frozen=True)
class Recipes:
    """What the other options take their values from."""

    context: typer.Context
    recipe: Annotated[
        str | None,
        _recipe_option(
            "--recipe",
            metavar="FILE|NAME",
            help="Take options from this recipe; those of the command line win. With --recipes, a name in the folder.",
        ),
    ] = None
    recipes: Annotated[
        Path | None,
        _recipe_option(
            "--recipes",
            metavar="DIR",
            help="Folder of recipes between which the stream can be switched (docs/how-to/recipes.md).",
        ),
    ] = None
    most_bundles: Annotated[
        int,
        _recipe_option(
            "--warm-bundles",
            min=1,
            help="Keep the bundles of this many recipes open, with the one in use.",
        ),
    ] = 4
    most_mb: Annotated[
        int | None,
        _recipe_option(
            "--recipe-memory",
            metavar="MB",
            min=1,
            help="Memory that open bundles may take; by default half of what is free at the start.",
        ),
    ] = None

    golden: Annotated[
        Path | None,
        _recipe_option(
            "--golden",
            metavar="FILE",
            help="Golden check: master parts that the line must judge as recorded (docs/how-to/golden_check.md).",
        ),
    ] = None

    @property
    def overridden(self) -> frozenset[str]:
        """The options that the command line or a variable of the environment gives, by their names in the code."""
        sources = {name: self.context.get_parameter_source(name) for name in self.context.params}
        return frozenset(name for name, source in sources.items() if source is not None and source.name in _GIVEN)


@dataclass(frozen=True)
class Sources:
    """Where frames come from."""

    cameras: Annotated[
        list[str] | None,
        _source_option(
            "--camera",
            metavar="[NAME=]N|ADDRESS",
            help="Camera of this machine, from 0, or basler://, aravis://, genicam://, csi://. Repeatable.",
        ),
    ] = None
    uris: Annotated[
        list[str] | None,
        _source_option(
            "--source",
            metavar="[NAME=]PATH|URL",
            help="Video file, folder of images, or rtsp:// or http:// stream. Repeatable; NAME is what records show.",
        ),
    ] = None


@dataclass(frozen=True)
class SourceSettings:
    """Options of every source; the fields are those of `SourceOptions`."""

    width: Annotated[int | None, _source_option("--width", help="Of the camera's frames, in pixels.")] = None
    height: Annotated[int | None, _source_option("--height", help="Of the camera's frames, in pixels.")] = None
    fps: Annotated[float | None, _source_option("--fps", help="Frames per second to ask of a camera.")] = None
    pixel_format: Annotated[str | None, _source_option("--pixel-format", help="Such as MJPG, YUYV, Mono8, BGR8.")] = (
        None
    )
    exposure_us: Annotated[
        float | None,
        _source_option("--exposure", metavar="MICROSECONDS", help="Exposure time; fixed."),
    ] = None
    gain: Annotated[float | None, _source_option("--gain", help="In the camera's own unit; fixed.")] = None
    hardware_trigger: Annotated[
        str | None,
        _source_option("--hardware-trigger", metavar="LINE", help="Input that starts an exposure, such as Line1."),
    ] = None
    loop: Annotated[bool, _source_option("--loop", help="Start a file or folder again at its end.")] = False
    start_s: Annotated[float, _source_option("--start", metavar="SECONDS", help="Where to start in a video.")] = 0.0
    pace: Annotated[
        Literal["fast", "source"],
        _source_option("--pace", help="Read a file as fast as possible, or at its own frame rate."),
    ] = "fast"
    watch: Annotated[bool, _source_option("--watch", help="Wait for new images in a folder.")] = False
    after: Annotated[
        Literal["leave", "move"],
        _source_option("--after", help="Leave a watched image, or move it to done/."),
    ] = "leave"
    max_outage_s: Annotated[
        float | None,
        _source_option(
            "--max-outage", min=0.0, metavar="SECONDS", help="End when a live source is lost for this long."
        ),
    ] = None
    timeout_s: Annotated[
        float,
        _source_option(
            "--timeout", metavar="SECONDS", help="Longest silence of a network stream before it counts as lost."
        ),
    ] = 2.0


@dataclass(frozen=True)
class Frames:
    """Which frames are judged, and how many at a time."""

    region: Annotated[
        str | None,
        _frames_option(
            "--region", metavar="X,Y,W,H", help="Part of the frame to judge, in pixels or as shares: 10%,10%,80%,80%."
        ),
    ] = None
    trigger: Annotated[
        str,
        _frames_option(
            "--trigger",
            metavar="KIND",
            help="every, every:N, motion:x1,y1,x2,y2, http:PORT, mqtt://host/topic, modbus or opcua (of that server).",
        ),
    ] = "every"
    takes_8_bits: Annotated[
        bool,
        _frames_option("--allow-8-bit", help="Judge frames of 8 bits with a bundle whose photos have more."),
    ] = False
    checks_health: Annotated[
        bool,
        _frames_option(
            "--frame-health/--no-frame-health",
            help="Report black, over-exposed and frozen frames instead of judging them.",
        ),
    ] = True
    policy: Annotated[
        Literal["auto", "newest", "every"],
        _frames_option(
            "--policy", help="Judge the newest frame or every frame; auto: newest for live sources, every for files."
        ),
    ] = "auto"
    batch: Annotated[
        int | None,
        _frames_option(
            "--batch", min=1, max=1024, help="Frames per call of the engine; by default several calls are in flight."
        ),
    ] = None


@dataclass(frozen=True)
class VerdictOptions:
    """Rules over several frames; the fields are the arguments of `observers_from_options`."""

    part: Annotated[
        str | None,
        _verdict_option(
            "--part",
            metavar="N/M|N/gap:S",
            help="A part is NG when N of its M frames are; with gap, a pause of S ends a part.",
        ),
    ] = None
    hysteresis: Annotated[
        float | None,
        _verdict_option(
            "--hysteresis", metavar="SHARE", help="After a defective frame, OK only below this share of the threshold."
        ),
    ] = None
    cool_down: Annotated[
        str | None,
        _verdict_option(
            "--cool-down", metavar="TIME", help="At most one alarm in this time: 2s, 500ms or 30f (frames)."
        ),
    ] = None
    drift: Annotated[
        bool,
        _verdict_option(
            "--drift/--no-drift", help="Report a slow rise of good scores, and that nearly all parts fail."
        ),
    ] = True
    scene: Annotated[
        bool,
        _verdict_option(
            "--scene/--no-scene", help="Report light, sharpness, noise or colours unlike those of the training photos."
        ),
    ] = True


@dataclass(frozen=True)
class Ending:
    """When the stream ends, and how its summary is printed."""

    max_frames: Annotated[int | None, _end_option("--max-frames", min=1, help="End after this many frames.")] = None
    max_seconds: Annotated[float | None, _end_option("--max-seconds", min=0.0, help="End after this many seconds.")] = (
        None
    )
    as_json: JsonOption = False


class StreamCommand(OptionalValueCommand):
    """Groups the options in the help, and accepts an address option without a value."""

    may_be_bare = frozenset({"--metrics", "--modbus", "--opcua", "--web"})

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take from a recipe what the command line does not give."""
        from edge_ad.cli.recipe_defaults import defaults_of_recipe

        ctx.default_map = defaults_of_recipe(_given(args, "--recipe"), _given(args, "--recipes"))
        return super().parse_args(ctx, args)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write one list per group, options without a group first."""
        groups: dict[str, list[tuple[str, str]]] = {"Options": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                groups.setdefault(getattr(parameter, "rich_help_panel", None) or "Options", []).append(record)
        for name, records in groups.items():
            with formatter.section(name):
                formatter.write_dl(records)


def _given(args: Sequence[str], option: str) -> str | None:
    """The last value of an option on the command line."""
    given = None
    for place, word in enumerate(args):
        if word == option and place + 1 < len(args):
            given = args[place + 1]
        elif word.startswith(f"{option}="):
            given = word.partition("=")[2]
    return given
