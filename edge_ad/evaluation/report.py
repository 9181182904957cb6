"""The report of an evaluation: a record for programs, a picture sheet, and a page for people."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge_ad.data.samples import read_mask
from edge_ad.errors import MissingDependencyError
from edge_ad.evaluation.drawing import encode_png
from edge_ad.evaluation.page import render_page
from edge_ad.evaluation.results import Evaluation
from edge_ad.evaluation.sheet import SheetRow, SheetSection, draw_sheet
from edge_ad.images import read_image, resize
from edge_ad.outside_text import storable
from edge_ad.storage import atomic_directory, storage_errors, write_file
from edge_ad.strict_json import to_json

__all__ = [
    "Chosen",
    "Reconstruct",
    "ReportPaths",
    "choose_samples",
    "map_level",
    "report_sections",
    "write_report",
    "write_together",
]

_FILES = ("evaluation.json", "sheet.png", "index.html")

Reconstruct: TypeAlias = Callable[[NDArray[np.uint8]], NDArray[np.uint8] | None]
"""uint8 (N, H, W, 3) BGR → what normal would look like, same shape and dtype; None from a method that cannot say."""


@dataclass(frozen=True)
class ReportPaths:
    """Files of a report.

    Attributes:
        record: ``evaluation.json``, everything that was measured.
        sheet: ``sheet.png``, the picture sheet; None of a report that has none.
        page: ``index.html``, figures and sheet on one page that needs nothing beside it; None where the packages that
            draw it are not installed.
        missing: What is not installed, and how to install it, in one line; empty where the page was written.
    """

    record: Path
    sheet: Path | None
    page: Path | None
    missing: str = ""


def write_report(
    directory: Path,
    evaluation: Evaluation,
    *,
    map_threshold: float | None = None,
    reconstruct: Reconstruct | None = None,
    per_reason: int = 3,
) -> ReportPaths:
    """Write ``evaluation.json``, ``sheet.png`` and ``index.html``, all of them or none.

    Where matplotlib or Jinja is not installed, as on a device, there is no page; that of an older report is removed.

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
    level = map_level(evaluation) if map_threshold is None else map_threshold
    sheet = encode_png(
        draw_sheet(
            report_sections(evaluation, reconstruct=reconstruct, per_reason=per_reason),
            map_threshold=level,
            title=evaluation.product,
            subtitle=_subtitle(evaluation),
        )
    )
    contents = {"evaluation.json": f"{to_json(evaluation.to_json(), indent=2)}\n".encode(), "sheet.png": sheet}
    missing = ""
    try:
        contents["index.html"] = storable(render_page(evaluation, sheet)).encode()
    except MissingDependencyError as error:
        missing = f"{error.message} {error.hint}"
    write_together(directory, contents, _FILES)
    record, picture, page = (directory / name for name in _FILES)
    return ReportPaths(record, picture, None if missing else page, missing)


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
    image = read_image(sample.path, photos.significant_bits)
    restored = None if reconstruct is None else photos.to_input(image, evaluation.size_hw)[np.newaxis]
    reconstructions = None if reconstruct is None or restored is None else reconstruct(restored)
    return SheetRow(
        defect_type=sample.defect_type,
        name=sample.path.name,
        is_defective=sample.is_defective,
        score=float(evaluation.scores[index]),
        threshold=None if decisions is None else decisions.threshold.value,
        image=resize(image, evaluation.map_hw),
        anomaly_map=evaluation.maps[index],
        mask=None if sample.mask_path is None else read_mask(sample, evaluation.map_hw),
        reconstruction=None if reconstructions is None else reconstructions[0],
    )


def map_level(evaluation: Evaluation) -> float:
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


def write_together(directory: Path, contents: Mapping[str, bytes], names: Collection[str]) -> None:
    """Write the files of a report, all of them or none.

    Args:
        directory: Made when missing; other files stay.
        contents: File name → content.
        names: Files that such a report has; those of an older one that are not written now are removed.

    Raises:
        StorageError: No space or no permission; an older report is untouched and nothing is left behind.
    """
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
        for name in names:
            if name not in contents:
                (directory / name).unlink(missing_ok=True)


class Chosen(NamedTuple):
    """Test images that are worth a look for one reason.

    Attributes:
        reason: Heading, in words.
        indices: Indices into the samples of the evaluation, the most telling first.
    """

    reason: str
    indices: tuple[int, ...]


def choose_samples(evaluation: Evaluation, per_reason: int = 3) -> list[Chosen]:
    """Choose the images for a picture sheet: worst, most ambiguous, best; none of them twice.

    Args:
        evaluation: What was measured.
        per_reason: At most this many for each reason, >= 1.

    Returns:
        Good images with the highest scores, defective ones with the lowest, those nearest to the threshold, defective
        ones with the highest scores, good ones with the lowest; reasons without an image are left out.
    """
    taken: set[int] = set()
    groups = []
    for reason, order in _orders(evaluation):
        indices = tuple(index for index in order.tolist() if index not in taken)[:per_reason]
        taken.update(indices)
        if indices:
            groups.append(Chosen(reason, indices))
    return groups


def _orders(evaluation: Evaluation) -> Iterator[tuple[str, NDArray[np.intp]]]:
    scores, labels = evaluation.scores, evaluation.labels
    rising = np.argsort(scores, kind="stable")
    good, defective = rising[~labels[rising]], rising[labels[rising]]
    yield "Good parts with the highest scores", good[::-1]
    yield "Defects with the lowest scores", defective
    middle = _decision_point(evaluation)
    if middle is not None:
        nearest = np.argsort(np.abs(scores - middle), kind="stable")
        yield ("Closest to the threshold" if evaluation.decisions else "Between good and defective"), nearest
    yield "Defects with the highest scores", defective[::-1]
    yield "Good parts with the lowest scores", good


def _decision_point(evaluation: Evaluation) -> float | None:
    """The threshold; without one, halfway between the medians of good and defective; None where one is missing."""
    if evaluation.decisions is not None:
        return evaluation.decisions.threshold.value
    scores, labels = evaluation.scores, evaluation.labels
    if labels.all() or not labels.any():
        return None
    return float((np.median(scores[labels]) + np.median(scores[~labels])) / 2)
