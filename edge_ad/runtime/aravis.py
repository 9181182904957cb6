"""Aravis, the GenICam library of Linux distributions, through its C interface: no Python package is needed."""

from __future__ import annotations

import ctypes
import sys
import threading
from ctypes import POINTER, byref, c_char_p, c_double, c_int, c_int64, c_size_t, c_uint, c_uint32, c_uint64, c_void_p
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from edge_ad.errors import MissingDependencyError

__all__ = ["Aravis", "AravisCamera", "AravisError", "ControlLost", "load_aravis"]

_LIBRARY = {"darwin": "libaravis-0.8.0.dylib", "win32": "aravis-0.8-0.dll"}.get(sys.platform, "libaravis-0.8.so.0")
ControlLost = ctypes.CFUNCTYPE(None, c_void_p, c_void_p)
_G_ERROR_LOST = frozenset({2, 4, 5, 6, 10})  # not connected, transfer, timeout, not found, not controller
_DEVICE_ERRORS = b"arv-device-error-quark"


class _GError(ctypes.Structure):
    _fields_ = (("domain", c_uint32), ("code", c_int), ("message", c_char_p))


class _GSList(ctypes.Structure):
    pass


_GSList._fields_ = (("data", c_void_p), ("next", POINTER(_GSList)))

_ERROR = POINTER(POINTER(_GError))
# Function → what it returns, and its arguments; of those that end with _ERROR, `Aravis.call` passes that one.
_FUNCTIONS: dict[str, tuple[Any, ...]] = {
    "arv_update_device_list": (None,),
    "arv_get_n_devices": (c_uint,),
    "arv_get_device_id": (c_char_p, c_uint),
    "arv_get_device_address": (c_char_p, c_uint),
    "arv_get_device_vendor": (c_char_p, c_uint),
    "arv_get_device_model": (c_char_p, c_uint),
    "arv_get_device_serial_nbr": (c_char_p, c_uint),
    "arv_camera_new": (c_void_p, c_char_p, _ERROR),
    "arv_camera_get_device": (c_void_p, c_void_p),
    "arv_camera_get_payload": (c_uint, c_void_p, _ERROR),
    "arv_camera_create_stream": (c_void_p, c_void_p, c_void_p, c_void_p, _ERROR),
    "arv_camera_start_acquisition": (None, c_void_p, _ERROR),
    "arv_camera_stop_acquisition": (None, c_void_p, _ERROR),
    "arv_buffer_new_allocate": (c_void_p, c_size_t),
    "arv_buffer_get_status": (c_int, c_void_p),
    "arv_buffer_get_payload_type": (c_int, c_void_p),
    "arv_buffer_get_frame_id": (c_uint64, c_void_p),
    "arv_buffer_get_data": (c_void_p, c_void_p, POINTER(c_size_t)),
    "arv_buffer_get_image_pixel_format": (c_uint32, c_void_p),
    "arv_buffer_get_image_width": (c_int, c_void_p),
    "arv_buffer_get_image_height": (c_int, c_void_p),
    "arv_stream_push_buffer": (None, c_void_p, c_void_p),
    "arv_stream_try_pop_buffer": (c_void_p, c_void_p),
    "arv_stream_timeout_pop_buffer": (c_void_p, c_void_p, c_uint64),
    "arv_chunk_parser_get_integer_value": (c_int64, c_void_p, c_void_p, c_char_p, _ERROR),
    "arv_camera_create_chunk_parser": (c_void_p, c_void_p),
    "arv_device_get_feature": (c_void_p, c_void_p, c_char_p),
    "arv_device_execute_command": (None, c_void_p, c_char_p, _ERROR),
    "arv_device_get_integer_feature_bounds": (None, c_void_p, c_char_p, POINTER(c_int64), POINTER(c_int64), _ERROR),
    "arv_device_get_integer_feature_increment": (c_int64, c_void_p, c_char_p, _ERROR),
    "arv_device_get_float_feature_bounds": (None, c_void_p, c_char_p, POINTER(c_double), POINTER(c_double), _ERROR),
    "arv_device_dup_available_enumeration_feature_values_as_strings": (
        *(POINTER(c_char_p), c_void_p, c_char_p, POINTER(c_uint), _ERROR),
    ),
    "arv_gc_feature_node_get_value_as_string": (c_char_p, c_void_p, _ERROR),
    "arv_gc_feature_node_set_value_from_string": (None, c_void_p, c_char_p, _ERROR),
    "arv_gc_feature_node_get_actual_access_mode": (c_int, c_void_p),
    "arv_gc_feature_node_is_available": (c_int, c_void_p, _ERROR),
    "arv_gc_feature_node_is_locked": (c_int, c_void_p, _ERROR),
    "arv_gc_category_get_features": (POINTER(_GSList), c_void_p),
    "arv_gc_boolean_get_type": (c_size_t,),
    "arv_gc_category_get_type": (c_size_t,),
    "arv_gc_command_get_type": (c_size_t,),
    "arv_gc_enumeration_get_type": (c_size_t,),
    "arv_gc_float_get_type": (c_size_t,),
    "arv_gc_integer_get_type": (c_size_t,),
    "arv_gc_string_get_type": (c_size_t,),
    "arv_gv_device_get_type": (c_size_t,),
    "arv_gv_device_is_controller": (c_int, c_void_p),
    # of GLib, which comes with Aravis
    "g_error_free": (None, POINTER(_GError)),
    "g_free": (None, c_void_p),
    "g_object_unref": (None, c_void_p),
    "g_quark_to_string": (c_char_p, c_uint32),
    "g_signal_connect_data": (c_uint64, c_void_p, c_char_p, ControlLost, c_void_p, c_void_p, c_int),
    "g_signal_handler_disconnect": (None, c_void_p, c_uint64),
    "g_type_check_instance_is_a": (c_int, c_void_p, c_size_t),
}


_OF_LATER_VERSIONS: dict[str, tuple[Any, ...]] = {
    "arv_buffer_get_image_padding": (None, c_void_p, POINTER(c_int), POINTER(c_int)),
}


class AravisError(Exception):
    """Aravis says no.

    Attributes:
        is_lost: Whether the camera does not answer, rather than refuse.
    """

    def __init__(self, message: str, *, is_lost: bool) -> None:
        super().__init__(message)
        self.is_lost = is_lost


@dataclass(frozen=True)
class AravisCamera:
    """A camera that Aravis finds.

    Attributes:
        device: What Aravis opens it by.
        serial: Its serial number.
        name: Maker, model and address.
    """

    device: str
    serial: str
    name: str


class Aravis:
    """The library, with the types of its functions.

    Args:
        path: Of the shared library.

    Raises:
        OSError: It cannot be loaded.
        AttributeError: It lacks a function that is needed.
    """

    def __init__(self, path: str) -> None:
        library = ctypes.CDLL(path)
        self._functions: dict[str, Any] = {}
        self._looking = threading.Lock()
        later = {name: types for name, types in _OF_LATER_VERSIONS.items() if hasattr(library, name)}
        for name, (returned, *arguments) in (_FUNCTIONS | later).items():
            function = getattr(library, name)  # a library also finds what those that it needs have
            function.restype, function.argtypes = returned, arguments
            self._functions[name] = function

    def call(self, name: str, *arguments: Any) -> Any:
        """Call a function.

        Args:
            name: Of the function.
            arguments: Its arguments, without the last one of those that report errors.

        Raises:
            AravisError: It reports an error.
        """
        function = self._functions[name]
        if function.argtypes[-1:] != [_ERROR]:
            return function(*arguments)
        error = POINTER(_GError)()
        value = function(*arguments, byref(error))
        if error:
            raise self._error(error)
        return value

    def is_controlled(self, device: int) -> bool:
        """Whether this process controls a device: another one may, and Aravis opens it all the same to look at it."""
        if not self.call("g_type_check_instance_is_a", device, self.call("arv_gv_device_get_type")):
            return True  # USB gives a device to one process alone
        return bool(self.call("arv_gv_device_is_controller", device))

    def row_padding(self, buffer: int) -> int:
        """Bytes after each row of a picture; 0 where the version of Aravis does not know."""
        if "arv_buffer_get_image_padding" not in self._functions:
            return 0
        across, down = c_int(), c_int()
        self.call("arv_buffer_get_image_padding", buffer, byref(across), byref(down))
        return across.value

    def is_a(self, node: int, kind: str) -> bool:
        """Whether a node of a camera's features is of a kind, such as ``"enumeration"``."""
        return bool(self.call("g_type_check_instance_is_a", node, self.call(f"arv_gc_{kind}_get_type")))

    def names_in(self, category: int) -> list[str]:
        """Names of the features in a category, which may be categories themselves."""
        names, entry = [], self.call("arv_gc_category_get_features", category)
        while entry:
            name = ctypes.cast(entry.contents.data, c_char_p).value
            names.append("" if name is None else name.decode())
            entry = entry.contents.next
        return names

    def cameras(self) -> list[AravisCamera]:
        """The cameras that it finds in the network and at USB, which are not opened. It waits a second for answers."""
        with self._looking:
            self.call("arv_update_device_list")
            return [self._camera(index) for index in range(self.call("arv_get_n_devices"))]

    def _camera(self, index: int) -> AravisCamera:
        parts = ("id", "serial_nbr", "vendor", "model", "address")
        found = [(self.call(f"arv_get_device_{part}", index) or b"").decode(errors="replace") for part in parts]
        device, serial, vendor, model, address = found
        return AravisCamera(device, serial, f"{vendor} {model}" + (f" at {address}" if address else ""))

    def _error(self, error: Any) -> AravisError:
        content = error.contents
        domain = self.call("g_quark_to_string", content.domain)
        is_lost = domain == _DEVICE_ERRORS and content.code in _G_ERROR_LOST
        message = (content.message or b"").decode(errors="replace").strip().rstrip(".")
        self.call("g_error_free", error)
        return AravisError(f"{message}.", is_lost=is_lost)


@lru_cache(maxsize=1)
def load_aravis() -> Aravis:
    """The library of this machine.

    Raises:
        MissingDependencyError: It is not installed.
    """
    try:
        return Aravis(_LIBRARY)
    except (OSError, AttributeError) as error:
        raise MissingDependencyError(
            f"Aravis cannot be loaded ({error}).", "Install it with: apt install libaravis-0.8-0 (Debian, Ubuntu)"
        ) from error
