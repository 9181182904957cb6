"""The picture sheet: one row per chosen image, from the input to the ground truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import UsageError
from edge_ad.evaluation.drawing import INK, MUTED, PAPER, Canvas, Colour, fitted, text_width
from edge_ad.heatmap import blend, colour_map, contour
from edge_ad.images import resize
from edge_ad.prediction import Verdict

__all__ = ["DefectExample", "SheetRow", "SheetSection", "draw_defect_sheet", "draw_sheet", "outlined"]

_MARGIN = 28
_LABEL = 190
_GAP = 10
_WIDTH = 216
_ROW_GAP = 18
_LOWEST_ROW = 156  # what the label needs
_HEADER = 118
_SECTION = 44
_LEGEND_WIDTH = 216
_RULE: Colour = (226, 220, 214)
_RIGHT: Colour = (84, 142, 42)
_WRONG: Colour = (48, 48, 206)
_NEUTRAL: Colour = (140, 108, 76)
_TRACK: Colour = (232, 226, 220)
_DIMMED = 0.35
_LINE = 22
_DEFECT_SHEET_HEADER = 92
_PICTURE = 200
_DEFECT_SHEET_GAP = 8
_DEFECT_SHEET_LABEL = 30
_GROUP_GAP = 28
_OUTLINE: Colour = (60, 60, 230)


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
    columns = _column_titles(
        has_reconstruction=any(row.reconstruction is not None for row in rows),
        has_truth=any(row.is_truth_known for row in rows),
    )
    picture_hw = _picture_size(rows[0].image)
    step = max(picture_hw[0], _LOWEST_ROW) + _ROW_GAP
    width = 2 * _MARGIN + _LABEL + len(columns) * (_WIDTH + _GAP)
    canvas = Canvas(_HEADER + _SECTION * len(sections) + step * len(rows) + _MARGIN - _ROW_GAP, width)
    _draw_header(canvas, columns, map_threshold, title, subtitle)
    y = _HEADER
    for section in sections:
        _draw_heading(canvas, section.title, y)
        y += _SECTION
        for row in section.rows:
            _draw_row(canvas, row, y, map_threshold, picture_hw, has_reconstruction="Reconstruction" in columns)
            y += step
    return canvas.pixels


def _picture_size(image: NDArray[np.uint8]) -> tuple[int, int]:
    height, width = image.shape[:2]
    return max(1, round(_WIDTH * height / width)), _WIDTH


def _draw_header(canvas: Canvas, columns: list[str], map_threshold: float, title: str, subtitle: str) -> None:
    right = canvas.pixels.shape[1] - _MARGIN
    available = right - _LEGEND_WIDTH - 2 * _MARGIN
    canvas.text(fitted(title, available, 26, bold=True), (_MARGIN, 46), 26, INK, bold=True)
    canvas.text(fitted(subtitle, available, 14), (_MARGIN, 72), 14, MUTED)
    _draw_legend(canvas, map_threshold, (right - _LEGEND_WIDTH, 30))
    for index, name in enumerate(columns):
        x = _MARGIN + _LABEL + _GAP + index * (_WIDTH + _GAP)
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
    canvas: Canvas,
    row: SheetRow,
    y: int,
    map_threshold: float,
    picture_hw: tuple[int, int],
    *,
    has_reconstruction: bool,
) -> None:
    _draw_label(canvas, row, (_MARGIN, y), _LABEL - 2 * _GAP)
    for index, picture in enumerate(
        _draw_pictures(row, map_threshold, picture_hw, has_reconstruction=has_reconstruction)
    ):
        canvas.paste(picture, (_MARGIN + _LABEL + _GAP + index * (_WIDTH + _GAP), y))


def _column_titles(*, has_reconstruction: bool, has_truth: bool = True) -> list[str]:
    """Titles of the pictures of a row, from left to right."""
    middle = ["Reconstruction"] if has_reconstruction else []
    return ["Input", *middle, "Heat map", "Contour", *(["Ground truth"] if has_truth else [])]


def _draw_pictures(
    row: SheetRow, map_threshold: float, size_hw: tuple[int, int], *, has_reconstruction: bool
) -> list[NDArray[np.uint8]]:
    """Draw the pictures of a row, in the order of `_column_titles`.

    Args:
        row: The row.
        map_threshold: Map value of the contour and of the middle of the colour scale.
        size_hw: Height and width of a picture, in pixels.
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


def _draw_label(canvas: Canvas, row: SheetRow, at: tuple[int, int], width: int) -> None:
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
        canvas.badge(word, (x, y + 50), 12, colour)
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
    canvas = Canvas(picture.shape[0], picture.shape[1])
    canvas.paste(picture, (0, 0))
    canvas.text(text, (10, picture.shape[0] - 12), 14, MUTED if picture.mean() > 127 else PAPER)
    return canvas.pixels


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
    group_width = columns * (_PICTURE + _DEFECT_SHEET_GAP) - _DEFECT_SHEET_GAP
    row_height = picture_hw[0] + _DEFECT_SHEET_LABEL
    rows = -(-len(examples) // groups)
    sheet_width = 2 * _MARGIN + groups * group_width + (groups - 1) * _GROUP_GAP
    canvas = Canvas(_DEFECT_SHEET_HEADER + rows * row_height + _MARGIN - _DEFECT_SHEET_GAP, sheet_width)
    canvas.text(fitted(title, sheet_width - 2 * _MARGIN, 26, bold=True), (_MARGIN, 46), 26, INK, bold=True)
    canvas.text(fitted(subtitle, sheet_width - 2 * _MARGIN, 14), (_MARGIN, 72), 14, MUTED)
    for index, example in enumerate(examples):
        row, group = divmod(index, groups)
        x, y = _MARGIN + group * (group_width + _GROUP_GAP), _DEFECT_SHEET_HEADER + row * row_height
        for picture in _pictures(example, picture_hw, map_threshold):
            canvas.paste(picture, (x, y))
            x += _PICTURE + _DEFECT_SHEET_GAP
        _write_label(canvas, example, (x - _DEFECT_SHEET_GAP - group_width, y + picture_hw[0] + 15))
    return canvas.pixels


def _pictures(example: DefectExample, picture_hw: tuple[int, int], map_threshold: float) -> list[NDArray[np.uint8]]:
    defective = resize(example.defective, picture_hw)
    pictures = [resize(example.good, picture_hw), defective, outlined(defective, example.mask)]
    if example.reconstruction is not None:
        pictures.append(resize(example.reconstruction, picture_hw))
    if example.anomaly_map is not None:
        pictures.append(blend(defective, example.anomaly_map, map_threshold))
    return pictures


def _write_label(canvas: Canvas, example: DefectExample, at: tuple[int, int]) -> None:
    share = f"{100 * example.mask.mean():.1f} % changed" if example.mask.any() else "left clean"
    canvas.text(fitted(f"{example.name}: {share}", 3 * _PICTURE, 12), at, 12, MUTED)


def outlined(picture: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """A picture, uint8 (H, W, 3) BGR, with the outline of a mask, bool (h, w); a new array."""
    height, width = picture.shape[:2]
    large = cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    contours, _ = cv2.findContours(large, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    return np.asarray(cv2.drawContours(picture.copy(), contours, -1, _OUTLINE, 1, cv2.LINE_AA), np.uint8)
