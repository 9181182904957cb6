"""The precision report as one HTML page that needs nothing beside it: no script, no font, no picture file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from edge_ad.calibration.sensitivity import LayerSensitivity
from edge_ad.evaluation.style import STYLE
from edge_ad.export.sensitivity_chart import sensitivity_chart
from edge_ad.manifest import Manifest

__all__ = ["render_precision_page"]

_NAMES = {
    "image_auroc_drop": "Drop of image AUROC",
    "pixel_auroc_drop": "Drop of pixel AUROC",
    "pro_drop": "Drop of PRO",
    "map_correlation": "Correlation of the maps",
    "score_drift": "Drift of the good images' mean score (σ)",
}
_LEGEND = (
    '<p class="legend"><span class="good"></span>INT8 <span class="defective"></span>went back to float</p>'
    '<p class="note">Each bar: that layer alone in INT8. Decibels: signal over noise at the anomaly map, less is '
    "worse; σ: how far the scores move, in standard deviations of the FP32 scores.</p>"
)


def render_precision_page(manifest: Manifest, document: dict[str, Any]) -> str:
    """Render the report on an INT8 graph; every text from outside is escaped.

    Args:
        manifest: Of the bundle.
        document: Content of ``precision/int8.json``.

    Returns:
        A complete HTML document.
    """
    title = escape(f"{manifest.product}, {manifest.method}: INT8")
    body = "".join(
        (
            f'<h1>{title}</h1><p class="lead">{escape(_lead(document))}</p>',
            _cards(document),
            f"<h2>Accuracy gate</h2>{_gate(document)}",
            f"<h2>Layers that went back to float</h2>{_returned(document)}",
            f"<h2>Sensitivity of the layers</h2>{_sensitivity(document)}",
            _steps(document),
            _from_start(document),
            _int8_layers(document),
        )
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><style>{STYLE}</style></head>'
        f"<body><main>{body}</main></body></html>\n"
    )


def _lead(document: dict[str, Any]) -> str:
    calibration = document["calibration"]
    return (
        f"Gated on {document['engine']}. Ranges by {calibration['ranges']} on {calibration['chosen']}. "
        "No test image had a part in it."
    )


def _cards(document: dict[str, Any]) -> str:
    latency = document["latency"]
    cards = [
        ("Layers in INT8", str(len(document["int8_layers"])), ""),
        ("Convolution arithmetic in INT8", f"{document['macs']['int8_share']:.1%}", _giga(document["macs"]["total"])),
        ("Went back to float", str(len(document["returned_layers"])), ""),
    ]
    if latency:
        lost = latency["int8"]["median_ms"] - latency["all_int8"]["median_ms"]
        cards.append(("Latency", f"{latency['int8']['median_ms']:.1f} ms", f"{lost:+.1f} ms for the layers in float"))
        cards.append(("Latency of FP32", f"{latency['fp32']['median_ms']:.1f} ms", "the same engine and minute"))
    inner = "".join(
        f'<div class="card"><span>{escape(name)}</span><b>{escape(value)}</b><small>{escape(small)}</small></div>'
        for name, value, small in cards
    )
    return f'<div class="cards">{inner}</div>'


def _gate(document: dict[str, Any]) -> str:
    gate, images, fp32 = document["gate"], document["gate_images"], document["fp32_on_gate_images"]
    rows = [
        [_NAMES.get(name, name), f"{value:.4f}", _limit(name, gate["limits"][name])]
        for name, value in gate["checks"].items()
    ]
    words = (
        f"Compared with FP32 on {images['good']} held-out good images and {images['pseudo_defects']} pseudo-defects "
        "made of them. Image AUROC counts each pair of images by how clearly it is in order (smoothed by a tenth of "
        "the scores' deviation), so that pairs which hang by a thread do not decide. "
        f"FP32 itself: image AUROC {fp32['image_auroc']:.4f}, pixel AUROC {fp32['pixel_auroc']:.4f}, "
        f"PRO {fp32['pro']:.4f}."
    )
    return f'{_table(["Check", "Measured", "Limit"], rows)}<p class="note">{escape(words)}</p>'


def _limit(name: str, limit: float) -> str:
    return f"at least {limit:g}" if name == "map_correlation" else f"at most {limit:.4g}"


def _returned(document: dict[str, Any]) -> str:
    if not document["returned_layers"]:
        return (
            "<p>None: the gate passed with every layer that was meant to be INT8, and nothing was lost in latency.</p>"
        )
    sensitivity = {item["layer"]: item for item in document["sensitivity"]}
    costs, macs = document["latency"]["layers"], document["macs"]
    rows = [
        [
            layer,
            f"{sensitivity[layer]['sqnr_db']:.1f} dB, {sensitivity[layer]['score_drift']:.3f} σ",
            _cost(costs.get(layer)),
            f"{macs['layers'].get(layer, 0) / max(macs['total'], 1):.1%}",
            why,
        ]
        for layer, why in document["returned_layers"].items()
    ]
    note = (
        "Latency: the engine as it is beside the same engine with that one layer in INT8, medians of interleaved "
        f"runs, ± the standard error of their difference; {document['latency']['machine']}."
    )
    header = ["Layer", "Alone in INT8", "Costs", "Share", "Why"]
    return f'{_table(header, rows)}<p class="note">{escape(note)}</p>'


def _cost(cost: dict[str, float] | None) -> str:
    return "not timed" if cost is None else f"{cost['cost_ms']:+.2f} ± {cost['error_ms']:.2f} ms"


def _sensitivity(document: dict[str, Any]) -> str:
    items = [LayerSensitivity(**item) for item in document["sensitivity"]]
    if not items:
        return "<p>Not measured, as the gate passed at once. edge-ad calibrate RUN --sensitivity measures it.</p>"
    return _LEGEND + sensitivity_chart(items, document["returned_layers"])


def _steps(document: dict[str, Any]) -> str:
    rows = [
        [str(len(step["returned"])), "passed" if step["passed"] else "failed", step["failed"] or "–"]
        for step in document["steps"]
    ]
    return f"<h2>Steps of the search</h2>{_table(['Layers back in float', 'Gate', 'Failed checks'], rows)}"


def _from_start(document: dict[str, Any]) -> str:
    macs = document["macs"]
    rows = [
        [layer, f"{macs['layers'].get(layer, 0) / max(macs['total'], 1):.2%}", why]
        for layer, why in document["float_layers"].items()
    ]
    table = _table(["Layer", "Arithmetic", "Why"], rows)
    return f"<details><summary>{len(rows)} layers in float from the start</summary>{table}</details>"


def _int8_layers(document: dict[str, Any]) -> str:
    macs = document["macs"]
    rows = [[layer, f"{macs['layers'].get(layer, 0) / max(macs['total'], 1):.2%}"] for layer in document["int8_layers"]]
    return f"<details><summary>{len(rows)} layers in INT8</summary>{_table(['Layer', 'Arithmetic'], rows)}</details>"


def _giga(macs: int) -> str:
    return f"of {macs / 1e9:.2f} billion multiply-accumulates"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
