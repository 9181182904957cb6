"""A Basler camera (GigE, USB3, CoaXPress or emulated), through pylon."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import DeviceError, UsageError
from edge_ad.runtime.peripherals import load_pylon
from edge_ad.streaming.sources.base import FrameNumbers, Source
from edge_ad.streaming.sources.selection import SourceOptions

__all__ = ["BaslerSource", "apply_features", "apply_options", "first_readable"]

_CLOSE_ENOUGH = 0.02  # cameras round to what the sensor supports
_WAIT_MS = 200  # how soon a wait for a frame notices a cancellation or the loss of the camera
_LONGEST_SILENCE_S = 2.0
_FRAME_RATES = ("ResultingFrameRate", "ResultingFrameRateAbs")
_NO_NUMBER = 2**64 - 1  # what pylon says when the camera does not number its frames


def apply_options(nodes: Any, options: SourceOptions, genicam: Any) -> Iterator[str]:
    """Apply the options, in the order that cameras need: format, size, exposure, gain, rate, trigger.

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
            _set_number(nodes, (offset,), 0, genicam)  # which allows the full size
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
    """Set the nearest possible value, and remark on it where it differs."""
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


class BaslerSource(Source):
    """A Basler camera, live: its newest frame, or every frame of a hardware trigger.

    Frames that the camera numbered and that never came are counted in ``missed``, incomplete ones in ``corrupt``.

    Args:
        camera: Its number among those found, from 0, or its serial number, which stays the same when cameras are
            plugged in another order.
        options: Width, height, fps, exposure, gain, pixel format and hardware trigger to set.
        features: Any other feature of the camera by its GenICam name → value, set in this order after the options; a
            command such as ``UserSetLoad`` runs whatever its value.

    Raises:
        MissingDependencyError: pypylon is not installed.
    """

    def __init__(
        self, camera: int | str, options: SourceOptions | None = None, features: Mapping[str, str] | None = None
    ) -> None:
        self._options, self._features = options or SourceOptions(), dict(features or {})
        is_triggered = self._options.hardware_trigger is not None
        super().__init__(f"Basler camera {camera}", is_live=True, is_triggered=is_triggered)
        self._pylon, self._genicam = load_pylon()
        self._wanted = camera
        self._camera: Any = None
        self._converter: Any = None
        self._numbers = FrameNumbers()
        self._cancelled = threading.Event()

    @property
    def fps(self) -> float | None:
        """Frames per second according to the camera; None with a trigger, which sets the pace."""
        if self._camera is None or self.is_triggered:
            return None
        try:
            fps = first_readable(self._camera.GetNodeMap(), _FRAME_RATES, self._genicam)
        except self._genicam.GenericException:
            return None
        return fps if fps else None

    def open(self) -> None:
        """Connect, apply the options and start."""
        self.close()
        try:
            self._camera = self._pylon.InstantCamera(self._pylon.TlFactory.GetInstance().CreateDevice(self._device()))
            self._camera.Open()
            self._set_up()
            self._camera.StartGrabbing(self._strategy())
        except self._genicam.GenericException as error:
            self.close()
            hint = "Check its cable and power, and that no other program (pylon Viewer) holds it."
            raise DeviceError(f"{self.name} cannot be opened: {_first_line(error)}", hint) from None
        except Exception:
            self.close()
            raise

    def read(self) -> NDArray[np.uint8] | None:
        """The next complete frame; None when the camera is gone, or when cancelled."""
        try:
            return self._read()
        except self._genicam.GenericException:  # unplugged between two calls
            return None

    def close(self) -> None:
        """Stop and release the camera."""
        camera, self._camera, self._converter = self._camera, None, None
        if camera is None:
            return
        self._numbers.restart()
        for step in (camera.StopGrabbing, camera.Close, camera.DestroyDevice):
            try:
                step()
            except self._genicam.GenericException:
                continue  # an unplugged camera cannot be stopped

    def cancel(self) -> None:
        """End the wait for a frame."""
        self._cancelled.set()

    def _read(self) -> NDArray[np.uint8] | None:
        silent_s = 0.0
        while not self._cancelled.is_set() and (self.is_triggered or silent_s < _LONGEST_SILENCE_S):
            camera = self._camera
            if camera is None or not camera.IsGrabbing() or camera.IsCameraDeviceRemoved():
                return None
            grabbed = camera.RetrieveResult(_WAIT_MS, self._pylon.TimeoutHandling_Return)
            if not grabbed.IsValid():
                silent_s += _WAIT_MS / 1e3
                continue
            try:
                if (image := self._image(grabbed)) is not None:
                    return image
            finally:
                grabbed.Release()
        return None

    def _image(self, grabbed: Any) -> NDArray[np.uint8] | None:
        self._count(grabbed)
        if not grabbed.GrabSucceeded():
            self.corrupt += 1
            return None
        pixel_type = grabbed.PixelType
        if pixel_type == self._pylon.PixelType_BGR8packed:
            return np.asarray(grabbed.Array, np.uint8)
        if pixel_type == self._pylon.PixelType_Mono8:
            return np.asarray(cv2.cvtColor(grabbed.Array, cv2.COLOR_GRAY2BGR), np.uint8)
        return np.asarray(self._convert(grabbed), np.uint8)

    def _convert(self, grabbed: Any) -> Any:
        if self._converter is None:
            self._converter = self._pylon.ImageFormatConverter()
            self._converter.OutputPixelFormat = self._pylon.PixelType_BGR8packed
        return self._converter.Convert(grabbed).GetArray()

    def _count(self, grabbed: Any) -> None:
        number = grabbed.BlockID
        if number == _NO_NUMBER:  # count by the host: what it replaced before it was fetched
            self._numbers.add(skipped=grabbed.GetNumberOfSkippedImages())
        else:
            self._numbers.see(number)
        self.source_count, self.missed = self._numbers.count, self._numbers.missed

    def _strategy(self) -> Any:
        """Triggered frames are parts, so none may be replaced; otherwise only the newest matters."""
        if self.is_triggered:
            return self._pylon.GrabStrategy_OneByOne
        return self._pylon.GrabStrategy_LatestImageOnly

    def _device(self) -> Any:
        devices = self._pylon.TlFactory.GetInstance().EnumerateDevices()
        for index, device in enumerate(devices):
            if self._wanted in (index, device.GetSerialNumber()):
                return device
        there = ", ".join(f"{index} ({device.GetSerialNumber()})" for index, device in enumerate(devices))
        raise DeviceError(f"There is no {self.name}.", f"There are: {there}." if there else "pylon finds no camera.")

    def _set_up(self) -> None:
        nodes = self._camera.GetNodeMap()
        self.notes.extend(f"{self.name} {note}" for note in apply_options(nodes, self._options, self._genicam))
        apply_features(nodes, self._features, self._genicam)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].partition(" : ")[0].rstrip(".") + "."
