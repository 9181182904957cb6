"""The report of an evaluation: a record for programs, a picture sheet, and a page for people."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
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
from edge_ad.outside_text import storable
from edge_ad.storage import atomic_directory, storage_errors, write_file
from edge_ad.strict_json import to_json

__all__ = ["Reconstruct", "ReportPaths", "report_sections", "write_report"]

Reconstruct: TypeAlias = Callable[[NDArray[np.uint8]], NDArray[np.uint8] | None]
"""uint8 (N, H, W, 3) BGR → what normal would look like, same shape and dtype; None from a method that cannot say."""


@dataclass(frozen=True)
class ReportPaths:
    """Files of a report.

    Attributes:
        record: ``evaluation.json``, everything that was measured.
        sheet: ``sheet.png``, the picture sheet.
        page: ``index.html``, figures and sheet on one page that needs nothing beside it.
    """

    record: Path
    sheet: Path
    page: Path


def write_report(
    directory: Path,
    evaluation: Evaluation,
    *,
    map_threshold: float | None = None,
    reconstruct: Reconstruct | None = None,
    per_reason: int = 3,
) -> ReportPaths:
    """Write ``evaluation.json``, ``sheet.png`` and ``index.html``, all of them or none.

    Args:
        directory: Made when missing; files of an older report are replaced, other files stay.
        evaluation: What was measured.
        map_threshold: Map value of the contours, set without test images; the score threshold when None, as maps and
            scores have the same unit; without either, the median over the good images of the maps' largest value.
        reconstruct: Gives the sheet a column of reconstructions.
        per_reason: Images for each reason to look, >= 1.

    Raises:
        DataError: A test image cannot be read any more.
        StorageError: No space or no permission; an older report is untouched and nothing is left behind.
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
    record = to_json(evaluation.to_json(), indent=2) + "\n"
    paths = ReportPaths(directory / "evaluation.json", directory / "sheet.png", directory / "index.html")
    page = render_page(evaluation, sheet)
    _write_together(
        directory,
        {paths.record.name: record.encode(), paths.sheet.name: sheet, paths.page.name: storable(page).encode()},
    )
    return paths


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
    photos = evaluation.photos
    # As the operator sees it: the whole photo, whatever of it fills the input.
    images = read_resized([sample.path], evaluation.size_hw, photos.model_copy(update={"fit": "stretch"}))
    restored = None if reconstruct is None else read_resized([sample.path], evaluation.size_hw, photos)
    reconstructions = None if reconstruct is None or restored is None else reconstruct(restored)
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


def _write_together(directory: Path, contents: Mapping[str, bytes]) -> None:
    if not directory.exists():
        with atomic_directory(directory) as staged:
            for name, content in contents.items():
                (staged / name).write_bytes(content)
        return
    # The folder may hold anything else: only the report's own files are replaced, once all of them are on the disk.
    with storage_errors(directory), tempfile.TemporaryDirectory(prefix=".report-", dir=directory) as folder:
        for name, content in contents.items():
            write_file(Path(folder, name), content)
        for name in contents:
            Path(folder, name).replace(directory / name)
