"""The report of an evaluation: a record for programs, a picture sheet, and a page for people."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge_ad.data.products import read_mask
from edge_ad.evaluation.page import render_page
from edge_ad.evaluation.results import Evaluation
from edge_ad.evaluation.selection import choose_samples
from edge_ad.evaluation.sheet import SheetRow, SheetSection, draw_sheet, encode_png
from edge_ad.images import read_resized
from edge_ad.storage import write_file

__all__ = ["Reconstruct", "report_sections", "write_report"]

Reconstruct: TypeAlias = Callable[[NDArray[np.uint8]], NDArray[np.uint8] | None]
"""uint8 (N, H, W, 3) BGR → what normal would look like, same shape and dtype; None from a method that cannot say."""


def write_report(
    directory: Path,
    evaluation: Evaluation,
    *,
    map_threshold: float | None = None,
    reconstruct: Reconstruct | None = None,
    per_reason: int = 3,
) -> None:
    """Write ``evaluation.json``, ``sheet.png`` and ``index.html``; everything is drawn before anything is written.

    Args:
        directory: Made when missing; files of an older report are replaced.
        evaluation: What was measured.
        map_threshold: Map value of the contours, set without test images; the score threshold when None, as maps and
            scores have the same unit; without either, the median over the good images of the maps' largest value.
        reconstruct: Gives the sheet a column of reconstructions.
        per_reason: Images for each reason to look, >= 1.

    Raises:
        DataError: A test image cannot be read any more.
        StorageError: A file could not be written.
    """
    level = _map_level(evaluation) if map_threshold is None else map_threshold
    sheet = encode_png(
        draw_sheet(
            report_sections(evaluation, reconstruct=reconstruct, per_reason=per_reason),
            map_threshold=level,
            title=evaluation.product,
            subtitle=_subtitle(evaluation),
        )
    )
    record = json.dumps(evaluation.to_json(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    page = render_page(evaluation, sheet)
    write_file(directory / "sheet.png", sheet)
    write_file(directory / "evaluation.json", record.encode())
    write_file(directory / "index.html", page.encode())


def report_sections(
    evaluation: Evaluation, *, reconstruct: Reconstruct | None = None, per_reason: int = 3
) -> list[SheetSection]:
    """Read the chosen images again and put them into rows.

    Args:
        evaluation: What was measured.
        reconstruct: Gives the rows reconstructions.
        per_reason: Images for each reason to look, >= 1.

    Raises:
        DataError: A test image cannot be read any more.
    """
    return [
        SheetSection(chosen.reason, [_row(evaluation, index, reconstruct) for index in chosen.indices])
        for chosen in choose_samples(evaluation, per_reason)
    ]


def _row(evaluation: Evaluation, index: int, reconstruct: Reconstruct | None) -> SheetRow:
    sample, decisions = evaluation.samples[index], evaluation.decisions
    images = read_resized([sample.path], evaluation.size_hw)
    reconstructions = None if reconstruct is None else reconstruct(images)
    return SheetRow(
        defect_type=sample.defect_type,
        name=sample.path.name,
        is_defective=sample.is_defective,
        score=float(evaluation.scores[index]),
        threshold=None if decisions is None else decisions.threshold.value,
        image=images[0],
        anomaly_map=evaluation.maps[index],
        mask=None if sample.mask_path is None else read_mask(sample, evaluation.size_hw),
        reconstruction=None if reconstructions is None else reconstructions[0],
    )


def _map_level(evaluation: Evaluation) -> float:
    """Map value to draw contours at where none is given; it decides nothing."""
    if evaluation.decisions is not None:
        return evaluation.decisions.threshold.value
    good = evaluation.maps[~evaluation.labels]
    return float(np.median((good if len(good) else evaluation.maps).max(axis=(1, 2))))


def _subtitle(evaluation: Evaluation) -> str:
    parts = [f"{len(evaluation.samples)} test images"]
    if evaluation.engine:
        parts.append(evaluation.engine)
    if "image_auroc" in evaluation.metrics:
        parts.append(f"image AUROC {evaluation.metrics['image_auroc']:.3f}")
    if "pro" in evaluation.metrics:
        parts.append(f"PRO {evaluation.metrics['pro']:.3f}")
    return "   |   ".join(parts)
