"""The report on an INT8 graph as one HTML page, with a chart of the noise that each layer adds."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_ad.calibration.sensitivity import LayerSensitivity
from edge_ad.evaluation.charts import DEFECTIVE, GOOD, chart_style, new_chart, svg
from edge_ad.evaluation.page import markup, render
from edge_ad.manifest import Manifest

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["render_precision_page", "sensitivity_chart"]

_TEMPLATES = Path(__file__).with_name("templates")
_NAMES = {
    "image_auroc_drop": "Drop of image AUROC",
    "pixel_auroc_drop": "Drop of pixel AUROC",
    "pro_drop": "Drop of PRO",
    "map_correlation": "Correlation of the maps",
    "score_drift": "Drift of the good images' mean score (σ)",
}
_MOST_DB = 60  # above it a layer alone cannot be seen; below 0 dB it drowns the map
_LEAST_BAR = 0.15
_NAME_LENGTH = 44


def render_precision_page(manifest: Manifest, report: dict[str, Any]) -> str:
    """Render the report on an INT8 graph as a complete HTML document; every text from outside is escaped.

    Args:
        manifest: Of the bundle.
        report: Content of ``precision/int8.json``.
    """
    layers = [LayerSensitivity(**item) for item in report["sensitivity"]]
    chart = markup(svg(sensitivity_chart(layers, report["returned_layers"]), "Noise by layer")) if layers else ""
    return render(
        "precision.html",
        _TEMPLATES,
        title=f"{manifest.product}, {manifest.method}: INT8",
        report=report,
        figures=list(_figures(report)),
        checks=[
            [_NAMES.get(name, name), f"{value:.4f}", _limit(name, report["gate"]["limits"][name])]
            for name, value in report["gate"]["checks"].items()
        ],
        returned=list(_returned(report)),
        sensitivity=chart,
        steps=[
            [len(step["returned"]), "passed" if step["passed"] else "failed", step["failed"] or "–"]
            for step in report["steps"]
        ],
        from_start=[[layer, f"{_share(report, layer):.2%}", why] for layer, why in report["float_layers"].items()],
        int8_layers=[[layer, f"{_share(report, layer):.2%}"] for layer in report["int8_layers"]],
    )


@chart_style()
def sensitivity_chart(layers: Sequence[LayerSensitivity], returned: Collection[str]) -> Figure:
    """Draw one bar per layer, longer for more noise, from 60 dB (none) to 0 dB (as much as the map).

    Args:
        layers: At least one, in the order to draw.
        returned: Layers that went back to float; their bars have a colour of their own.
    """
    figure, axes = new_chart(0.7 + 0.24 * len(layers))
    widths = [max(_MOST_DB - min(max(layer.sqnr_db, 0.0), _MOST_DB), _LEAST_BAR) for layer in layers]
    colours = [DEFECTIVE if layer.layer in returned else GOOD for layer in layers]
    bars = axes.barh(range(len(layers)), widths, 0.75, color=colours, alpha=0.75)
    words = [f"{layer.sqnr_db:.1f} dB, {layer.score_drift:.3f} σ" for layer in layers]
    axes.bar_label(bars, words, padding=4)
    axes.set_yticks(range(len(layers)), [_short(layer.layer) for layer in layers])
    axes.set_ylim(len(layers) - 0.5, -0.5)
    ticks = range(0, _MOST_DB + 1, 10)
    axes.set_xticks(ticks, [f"{_MOST_DB - tick} dB" for tick in ticks])
    axes.set_xlim(0, _MOST_DB * 1.2)
    axes.xaxis.tick_top()
    axes.grid(axis="x")
    axes.plot([], [], "s", color=GOOD, label="INT8")
    axes.plot([], [], "s", color=DEFECTIVE, label="went back to float")
    figure.legend(loc="outside upper left", ncols=2)
    return figure


def _figures(report: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    macs, latency = report["macs"], report["latency"]
    yield "Layers in INT8", str(len(report["int8_layers"])), ""
    of_all = f"of {macs['total'] / 1e9:.2f} billion multiply-accumulates"
    yield "Convolution arithmetic in INT8", f"{macs['int8_share']:.1%}", of_all
    yield "Went back to float", str(len(report["returned_layers"])), ""
    if latency:
        lost = latency["int8"]["median_ms"] - latency["all_int8"]["median_ms"]
        yield "Latency", f"{latency['int8']['median_ms']:.1f} ms", f"{lost:+.1f} ms for the layers in float"
        yield "Latency of FP32", f"{latency['fp32']['median_ms']:.1f} ms", "the same engine and minute"


def _returned(report: dict[str, Any]) -> Iterator[list[str]]:
    sensitivity = {item["layer"]: item for item in report["sensitivity"]}
    for layer, why in report["returned_layers"].items():
        alone = sensitivity[layer]
        yield [
            layer,
            f"{alone['sqnr_db']:.1f} dB, {alone['score_drift']:.3f} σ",
            _cost(report["latency"]["layers"].get(layer)),
            f"{_share(report, layer):.1%}",
            why,
        ]


def _limit(name: str, limit: float) -> str:
    return f"at least {limit:g}" if name == "map_correlation" else f"at most {limit:.4g}"


def _cost(cost: dict[str, float] | None) -> str:
    return "not timed" if cost is None else f"{cost['cost_ms']:+.2f} ± {cost['error_ms']:.2f} ms"


def _share(report: dict[str, Any], layer: str) -> float:
    macs = report["macs"]
    return float(macs["layers"].get(layer, 0) / max(macs["total"], 1))


def _short(layer: str) -> str:
    return layer if len(layer) <= _NAME_LENGTH else f"…{layer[1 - _NAME_LENGTH :]}"
