"""Text, boxes and pictures on a sheet, drawn by OpenCV: a sheet is written on a device too, where matplotlib is not."""

from __future__ import annotations

from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.outside_text import storable

__all__ = ["INK", "MUTED", "PAPER", "Canvas", "Colour", "encode_png", "fitted", "text_width"]

Colour: TypeAlias = tuple[int, int, int]
"""Blue, green, red, 0..255."""

INK: Colour = (40, 32, 26)
MUTED: Colour = (134, 120, 108)
PAPER: Colour = (255, 255, 255)

_REGULAR, _BOLD = 400, 640
# OpenCV 5 brings TrueType fonts; OpenCV 4 has stroke fonts only, and writes ? for letters outside ASCII.
_FACE: Any = cv2.FontFace("sans") if hasattr(cv2, "FontFace") else None
_STROKES = cv2.FONT_HERSHEY_SIMPLEX
_SCALE = 1 / 32  # of the stroke font, for a font height of one pixel


class Canvas:
    """A BGR picture that is drawn on.

    Args:
        height: In pixels.
        width: In pixels.
        colour: Of the background.
    """

    def __init__(self, height: int, width: int, colour: Colour = PAPER) -> None:
        self.pixels: NDArray[np.uint8] = np.full((height, width, 3), colour, np.uint8)

    def text(self, text: str, at: tuple[int, int], size: int, colour: Colour, *, bold: bool = False) -> None:
        """Write one line.

        Args:
            text: The line.
            at: x of its left end and y of its baseline, in pixels.
            size: Height of the font, in pixels.
            colour: Of the letters.
            bold: Whether the letters are heavy.
        """
        text = storable(text)  # half a character ends the process in OpenCV's native code
        if _FACE is not None:
            cv2.putText(self.pixels, text, at, colour, _FACE, size, _BOLD if bold else _REGULAR)
        else:
            cv2.putText(self.pixels, text, at, _STROKES, size * _SCALE, colour, 1 + bold, cv2.LINE_AA)

    def box(self, top_left: tuple[int, int], size_hw: tuple[int, int], colour: Colour) -> None:
        """Fill a rectangle; ``top_left`` is (x, y), ``size_hw`` its height and width, all in pixels."""
        x, y = top_left
        self.pixels[y : y + size_hw[0], x : x + size_hw[1]] = colour

    def badge(self, text: str, at: tuple[int, int], size: int, colour: Colour) -> None:
        """Write white text on a box; ``at`` is the box's left end and top, (x, y), in pixels."""
        (x, y), margin = at, size // 2
        self.box(at, (2 * margin + size // 2, text_width(text, size, bold=True) + 2 * margin), colour)
        self.text(text, (x + margin, y + margin + size * 5 // 8), size, PAPER, bold=True)

    def paste(self, picture: NDArray[np.uint8], at: tuple[int, int]) -> None:
        """Copy a picture, uint8 (H, W, 3), with its top left corner at (x, y)."""
        x, y = at
        self.pixels[y : y + picture.shape[0], x : x + picture.shape[1]] = picture


def text_width(text: str, size: int, *, bold: bool = False) -> int:
    """Width of one line, in pixels."""
    text = storable(text)
    if _FACE is not None:
        # The whole box counts from x = 0: a leading blank or overhang belongs to the width.
        x, _, width, _ = cv2.getTextSize((1 << 14, 1 << 14), text, (0, 0), _FACE, size, _BOLD if bold else _REGULAR)
        return int(x + width)
    return int(cv2.getTextSize(text, _STROKES, size * _SCALE, 1 + bold)[0][0])


def fitted(text: str, width: int, size: int, *, bold: bool = False) -> str:
    """Shorten a line in its middle until it is at most ``width`` pixels wide."""
    if text_width(text, size, bold=bold) <= width:
        return text
    for kept in range(len(text) - 1, 1, -1):
        shorter = f"{text[: (kept + 1) // 2]}...{text[len(text) - kept // 2 :]}"
        if text_width(shorter, size, bold=bold) <= width:
            return shorter
    return "..."


def encode_png(picture: NDArray[np.uint8]) -> bytes:
    """Encode uint8 (H, W, 3) BGR as a PNG file's content."""
    _, content = cv2.imencode(".png", picture)
    return bytes(content)
