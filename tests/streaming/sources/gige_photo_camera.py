"""A program that is a GigE Vision camera on loopback and shows the photos of a folder in turn, at their depth.

python gige_photo_camera.py SERIAL FOLDER
"""

from __future__ import annotations

import ctypes
import sys
import tempfile
import threading
from ctypes import POINTER, byref, c_char_p, c_size_t, c_uint32, c_void_p
from itertools import cycle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

_ADDRESS = b"127.0.0.1"
_FILL = ctypes.CFUNCTYPE(None, c_void_p, c_void_p, c_uint32, c_uint32, c_uint32)
_RGB8, _MONO12P = 0x02180014, 0x010C0047
_ENTRY = '<EnumEntry Name="Mono8" NameSpace="Standard">'
_MONO12P_ENTRY = f'<EnumEntry Name="Mono12p" NameSpace="Standard"><Value>{_MONO12P}</Value></EnumEntry>'


def _library() -> Any:
    library = ctypes.CDLL("libaravis-0.8.so.0")
    for name, (returned, *arguments) in {
        "arv_fake_camera_new": (c_void_p, c_char_p),
        "arv_fake_camera_get_genicam_xml": (c_char_p, c_void_p, POINTER(c_size_t)),
        "arv_gv_fake_camera_new_full": (c_void_p, c_char_p, c_char_p, c_char_p),
        "arv_gv_fake_camera_get_fake_camera": (c_void_p, c_void_p),
        "arv_fake_camera_set_fill_pattern": (None, c_void_p, _FILL, c_void_p),
        "arv_buffer_get_data": (c_void_p, c_void_p, POINTER(c_size_t)),
    }.items():
        function = getattr(library, name)
        function.restype, function.argtypes = returned, arguments
    return library


def _bytes(photo: NDArray[Any], pixel_format: int) -> bytes:
    if pixel_format == _RGB8:
        return photo[..., ::-1].tobytes()
    assert pixel_format == _MONO12P, hex(pixel_format)
    first, second = photo.reshape(-1, 2).T.astype(np.uint32)
    whole = first | second << 12
    return np.stack((whole, whole >> 8, whole >> 16), 1).astype(np.uint8).tobytes()


def main() -> None:
    """Show them until it is killed."""
    serial, folder = sys.argv[1:]
    photos = cycle([cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in sorted(Path(folder).iterdir())])
    library = _library()
    size = c_size_t()
    description = library.arv_fake_camera_get_genicam_xml(library.arv_fake_camera_new(b"any"), byref(size)).decode()

    def fill(buffer: int, _: object, exposure_us: int, gain: int, pixel_format: int) -> None:
        content = _bytes(next(photos), pixel_format)
        start = library.arv_buffer_get_data(buffer, byref(size))
        ctypes.memmove(start, content, len(content))

    callback = _FILL(fill)
    with tempfile.NamedTemporaryFile("w", suffix=".xml") as file:
        file.write(description.replace(_ENTRY, _MONO12P_ENTRY + _ENTRY))
        file.flush()
        camera = library.arv_gv_fake_camera_new_full(_ADDRESS, serial.encode(), file.name.encode())
        library.arv_fake_camera_set_fill_pattern(library.arv_gv_fake_camera_get_fake_camera(camera), callback, None)
        threading.Event().wait()


if __name__ == "__main__":
    main()
