"""Pages of one HTML file that need nothing beside it, no script, font or picture; and the page of an evaluation."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from edge_ad.errors import require
from edge_ad.evaluation.charts import score_histogram, svg
from edge_ad.evaluation.results import Evaluation, Rate

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["markup", "render", "render_page"]

_TEMPLATES = Path(__file__).with_name("templates")
_NAMES = {
    "image_auroc": "Image AUROC",
    "image_ap": "Image AP",
    "pixel_auroc": "Pixel AUROC",
    "pixel_ap": "Pixel AP",
    "pro": "PRO (FPR to 0.3)",
}


def render(template: str, /, *folders: Path, **values: object) -> str:
    """Fill a template; every value that is not `markup` is escaped.

    Args:
        template: File name of the template.
        folders: Folders to look for it in, before that of the reports.
        values: Names of the template.

    Raises:
        MissingDependencyError: Jinja is not installed.
    """
    jinja = require("jinja2", extra="charts")
    environment = jinja.Environment(
        loader=jinja.FileSystemLoader([*folders, _TEMPLATES]),
        autoescape=jinja.select_autoescape(["html"]),
        undefined=jinja.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return str(environment.get_template(template).render(values))


def markup(text: str) -> Markup:
    """Mark HTML of our own, such as a chart, as not to be escaped."""
    safe: Markup = require("markupsafe", extra="charts").Markup(text)
    return safe


def render_page(evaluation: Evaluation, sheet_png: bytes) -> str:
    """Render an evaluation as a complete HTML document.

    Args:
        evaluation: What was measured.
        sheet_png: The picture sheet, content of a PNG file.

    Raises:
        MissingDependencyError: matplotlib or Jinja is not installed.
    """
    threshold = None if evaluation.decisions is None else evaluation.decisions.threshold
    histogram = score_histogram(evaluation.scores, evaluation.labels, None if threshold is None else threshold.value)
    return render(
        "evaluation.html",
        title=f"{evaluation.product}: evaluation",
        evaluation=evaluation,
        threshold=threshold,
        figures=list(_figures(evaluation)),
        histogram=markup(svg(histogram, "Histogram of image scores")),
        defects=list(_defects(evaluation)),
        samples=list(_samples(evaluation)),
        sheet=base64.b64encode(sheet_png).decode("ascii"),
    )


def _figures(evaluation: Evaluation) -> Iterator[tuple[str, str, str]]:
    for name, value in evaluation.metrics.items():
        yield _NAMES.get(name, name), f"{value:.3f}", ""
    if (decisions := evaluation.decisions) is not None:
        for name, rate in (("Detected", decisions.detections), ("False alarms", decisions.false_alarms)):
            if rate is not None:
                yield name, f"{rate.value:.1%}", f"{rate.count} of {rate.total}"


def _defects(evaluation: Evaluation) -> Iterator[list[str]]:
    detected = None if evaluation.decisions is None else evaluation.decisions.detections_by_type
    for name in sorted({*evaluation.defect_auroc, *(detected or {})}):
        auroc = evaluation.defect_auroc.get(name)
        cells = [name, "–" if auroc is None else f"{auroc:.3f}"]
        yield cells if detected is None else [*cells, _words(detected[name])]


def _samples(evaluation: Evaluation) -> Iterator[list[str]]:
    for sample in sorted(evaluation.to_json()["samples"], key=lambda row: -row["score"]):
        cells = [sample["path"], sample["defect_type"], f"{sample['score']:.6g}"]
        called = sample.get("is_called_defective")
        yield cells if called is None else [*cells, "defective" if called else "good"]


def _words(rate: Rate) -> str:
    return f"{rate.count} of {rate.total} ({rate.value:.0%})"
