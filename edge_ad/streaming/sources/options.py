"""Options of sources, from the command line and from the settings in an address."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from edge_ad.errors import UsageError

__all__ = ["CAMERA_OPTIONS", "SourceOptions", "only", "with_query"]

_PACES = ("fast", "source")
_AFTER = ("leave", "move")
_FPS = (0.001, 100_000.0)
_TRUE, _FALSE = frozenset({"", "1", "true", "yes", "on"}), frozenset({"0", "false", "no", "off"})


@dataclass(frozen=True)
class SourceOptions:
    """Options of a source. None keeps the setting of the camera or file.

    Attributes:
        width: Of the frames of a camera, in pixels.
        height: Of the frames of a camera, in pixels.
        fps: Frames per second of a camera; of a folder of images that is played at ``pace="source"``.
        pixel_format: What the camera sends: ``MJPG`` or ``YUYV`` (V4L2), ``Mono8`` or ``BayerRG8`` (machine vision).
        exposure_us: Exposure time in microseconds; switches automatic exposure off.
        gain: In the camera's own unit; switches automatic gain off.
        hardware_trigger: Input that starts an exposure, such as ``"Line1"`` (machine vision).
        loop: Start a file or folder again at its end.
        start_s: Where to start in a video, in seconds.
        pace: ``"fast"`` reads a file as fast as possible, ``"source"`` at its own frame rate.
        watch: Wait for new images in a folder.
        after: What is done with a watched image that was read: ``"leave"`` it, or ``"move"`` it to the folder ``done``.
        max_outage_s: Longest outage of a live source to wait for, in seconds; None waits for ever.
        timeout_s: Longest silence of a network stream before it counts as lost, in seconds.

    Raises:
        UsageError: A value out of its range.
    """

    width: int | None = None
    height: int | None = None
    fps: float | None = None
    pixel_format: str | None = None
    exposure_us: float | None = None
    gain: float | None = None
    hardware_trigger: str | None = None
    loop: bool = False
    start_s: float = 0.0
    pace: str = "fast"
    watch: bool = False
    after: str = "leave"
    max_outage_s: float | None = None
    timeout_s: float = 2.0

    def __post_init__(self) -> None:
        for name in ("width", "height", "fps", "exposure_us", "timeout_s"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise UsageError(f"{_shown(name)} must be above 0, not {value:g}.")
        if self.fps is not None and not _FPS[0] <= self.fps <= _FPS[1]:
            raise UsageError(f"fps must be from {_FPS[0]:g} to {_FPS[1]:g}, not {self.fps:g}.")
        for name in ("gain", "start_s", "max_outage_s"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise UsageError(f"{_shown(name)} must be 0 or above, not {value:g}.")
        for name, allowed in (("pace", _PACES), ("after", _AFTER)):
            if getattr(self, name) not in allowed:
                raise UsageError(f"Unknown {name}: {getattr(self, name)}.", f"Known: {', '.join(allowed)}.")


CAMERA_OPTIONS = ("width", "height", "fps", "exposure_us", "gain", "max_outage_s")


def only(options: SourceOptions, kind: str, taken: Iterable[str]) -> SourceOptions:
    """Refuse options that a kind of source would ignore: the user would not notice.

    Args:
        options: What was asked for.
        kind: Of the source, as the user reads it.
        taken: Names of the fields it takes.

    Raises:
        UsageError: Another field is set.
    """
    default = SourceOptions()
    for field in fields(SourceOptions):
        name = field.name
        # A limit for live sources does no harm to a file.
        if name in taken or name in ("max_outage_s", "timeout_s") or getattr(options, name) == getattr(default, name):
            continue
        named = ", ".join(_shown(other) for other in taken if other not in ("max_outage_s", "timeout_s"))
        raise UsageError(
            f"{_shown(name)} has no effect on {kind}.", f"It takes: {named}." if named else "It takes no settings."
        )
    return options


def with_query(options: SourceOptions, query: Mapping[str, str]) -> SourceOptions:
    """Options with the settings in an address's query, which override those of the command line.

    Args:
        options: The options of the command line.
        query: Name → value, such as ``{"width": "1280", "loop": "1"}``.

    Raises:
        UsageError: An unknown name, or a value that is not what the name asks for.
    """
    changes: dict[str, Any] = {}
    for name, text in query.items():
        if name not in _QUERY:
            raise UsageError(f"Unknown setting in the address: {name}.", f"Known: {', '.join(_QUERY)}.")
        field, read = _QUERY[name]
        try:
            changes[field] = read(text)
        except ValueError as error:
            raise UsageError(f"{name}={text} in the address is not a value for {name}.") from error
    return replace(options, **changes)


def _flag(text: str) -> bool:
    if text.lower() in _TRUE | _FALSE:
        return text.lower() in _TRUE
    raise ValueError(text)


_QUERY: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "width": ("width", int),
    "height": ("height", int),
    "fps": ("fps", float),
    "pixel_format": ("pixel_format", str),
    "exposure": ("exposure_us", float),
    "gain": ("gain", float),
    "hardware_trigger": ("hardware_trigger", str),
    "loop": ("loop", _flag),
    "start": ("start_s", float),
    "pace": ("pace", str),
    "watch": ("watch", _flag),
    "after": ("after", str),
    "max_outage": ("max_outage_s", float),
    "timeout": ("timeout_s", float),
}


def _shown(field: str) -> str:
    """The option of a field, as the user writes it."""
    return {field: name for name, (field, _) in _QUERY.items()}[field]
