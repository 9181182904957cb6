"""Features of GenICam cameras: set by name, checked against what the camera says it takes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Literal, Protocol

from edge_ad.errors import UsageError
from edge_ad.streaming.sources.base import CameraSettings
from edge_ad.streaming.sources.options import SourceOptions

__all__ = [
    "Feature",
    "FeatureMap",
    "FeatureRefusedError",
    "Kind",
    "apply_features",
    "apply_options",
    "as_limit",
    "change_settings",
    "frame_rate",
    "read_settings",
    "restore_settings",
]

Kind = Literal["integer", "float", "boolean", "enumeration", "string", "command", "other"]

_CLOSE_ENOUGH = 0.02  # cameras round to what the sensor supports
_FRAME_RATES = ("ResultingFrameRate", "ResultingFrameRateAbs", "AcquisitionFrameRate", "AcquisitionFrameRateAbs")
_TRUE, _FALSE = frozenset({"1", "true", "on", "yes"}), frozenset({"0", "false", "off", "no"})
_MOST_SHOWN = 12
# A value before what chooses it by itself, which locks it.
_CHANGED = ("ExposureTime", "ExposureTimeAbs", "ExposureAuto", "Gain", "GainRaw", "GainAuto")
_NO_LIMIT = 2.0**62  # what a camera gives as the limit of a number that has none is larger
_NEAR = 0.5  # share of a name that is the same in one that may have been meant


class FeatureRefusedError(Exception):
    """A camera does not take a value though it is one that it named; the text says why."""


@dataclass(frozen=True)
class Feature:
    """What a camera says of one of its features.

    Attributes:
        name: In GenICam, such as ``"ExposureTime"``.
        kind: What its value is.
        is_writable: Whether it can be set, or run, now.
        smallest: Of a number; None where there is no limit.
        largest: Of a number; None where there is no limit.
        step: From one possible value of a number to the next; None where there is none.
        choices: The values that an enumeration has now.
    """

    name: str
    kind: Kind
    is_writable: bool
    smallest: float | None = None
    largest: float | None = None
    step: float | None = None
    choices: tuple[str, ...] = ()

    @property
    def takes(self) -> str:
        """What it takes, as a sentence; empty where anything goes."""
        if self.kind == "enumeration":
            return f"It has: {_listed(self.choices)}."
        if self.kind == "boolean":
            return "Possible: 0 or 1."
        if self.smallest is None or self.largest is None:
            return ""
        step = f", in steps of {self.step:g}" if self.step not in (None, 0, 1) else ""
        return f"Possible: {self.smallest:.10g} to {self.largest:.10g}{step}."


def as_limit(number: float) -> float | None:
    """A limit that a camera gives for a number; None where it means that there is none."""
    return number if abs(number) < _NO_LIMIT else None


class FeatureMap(Protocol):
    """The features of an open camera."""

    def names(self) -> Sequence[str]:
        """All of them that are there for users."""

    def find(self, name: str) -> Feature | None:
        """One of them; None for a name that the camera does not know, or does not have now."""

    def value(self, name: str) -> str | None:
        """Its value as text, enumerations by name; None where it cannot be read."""

    def set(self, name: str, value: str) -> None:
        """Set it from text.

        Raises:
            FeatureRefusedError: The camera does not take the value.
            DeviceError: The camera does not answer.
        """

    def run(self, name: str) -> None:
        """Run a command.

        Raises:
            FeatureRefusedError: The camera does not run it.
            DeviceError: The camera does not answer.
        """


def apply_features(camera: str, features: FeatureMap, wanted: Mapping[str, str]) -> None:
    """Set features by their own names, in this order; a command is run, whatever its value.

    Args:
        camera: Its name, for messages.
        features: Of the open camera.
        wanted: Name → value as text.

    Raises:
        UsageError: The camera does not know a feature (the nearest names are told), or does not take the value (its
            range or choices are).
        DeviceError: The camera does not answer.
    """
    for name, value in wanted.items():
        feature = features.find(name)
        if feature is None:
            raise UsageError(f"{camera} has no feature {name}.", _nearest(name, features.names()))
        if not feature.is_writable:
            shown = features.value(name)
            now = "" if shown is None else f" It is {shown}."
            raise UsageError(f"{camera} does not let {name} be set now.{now}", "Another feature may lock it.")
        try:
            _set(camera, features, feature, value)
        except FeatureRefusedError as error:
            raise UsageError(f"{camera} does not take {value} for {name}: {error}", feature.takes) from None


def apply_options(camera: str, features: FeatureMap, options: SourceOptions) -> Iterator[str]:
    """Apply the options, in the order that cameras need: format, size, exposure, gain, rate, trigger.

    Args:
        camera: Its name, for messages.
        features: Of the open camera.
        options: What to set.

    Yields:
        A remark for each setting the camera did not take, to follow the camera's name.

    Raises:
        UsageError: A pixel format or trigger input the camera does not know.
        DeviceError: The camera does not answer.
    """
    if options.pixel_format is not None:
        _choose(camera, features, "PixelFormat", options.pixel_format)
    for name, offset, wanted in (("Width", "OffsetX", options.width), ("Height", "OffsetY", options.height)):
        if wanted is not None:
            yield from _set_number(features, (offset,), 0, is_needed=False)  # which allows the full size
            yield from _set_number(features, (name,), wanted)
    if options.exposure_us is not None:
        _set_if_there(features, "ExposureAuto", "Off")
        yield from _set_number(features, ("ExposureTime", "ExposureTimeAbs"), options.exposure_us)
    if options.gain is not None:
        _set_if_there(features, "GainAuto", "Off")
        yield from _set_number(features, ("Gain", "GainRaw"), options.gain)
    if options.fps is not None:
        _set_if_there(features, "AcquisitionFrameRateEnable", "1")
        yield from _set_number(features, ("AcquisitionFrameRate", "AcquisitionFrameRateAbs"), options.fps)
    if options.hardware_trigger is not None:
        _set_if_there(features, "TriggerSelector", "FrameStart")
        _choose(camera, features, "TriggerSource", options.hardware_trigger)
        _choose(camera, features, "TriggerMode", "On")
        _set_if_there(features, "TriggerActivation", "RisingEdge")


def change_settings(
    camera: str, features: FeatureMap, options: SourceOptions, settings: CameraSettings
) -> SourceOptions:
    """Set exposure and gain of a running camera, exactly or not at all.

    Args:
        camera: Its name, for messages.
        features: Of the open camera.
        options: What it has now.
        settings: What it is to have; None for what stays.

    Returns:
        The options as they are then.

    Raises:
        UsageError: It does not take a value; it has those it had.
        DeviceError: It does not answer.
    """
    now = SourceOptions(exposure_us=options.exposure_us, gain=options.gain)
    wanted = SourceOptions(
        exposure_us=now.exposure_us if settings.exposure_us is None else settings.exposure_us,
        gain=now.gain if settings.gain is None else settings.gain,
    )
    before = read_settings(features)
    notes = [] if wanted == now else list(apply_options(camera, features, wanted))
    if notes:
        restore_settings(features, before)
        raise UsageError(f"{camera} {notes[0]}", "Choose a value that it takes.")
    return replace(options, exposure_us=wanted.exposure_us, gain=wanted.gain)


def read_settings(features: FeatureMap) -> dict[str, str]:
    """The features that `change_settings` may change, as the camera has them: name → value."""
    values = ((name, features.value(name)) for name in _CHANGED)
    return {name: value for name, value in values if value is not None}


def restore_settings(features: FeatureMap, before: Mapping[str, str]) -> None:
    """Set features to what `read_settings` gave.

    Raises:
        DeviceError: The camera does not answer.
    """
    for name, value in before.items():
        _set_if_there(features, name, value)


def frame_rate(features: FeatureMap) -> float | None:
    """Frames per second that the camera names; None where it names none."""
    values = (features.value(name) for name in _FRAME_RATES)
    return next((float(value) for value in values if value is not None and float(value) > 0), None)


def _set(camera: str, features: FeatureMap, feature: Feature, value: str) -> None:
    if feature.kind == "command":
        features.run(feature.name)
    elif feature.kind == "enumeration":
        _choose(camera, features, feature.name, value)
    elif feature.kind in ("integer", "float"):
        features.set(feature.name, _number(camera, feature, value))
    elif feature.kind == "boolean":
        if value.lower() not in _TRUE | _FALSE:
            raise _not_a_value(camera, feature, value)
        features.set(feature.name, "1" if value.lower() in _TRUE else "0")
    else:
        features.set(feature.name, value)


def _number(camera: str, feature: Feature, text: str) -> str:
    """The text of a number that the feature takes."""
    try:
        # Whole numbers are written in hexadecimal too, and in full: 64 bits do not fit a float.
        number: float = int(text, 0) if feature.kind == "integer" else float(text)
    except ValueError:
        raise _not_a_value(camera, feature, text) from None
    low = -math.inf if feature.smallest is None else feature.smallest
    high = math.inf if feature.largest is None else feature.largest
    step = feature.step if feature.kind == "integer" and feature.smallest is not None else None
    if not low <= number <= high or (step and (number - low) % step):
        raise _not_a_value(camera, feature, text)
    return str(number) if feature.kind == "integer" else repr(number)


def _not_a_value(camera: str, feature: Feature, text: str) -> UsageError:
    return UsageError(f"{camera} does not take {text or 'an empty text'} for {feature.name}.", feature.takes)


def _set_number(
    features: FeatureMap, names: tuple[str, ...], wanted: float, *, is_needed: bool = True
) -> Iterator[str]:
    """Set the first of these features that is there to the nearest possible value, and remark where it differs."""
    feature = next((found for found in map(features.find, names) if found is not None and found.is_writable), None)
    if feature is None:
        if is_needed:
            yield f"has no {names[0]} to set."
        return
    try:
        features.set(feature.name, _nearest_number(feature, wanted))
    except FeatureRefusedError as error:
        yield f"did not take {feature.name} {wanted:g}: {error}"
        return
    got = float(features.value(feature.name) or math.nan)
    if not abs(got - wanted) <= _CLOSE_ENOUGH * abs(wanted):
        limits = "" if feature.smallest is None else f" (possible: {feature.smallest:g} to {feature.largest:g})"
        yield f"did not take {feature.name} {wanted:g}: it is {got:g}{limits}."


def _nearest_number(feature: Feature, wanted: float) -> str:
    value = wanted if feature.smallest is None else max(wanted, feature.smallest)
    value = value if feature.largest is None else min(value, feature.largest)
    if feature.kind != "integer":
        return repr(float(value))
    first, step = feature.smallest or 0, feature.step or 1
    nearest = first + round((value - first) / step) * step
    return str(int(nearest if feature.largest is None or nearest <= feature.largest else nearest - step))


def _set_if_there(features: FeatureMap, name: str, value: str) -> None:
    """Set what only some cameras have, or have with this value."""
    feature = features.find(name)
    if feature is None or not feature.is_writable or (feature.choices and value not in feature.choices):
        return
    try:
        features.set(name, value)
    except FeatureRefusedError:
        return


def _choose(camera: str, features: FeatureMap, name: str, wanted: str) -> None:
    """Set one of several values whatever its case, with or without the ``Packed`` that older cameras add."""
    feature = features.find(name)
    if feature is None or not feature.is_writable:
        raise UsageError(f"{camera} has no {name} to set.", _nearest(name, features.names()))
    known = {choice.lower(): choice for choice in feature.choices}
    choice = known.get(wanted.lower()) or known.get(f"{wanted.lower()}packed")
    if choice is None:
        near = _near(wanted, feature.choices)
        first = tuple(choice for choice in feature.choices if choice not in near)
        raise UsageError(f"{camera} has no {name} {wanted}.", f"It has: {_listed((*near, *first))}.")
    try:
        features.set(name, choice)
    except FeatureRefusedError as error:
        raise UsageError(f"{camera} does not take {choice} for {name}: {error}", feature.takes) from None


def _nearest(name: str, names: Sequence[str]) -> str:
    near = _near(name, names)
    return f"It has: {', '.join(near)}." if near else f"It has {len(names)} features, none with such a name."


def _near(name: str, names: Sequence[str]) -> tuple[str, ...]:
    by_lower = {known.lower(): known for known in names}
    return tuple(by_lower[lower] for lower in get_close_matches(name.lower(), by_lower, n=3, cutoff=_NEAR))


def _listed(choices: Sequence[str]) -> str:
    rest = len(choices) - _MOST_SHOWN
    return ", ".join(choices[:_MOST_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
