"""A sheet of simulated defects: the good part, the same part with a defect, where the defect is, and what is found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.evaluation.canvas import Canvas, Colour, fitted
from edge_ad.evaluation.tiles import INK, MUTED, PAPER
from edge_ad.heatmap import blend
from edge_ad.images import resize

__all__ = ["DefectTile", "draw_defect_sheet"]

_MARGIN = 28
_HEADER = 92
_TILE = 200
_GAP = 8
_LABEL = 30
_GROUP_GAP = 28
_OUTLINE: Colour = (60, 60, 230)


@dataclass(frozen=True)
class DefectTile:
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
    tiles: Sequence[DefectTile], *, title: str, subtitle: str = "", groups: int = 2, map_threshold: float = 1.0
) -> NDArray[np.uint8]:
    """Draw the pictures of each defect side by side.

    They are good, defective, and defective with the mask outlined; then, where there are such, the reconstruction and
    the map over the defective image.

    Args:
        tiles: At least one; all images of one size, and all with the same pictures.
        title: Title of the sheet.
        subtitle: A line below it.
        groups: Defects per row.
        map_threshold: Map value in the middle of the colour scale.

    Returns:
        uint8 (H, W, 3), BGR.
    """
    groups = min(groups, len(tiles))
    height, width = tiles[0].good.shape[:2]
    tile_hw = (max(1, round(_TILE * height / width)), _TILE)
    columns = 3 + (tiles[0].reconstruction is not None) + (tiles[0].anomaly_map is not None)
    group_width = columns * (_TILE + _GAP) - _GAP
    row_height = tile_hw[0] + _LABEL
    rows = -(-len(tiles) // groups)
    sheet_width = 2 * _MARGIN + groups * group_width + (groups - 1) * _GROUP_GAP
    canvas = Canvas(_HEADER + rows * row_height + _MARGIN - _GAP, sheet_width, PAPER)
    canvas.text(fitted(title, sheet_width - 2 * _MARGIN, 26, bold=True), (_MARGIN, 46), 26, INK, bold=True)
    canvas.text(fitted(subtitle, sheet_width - 2 * _MARGIN, 14), (_MARGIN, 72), 14, MUTED)
    for index, tile in enumerate(tiles):
        row, group = divmod(index, groups)
        x, y = _MARGIN + group * (group_width + _GROUP_GAP), _HEADER + row * row_height
        for picture in _pictures(tile, tile_hw, map_threshold):
            canvas.paste(picture, (x, y))
            x += _TILE + _GAP
        _write_label(canvas, tile, (x - _GAP - group_width, y + tile_hw[0] + 15))
    return canvas.pixels


def _pictures(tile: DefectTile, tile_hw: tuple[int, int], map_threshold: float) -> list[NDArray[np.uint8]]:
    defective = resize(tile.defective, tile_hw)
    pictures = [resize(tile.good, tile_hw), defective, _outlined(defective, tile.mask)]
    if tile.reconstruction is not None:
        pictures.append(resize(tile.reconstruction, tile_hw))
    if tile.anomaly_map is not None:
        pictures.append(blend(defective, tile.anomaly_map, map_threshold))
    return pictures


def _write_label(canvas: Canvas, tile: DefectTile, at: tuple[int, int]) -> None:
    share = f"{100 * tile.mask.mean():.1f} % changed" if tile.mask.any() else "left clean"
    canvas.text(fitted(f"{tile.name}: {share}", 3 * _TILE, 12), at, 12, MUTED)


def _outlined(picture: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    height, width = picture.shape[:2]
    large = cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    contours, _ = cv2.findContours(large, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    return np.asarray(cv2.drawContours(picture.copy(), contours, -1, _OUTLINE, 1, cv2.LINE_AA), np.uint8)
