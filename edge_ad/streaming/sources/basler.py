"""A Basler camera (GigE, USB3, CoaXPress or emulated), through pylon."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import DeviceError, UsageError
from edge_ad.runtime.machine_vision import load_pylon
from edge_ad.streaming.sources.base import CameraSettings, FrameNumbers, Source
from edge_ad.streaming.sources.genicam_features import (
    apply_features,
    apply_options,
    change_settings,
    frame_rate,
    read_settings,
    restore_settings,
)
from edge_ad.streaming.sources.options import SourceOptions
from edge_ad.streaming.sources.pylon_features import PylonFeatures

__all__ = ["BaslerSource"]

_WAIT_MS = 200  # how soon a wait for a frame notices a cancellation or the loss of the camera
_LONGEST_SILENCE_S = 2.0
_NO_NUMBER = 2**64 - 1  # what pylon says when the camera does not number its frames


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
        super().__init__(f"Basler camera {camera}", is_live=True)
        self._pylon, self._genicam = load_pylon()
        self._wanted = camera
        self._options, self._features = options or SourceOptions(), dict(features or {})
        self._camera: Any = None
        self._converter: Any = None
        self._is_triggered = False
        self._numbers = FrameNumbers()
        self._cancelled = threading.Event()

    @property
    def is_triggered(self) -> bool:
        """Whether the camera waits for a trigger."""
        return self._is_triggered

    @property
    def fps(self) -> float | None:
        """Frames per second according to the camera; None with a trigger, which sets the pace."""
        if self._camera is None or self._is_triggered:
            return None
        try:
            return frame_rate(PylonFeatures(self._camera.GetNodeMap()))
        except self._genicam.GenericException:
            return None

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

    def change(self, settings: CameraSettings) -> Callable[[], None]:
        """Set exposure and gain of the running camera, exactly or not at all; a reconnection keeps them."""
        camera, options = self._camera, self._options
        if camera is None:
            raise UsageError(f"{self.name} is gone.", "Try again when it has returned.")
        try:
            features = PylonFeatures(camera.GetNodeMap())
            before = read_settings(features)
            self._options = change_settings(self.name, features, options, settings)
        except self._genicam.GenericException as error:
            raise UsageError(f"{self.name} does not answer: {_first_line(error)}") from None
        return partial(self._restore, options, before)

    def _restore(self, options: SourceOptions, before: Mapping[str, str]) -> None:
        camera, self._options = self._camera, options
        try:
            if camera is not None:
                restore_settings(PylonFeatures(camera.GetNodeMap()), before)
        except self._genicam.GenericException as error:
            raise DeviceError(f"{self.name} does not answer: {_first_line(error)}") from None

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
        while not self._cancelled.is_set() and (self._is_triggered or silent_s < _LONGEST_SILENCE_S):
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
        if self._is_triggered:
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
        features = PylonFeatures(self._camera.GetNodeMap())
        self.notes.extend(f"{self.name} {note}" for note in apply_options(self.name, features, self._options))
        apply_features(self.name, features, self._features)
        self._is_triggered = features.value("TriggerMode") == "On"


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].partition(" : ")[0].rstrip(".") + "."
