"""A video of the line: parts stop under the camera, one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.data.sample_product.camera import LINE_CAMERA, record
from edge_ad.data.sample_product.defects import DEFECT_KINDS
from edge_ad.data.sample_product.product import check_size
from edge_ad.data.sample_product.scene import Scene
from edge_ad.errors import UsageError
from edge_ad.storage import write_file

__all__ = ["Shown", "render_line_video"]

_VIDEO = 5  # keeps the parts of the video apart from those of the product
_SECONDS_PER_PART = 0.5
_DEFECTIVE_SHARE = 0.3


@dataclass(frozen=True)
class Shown:
    """Ground truth of a part in the video: the frames that show it, and its defect.

    Attributes:
        first_frame: First frame that shows it, from 0.
        last_frame: Last frame that shows it.
        kind: ``"good"``, or the kind of its defect.
        defect_xywh: Left, top, width and height of the rectangle around the defect, in pixels; None for a good part.
    """

    first_frame: int
    last_frame: int
    kind: str
    defect_xywh: tuple[int, int, int, int] | None = None

    @property
    def is_defective(self) -> bool:
        """Whether the part has a defect."""
        return self.kind != "good"

    @property
    def frames(self) -> range:
        """The frames that show it."""
        return range(self.first_frame, self.last_frame + 1)


def render_line_video(
    path: Path, *, seconds: float, fps: int = 30, size_hw: tuple[int, int] = (512, 512), seed: int = 0
) -> list[Shown]:
    """Render an indexed conveyor: each part rests under the fixed camera for half a second, then the next lies there.

    About 70 % of the parts are good. They are framed as in `render_product`, but none is one of its parts. The moving
    belt is not filmed: every frame shows one complete part with its complete defect.

    Args:
        path: The MP4 file (H.264); written completely or not at all.
        seconds: Length; the last part may be shown for less than half a second.
        fps: Frames per second.
        size_hw: Height and width, in pixels; even, at least 64.
        seed: Another seed gives other parts.

    Returns:
        The ground truth of all parts, in order and without gaps.

    Raises:
        UsageError: Less than one frame, or a size that a video cannot have.
        StorageError: The file cannot be written.
    """
    frames = round(seconds * fps) if fps > 0 else 0
    if frames < 1:
        raise UsageError(f"{seconds} s at {fps} frames per second is less than one frame.")
    check_size(size_hw)
    truth: list[Shown] = []
    scenes = _scenes(_schedule(frames, max(1, round(_SECONDS_PER_PART * fps)), seed), size_hw, seed, truth)
    recording = record(scenes, size_hw, LINE_CAMERA, np.random.default_rng([seed, _VIDEO, 0]), fps=fps)
    write_file(path, recording)
    return truth


def _schedule(frames: int, frames_per_part: int, seed: int) -> list[Shown]:
    rng = np.random.default_rng([seed, _VIDEO])
    starts = range(0, frames, frames_per_part)
    later = 1 + rng.permutation(len(starts) - 1)  # the first part is good, so that viewers see a normal part first
    defective = later[: round(_DEFECTIVE_SHARE * len(starts))].tolist()
    order = rng.permutation(len(DEFECT_KINDS)).tolist()
    kinds = {part: DEFECT_KINDS[order[number % len(order)]] for number, part in enumerate(sorted(defective))}
    return [
        Shown(start, min(start + frames_per_part, frames) - 1, kinds.get(part, "good"))
        for part, start in enumerate(starts)
    ]


def _scenes(
    schedule: list[Shown], size_hw: tuple[int, int], seed: int, truth: list[Shown]
) -> Iterator[tuple[NDArray[np.float32], int]]:
    """Scenes with their numbers of frames; appends the ground truth of each part as it is rendered."""
    for part, shown in enumerate(schedule):
        scene = Scene((seed, _VIDEO, 1, part), size_hw)
        if shown.is_defective:
            seen, mask = scene.defective(shown.kind)
            left, top, width, height = cv2.boundingRect(mask.astype(np.uint8))
            shown = replace(shown, defect_xywh=(left, top, width, height))
        else:
            seen = scene.good()
        truth.append(shown)
        yield seen, len(shown.frames)
