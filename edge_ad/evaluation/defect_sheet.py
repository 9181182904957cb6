"""A sheet of simulated defects: the good part, the same part with a defect, where the defect is, and what is found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.evaluation.drawing import INK, MUTED, Canvas, Colour, fitted
from edge_ad.heatmap import blend
from edge_ad.images import resize

__all__ = ["DefectExample", "draw_defect_sheet"]

_MARGIN = 28
_HEADER = 92
_PICTURE = 200
_GAP = 8
_LABEL = 30
_GROUP_GAP = 28
_OUTLINE: Colour = (60, 60, 230)


@dataclass(frozen=True)
class DefectExample:
    """One simulated defect.

    Attributes:
        name: Of the image.
        good: uint8 (h, w, 3), BGR.
        defective: uint8 (h, w, 3), BGR.
        mask: bool (h, w), True where the defect is.
        reconstruction: uint8 (h, w, 3), BGR: what a detector makes of ``defective``; None for no such picture.
        anomaly_map: float32 (h, w): what it finds there; None likewise.
    """

    name: str
    good: NDArray[np.uint8]
    defective: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    reconstruction: NDArray[np.uint8] | None = None
    anomaly_map: NDArray[np.float32] | None = None


def draw_defect_sheet(
    examples: Sequence[DefectExample], *, title: str, subtitle: str = "", groups: int = 2, map_threshold: float = 1.0
) -> NDArray[np.uint8]:
    """Draw the pictures of each defect side by side.

    They are good, defective, and defective with the mask outlined; then, where there are such, the reconstruction and
    the map over the defective image.

    Args:
        examples: At least one; all images of one size, and all with the same pictures.
        title: Title of the sheet.
        subtitle: A line below it.
        groups: Defects per row.
        map_threshold: Map value in the middle of the colour scale.

    Returns:
        uint8 (H, W, 3), BGR.
    """
    groups = min(groups, len(examples))
    height, width = examples[0].good.shape[:2]
    picture_hw = (max(1, round(_PICTURE * height / width)), _PICTURE)
    columns = 3 + (examples[0].reconstruction is not None) + (examples[0].anomaly_map is not None)
    group_width = columns * (_PICTURE + _GAP) - _GAP
    row_height = picture_hw[0] + _LABEL
    rows = -(-len(examples) // groups)
    sheet_width = 2 * _MARGIN + groups * group_width + (groups - 1) * _GROUP_GAP
    canvas = Canvas(_HEADER + rows * row_height + _MARGIN - _GAP, sheet_width)
    canvas.text(fitted(title, sheet_width - 2 * _MARGIN, 26, bold=True), (_MARGIN, 46), 26, INK, bold=True)
    canvas.text(fitted(subtitle, sheet_width - 2 * _MARGIN, 14), (_MARGIN, 72), 14, MUTED)
    for index, example in enumerate(examples):
        row, group = divmod(index, groups)
        x, y = _MARGIN + group * (group_width + _GROUP_GAP), _HEADER + row * row_height
        for picture in _pictures(example, picture_hw, map_threshold):
            canvas.paste(picture, (x, y))
            x += _PICTURE + _GAP
        _write_label(canvas, example, (x - _GAP - group_width, y + picture_hw[0] + 15))
    return canvas.pixels


def _pictures(example: DefectExample, picture_hw: tuple[int, int], map_threshold: float) -> list[NDArray[np.uint8]]:
    defective = resize(example.defective, picture_hw)
    pictures = [resize(example.good, picture_hw), defective, _outlined(defective, example.mask)]
    if example.reconstruction is not None:
        pictures.append(resize(example.reconstruction, picture_hw))
    if example.anomaly_map is not None:
        pictures.append(blend(defective, example.anomaly_map, map_threshold))
    return pictures


def _write_label(canvas: Canvas, example: DefectExample, at: tuple[int, int]) -> None:
    share = f"{100 * example.mask.mean():.1f} % changed" if example.mask.any() else "left clean"
    canvas.text(fitted(f"{example.name}: {share}", 3 * _PICTURE, 12), at, 12, MUTED)


def _outlined(picture: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    height, width = picture.shape[:2]
    large = cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    contours, _ = cv2.findContours(large, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    return np.asarray(cv2.drawContours(picture.copy(), contours, -1, _OUTLINE, 1, cv2.LINE_AA), np.uint8)
