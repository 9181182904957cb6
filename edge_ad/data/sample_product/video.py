"""A video of the line: one part after the other stops under the camera."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.data.sample_product.camera import noise_field, with_noise
from edge_ad.data.sample_product.defects import DEFECT_KINDS
from edge_ad.data.sample_product.product import check_size
from edge_ad.data.sample_product.scene import Scene
from edge_ad.errors import StorageError, UsageError
from edge_ad.storage import storage_errors

__all__ = ["Shown", "render_line_video"]

_VIDEO = 5  # keeps the parts of the video apart from those of the product
_SECONDS_PER_PART = 1.0
_DEFECTIVE_SHARE = 0.3
_NOISE_MARGIN = 64


@dataclass(frozen=True)
class Shown:
    """A part in the video.

    Attributes:
        first_frame: First frame that shows it, from 0.
        last_frame: Last frame that shows it.
        kind: ``"good"``, or the kind of its defect.
    """

    first_frame: int
    last_frame: int
    kind: str


def render_line_video(
    path: Path, *, seconds: float, fps: int = 30, size_hw: tuple[int, int] = (512, 512), seed: int = 0
) -> list[Shown]:
    """Render an indexed conveyor: each part rests under the fixed camera for a second, then the next one lies there.

    About 70 % of the parts are good. They are framed as in `render_product`, and none is one of its parts.

    Args:
        path: The MP4 file; there completely or not at all.
        seconds: Length; the last part may be shown for less than a second.
        fps: Frames per second.
        size_hw: Height and width, in pixels; even, at least 64.
        seed: Another seed gives other parts.

    Returns:
        What is shown when, without gaps.

    Raises:
        UsageError: Less than one frame, or a size that a video cannot have.
        StorageError: The file cannot be written.
    """
    frames = round(seconds * fps) if fps > 0 else 0
    if frames < 1:
        raise UsageError(f"{seconds} s at {fps} frames per second is less than one frame.")
    check_size(size_hw)
    if size_hw[0] % 2 or size_hw[1] % 2:
        raise UsageError(f"A video needs an even height and width, not {size_hw[0]}x{size_hw[1]}.")
    shown = _schedule(frames, round(_SECONDS_PER_PART * fps), seed)
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f".{path.stem}-partial.mp4")
    try:
        _write(staged, _frames(shown, size_hw, seed), fps, size_hw)
        with storage_errors(path):
            staged.replace(path)
    finally:
        staged.unlink(missing_ok=True)
    return shown


def _schedule(frames: int, frames_per_part: int, seed: int) -> list[Shown]:
    rng = np.random.default_rng([seed, _VIDEO])
    starts = range(0, frames, frames_per_part)
    later = 1 + rng.permutation(len(starts) - 1)  # the first part is good: what one sees first is the norm
    defective = later[: round(_DEFECTIVE_SHARE * len(starts))].tolist()
    order = rng.permutation(len(DEFECT_KINDS)).tolist()
    kinds = {part: DEFECT_KINDS[order[number % len(order)]] for number, part in enumerate(sorted(defective))}
    return [
        Shown(start, min(start + frames_per_part, frames) - 1, kinds.get(part, "good"))
        for part, start in enumerate(starts)
    ]


def _frames(shown: list[Shown], size_hw: tuple[int, int], seed: int) -> Iterator[NDArray[np.uint8]]:
    rng = np.random.default_rng([seed, _VIDEO, 0])
    # A crop of one large field of noise per frame: drawing it anew would take longer than encoding the frame.
    field = noise_field((size_hw[0] + _NOISE_MARGIN, size_hw[1] + _NOISE_MARGIN, 3), rng)
    for part, span in enumerate(shown):
        scene = Scene((seed, _VIDEO, 1, part), size_hw)
        seen = scene.good() if span.kind == "good" else scene.defective(span.kind)[0]
        photo = np.rint(seen).astype(np.int16)
        for _ in range(span.first_frame, span.last_frame + 1):
            top, left = rng.integers(_NOISE_MARGIN, size=2)
            yield with_noise(photo, field[top : top + size_hw[0], left : left + size_hw[1]])


def _write(path: Path, frames: Iterator[NDArray[np.uint8]], fps: int, size_hw: tuple[int, int]) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), float(fps), size_hw[::-1])
    try:
        if not writer.isOpened():
            raise StorageError(f"No video can be written to {path.parent}.", "Choose a folder you may write to.")
        count = 0
        for frame in frames:
            writer.write(frame)
            count += 1
    finally:
        writer.release()
    _check_written(path, count)


def _check_written(path: Path, frames: int) -> None:
    # The encoder swallows write errors; a file cut short by a full disk has no index and cannot be opened.
    capture = cv2.VideoCapture(str(path))
    found = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else 0
    capture.release()
    if found != frames:
        raise StorageError(
            f"The video in {path.parent} could not be written: {found} of {frames} frames are in the file.",
            "Free some space or write to another disk.",
        )
