"""The contact sheet of captured photos: small pictures in a grid, what is odd outlined."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import UsageError
from edge_ad.evaluation.drawing import INK, MUTED, Canvas, Colour, fitted
from edge_ad.streaming.photo_recorder import SavedPhoto

__all__ = ["draw_contact_sheet"]

_MARGIN, _GAP, _HEADER = 28, 14, 92
_COLUMNS, _LABEL = 6, 40
_FRAME = 4
_ODD: Colour = (48, 48, 206)


def draw_contact_sheet(photos: Sequence[SavedPhoto], *, title: str, subtitle: str = "") -> NDArray[np.uint8]:
    """Draw the sheet.

    Args:
        photos: At least one that has a picture; those without are left out.
        title: Title of the sheet.
        subtitle: A line below it.

    Returns:
        uint8 (H, W, 3), BGR.

    Raises:
        UsageError: No photo has a picture.
    """
    shown = [(photo, photo.picture) for photo in photos if photo.picture is not None]
    if not shown:
        raise UsageError("There are no photos to draw a sheet of.")
    height = max(picture.shape[0] for _, picture in shown)
    width = max(picture.shape[1] for _, picture in shown)
    columns = min(_COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    sheet_width = max(2 * _MARGIN + columns * (width + _GAP) - _GAP, 640)
    canvas = Canvas(_HEADER + rows * (height + _LABEL) + _MARGIN, sheet_width)
    canvas.text(fitted(title, sheet_width - 2 * _MARGIN, 26, bold=True), (_MARGIN, 46), 26, INK, bold=True)
    canvas.text(fitted(subtitle, sheet_width - 2 * _MARGIN, 14), (_MARGIN, 72), 14, MUTED)
    for index, (photo, picture) in enumerate(shown):
        row, column = divmod(index, columns)
        _draw(canvas, photo, picture, (_MARGIN + column * (width + _GAP), _HEADER + row * (height + _LABEL)), width)
    return canvas.pixels


def _draw(canvas: Canvas, photo: SavedPhoto, picture: NDArray[np.uint8], at: tuple[int, int], width: int) -> None:
    (x, y), (height, picture_width) = at, picture.shape[:2]
    if photo.remark:
        canvas.box((x - _FRAME, y - _FRAME), (height + 2 * _FRAME, picture_width + 2 * _FRAME), _ODD)
    canvas.paste(picture, at)
    canvas.text(fitted(photo.path.stem, width, 11), (x, y + height + 16), 11, MUTED)
    canvas.text(fitted(photo.remark, width, 11, bold=True), (x, y + height + 30), 11, _ODD, bold=True)
