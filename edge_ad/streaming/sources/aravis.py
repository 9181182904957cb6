"""GenICam cameras (GigE Vision, USB3 Vision) through Aravis."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Sequence
from contextlib import suppress
from ctypes import byref, c_double, c_int64, c_size_t, c_uint
from typing import Any

import numpy as np

from edge_ad.errors import DeviceError
from edge_ad.runtime.aravis import Aravis, AravisError, ControlLost, load_aravis
from edge_ad.streaming.sources.genicam_driver import Buffer, Connection, FoundCamera
from edge_ad.streaming.sources.genicam_features import Feature, FeatureMap, FeatureRefusedError, Kind, as_limit
from edge_ad.streaming.sources.pixel_formats import format_of_code

__all__ = ["AravisDriver"]

_POLL_US = 10_000  # a wait in Aravis cannot be cancelled
_SUCCESS = 0  # ARV_BUFFER_STATUS_SUCCESS
_PAYLOADS = frozenset({1, 5, 0x4001})  # image, and image with chunk data as newer and older versions have it
_NOT_WRITABLE = (-1, 0)  # undefined, read only
_WRITE_ONLY = 1
# In this order: an enumeration is an integer too.
_KINDS: tuple[Kind, ...] = ("enumeration", "command", "boolean", "float", "integer", "string")


class AravisDriver:
    """Cameras that Aravis reaches.

    Raises:
        MissingDependencyError: Aravis is not installed.
    """

    nothing_found = "Aravis finds no camera: is it on the same network, with power and an address of that network?"

    def __init__(self) -> None:
        self._aravis = load_aravis()

    def find(self) -> Sequence[FoundCamera]:
        """The cameras that answer within a second."""
        return [FoundCamera(camera.serial, camera.name, camera.device) for camera in self._aravis.cameras()]

    def connect(self, camera: FoundCamera) -> Connection:
        """Open a camera, and take control of it."""
        return _AravisConnection(self._aravis, camera)


class _AravisConnection:
    buffers = 8

    def __init__(self, aravis: Aravis, camera: FoundCamera) -> None:
        self._aravis, self._name = aravis, camera.name
        self._stream = self._parser = 0
        self._is_lost = threading.Event()
        self._camera = self._checked("arv_camera_new", camera.key.encode())
        self._device = aravis.call("arv_camera_get_device", self._camera)
        self._on_loss = ControlLost(lambda *_: self._is_lost.set())  # kept: the library calls it
        self._signal = aravis.call("g_signal_connect_data", self._device, b"control-lost", self._on_loss, None, None, 0)
        self.features: FeatureMap = _AravisFeatures(aravis, self._device)
        if not aravis.is_controlled(self._device):
            self.close()
            raise DeviceError(f"The camera {self._name} is in use by another program.", "End that one first.")

    def start(self) -> None:
        size = self._checked("arv_camera_get_payload", self._camera)
        self._stream = self._checked("arv_camera_create_stream", self._camera, None, None)
        for _ in range(self.buffers):
            buffer = self._aravis.call("arv_buffer_new_allocate", size)
            self._aravis.call("arv_stream_push_buffer", self._stream, buffer)
        self._parser = self._aravis.call("arv_camera_create_chunk_parser", self._camera)
        self._checked("arv_camera_start_acquisition", self._camera)

    def fetch(self, timeout_s: float, cancelled: threading.Event) -> Buffer | None:
        left_us = round(timeout_s * 1e6)
        while True:
            if left_us <= 0:
                found = self._aravis.call("arv_stream_try_pop_buffer", self._stream)
            else:
                found = self._aravis.call("arv_stream_timeout_pop_buffer", self._stream, min(left_us, _POLL_US))
            left_us -= _POLL_US
            if found or left_us <= 0 or cancelled.is_set() or self._is_lost.is_set():
                return self._buffer(found) if found else None

    def chunk(self, buffer: Buffer, name: str) -> int | None:
        try:
            found = self._aravis.call("arv_chunk_parser_get_integer_value", self._parser, buffer.handle, name.encode())
        except AravisError:
            return None
        return int(found)

    def release(self, buffer: Buffer) -> None:
        self._aravis.call("arv_stream_push_buffer", self._stream, buffer.handle)

    def is_lost(self) -> bool:
        return self._is_lost.is_set()

    def close(self) -> None:
        self._aravis.call("g_signal_handler_disconnect", self._device, self._signal)
        if self._stream and not self._is_lost.is_set():
            with suppress(AravisError):  # an unplugged camera cannot be stopped
                self._aravis.call("arv_camera_stop_acquisition", self._camera)
        for owned in (self._stream, self._parser, self._camera):  # the stream has the buffers
            if owned:
                self._aravis.call("g_object_unref", owned)

    def _buffer(self, handle: int) -> Buffer:
        call = self._aravis.call
        is_complete = call("arv_buffer_get_status", handle) == _SUCCESS
        is_image = is_complete and call("arv_buffer_get_payload_type", handle) in _PAYLOADS
        code = call("arv_buffer_get_image_pixel_format", handle) if is_image else 0
        size_hw = (
            (call("arv_buffer_get_image_height", handle), call("arv_buffer_get_image_width", handle))
            if is_image
            else (0, 0)
        )
        size = c_size_t()
        start = call("arv_buffer_get_data", handle, byref(size))
        content: Any = (ctypes.c_uint8 * size.value).from_address(start) if start else b""
        data = np.frombuffer(content, np.uint8)
        number = call("arv_buffer_get_frame_id", handle) or None  # GigE Vision numbers from 1: 0 is none
        padding = self._aravis.row_padding(handle) if is_image else 0
        return Buffer(number, is_complete, format_of_code(code), size_hw, padding, data, handle)

    def _checked(self, name: str, *arguments: Any) -> Any:
        try:
            return self._aravis.call(name, *arguments)
        except AravisError as error:
            hint = "Check its cable and power, and that no other program holds it."
            raise DeviceError(f"The camera {self._name} cannot be opened: {error}", hint) from None


class _AravisFeatures:
    def __init__(self, aravis: Aravis, device: int) -> None:
        self._aravis, self._device = aravis, device

    def names(self) -> Sequence[str]:
        return list(self._names_in("Root"))

    def find(self, name: str) -> Feature | None:
        node = self._node(name)
        if node is None or not self._said("arv_gc_feature_node_is_available", node):
            return None
        kind: Kind = next((kind for kind in _KINDS if self._aravis.is_a(node, kind)), "other")
        access = self._aravis.call("arv_gc_feature_node_get_actual_access_mode", node)
        is_writable = kind == "command" or (
            access not in _NOT_WRITABLE and not self._said("arv_gc_feature_node_is_locked", node)
        )
        smallest, largest = self._bounds(name, kind)
        step = self._value("arv_device_get_integer_feature_increment", name) if kind == "integer" else None
        choices = self._choices(name) if kind == "enumeration" else ()
        return Feature(name, kind, is_writable, smallest, largest, step, choices)

    def value(self, name: str) -> str | None:
        node = self._node(name)
        if node is None or self._aravis.is_a(node, "command"):
            return None
        if self._aravis.call("arv_gc_feature_node_get_actual_access_mode", node) == _WRITE_ONLY:
            return None
        try:
            found = self._aravis.call("arv_gc_feature_node_get_value_as_string", node)
        except AravisError as error:
            self._raise_if_lost(error)
            return None
        return None if found is None else found.decode(errors="replace")

    def set(self, name: str, value: str) -> None:
        node = self._node(name)
        if node is None:
            raise FeatureRefusedError("it is not there.")
        if self._aravis.is_a(node, "boolean"):
            value = "true" if value == "1" else "false"
        self._do("arv_gc_feature_node_set_value_from_string", node, value.encode())

    def run(self, name: str) -> None:
        self._do("arv_device_execute_command", self._device, name.encode())

    def _names_in(self, category: str) -> Sequence[str]:
        node, found = self._node(category), list[str]()
        for name in () if node is None else self._aravis.names_in(node):
            inner = self._node(name)
            if inner is not None and self._aravis.is_a(inner, "category"):
                found += self._names_in(name)
            else:
                found.append(name)
        return found

    def _node(self, name: str) -> int | None:
        node: int | None = self._aravis.call("arv_device_get_feature", self._device, name.encode())
        return node or None

    def _bounds(self, name: str, kind: Kind) -> tuple[float | None, float | None]:
        if kind not in ("integer", "float"):
            return None, None
        low, high = (c_int64(), c_int64()) if kind == "integer" else (c_double(), c_double())
        function = f"arv_device_get_{kind}_feature_bounds"
        try:
            self._aravis.call(function, self._device, name.encode(), byref(low), byref(high))
        except AravisError as error:
            self._raise_if_lost(error)
            return None, None
        return as_limit(low.value), as_limit(high.value)

    def _choices(self, name: str) -> tuple[str, ...]:
        count = c_uint()
        listed = "arv_device_dup_available_enumeration_feature_values_as_strings"
        found = self._value(listed, name, byref(count))
        if not found:
            return ()
        choices = tuple((found[index] or b"").decode() for index in range(count.value))
        self._aravis.call("g_free", ctypes.cast(found, ctypes.c_void_p))
        return choices

    def _value(self, function: str, name: str, *arguments: Any) -> Any:
        try:
            return self._aravis.call(function, self._device, name.encode(), *arguments)
        except AravisError as error:
            self._raise_if_lost(error)
            return None

    def _said(self, function: str, node: int) -> bool:
        try:
            return bool(self._aravis.call(function, node))
        except AravisError as error:
            self._raise_if_lost(error)
            return False

    def _do(self, function: str, *arguments: Any) -> None:
        try:
            self._aravis.call(function, *arguments)
        except AravisError as error:
            self._raise_if_lost(error)
            raise FeatureRefusedError(str(error)) from None

    def _raise_if_lost(self, error: AravisError) -> None:
        if error.is_lost:
            raise DeviceError(f"The camera does not answer: {error}", "Check its cable and power.") from None
