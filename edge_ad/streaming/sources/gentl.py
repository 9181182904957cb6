"""GenICam cameras through the GenTL producer of any maker, with the package ``genicam``."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from edge_ad.errors import DeviceError
from edge_ad.runtime.gentl import first_line, load_genicam, open_producers, producer_files
from edge_ad.streaming.sources.genapi_features import GenapiFeatures, camera_port, node_map
from edge_ad.streaming.sources.genicam_driver import Buffer, Connection, FoundCamera
from edge_ad.streaming.sources.genicam_features import FeatureMap
from edge_ad.streaming.sources.pixel_formats import format_of_code

__all__ = ["GentlDriver"]

_POLL_S = 0.002  # the package keeps the interpreter while it waits, so that it is only asked
_SILENT_S = 1.0  # after that long, the camera is asked whether it is there


class GentlDriver:
    """Cameras that GenTL producers reach.

    Args:
        producer: A producer's file, or a folder with some; empty for those of ``GENICAM_GENTL64_PATH``.

    Raises:
        MissingDependencyError: The package ``genicam`` is not installed.
        UsageError: The producer is not there.
    """

    def __init__(self, producer: str = "") -> None:
        self._producers = open_producers()
        self._files: Sequence[Path] = producer_files(producer)
        self.nothing_found = (
            f"{', '.join(file.name for file in self._files)} finds no camera: has it power, and is it connected?"
            if self._files
            else "Install the GenTL producer of its maker, and set GENICAM_GENTL64_PATH or producer= to its folder."
        )

    def find(self) -> Sequence[FoundCamera]:
        """The cameras of all producers, in the order of their files."""
        cameras = self._producers.cameras(self._files)
        self._devices = [camera.device for camera in cameras]
        return [FoundCamera(camera.serial, camera.name, str(index)) for index, camera in enumerate(cameras)]

    def connect(self, camera: FoundCamera) -> Connection:
        """Open a camera that `find` found last."""
        return _GentlConnection(self._devices[int(camera.key)], camera.name)


class _GentlConnection:
    buffers = 8

    def __init__(self, info: Any, name: str) -> None:
        self._gentl, self._genapi = load_genicam()
        self._errors = (self._gentl.GenericException, self._genapi.GenericException)
        self._name = name
        self._stream: Any = None
        self._events: Any = None
        self._chunks: Any = None
        self._announced: list[Any] = []
        self._heard_at = time.monotonic()
        self._device = info.create_device()
        try:
            self._device.open(self._gentl.DEVICE_ACCESS_FLAGS_LIST.DEVICE_ACCESS_EXCLUSIVE)
            self._port = camera_port(self._device.remote_port)
            self._nodes = node_map(self._port)
        except self._errors as error:
            self.close()
            raise self._not_opened(error) from None
        self.features: FeatureMap = GenapiFeatures(self._nodes)

    def start(self) -> None:
        try:
            self._start()
        except self._errors as error:
            raise self._not_opened(error) from None

    def fetch(self, timeout_s: float, cancelled: threading.Event) -> Buffer | None:
        until = time.monotonic() + timeout_s
        while True:
            try:
                self._events.update_event_data(0)
            except self._gentl.TimeoutException:
                if time.monotonic() >= until or cancelled.wait(_POLL_S):
                    return None
                continue
            except self._errors as error:
                raise self._is_gone(error) from None
            self._heard_at = time.monotonic()
            try:
                return self._buffer(self._events.buffer)
            except self._errors as error:  # its size is asked of the camera where the producer does not know it
                raise self._is_gone(error) from None

    def chunk(self, buffer: Buffer, name: str) -> int | None:
        if self._chunks is None:
            self._chunks = self._chunk_adapter()
        try:
            if isinstance(self._chunks, self._genapi.ChunkAdapterGeneric):
                self._chunks.attach_buffer(buffer.handle.raw_buffer, buffer.handle.chunk_data_info_list)
            else:
                self._chunks.attach_buffer(buffer.handle.raw_buffer, len(buffer.data))
            return int(self._nodes.get_node(name).value)
        except self._errors:
            return None
        finally:
            self._try(self._chunks.detach_buffer)

    def release(self, buffer: Buffer) -> None:
        try:
            self._stream.queue_buffer(buffer.handle)
        except self._errors as error:
            raise self._is_gone(error) from None

    def is_lost(self) -> bool:
        if time.monotonic() - self._heard_at < _SILENT_S:
            return False
        self._heard_at = time.monotonic()
        return not self._port.answers()

    def close(self) -> None:
        if self._chunks is not None:
            self._try(self._chunks.detach_node_map)  # an adapter lives until the process ends, and would keep the nodes
        if self._stream is not None:
            self._try(lambda: self._nodes.get_node("AcquisitionStop").execute())
            self._try(lambda: self._nodes.get_node("TLParamsLocked").from_string("0"))
            self._try(lambda: self._stream.stop_acquisition(self._gentl.ACQ_STOP_FLAGS_LIST.ACQ_STOP_FLAGS_KILL))
            self._try(lambda: self._stream.flush_buffer_queue(self._gentl.ACQ_QUEUE_TYPE_LIST.ACQ_QUEUE_ALL_DISCARD))
            if self._events is not None:
                self._try(self._events.unregister_event)
            for announced in self._announced:
                self._try(partial(self._stream.revoke_buffer, announced))
            self._try(self._stream.close)
        self._try(self._device.close)

    def _start(self) -> None:
        lists = self._gentl
        self._stream = self._device.create_data_stream()
        self._stream.open(self._device.data_stream_ids[0])
        event = self._stream.register_event(lists.EVENT_TYPE_LIST.EVENT_NEW_BUFFER)
        self._events = lists.EventManagerNewBuffer(event)
        size = (
            self._stream.payload_size
            if self._stream.defines_payload_size()
            else self._nodes.get_node("PayloadSize").value
        )
        for index in range(max(self.buffers, self._least_buffers())):
            self._announced.append(self._stream.announce_buffer(lists.BufferToken(bytes(size), index)))
            self._stream.queue_buffer(self._announced[-1])
        self._try(lambda: self._nodes.get_node("TLParamsLocked").from_string("1"))  # cameras of before SFNC 2 lack it
        self._stream.start_acquisition(lists.ACQ_START_FLAGS_LIST.ACQ_START_FLAGS_DEFAULT, -1)
        self._nodes.get_node("AcquisitionStart").execute()
        self._heard_at = time.monotonic()

    def _buffer(self, handle: Any) -> Buffer:
        is_complete = bool(self._said(handle.is_complete, False))
        number = self._said(lambda: handle.frame_id, None)
        data = np.frombuffer(handle.raw_buffer, np.uint8)
        picture, begin = handle, self._said(lambda: handle.image_offset, 0)
        if parts := self._said(lambda: list(handle.parts), []):
            picture, begin = parts[0], parts[0].data_offset
        code = self._said(lambda: picture.data_format if parts else picture.pixel_format, 0)
        size_hw = (self._side(picture, "height"), self._side(picture, "width"))
        padding = self._said(lambda: picture.x_padding if parts else picture.padding_x, 0)
        return Buffer(number, is_complete, format_of_code(code), size_hw, padding, data[begin:], handle)

    def _side(self, picture: Any, name: str) -> int:
        """A side of a picture, as the camera says where its producer does not."""
        found = self._said(lambda: getattr(picture, name), None)
        return int(self._nodes.get_node(name.capitalize()).value if found is None else found)

    def _said(self, ask: Callable[[], Any], default: Any) -> Any:
        try:
            return ask()
        except self._errors:
            return default

    def _try(self, step: Callable[[], object]) -> None:
        self._said(step, None)

    def _least_buffers(self) -> int:
        return int(self._said(lambda: self._stream.buffer_announce_min, 0))

    def _chunk_adapter(self) -> Any:
        kinds = {"GEV": self._genapi.ChunkAdapterGEV, "U3V": self._genapi.ChunkAdapterU3V}
        return kinds.get(self._device.tl_type, self._genapi.ChunkAdapterGeneric)(self._nodes)

    def _is_gone(self, error: Exception) -> DeviceError:
        return DeviceError(f"The camera {self._name} is lost: {first_line(error)}")

    def _not_opened(self, error: Exception) -> DeviceError:
        hint = "Check its cable and power, and that no other program holds it."
        return DeviceError(f"The camera {self._name} cannot be opened: {first_line(error)}", hint)
