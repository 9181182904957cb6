"""Settings of a GenICam camera: names and units differ between generations of cameras."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from edge_ad.errors import UsageError
from edge_ad.streaming.sources.options import SourceOptions

__all__ = ["apply_features", "apply_options", "first_readable"]

_CLOSE_ENOUGH = 0.02  # cameras round to what the sensor can do


def apply_options(nodes: Any, options: SourceOptions, genicam: Any) -> Iterator[str]:
    """Set what was asked for, in the order cameras want: format, size, exposure, gain, rate, trigger.

    Args:
        nodes: Node map of the open camera.
        options: What to set.
        genicam: The module ``pypylon.genicam``.

    Yields:
        A remark for each setting the camera did not take, to follow the camera's name.

    Raises:
        UsageError: A pixel format or trigger input the camera does not know.
    """
    if options.pixel_format is not None:
        _choose(nodes, "PixelFormat", options.pixel_format, genicam)
    for name, offset, wanted in (("Width", "OffsetX", options.width), ("Height", "OffsetY", options.height)):
        if wanted is not None:
            _set_number(nodes, (offset,), 0, genicam)  # which leaves room for the full size
            yield from _set_number(nodes, (name,), wanted, genicam)
    if options.exposure_us is not None:
        _set_text(nodes, "ExposureAuto", "Off", genicam)
        yield from _set_number(nodes, ("ExposureTime", "ExposureTimeAbs"), options.exposure_us, genicam)
    if options.gain is not None:
        _set_text(nodes, "GainAuto", "Off", genicam)
        yield from _set_number(nodes, ("Gain", "GainRaw"), options.gain, genicam)
    if options.fps is not None:
        _set_text(nodes, "AcquisitionFrameRateEnable", "1", genicam)
        yield from _set_number(nodes, ("AcquisitionFrameRate", "AcquisitionFrameRateAbs"), options.fps, genicam)
    if options.hardware_trigger is not None:
        _choose(nodes, "TriggerSelector", "FrameStart", genicam)
        _choose(nodes, "TriggerSource", options.hardware_trigger, genicam)
        _choose(nodes, "TriggerMode", "On", genicam)
        _set_text(nodes, "TriggerActivation", "RisingEdge", genicam)


def apply_features(nodes: Any, features: Mapping[str, str], genicam: Any) -> None:
    """Set features by their own names; a command is run.

    Args:
        nodes: Node map of the open camera.
        features: Name → value as text.
        genicam: The module ``pypylon.genicam``.

    Raises:
        UsageError: The camera does not know a feature, or not with this value.
    """
    for name, value in features.items():
        node = _node(nodes, (name,), genicam)
        if node is None:
            raise UsageError(f"The camera has no feature {name} that can be set now.", "pylon Viewer lists them.")
        try:
            if hasattr(node, "Execute"):
                node.Execute()
            else:
                node.FromString(value)
        except genicam.GenericException:
            raise UsageError(f"The camera does not take {value} for {name}.", _choices(node)) from None


def first_readable(nodes: Any, names: tuple[str, ...], genicam: Any) -> float | None:
    """The value of the first of these features that the camera has; None when it has none."""
    for name in names:
        node = nodes.GetNode(name)
        if node is not None and genicam.IsReadable(node):
            return float(node.GetValue())
    return None


def _node(nodes: Any, names: tuple[str, ...], genicam: Any) -> Any:
    found = (nodes.GetNode(name) for name in names)
    return next((node for node in found if node is not None and genicam.IsWritable(node)), None)


def _set_number(nodes: Any, names: tuple[str, ...], wanted: float, genicam: Any) -> list[str]:
    """Set the nearest value in range and in steps, and remark on it when that is another one."""
    node = _node(nodes, names, genicam)
    if node is None:
        return [f"has no {names[0]} to set."]
    smallest, largest = node.GetMin(), node.GetMax()
    value = min(max(wanted, smallest), largest)
    if isinstance(smallest, int):
        step = node.GetInc()
        value = smallest + round((value - smallest) / step) * step
    node.SetValue(value)
    got = node.GetValue()
    if abs(got - wanted) <= _CLOSE_ENOUGH * abs(wanted):
        return []
    return [f"did not take {names[0]} {wanted:g}: it is {got:g} (possible: {smallest:g} to {largest:g})."]


def _set_text(nodes: Any, name: str, value: str, genicam: Any) -> None:
    """Set what only some cameras have."""
    node = _node(nodes, (name,), genicam)
    if node is not None:
        node.FromString(value)


def _choose(nodes: Any, name: str, wanted: str, genicam: Any) -> None:
    """Set one of several values whatever its case, with or without the ``Packed`` that older cameras add."""
    node = _node(nodes, (name,), genicam)
    if node is None:
        raise UsageError(f"The camera has no {name} to set.", "pylon Viewer lists what it has.")
    known = {symbol.lower(): symbol for symbol in node.Symbolics}
    symbol = known.get(wanted.lower()) or known.get(f"{wanted.lower()}packed")
    if symbol is None:
        raise UsageError(f"The camera has no {name} {wanted}.", _choices(node))
    node.FromString(symbol)


def _choices(node: Any) -> str:
    if hasattr(node, "Symbolics"):
        return f"It has: {', '.join(node.Symbolics)}."
    if hasattr(node, "GetMin"):
        return f"Possible: {node.GetMin():g} to {node.GetMax():g}."
    return ""
