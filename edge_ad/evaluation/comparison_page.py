"""A comparison as one HTML page: the detectors, and the photos on which they differ, side by side."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import MissingDependencyError
from edge_ad.evaluation.comparison import Candidate, Comparison, Disagreement
from edge_ad.evaluation.page import render
from edge_ad.evaluation.report import ReportPaths, map_level, write_together
from edge_ad.evaluation.results import Evaluation
from edge_ad.heatmap import blend, contour
from edge_ad.images import read_image
from edge_ad.outside_text import storable
from edge_ad.strict_json import to_json

__all__ = ["render_comparison", "write_comparison"]

_FILES = ("comparison.json", "index.html")
_MOST_SHOWN = 60  # photos with their pictures: some megabytes
_LONGEST_SIDE = 480
_JPEG = (cv2.IMWRITE_JPEG_QUALITY, 85)


def write_comparison(directory: Path, comparison: Comparison) -> ReportPaths:
    """Write ``comparison.json`` and ``index.html``, both of them or none.

    Args:
        directory: Made when missing; files of an older comparison are replaced, other files stay.
        comparison: What was compared.

    Raises:
        DataError: A test photo cannot be read any more.
        StorageError: No space or no permission; an older comparison is untouched and nothing is left behind.
    """
    contents, missing = {_FILES[0]: f"{to_json(comparison.to_json(), indent=2)}\n".encode()}, ""
    try:
        contents[_FILES[1]] = storable(render_comparison(comparison)).encode()
    except MissingDependencyError as error:
        missing = f"{error.message} {error.hint}"
    write_together(directory, contents, _FILES)
    record, page = (directory / name for name in _FILES)
    return ReportPaths(record, None, None if missing else page, missing)


def render_comparison(comparison: Comparison) -> str:
    """Render a comparison as a complete HTML document that needs nothing beside it.

    Photos and maps are those of candidates that were measured; a saved document has none.

    Raises:
        DataError: A test photo cannot be read any more.
        MissingDependencyError: Jinja is not installed.
    """
    first, shown = comparison.candidates[0], comparison.disagreements[:_MOST_SHOWN]
    places = [_places(candidate.evaluation) for candidate in comparison.candidates]
    return render(
        "comparison.html",
        title=f"{first.product}: comparison",
        product=first.product,
        photos=len(first.labels),
        defective=sum(map(bool, first.labels.values())),
        candidates=[_row(candidate) for candidate in comparison.candidates],
        without_threshold=[item.name for item in comparison.candidates if not item.called],
        disagreements=[_compared(comparison, places, item) for item in shown],
        left_out=len(comparison.disagreements) - len(shown),
    )


def _row(candidate: Candidate) -> list[str]:
    metrics = [candidate.metrics.get(name) for name in ("image_auroc", "pixel_auroc", "pro")]
    return [
        candidate.name,
        candidate.engine or "–",
        *("–" if value is None else f"{value:.3f}" for value in metrics),
        _rate(candidate.counted(is_defective=False)),
        _rate(candidate.counted(is_defective=True)),
        "–" if candidate.latency_ms is None else f"{candidate.latency_ms:.1f} ms",
        "–" if candidate.size_bytes is None else f"{candidate.size_bytes / 1e6:.1f} MB",
    ]


def _rate(counted: tuple[int, int] | None) -> str:
    return "–" if counted is None else f"{counted[0]} of {counted[1]}"


def _places(evaluation: Evaluation | None) -> dict[str, int]:
    """Path of a test photo, as records name it → its index."""
    return {} if evaluation is None else {evaluation.relative_path(i): i for i in range(len(evaluation.samples))}


def _compared(comparison: Comparison, places: list[dict[str, int]], item: Disagreement) -> dict[str, Any]:
    photo = _photo(comparison, places, item.path)
    candidates = zip(comparison.candidates, places, strict=True)
    return {
        "path": item.path,
        "truth": item.defect_type or "good",
        "photo": None if photo is None else _data_uri(photo),
        "verdicts": [_verdict(candidate, place.get(item.path), item, photo) for candidate, place in candidates],
    }


def _photo(comparison: Comparison, places: list[dict[str, int]], path: str) -> NDArray[np.uint8] | None:
    """The whole photo, small, uint8 BGR; None where only documents name it."""
    for candidate, place in zip(comparison.candidates, places, strict=True):
        if candidate.evaluation is not None and path in place:
            evaluation = candidate.evaluation
            image = read_image(evaluation.samples[place[path]].path, evaluation.photos.significant_bits)
            scale = min(1.0, _LONGEST_SIDE / max(image.shape[:2]))
            size_wh = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
            return np.asarray(cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA), np.uint8)
    return None


def _verdict(
    candidate: Candidate, index: int | None, item: Disagreement, photo: NDArray[np.uint8] | None
) -> dict[str, Any]:
    called, score = candidate.called.get(item.path), candidate.scores.get(item.path)
    picture = None
    if photo is not None and index is not None and candidate.evaluation is not None:
        level, found = map_level(candidate.evaluation), candidate.evaluation.maps[index]
        picture = _data_uri(contour(blend(photo, found, level), found, level))
    return {
        "name": candidate.name,
        "picture": picture,
        "word": "no threshold" if called is None else "NG" if called else "OK",
        "is_right": None if called is None else called == bool(item.defect_type),
        "score": "" if score is None else f"score {score:.4g}",
        "threshold": "" if candidate.threshold is None else f"threshold {candidate.threshold:.4g}",
    }


def _data_uri(picture: NDArray[np.uint8]) -> str:
    encoded = cv2.imencode(".jpg", picture, _JPEG)[1].tobytes()
    return f"data:image/jpeg;base64,{base64.b64encode(encoded).decode('ascii')}"
