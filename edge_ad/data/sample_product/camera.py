"""The camera above the line: focus, sensor noise and H.264, from scenes to recorded frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.data.sample_product.drawing import REFERENCE

__all__ = ["LINE_CAMERA", "Camera", "frames_of", "record"]

# These drift between recordings: dust on the lens, gain at night, the bit rate that the network allows.
_FOCUS_PIXELS = (0.0, 0.45)
_NOISE_LEVELS = (0.6, 2.2)
_CONSTANT_RATE_FACTORS = (20, 27)
_SHARP_PIXELS = 0.15
_NOISE_MARGIN = 64


@dataclass(frozen=True)
class Camera:
    """How a camera records.

    Attributes:
        focus_pixels: Standard deviation of its blur, in pixels of an image of 256.
        noise_levels: Standard deviation of its noise at 256 pixels, of 255; more pixels on the same sensor are noisier.
        constant_rate_factor: H.264's quality, 0 to 51: the higher, the coarser.
    """

    focus_pixels: float
    noise_levels: float
    constant_rate_factor: int

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Camera:
        """Draw a camera for one recording."""
        low, high = _CONSTANT_RATE_FACTORS
        return cls(
            float(rng.uniform(*_FOCUS_PIXELS)),
            float(rng.uniform(*_NOISE_LEVELS)),
            int(rng.integers(low, high, endpoint=True)),
        )


LINE_CAMERA = Camera(focus_pixels=0.22, noise_levels=1.4, constant_rate_factor=23)
"""A typical camera: the middle of the ranges of `Camera.draw`."""


def record(
    scenes: Iterable[tuple[NDArray[np.float32], int]],
    size_hw: tuple[int, int],
    camera: Camera,
    rng: np.random.Generator,
    *,
    fps: int = 30,
) -> bytes:
    """Record scenes in sequence.

    Args:
        scenes: Scenes, float32 (h, w, 3) BGR in [0, 255] without noise, each with its number of frames.
        size_hw: Height and width, in pixels; even.
        camera: How it is recorded.
        rng: Source of the noise.
        fps: Frames per second, >= 1.

    Returns:
        An MP4 file with H.264; the same arguments give the same bytes.
    """
    import av

    file = BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.height, stream.width = size_hw
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": str(camera.constant_rate_factor), "preset": "veryfast"}
        stream.codec_context.thread_count = 1  # the frames depend on the number of threads
        for frame in _exposed(scenes, size_hw, camera, rng):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="bgr24")))
        container.mux(stream.encode(None))
    return file.getvalue()


def frames_of(recording: bytes) -> Iterator[NDArray[np.uint8]]:
    """Decode a recording of `record`: its frames in their order, uint8 (h, w, 3) BGR."""
    import av

    with av.open(BytesIO(recording)) as container:
        container.streams.video[0].codec_context.thread_count = 1  # recordings are decoded side by side
        for frame in container.decode(video=0):
            yield np.asarray(frame.to_ndarray(format="bgr24"), np.uint8)


def _exposed(
    scenes: Iterable[tuple[NDArray[np.float32], int]],
    size_hw: tuple[int, int],
    camera: Camera,
    rng: np.random.Generator,
) -> Iterator[NDArray[np.uint8]]:
    scale = min(size_hw) / REFERENCE
    # Each frame takes a crop of one large noise field: new noise would take longer than encoding the frame.
    shape = (size_hw[0] + _NOISE_MARGIN, size_hw[1] + _NOISE_MARGIN, 3)
    noise = np.rint(rng.normal(0.0, camera.noise_levels * scale, shape)).astype(np.int16)
    for scene, count in scenes:
        seen = _blurred(scene, camera.focus_pixels * scale)
        for _ in range(count):
            top, left = rng.integers(_NOISE_MARGIN, size=2)
            crop = noise[top : top + size_hw[0], left : left + size_hw[1]]
            yield np.asarray(cv2.add(seen, crop, dtype=cv2.CV_8U), np.uint8)


def _blurred(scene: NDArray[np.float32], pixels: float) -> NDArray[np.int16]:
    if pixels > _SHARP_PIXELS:
        scene = np.asarray(cv2.GaussianBlur(scene, (0, 0), pixels), np.float32)
    return np.rint(scene).astype(np.int16)
