"""What a library that reaches GenICam cameras must do for `GenicamSource`."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edge_ad.streaming.sources.genicam_features import FeatureMap
from edge_ad.streaming.sources.pixel_formats import PixelFormat

__all__ = ["Buffer", "Connection", "FoundCamera", "GenicamDriver"]


@dataclass(frozen=True)
class FoundCamera:
    """A camera that a driver finds.

    Attributes:
        serial: Its serial number.
        name: Its maker, model and, where it has one, its address in the network.
        key: What the driver opens it by.
    """

    serial: str
    name: str
    key: str


@dataclass(frozen=True)
class Buffer:
    """What came of a frame, in the driver's memory until it is released.

    Attributes:
        number: The camera's own number of it; None where it does not number its frames.
        is_complete: Whether all of it came.
        pixel_format: How it is laid out; None where that is not one that is read here.
        size_hw: Height and width, in pixels.
        row_padding: Bytes after each row.
        data: uint8 (n,).
        handle: What the driver knows it by.
    """

    number: int | None
    is_complete: bool
    pixel_format: PixelFormat | None
    size_hw: tuple[int, int]
    row_padding: int
    data: NDArray[np.uint8] = field(repr=False)
    handle: Any = field(default=None, repr=False)


class Connection(Protocol):
    """An open camera.

    Attributes:
        buffers: How many frames its memory holds.
        features: What can be set.
    """

    buffers: int
    features: FeatureMap

    def start(self) -> None:
        """Begin to take frames.

        Raises:
            DeviceError: The camera does not answer.
        """

    def fetch(self, timeout_s: float, cancelled: threading.Event) -> Buffer | None:
        """The oldest frame that came and was not fetched; None where there is none in time, or when cancelled.

        Raises:
            DeviceError: The connection is lost.
        """

    def chunk(self, buffer: Buffer, name: str) -> int | None:
        """A number of the chunk data that came with a buffer; None where it has none of this name."""

    def release(self, buffer: Buffer) -> None:
        """Give its memory back, for a frame to come."""

    def is_lost(self) -> bool:
        """Whether the camera is known to be gone."""

    def close(self) -> None:
        """Stop and release it; of one that is gone, what can be released."""


class GenicamDriver(Protocol):
    """A way to cameras.

    Attributes:
        nothing_found: What to do where it finds none, as a sentence.
    """

    nothing_found: str

    def find(self) -> Sequence[FoundCamera]:
        """The cameras that it reaches now.

        Raises:
            DeviceError: It cannot look for any.
        """

    def connect(self, camera: FoundCamera) -> Connection:
        """Open a camera, for this process alone.

        Raises:
            DeviceError: It cannot be opened.
        """
