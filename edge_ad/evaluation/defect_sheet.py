"""A sheet of simulated defects: the good part, the same part with a defect, and where the defect is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.evaluation.canvas import Canvas, Colour, fitted
from edge_ad.evaluation.tiles import INK, MUTED, PAPER
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
    """

    name: str
    good: NDArray[np.uint8]
    defective: NDArray[np.uint8]
    mask: NDArray[np.bool_]


def draw_defect_sheet(
    tiles: Sequence[DefectTile], *, title: str, subtitle: str = "", groups: int = 2
) -> NDArray[np.uint8]:
    """Draw three pictures of each defect side by side: good, defective, and defective with the mask outlined.

    Args:
        tiles: At least one; all images of one size.
        title: Title of the sheet.
        subtitle: A line below it.
        groups: Defects per row.

    Returns:
        uint8 (H, W, 3), BGR.
    """
    groups = min(groups, len(tiles))
    height, width = tiles[0].good.shape[:2]
    tile_hw = (max(1, round(_TILE * height / width)), _TILE)
    group_width = 3 * _TILE + 2 * _GAP
    row_height = tile_hw[0] + _LABEL
    rows = -(-len(tiles) // groups)
    sheet_width = 2 * _MARGIN + groups * group_width + (groups - 1) * _GROUP_GAP
    canvas = Canvas(_HEADER + rows * row_height + _MARGIN - _GAP, sheet_width, PAPER)
    canvas.text(fitted(title, sheet_width - 2 * _MARGIN, 26, bold=True), (_MARGIN, 46), 26, INK, bold=True)
    canvas.text(fitted(subtitle, sheet_width - 2 * _MARGIN, 14), (_MARGIN, 72), 14, MUTED)
    for index, tile in enumerate(tiles):
        row, group = divmod(index, groups)
        _draw(canvas, tile, (_MARGIN + group * (group_width + _GROUP_GAP), _HEADER + row * row_height), tile_hw)
    return canvas.pixels


def _draw(canvas: Canvas, tile: DefectTile, at: tuple[int, int], tile_hw: tuple[int, int]) -> None:
    x, y = at
    defective = resize(tile.defective, tile_hw)
    for picture in (resize(tile.good, tile_hw), defective, _outlined(defective, tile.mask)):
        canvas.paste(picture, (x, y))
        x += tile_hw[1] + _GAP
    share = f"{100 * tile.mask.mean():.1f} % changed" if tile.mask.any() else "left clean"
    canvas.text(fitted(f"{tile.name}: {share}", 3 * _TILE, 12), (at[0], y + tile_hw[0] + 15), 12, MUTED)


def _outlined(picture: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    height, width = picture.shape[:2]
    large = cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    contours, _ = cv2.findContours(large, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    return np.asarray(cv2.drawContours(picture.copy(), contours, -1, _OUTLINE, 1, cv2.LINE_AA), np.uint8)
