"""A GenICam camera of any maker, over whichever library reaches it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import DeviceError, UsageError
from edge_ad.image_limits import pixel_limit
from edge_ad.streaming.sources.base import CameraSettings, FrameNumbers, Source
from edge_ad.streaming.sources.genicam_driver import Buffer, Connection, FoundCamera, GenicamDriver
from edge_ad.streaming.sources.genicam_features import (
    FeatureMap,
    FeatureRefusedError,
    apply_features,
    apply_options,
    change_settings,
    frame_rate,
    read_settings,
    restore_settings,
)
from edge_ad.streaming.sources.options import SourceOptions
from edge_ad.streaming.sources.pixel_formats import format_of_name, to_bgr

__all__ = ["GenicamSource"]

_WAIT_S = 0.1  # how soon a wait for a frame notices a cancellation or the loss of the camera
_LONGEST_SILENCE_S = 2.0
_CLOSE_S = 0.5
_MOST_CORRUPT_IN_ROW = 100  # a camera that sends nothing else counts as lost
_CHUNK_FRAME_ID = "ChunkFrameID"


class GenicamSource(Source):
    """A GenICam camera, live: its newest frame, or every frame where a trigger starts them.

    Frames that the camera numbered and that never came are counted in ``missed``, incomplete ones in ``corrupt``.

    Args:
        driver: The way to it.
        kind: What such a camera is called, such as ``"GenICam camera"``.
        camera: Its number among those found, from 0, or its serial number, which stays the same when cameras are
            plugged in another order.
        options: Width, height, fps, exposure, gain, pixel format and hardware trigger to set.
        features: Any other feature of the camera by its GenICam name → value, set in this order after the options; a
            command such as ``UserSetLoad`` runs whatever its value.
    """

    def __init__(
        self,
        driver: GenicamDriver,
        kind: str,
        camera: int | str,
        options: SourceOptions | None = None,
        features: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{kind} {camera}", is_live=True)
        self._driver, self._wanted = driver, camera
        self._serial = camera if isinstance(camera, str) else ""
        self._options, self._features = options or SourceOptions(), dict(features or {})
        self._connection: Connection | None = None
        self._is_used = threading.RLock()  # no other thread frees the memory of a frame that is being read
        self._fps: float | None = None
        self._is_triggered = False
        self._has_frame_id = False
        self._numbers = FrameNumbers()
        self._cancelled = threading.Event()
        self._trained_bits: int | None = None
        self._takes_8_bits = False

    @property
    def is_triggered(self) -> bool:
        """Whether the camera waits for a trigger, as it said when it was opened."""
        return self._is_triggered

    @property
    def fps(self) -> float | None:
        """Frames per second according to the camera when it was opened; None with a trigger, which sets the pace."""
        return self._fps

    def expect_bits(self, significant_bits: int | None, *, takes_8_bits: bool) -> None:
        """Note them: what the camera gives is known when it is open, and compared then."""
        self._trained_bits, self._takes_8_bits = significant_bits, takes_8_bits

    def open(self) -> None:
        """Find the camera, connect, apply options and features, and start.

        Raises:
            UsageError: A feature or value that the camera does not take, or frames of another depth than those that
                were trained on.
            DeviceError: It is not there, or cannot be opened.
        """
        self.close()
        try:
            self._connection = self._driver.connect(self._found())
            self._set_up(self._connection)
            self._connection.start()
            self._fps = None if self._is_triggered else frame_rate(self._connection.features)
        except Exception:
            self.close()
            raise

    def change(self, settings: CameraSettings) -> Callable[[], None]:
        """Set exposure and gain of the running camera, exactly or not at all; a reconnection keeps them."""
        with self._is_used:
            if self._connection is None:
                raise UsageError(f"{self.name} is gone.", "Try again when it has returned.")
            features, options = self._connection.features, self._options
            before = read_settings(features)
            self._options = change_settings(self.name, features, options, settings)
        return partial(self._restore, options, before)

    def _restore(self, options: SourceOptions, before: Mapping[str, str]) -> None:
        with self._is_used:
            self._options = options
            if self._connection is not None:
                restore_settings(self._connection.features, before)

    def read(self) -> NDArray[np.uint8] | None:
        """The next complete frame; None when the camera is gone, or when cancelled."""
        try:
            return self._read()
        except DeviceError:  # unplugged between two calls
            return None

    def close(self) -> None:
        """Stop and release the camera."""
        with self._is_used:
            connection, self._connection = self._connection, None
            if connection is not None:
                self._numbers.restart()
                self._close(connection)

    def cancel(self) -> None:
        """End the wait for a frame."""
        self._cancelled.set()

    def _close(self, connection: Connection) -> None:
        """Wait until it is closed: a library asks a camera that is gone for seconds. At the end nobody waits for it."""
        closing = threading.Thread(target=connection.close, name="close camera", daemon=True)
        closing.start()
        while closing.is_alive() and not self._cancelled.is_set():
            closing.join(_WAIT_S)
        closing.join(_CLOSE_S)

    def _read(self) -> NDArray[np.uint8] | None:
        silent_since, corrupt = time.monotonic(), self.corrupt
        while not self._cancelled.is_set() and self.corrupt - corrupt < _MOST_CORRUPT_IN_ROW:
            with self._is_used:
                connection = self._connection
                if connection is None or connection.is_lost():
                    return None
                buffer = connection.fetch(_WAIT_S, self._cancelled)
                if buffer is not None:
                    silent_since = time.monotonic()
                    if (image := self._image(connection, buffer)) is not None:
                        return image
            if not self._is_triggered and time.monotonic() - silent_since >= _LONGEST_SILENCE_S:
                return None
        return None

    def _image(self, connection: Connection, first: Buffer) -> NDArray[np.uint8] | None:
        """The picture of the newest complete frame that waits; of the only one where each is a part."""
        taken = list[tuple[int | None, bool]]()
        buffer: Buffer | None = first
        chosen: Buffer | None = None
        place = -1
        while buffer is not None:
            taken.append((self._number_of(connection, buffer), buffer.is_complete))
            spare: Buffer | None = buffer
            if buffer.is_complete:
                spare, chosen, place = chosen, buffer, len(taken) - 1
            if spare is not None:
                connection.release(spare)
            buffer = self._newer(connection, len(taken))
        self._count(taken, place)
        if chosen is None:
            return None
        try:
            return self._picture(chosen)
        finally:
            connection.release(chosen)

    def _newer(self, connection: Connection, taken: int) -> Buffer | None:
        """A frame that came after those taken; None where there is none, or each is a part."""
        if self._is_triggered or taken > connection.buffers:
            return None
        # Where all memory was full, later frames found none, and only the next one is new.
        return connection.fetch(_WAIT_S if taken == connection.buffers else 0.0, self._cancelled)

    def _count(self, taken: Sequence[tuple[int | None, bool]], place: int) -> None:
        """Count frames, with their number and whether they are complete, of which one is given on."""
        for index, (number, is_complete) in enumerate(taken):
            is_replaced = is_complete and index != place
            if number is None:
                self._numbers.see_unnumbered(is_missed=is_replaced)
            elif not is_replaced:  # a number that is passed over counts as missed
                self._numbers.see(number)
            self.corrupt += not is_complete
        self.source_count, self.missed = self._numbers.count, self._numbers.missed

    def _picture(self, buffer: Buffer) -> NDArray[np.uint8] | None:
        height, width = buffer.size_hw
        if buffer.pixel_format is not None and 0 < height * width <= pixel_limit():
            try:
                return to_bgr(buffer.data, buffer.pixel_format, buffer.size_hw, buffer.row_padding)
            except ValueError:  # complete, the driver says, and yet too short
                pass
        self.corrupt += 1
        return None

    def _number_of(self, connection: Connection, buffer: Buffer) -> int | None:
        """By the camera's chunk data, which the transport cannot change; else by the transport."""
        if not self._has_frame_id:
            return buffer.number
        number = connection.chunk(buffer, _CHUNK_FRAME_ID) if buffer.is_complete else None
        if number is None and buffer.is_complete:
            self._has_frame_id = False
            self._numbers.restart()
            return buffer.number
        return number

    def _found(self) -> FoundCamera:
        """The camera, by its serial number once that is known, so that no other is taken for it."""
        cameras = self._driver.find()
        for index, camera in enumerate(cameras):
            if camera.serial == self._serial if self._serial else index == self._wanted:
                self._serial = camera.serial
                return camera
        there = ", ".join(f"{index} ({camera.serial}, {camera.name})" for index, camera in enumerate(cameras))
        raise DeviceError(f"There is no {self.name}.", f"There are: {there}." if there else self._driver.nothing_found)

    def _set_up(self, connection: Connection) -> None:
        features = connection.features
        self.notes.extend(f"{self.name} {note}" for note in apply_options(self.name, features, self._options))
        apply_features(self.name, features, self._features)
        self._is_triggered = features.value("TriggerMode") == "On"
        self._has_frame_id = "ChunkModeActive" not in self._features and _asks_for_frame_id(features)
        self._check_format(features)

    def _check_format(self, features: FeatureMap) -> None:
        name = features.value("PixelFormat") or ""
        pixel_format = format_of_name(name)
        if pixel_format is None:
            feature = features.find("PixelFormat")
            possible = [choice for choice in (feature.choices if feature else ()) if format_of_name(choice)]
            raise UsageError(
                f"{self.name} sends {name or 'an unknown pixel format'}, which is not read here.",
                f"Choose one with pixel_format=: {', '.join(possible)}." if possible else "It has none that is.",
            )
        bits = pixel_format.significant_bits
        if self._trained_bits not in (None, 8, bits) and not self._takes_8_bits:
            raise UsageError(
                f"The photos that were trained on use {self._trained_bits} bits, and {name} of {self.name} has {bits}.",
                "Choose a pixel format of that depth, or judge its frames anyway with --allow-8-bit.",
            )


def _asks_for_frame_id(features: FeatureMap) -> bool:
    """Have the camera send its own frame number with each frame; whether it will."""
    selector = features.find("ChunkSelector")
    if selector is None or "FrameID" not in selector.choices:
        return False
    try:
        for name, value in (("ChunkModeActive", "1"), ("ChunkSelector", "FrameID"), ("ChunkEnable", "1")):
            features.set(name, value)
    except FeatureRefusedError:
        return False
    return True
