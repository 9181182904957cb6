"""What a line does to its photos: light, focus, noise, compression, position and dirt, each by a numeric step.

Every function takes and gives uint8 (H, W, 3) BGR, changes one thing and nothing else, and is the same for the same
arguments. Pixels are those of the picture that is given. Values are rounded, never wrapped.
"""

from __future__ import annotations

import math
from io import BytesIO
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import MissingDependencyError, UsageError

__all__ = [
    "blur",
    "contrast",
    "dust",
    "gain",
    "gamma",
    "h264",
    "jpeg",
    "move",
    "noise",
    "offset",
    "rotation",
    "rotation_matrix",
    "translation",
    "vignetting",
    "white_balance",
]

_ENCODER = "libx264"
_CLIP_FRAMES = 5
_CLIP_FPS = 30
_SPECK_RADIUS = (0.008, 0.02)  # of the shorter side: dust on a lens or a cover glass is out of focus
_SPECK_DARKENING = (0.15, 0.45)
_LEVELS = np.arange(256, dtype=np.float64)


def gain(image: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
    """More or less light or exposure: every value times a factor.

    Args:
        image: uint8 (H, W, 3) BGR.
        factor: > 0; 1 changes nothing.
    """
    return _mapped(image, _LEVELS * factor)


def offset(image: NDArray[np.uint8], levels: float) -> NDArray[np.uint8]:
    """Stray light or another black level: a number of grey levels is added.

    Args:
        image: uint8 (H, W, 3) BGR.
        levels: From -255 to 255; 0 changes nothing.
    """
    return _mapped(image, _LEVELS + levels)


def gamma(image: NDArray[np.uint8], exponent: float) -> NDArray[np.uint8]:
    """Another tone curve: ``255 · (value / 255) ** exponent``.

    Args:
        image: uint8 (H, W, 3) BGR.
        exponent: > 0; 1 changes nothing, more darkens the middle.
    """
    return _mapped(image, 255.0 * (_LEVELS / 255.0) ** exponent)


def white_balance(image: NDArray[np.uint8], ratio: float) -> NDArray[np.uint8]:
    """Another colour of light: red times ``√ratio``, blue divided by it, green as it is.

    Args:
        image: uint8 (H, W, 3) BGR.
        ratio: How much red over blue grows, > 0; 1 changes nothing.
    """
    root = math.sqrt(ratio)
    return _mapped(image, np.stack([_LEVELS / root, _LEVELS, _LEVELS * root], axis=1))


def contrast(image: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
    """Haze or a clearer view: the distance of each channel from its mean over the picture, times a factor.

    Args:
        image: uint8 (H, W, 3) BGR.
        factor: > 0; 1 changes nothing.
    """
    mean = _checked(image).mean(axis=(0, 1))
    return _mapped(image, (_LEVELS[:, None] - mean) * factor + mean)


def blur(image: NDArray[np.uint8], sigma_px: float) -> NDArray[np.uint8]:
    """A lens out of focus: a Gaussian filter.

    Args:
        image: uint8 (H, W, 3) BGR.
        sigma_px: Standard deviation, in pixels; 0 changes nothing.
    """
    if sigma_px == 0:
        return _checked(image)
    return np.asarray(cv2.GaussianBlur(_checked(image), (0, 0), sigma_px, borderType=cv2.BORDER_REFLECT_101), np.uint8)


def noise(image: NDArray[np.uint8], sigma_levels: float, *, seed: int = 0) -> NDArray[np.uint8]:
    """A sensor with more gain: independent Gaussian noise on every value.

    Args:
        image: uint8 (H, W, 3) BGR.
        sigma_levels: Standard deviation, in grey levels of 255; 0 changes nothing.
        seed: Of the noise; the same seed gives the same noise, only stronger, at every step.
    """
    drawn = np.random.default_rng(seed).standard_normal(_checked(image).shape, np.float32)
    return _rounded(image + drawn * np.float32(sigma_levels))


def jpeg(image: NDArray[np.uint8], quality: float) -> NDArray[np.uint8]:
    """Saved as a JPEG (chroma at half the resolution, as cameras do) and read again.

    Args:
        image: uint8 (H, W, 3) BGR.
        quality: A whole number from 1 to 100.
    """
    saved, content = cv2.imencode(".jpg", _checked(image), [cv2.IMWRITE_JPEG_QUALITY, round(quality)])
    decoded = cv2.imdecode(content, cv2.IMREAD_COLOR) if saved else None
    if decoded is None:
        raise UsageError(f"A photo of {image.shape[1]}×{image.shape[0]} pixels cannot be saved as a JPEG.")
    return np.asarray(decoded, np.uint8)


def h264(image: NDArray[np.uint8], crf: float) -> NDArray[np.uint8]:
    """Recorded as H.264 by libx264 and decoded again.

    The photo is encoded as a clip of 5 equal frames (8 bits, 4:2:0, preset veryfast, one thread) and the last one is
    taken: a predicted frame, as nearly all frames of a stream are. It is decoded as streams are, which alone costs
    about one grey level. A side of odd length is filled up with its edge pixels for the codec.

    Args:
        image: uint8 (H, W, 3) BGR.
        crf: Constant rate factor, a whole number from 0 (finest) to 51.
    """
    height, width = _checked(image).shape[:2]
    even = cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    return np.ascontiguousarray(_last_frame(_clip(np.asarray(even, np.uint8), round(crf)))[:height, :width])


def _clip(image: NDArray[np.uint8], crf: int) -> bytes:
    import av

    if _ENCODER not in av.codecs_available:
        raise MissingDependencyError(
            "This build of PyAV cannot encode H.264 (libx264).", "Measure the other kinds: name them with --shift."
        )
    file = BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream(_ENCODER, rate=_CLIP_FPS)
        stream.height, stream.width = image.shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": str(crf), "preset": "veryfast"}
        stream.codec_context.thread_count = 1  # the frames depend on the number of threads
        # FFmpeg's own conversion darkens a photo by 3 grey levels, as no camera does: OpenCV rounds.
        planes = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420), np.uint8)
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        for number in range(_CLIP_FRAMES):
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def _last_frame(clip: bytes) -> NDArray[np.uint8]:
    import av

    with av.open(BytesIO(clip)) as container:
        container.streams.video[0].codec_context.thread_count = 1  # photos are decoded side by side
        *_, last = container.decode(video=0)
        return np.asarray(last.to_ndarray(format="bgr24"), np.uint8)


def translation(image: NDArray[np.uint8], pixels: float) -> NDArray[np.uint8]:
    """A part that lies elsewhere: moved to the right and down by as many pixels each; edge pixels are repeated.

    Args:
        image: uint8 (H, W, 3) BGR.
        pixels: Negative to the left and up; 0 changes nothing.
    """
    return move(_checked(image), np.eye(2), (pixels, pixels))


def rotation(image: NDArray[np.uint8], degrees: float) -> NDArray[np.uint8]:
    """A part that lies askew: turned about the centre of the picture; edge pixels are repeated.

    Args:
        image: uint8 (H, W, 3) BGR.
        degrees: Counter-clockwise; 0 changes nothing.
    """
    return move(_checked(image), rotation_matrix(degrees), (0.0, 0.0))


def rotation_matrix(degrees: float) -> NDArray[np.float64]:
    """(2, 2) matrix that turns (x, y), with y downwards, counter-clockwise as it is seen."""
    angle = math.radians(degrees)
    return np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])


def move(
    image: NDArray[np.uint8], matrix: NDArray[np.float64], by_xy: tuple[float, float], *, is_mask: bool = False
) -> NDArray[np.uint8]:
    """Move a picture: what is at ``p`` goes to ``centre + matrix · (p − centre) + by_xy``.

    Args:
        image: uint8 (H, W) or (H, W, 3).
        matrix: (2, 2), applied to (x, y).
        by_xy: To the right and down, in pixels.
        is_mask: Take the nearest pixel, so that no new values come up; else interpolate linearly.

    Returns:
        uint8, of the same shape; what comes in from outside repeats the edge pixels.
    """
    height, width = image.shape[:2]
    centre = np.array([(width - 1) / 2.0, (height - 1) / 2.0])
    whole = np.column_stack([matrix, centre - matrix @ centre + np.asarray(by_xy)])
    how = cv2.INTER_NEAREST if is_mask else cv2.INTER_LINEAR
    return np.asarray(cv2.warpAffine(image, whole, (width, height), flags=how, borderMode=cv2.BORDER_REPLICATE),
                      np.uint8)  # fmt: skip


def vignetting(image: NDArray[np.uint8], darkening: float) -> NDArray[np.uint8]:
    """Light that falls off towards the corners: times ``1 − darkening · r²``, r = 1 in the corners.

    Args:
        image: uint8 (H, W, 3) BGR.
        darkening: Share of the light that the corners lose, in [0, 1]; 0 changes nothing.
    """
    height, width = _checked(image).shape[:2]
    rows, columns = (np.linspace(-1.0, 1.0, side) if side > 1 else np.zeros(1) for side in (height, width))
    squared = (rows[:, None] ** 2 + columns[None, :] ** 2) / 2.0
    return _rounded(image * (1.0 - darkening * squared)[..., None].astype(np.float32))


def dust(image: NDArray[np.uint8], specks: float, *, seed: int = 0) -> NDArray[np.uint8]:
    """Dust on the lens or its cover: soft dark specks, in the same places of every photo of a size.

    A speck is a Gaussian whose standard deviation is 0.8 to 2 % of the shorter side; its centre loses 15 to 45 % of the
    light. More specks are those of fewer, and others.

    Args:
        image: uint8 (H, W, 3) BGR.
        specks: How many, a whole number >= 0; 0 changes nothing.
        seed: Of their places.
    """
    height, width = _checked(image).shape[:2]
    rng = np.random.default_rng(seed)
    light = np.ones((height, width), np.float32)
    for _ in range(round(specks)):
        row, column, size, depth = rng.random(4)
        sigma = max(0.5, min(height, width) * float(np.interp(size, (0, 1), _SPECK_RADIUS)))
        down = np.exp(-0.5 * ((np.arange(height) - row * (height - 1)) / sigma) ** 2)
        across = np.exp(-0.5 * ((np.arange(width) - column * (width - 1)) / sigma) ** 2)
        light *= (1.0 - float(np.interp(depth, (0, 1), _SPECK_DARKENING)) * np.outer(down, across)).astype(np.float32)
    return _rounded(image * light[..., None])


def _mapped(image: NDArray[np.uint8], levels: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Replace every value by that of a table, (256,) or (256, 3)."""
    table = _rounded(levels)
    if table.ndim == 1:
        return np.asarray(cv2.LUT(_checked(image), table), np.uint8)
    return np.asarray(cv2.LUT(_checked(image), np.ascontiguousarray(table.reshape(1, 256, 3))), np.uint8)


def _rounded(values: NDArray[Any]) -> NDArray[np.uint8]:
    return np.asarray(np.rint(np.clip(values, 0.0, 255.0)), np.uint8)


def _checked(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise UsageError(f"The image must be uint8 (H, W, 3), not {image.dtype} {image.shape}.")
    return image
