"""A camera at a Jetson's CSI connector, through NVIDIA's GStreamer elements."""

from __future__ import annotations

from fractions import Fraction

import cv2

from edge_ad.errors import DeviceError
from edge_ad.streaming.sources.opencv_source import OpenCVSource
from edge_ad.streaming.sources.options import SourceOptions
from edge_ad.streaming.sources.video_capture import open_capture

__all__ = ["CsiSource", "csi_pipeline"]

_DEFAULT_SIZE, _DEFAULT_FPS = (1280, 720), 30.0


class CsiSource(OpenCVSource):
    """A CSI camera, live.

    Args:
        sensor: Number of the sensor, from 0.
        options: Width, height, fps, exposure and gain to ask for; 1280×720 at 30 FPS if not given.
    """

    def __init__(self, sensor: int, options: SourceOptions | None = None) -> None:
        super().__init__(f"CSI camera {sensor}", is_live=True)
        self._sensor = sensor
        self._options = options or SourceOptions()

    def _open_capture(self) -> cv2.VideoCapture:
        if not _has_gstreamer():
            raise DeviceError(
                "This OpenCV was built without GStreamer, which a CSI camera needs.",
                "Use the OpenCV of JetPack instead of the one from pip: see docs/streaming_sources.md.",
            )
        capture = open_capture(csi_pipeline(self._sensor, self._options), cv2.CAP_GSTREAMER, {})
        if capture is None:
            raise DeviceError(
                f"CSI camera {self._sensor} cannot be opened.",
                "Look at its cable, whether its driver is chosen in jetson-io.py, and whether nvargus-daemon runs.",
            )
        return capture


def csi_pipeline(sensor: int, options: SourceOptions) -> str:
    """What GStreamer is asked for: the newest frame, BGR, at the asked size, converted by the Jetson's own hardware.

    Args:
        sensor: Number of the sensor.
        options: Width, height, fps, exposure and gain; fixed by a range of one value, which also ends their automatic.

    Returns:
        A description as ``gst-launch-1.0`` takes it.
    """
    width, height = options.width or _DEFAULT_SIZE[0], options.height or _DEFAULT_SIZE[1]
    rate = Fraction(options.fps or _DEFAULT_FPS).limit_denominator(1001)
    source = f"nvarguscamerasrc sensor-id={sensor}"
    if options.exposure_us is not None:
        nanoseconds = round(options.exposure_us * 1000)
        source += f' exposuretimerange="{nanoseconds} {nanoseconds}"'
    if options.gain is not None:
        source += f' gainrange="{options.gain:g} {options.gain:g}"'
    return " ! ".join(
        (
            source,
            f"video/x-raw(memory:NVMM), width=(int){width}, height=(int){height}, format=(string)NV12, "
            f"framerate=(fraction){rate.numerator}/{rate.denominator}",
            "nvvidconv",  # from the sensor's memory to the processor's, and to four channels
            "video/x-raw, format=(string)BGRx",
            "videoconvert",
            "video/x-raw, format=(string)BGR",
            "appsink drop=true max-buffers=1 sync=false",
        )
    )


def _has_gstreamer() -> bool:
    return cv2.CAP_GSTREAMER in cv2.videoio_registry.getBackends()
