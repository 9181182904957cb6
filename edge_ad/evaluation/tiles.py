"""One row of the picture sheet: what the label says and what the tiles show."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.evaluation.canvas import Canvas, Colour, fitted
from edge_ad.heatmap import blend, contour
from edge_ad.images import resize
from edge_ad.prediction import Verdict

__all__ = ["INK", "MUTED", "PAPER", "SheetRow", "column_titles", "draw_label", "draw_tiles"]

INK: Colour = (40, 32, 26)
MUTED: Colour = (134, 120, 108)
PAPER: Colour = (255, 255, 255)
_RIGHT: Colour = (84, 142, 42)
_WRONG: Colour = (48, 48, 206)
_NEUTRAL: Colour = (140, 108, 76)
_TRACK: Colour = (232, 226, 220)
_DIMMED = 0.35
_LINE = 22


@dataclass(frozen=True)
class SheetRow:
    """One image with everything that is shown of it.

    Attributes:
        defect_type: Name of the defect, ``"good"`` for a good part.
        name: Name of the image.
        is_defective: The truth.
        score: Raw score.
        threshold: Threshold of the score; None where nothing is decided.
        image: uint8 (H, W, 3), BGR.
        anomaly_map: float32 (h, w).
        mask: bool (h, w), True where the defect is; None where nobody marked it.
        reconstruction: uint8 (H, W, 3), BGR, what the detector thinks normal looks like; None where it does not say.
        is_truth_known: Whether there is a ground truth to show.
    """

    defect_type: str
    name: str
    is_defective: bool
    score: float
    threshold: float | None
    image: NDArray[np.uint8]
    anomaly_map: NDArray[np.float32]
    mask: NDArray[np.bool_] | None = None
    reconstruction: NDArray[np.uint8] | None = None
    is_truth_known: bool = True


def column_titles(*, has_reconstruction: bool, has_truth: bool = True) -> list[str]:
    """Titles of the tiles of a row, from left to right."""
    middle = ["Reconstruction"] if has_reconstruction else []
    return ["Input", *middle, "Heat map", "Contour", *(["Ground truth"] if has_truth else [])]


def draw_tiles(
    row: SheetRow, map_threshold: float, size_hw: tuple[int, int], *, has_reconstruction: bool
) -> list[NDArray[np.uint8]]:
    """Draw the tiles of a row, in the order of `column_titles`.

    Args:
        row: The row.
        map_threshold: Map value of the contour and of the middle of the colour scale.
        size_hw: Height and width of a tile, in pixels.
        has_reconstruction: Whether there is a column for reconstructions.

    Returns:
        uint8 (h, w, 3) BGR each.
    """
    # Enlarged first, drawn on afterwards: lines stay thin and smooth on small images.
    image = resize(row.image, size_hw)
    pictures = [image]
    if has_reconstruction:
        blank = _caption(np.full_like(image, 245), "none")
        pictures.append(blank if row.reconstruction is None else resize(row.reconstruction, size_hw))
    pictures.append(blend(image, row.anomaly_map, map_threshold))
    pictures.append(contour(image, row.anomaly_map, map_threshold))
    return [*pictures, _ground_truth(row, image)] if row.is_truth_known else pictures


def draw_label(canvas: Canvas, row: SheetRow, at: tuple[int, int], width: int) -> None:
    """Write what the row is, its verdict, and its score on a bar whose middle is the threshold.

    Args:
        canvas: Drawn on.
        row: The row.
        at: Top left corner (x, y), in pixels.
        width: In pixels.
    """
    x, y = at
    canvas.text(fitted(row.defect_type, width, 18, bold=True), (x, y + 18), 18, INK, bold=True)
    canvas.text(fitted(row.name, width, 12), (x, y + 38), 12, MUTED)
    word, colour = _verdict(row)
    if row.is_truth_known:
        canvas.pill(word, (x, y + 50), 12, colour)
    canvas.text(f"Score {row.score:.4g}", (x, y + (94 if row.is_truth_known else 64)), 14, INK)
    if row.threshold is not None:
        canvas.text(f"Threshold {row.threshold:.4g}", (x, y + 94 + _LINE), 14, MUTED)
        _draw_bar(canvas, Verdict.of(row.score, row.threshold), (x, y + 94 + 2 * _LINE - 10), width, colour)


def _draw_bar(canvas: Canvas, verdict: Verdict, at: tuple[int, int], width: int, colour: Colour) -> None:
    x, y = at
    canvas.box(at, (8, width), _TRACK)
    canvas.box(at, (8, max(1, round(verdict.normalised * width))), colour)
    canvas.box((x + width // 2 - 1, y - 4), (16, 2), INK)


def _verdict(row: SheetRow) -> tuple[str, Colour]:
    if row.threshold is None:
        return ("DEFECTIVE" if row.is_defective else "GOOD"), _NEUTRAL
    if row.score > row.threshold:
        return ("DETECTED", _RIGHT) if row.is_defective else ("FALSE ALARM", _WRONG)
    return ("MISSED", _WRONG) if row.is_defective else ("PASSED", _RIGHT)


def _ground_truth(row: SheetRow, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    dimmed = np.asarray(image * _DIMMED, np.uint8)
    if not row.is_defective:
        return _caption(dimmed, "good")
    if row.mask is None or not row.mask.any():
        return _caption(dimmed, "not marked")
    height, width = image.shape[:2]
    mask = cv2.resize(row.mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    dimmed[np.asarray(mask) > 0] = 255
    return dimmed


def _caption(picture: NDArray[np.uint8], text: str) -> NDArray[np.uint8]:
    """Write a word into the lower left corner, in a colour that the picture's brightness leaves readable."""
    canvas = Canvas(picture.shape[0], picture.shape[1], PAPER)
    canvas.paste(picture, (0, 0))
    canvas.text(text, (10, picture.shape[0] - 12), 14, MUTED if picture.mean() > 127 else PAPER)
    return canvas.pixels
