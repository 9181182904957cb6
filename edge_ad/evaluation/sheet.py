"""The picture sheet: one row per chosen image, from the input to the ground truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import UsageError
from edge_ad.evaluation.canvas import Canvas, Colour, fitted, text_width
from edge_ad.evaluation.tiles import INK, MUTED, PAPER, SheetRow, column_titles, draw_label, draw_tiles
from edge_ad.heatmap import colour_map
from edge_ad.storage import write_file

__all__ = ["SheetRow", "SheetSection", "draw_sheet", "encode_png", "write_sheet"]

_MARGIN = 28
_LABEL = 190
_GAP = 10
_TILE_WIDTH = 216
_ROW_GAP = 18
_LOWEST_ROW = 156  # what the label needs
_HEADER = 118
_SECTION = 44
_LEGEND_WIDTH = 216
_RULE: Colour = (226, 220, 214)


@dataclass(frozen=True)
class SheetSection:
    """Rows under one heading.

    Attributes:
        title: The heading.
        rows: At least one row.
    """

    title: str
    rows: Sequence[SheetRow]


def draw_sheet(
    sections: Sequence[SheetSection], *, map_threshold: float, title: str, subtitle: str = ""
) -> NDArray[np.uint8]:
    """Draw the sheet.

    Args:
        sections: At least one; all images should have the same aspect ratio.
        map_threshold: Map value of the contours and of the middle of the colour scale, in the unit of the maps.
        title: Title of the sheet.
        subtitle: A line below it.

    Returns:
        uint8 (H, W, 3), BGR.

    Raises:
        UsageError: There are no rows.
    """
    rows = [row for section in sections for row in section.rows]
    if not rows:
        raise UsageError("There are no images to draw a sheet of.")
    columns = column_titles(
        has_reconstruction=any(row.reconstruction is not None for row in rows),
        has_truth=any(row.is_truth_known for row in rows),
    )
    tile_hw = _tile_size(rows[0].image)
    step = max(tile_hw[0], _LOWEST_ROW) + _ROW_GAP
    width = 2 * _MARGIN + _LABEL + len(columns) * (_TILE_WIDTH + _GAP)
    canvas = Canvas(_HEADER + _SECTION * len(sections) + step * len(rows) + _MARGIN - _ROW_GAP, width, PAPER)
    _draw_header(canvas, columns, map_threshold, title, subtitle)
    y = _HEADER
    for section in sections:
        _draw_heading(canvas, section.title, y)
        y += _SECTION
        for row in section.rows:
            _draw_row(canvas, row, y, map_threshold, tile_hw, has_reconstruction="Reconstruction" in columns)
            y += step
    return canvas.pixels


def encode_png(picture: NDArray[np.uint8]) -> bytes:
    """Encode uint8 (H, W, 3) BGR as a PNG file's content."""
    _, content = cv2.imencode(".png", picture)
    return bytes(content)


def write_sheet(
    path: Path, sections: Sequence[SheetSection], *, map_threshold: float, title: str, subtitle: str = ""
) -> None:
    """Draw the sheet and write it as a PNG file; arguments as in `draw_sheet`.

    Raises:
        UsageError: There are no rows.
        StorageError: The file could not be written.
    """
    picture = draw_sheet(sections, map_threshold=map_threshold, title=title, subtitle=subtitle)
    write_file(path, encode_png(picture))


def _tile_size(image: NDArray[np.uint8]) -> tuple[int, int]:
    height, width = image.shape[:2]
    return max(1, round(_TILE_WIDTH * height / width)), _TILE_WIDTH


def _draw_header(canvas: Canvas, columns: list[str], map_threshold: float, title: str, subtitle: str) -> None:
    right = canvas.pixels.shape[1] - _MARGIN
    room = right - _LEGEND_WIDTH - 2 * _MARGIN
    canvas.text(fitted(title, room, 26, bold=True), (_MARGIN, 46), 26, INK, bold=True)
    canvas.text(fitted(subtitle, room, 14), (_MARGIN, 72), 14, MUTED)
    _draw_legend(canvas, map_threshold, (right - _LEGEND_WIDTH, 30))
    for index, name in enumerate(columns):
        x = _MARGIN + _LABEL + _GAP + index * (_TILE_WIDTH + _GAP)
        canvas.text(name, (x, _HEADER - 6), 14, INK, bold=True)


def _draw_legend(canvas: Canvas, map_threshold: float, at: tuple[int, int]) -> None:
    """The colour scale with its ends and its middle, where the contours are."""
    x, y = at
    scale = np.linspace(0.0, 2.0, _LEGEND_WIDTH, dtype=np.float32)[None].repeat(12, axis=0)
    canvas.paste(colour_map(scale, 1.0), at)
    middle = f"{map_threshold:.3g}"
    canvas.box((x + _LEGEND_WIDTH // 2 - 1, y - 4), (20, 2), INK)
    canvas.text("0", (x, y + 30), 12, MUTED)
    canvas.text(middle, (x + (_LEGEND_WIDTH - text_width(middle, 12)) // 2, y + 30), 12, INK)
    end = f"{2 * map_threshold:.3g}+"
    canvas.text(end, (x + _LEGEND_WIDTH - text_width(end, 12), y + 30), 12, MUTED)
    canvas.text("Middle: level of the contour", (x, y - 10), 12, MUTED)


def _draw_heading(canvas: Canvas, title: str, y: int) -> None:
    right = canvas.pixels.shape[1] - _MARGIN
    canvas.box((_MARGIN, y + 6), (1, right - _MARGIN), _RULE)
    canvas.text(title, (_MARGIN, y + 30), 15, MUTED, bold=True)


def _draw_row(
    canvas: Canvas, row: SheetRow, y: int, map_threshold: float, tile_hw: tuple[int, int], *, has_reconstruction: bool
) -> None:
    draw_label(canvas, row, (_MARGIN, y), _LABEL - 2 * _GAP)
    for index, tile in enumerate(draw_tiles(row, map_threshold, tile_hw, has_reconstruction=has_reconstruction)):
        canvas.paste(tile, (_MARGIN + _LABEL + _GAP + index * (_TILE_WIDTH + _GAP), y))
