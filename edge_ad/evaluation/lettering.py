"""Text on pictures with nothing but OpenCV: drawn large and averaged down, so that its stroke fonts are smooth."""

from __future__ import annotations

import unicodedata

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["draw_text", "printable", "shorten", "text_width"]

Colour = tuple[int, int, int]

_FONT = cv2.FONT_HERSHEY_DUPLEX
_OVERSAMPLING = 4
_UNITS_PER_PIXEL = 21.0  # height of a capital letter of the font at scale 1


def draw_text(
    canvas: NDArray[np.uint8], text: str, xy: tuple[int, int], *, height: int, colour: Colour, bold: bool = False
) -> None:
    """Draw one line of text into an image, in place; what does not fit on the image is cut off.

    Args:
        canvas: uint8 (H, W, 3), BGR.
        text: The line; letters outside ASCII lose their accents or become ``?``.
        xy: Left end of the base line, in pixels.
        height: Height of a capital letter, in pixels.
        colour: BGR.
        bold: Whether the strokes are thick.
    """
    text = printable(text)
    x, y = xy
    ascent, descent = height + 3, height // 2 + 2
    width = text_width(text, height, bold=bold) + 4
    left, top = max(0, x), max(0, y - ascent)
    box = canvas[top : y + descent, left : x + width]
    if not box.size or not text:
        return
    coverage = _coverage(text, (ascent + descent, width), ascent, height, bold)
    coverage = coverage[top - (y - ascent) :, left - x :][: box.shape[0], : box.shape[1], None]
    box[:] = np.round(box * (1.0 - coverage) + np.array(colour, np.float32) * coverage).astype(np.uint8)


def text_width(text: str, height: int, *, bold: bool = False) -> int:
    """Width of a line of text in pixels, for a height of capital letters in pixels."""
    scale, thickness = _stroke(height, bold)
    (width, _), _ = cv2.getTextSize(printable(text), _FONT, scale, thickness)
    return int(np.ceil(width / _OVERSAMPLING))


def shorten(text: str, width: int, height: int, *, bold: bool = False) -> str:
    """Cut the middle out of a line of text until it fits into ``width`` pixels; both ends of a path tell most."""
    kept = len(text)
    shortened = text
    while text_width(shortened, height, bold=bold) > width and kept > 2:
        kept -= 1
        shortened = f"{text[: kept // 2]}...{text[len(text) - (kept - kept // 2) :]}"
    return shortened


def printable(text: str) -> str:
    """The text in the letters the fonts have: printable ASCII; accents are dropped, anything else is ``?``."""
    plain = "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    return "".join(letter if " " <= letter <= "~" else "?" for letter in plain)


def _stroke(height: int, bold: bool) -> tuple[float, int]:
    scale = height * _OVERSAMPLING / _UNITS_PER_PIXEL
    return scale, max(1, round(height * _OVERSAMPLING * (0.17 if bold else 0.10)))


def _coverage(text: str, size_hw: tuple[int, int], ascent: int, height: int, bold: bool) -> NDArray[np.float32]:
    """How much of each pixel the text covers, float32 (h, w) in [0, 1]."""
    scale, thickness = _stroke(height, bold)
    large = np.zeros((size_hw[0] * _OVERSAMPLING, size_hw[1] * _OVERSAMPLING), np.uint8)
    cv2.putText(large, text, (_OVERSAMPLING, ascent * _OVERSAMPLING), _FONT, scale, 255, thickness, cv2.LINE_AA)
    small = cv2.resize(large, size_hw[::-1], interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32) / np.float32(255.0)
