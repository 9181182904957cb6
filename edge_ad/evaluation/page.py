"""The report as one HTML page that needs nothing beside it: no script, no font, no picture file."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape

from edge_ad.evaluation.histogram import score_histogram
from edge_ad.evaluation.results import Decisions, Evaluation, Rate
from edge_ad.evaluation.style import STYLE

__all__ = ["render_page"]

_NAMES = {
    "image_auroc": "Image AUROC",
    "image_ap": "Image AP",
    "pixel_auroc": "Pixel AUROC",
    "pixel_ap": "Pixel AP",
    "pro": "PRO (FPR to 0.3)",
}


def render_page(evaluation: Evaluation, sheet_png: bytes) -> str:
    """Render an evaluation; every text from outside is escaped.

    Args:
        evaluation: What was measured.
        sheet_png: The picture sheet, content of a PNG file.

    Returns:
        A complete HTML document.
    """
    title = escape(f"{evaluation.product}: evaluation")
    decisions = evaluation.decisions
    threshold = None if decisions is None else decisions.threshold.value
    sheet = base64.b64encode(sheet_png).decode("ascii")
    parts = [
        f'<h1>{escape(evaluation.product)}</h1><p class="lead">{escape(_lead(evaluation))}</p>',
        _cards(evaluation),
        "" if decisions is None else f"<p>{escape(_promise(decisions))}</p>",
        "".join(f'<p class="note">{escape(note)}</p>' for note in _notes(evaluation)),
        f"<h2>Scores</h2>{_LEGEND}{score_histogram(evaluation.scores, evaluation.labels, threshold)}",
        _defect_table(evaluation),
        f'<h2>Images to look at</h2><img alt="Picture sheet" src="data:image/png;base64,{sheet}">',
        f"<details><summary>All {len(evaluation.samples)} images</summary>{_sample_table(evaluation)}</details>",
    ]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><style>{STYLE}</style></head>'
        f"<body><main>{''.join(parts)}</main></body></html>\n"
    )


_LEGEND = '<p class="legend"><span class="good"></span>good <span class="defective"></span>defective</p>'


def _lead(evaluation: Evaluation) -> str:
    height, width = evaluation.size_hw
    defective = int(evaluation.labels.sum())
    ran = f" with {evaluation.engine}" if evaluation.engine else ""
    return f"{len(evaluation.samples)} test images, {defective} of them defective, at {width} × {height} pixels{ran}."


def _cards(evaluation: Evaluation) -> str:
    cards = [(_NAMES.get(name, name), f"{value:.3f}", "") for name, value in evaluation.metrics.items()]
    if evaluation.decisions is not None:
        for name, rate in (
            ("Detected", evaluation.decisions.detections),
            ("False alarms", evaluation.decisions.false_alarms),
        ):
            if rate is not None:
                cards.append((name, f"{rate.value:.1%}", f"{rate.count} of {rate.total}"))
    inner = "".join(
        f'<div class="card"><span>{escape(name)}</span><b>{value}</b><small>{small}</small></div>'
        for name, value, small in cards
    )
    return f'<div class="cards">{inner}</div>'


def _promise(decisions: Decisions) -> str:
    threshold = decisions.threshold
    return (
        f"Threshold {threshold.value:.4g}: {threshold.rule}. With {threshold.confidence:.0%} confidence the true "
        f"false-alarm rate is at most {threshold.false_alarm_bound:.1%}. No test image had a part in it."
    )


def _notes(evaluation: Evaluation) -> Iterable[str]:
    if evaluation.seen:
        yield f"{evaluation.seen_words}."
    if evaluation.brightness_auroc is not None:
        yield (
            f"Mean brightness alone reaches an image AUROC of {evaluation.brightness_auroc:.3f}; 0.5 means that "
            "lighting gives nothing away, a value near the detector's own means that it may explain the result."
        )
    if evaluation.without_mask:
        yield f"{evaluation.without_mask} defective images have no marked pixel and are left out of the pixel metrics."


def _defect_table(evaluation: Evaluation) -> str:
    decisions = evaluation.decisions
    detected = {} if decisions is None else decisions.detections_by_type
    names = sorted({*evaluation.defect_auroc, *detected})
    if not names:
        return ""
    rows = []
    for name in names:
        auroc = evaluation.defect_auroc.get(name)
        cells = [name, "–" if auroc is None else f"{auroc:.3f}"]
        rows.append([*cells, _words(detected[name])] if decisions is not None else cells)
    header = ["Defect", "Image AUROC", *(["Detected"] if decisions is not None else [])]
    return f"<h2>Defects</h2>{_table(header, rows)}"


def _sample_table(evaluation: Evaluation) -> str:
    record = evaluation.to_json()["samples"]
    has_verdict = evaluation.decisions is not None
    rows = []
    for sample in sorted(record, key=lambda row: -row["score"]):
        verdict = [("defective" if sample["is_called_defective"] else "good")] if has_verdict else []
        rows.append([sample["path"], sample["defect_type"], f"{sample['score']:.6g}", *verdict])
    return _table(["Image", "Truth", "Score", *(["Called"] if has_verdict else [])], rows)


def _words(rate: Rate) -> str:
    return f"{rate.count} of {rate.total} ({rate.value:.0%})"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
