"""The sheet of masks: what each run hides of a photo, what it attenuates, restores and finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.evaluation.drawing import INK, MUTED, Canvas, Colour, fitted, text_width
from edge_ad.evaluation.sheet import outlined
from edge_ad.heatmap import blend
from edge_ad.images import resize

__all__ = ["MaskColumns", "MaskedPhoto", "ShownPhoto", "draw_mask_sheet"]

_MARGIN = 28
_GAP = 8
_GROUP_GAP = 24
_HEADER = 96
_TITLES = 46
_LABEL = 26
_LEGEND = (200, 12)  # width and height
_WIDTHS = (208, 164, 136)  # of a picture, for one run, for two, and for more
_BLUE: Colour = (196, 72, 16)
_OPACITY = 0.78


@dataclass(frozen=True)
class ShownPhoto:
    """A photo of the sheet.

    Attributes:
        name: Of the photo.
        image: uint8 (h, w, 3), BGR, as the runs see it.
        defect: bool (h, w), True where a defect was simulated; None where none was.
    """

    name: str
    image: NDArray[np.uint8]
    defect: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class MaskedPhoto:
    """What one run does with a photo.

    Attributes:
        image: The photo as the run sees it, uint8 (h, w, 3), BGR.
        hidden: Binary mask, float32 (h, w) in {0, 1}; 1 is hidden.
        trust: Soft mask, float32 (h, w) in [0, 1]; 0 is attenuated. None for a run without one.
        reconstruction: uint8 (H, W, 3), BGR.
        anomaly_map: float32 (H, W).
    """

    image: NDArray[np.uint8]
    hidden: NDArray[np.float32]
    trust: NDArray[np.float32] | None
    reconstruction: NDArray[np.uint8]
    anomaly_map: NDArray[np.float32]


@dataclass(frozen=True)
class MaskColumns:
    """One run.

    Attributes:
        title: What it is.
        map_threshold: Map value in the middle of the colour scale.
        photos: What it does with each photo, in the order of the sheet's.
    """

    title: str
    map_threshold: float
    photos: Sequence[MaskedPhoto]

    @property
    def names(self) -> list[str]:
        """Titles of its columns."""
        soft = ["Soft mask"] if self.photos[0].trust is not None else []
        return ["Binary mask", *soft, "Reconstruction", "Heat map"]

    def pictures(self, index: int, size_hw: tuple[int, int]) -> list[NDArray[np.uint8]]:
        """Pictures of a photo, each uint8 (height, width, 3) BGR."""
        photo, image = self.photos[index], resize(self.photos[index].image, size_hw)
        soft = [] if photo.trust is None else [_tinted(image, 1 - photo.trust)]
        restored = resize(photo.reconstruction, size_hw)
        return [_tinted(image, photo.hidden), *soft, restored, blend(image, photo.anomaly_map, self.map_threshold)]


def draw_mask_sheet(
    photos: Sequence[ShownPhoto], runs: Sequence[MaskColumns], *, title: str, subtitle: str = ""
) -> NDArray[np.uint8]:
    """Draw a row for each photo: the photo, then the columns of each run.

    Args:
        photos: At least one; all of one shape.
        runs: At least one.
        title: Title of the sheet.
        subtitle: A line below it.

    Returns:
        uint8 (H, W, 3), BGR.
    """
    width = _WIDTHS[min(len(runs), len(_WIDTHS)) - 1]
    height = max(1, round(width * photos[0].image.shape[0] / photos[0].image.shape[1]))
    groups = [["Input"], *(run.names for run in runs)]
    lefts = _lefts(groups, width)
    right = lefts[-1][-1] + width + _MARGIN
    sheet_width = max(right, 3 * _LEGEND[0])
    canvas = Canvas(_HEADER + _TITLES + len(photos) * (height + _LABEL) + _MARGIN, sheet_width)
    _draw_header(canvas, title, subtitle)
    for names, left, run in zip(groups, lefts, [None, *runs], strict=True):
        if run is not None:
            available = left[-1] + width - left[0]
            canvas.text(fitted(run.title, available, 15, bold=True), (left[0], _HEADER + 12), 15, INK, bold=True)
        for name, x in zip(names, left, strict=True):
            canvas.text(fitted(name, width, 13), (x, _HEADER + _TITLES - 10), 13, MUTED)
    for index, photo in enumerate(photos):
        y = _HEADER + _TITLES + index * (height + _LABEL)
        image = resize(photo.image, (height, width))
        pictures = [image if photo.defect is None else outlined(image, photo.defect)]
        pictures += [picture for run in runs for picture in run.pictures(index, (height, width))]
        for picture, x in zip(pictures, (x for left in lefts for x in left), strict=True):
            canvas.paste(picture, (x, y))
        canvas.text(fitted(photo.name, sheet_width - 2 * _MARGIN, 12), (_MARGIN, y + height + 15), 12, MUTED)
    return canvas.pixels


def _lefts(groups: Sequence[Sequence[str]], width: int) -> list[list[int]]:
    """Left edge of each column of each group, pixels."""
    x, lefts = _MARGIN, []
    for names in groups:
        lefts.append([x + index * (width + _GAP) for index in range(len(names))])
        x = lefts[-1][-1] + width + _GROUP_GAP
    return lefts


def _draw_header(canvas: Canvas, title: str, subtitle: str) -> None:
    legend, right = _LEGEND[0], canvas.pixels.shape[1] - _MARGIN
    available = right - legend - 2 * _MARGIN
    canvas.text(fitted(title, available, 24, bold=True), (_MARGIN, 44), 24, INK, bold=True)
    canvas.text(fitted(subtitle, available, 13), (_MARGIN, 70), 13, MUTED)
    scale = np.linspace(0.0, 1.0, legend, dtype=np.float32)[None].repeat(_LEGEND[1], axis=0)
    canvas.paste(_tinted(np.full((_LEGEND[1], legend, 3), 205, np.uint8), scale), (right - legend, 34))
    canvas.text("1, kept", (right - legend, 64), 12, MUTED)
    end = "0, hidden or attenuated"
    canvas.text(end, (right - text_width(end, 12), 64), 12, MUTED)
    canvas.text("Mask", (right - legend, 26), 12, INK)


def _tinted(image: NDArray[np.uint8], hidden: NDArray[np.float32]) -> NDArray[np.uint8]:
    """An image, uint8 (H, W, 3) BGR, in grey, the bluer the more is hidden, float (h, w) in [0, 1]."""
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)  # blue parts are no masks
    height, width = image.shape[:2]
    shares = cv2.resize(np.asarray(hidden, np.float32), (width, height), interpolation=cv2.INTER_NEAREST)
    opacity = _OPACITY * np.asarray(shares, np.float32)[..., None]
    return np.asarray(grey * (1 - opacity) + np.asarray(_BLUE, np.float32) * opacity, np.uint8)
