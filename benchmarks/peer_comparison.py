"""Ours beside anomalib's PaDiM and PatchCore: the tables, and the picture of accuracy against time.

    python -m benchmarks.peer_comparison     # writes docs/images/pareto.svg; the tables: benchmarks.write_tables

Accuracy comes from recorded trainings, of the file of `SOURCES` that names a method first. Times are those of one run
on one product (`benchmarks.suites.peers`). A method is drawn when it has a time, and its accuracy on all four products.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from benchmarks.report.charts import SERIES, Point, stacked_pareto_chart
from benchmarks.report.results import read_results
from benchmarks.report.rows import AccuracyRow, LatencyRow, PeerSide, PeersRow
from benchmarks.report.tables import Table, markdown
from edge_ad.evaluation.charts import svg

__all__ = [
    "PICTURE",
    "Figures",
    "accuracies",
    "lines_table",
    "peers_accuracy_table",
    "picture",
    "points",
    "speed_table",
]

_ROOT = Path(__file__).parents[1]
PICTURE = _ROOT / "docs" / "images" / "pareto.svg"
RESULTS = Path(__file__).with_name("results")
SOURCES = ("peer_accuracy", "default_method", "discriminator_table", "engines")
TIMES = "peer_times"
_PICTURE_OF = "metal_plate"
_PRODUCTS = ("metal_plate", "ball_screw", "magnetic_tile", "screw")
_DEFAULT = "patch-gaussian"
_STRETCHED = "patch-gaussian:geometry=stretch"
_UNPOOLED = f"{_STRETCHED},neighbourhood=1"
_OUR_ROWS = {
    _DEFAULT: f"`{_DEFAULT}`",
    _STRETCHED: "stretched",
    "patch-gaussian:neighbourhood=1": "no mean",
    _UNPOOLED: "stretched, no mean",
    f"{_UNPOOLED},rank=152,block=1": "stretched, no mean, full covariance",
}
_PEERS = ("anomalib PaDiM-Lite0", "anomalib PatchCore-Lite0")
_LITE2 = "patch-gaussian:backbone=efficientnet-lite2"
_NAMES = {
    f"{_LITE2},block=2": "patch-gaussian, balanced",
    f"{_LITE2},size=288,block=2": "patch-gaussian, best",
    _STRETCHED: "patch-gaussian, 256x256 stretched",
    **{name: name.removeprefix("anomalib ") for name in (*_PEERS, "anomalib STFPM", "anomalib EfficientAD-S")},
    "anomalib PaDiM": "PaDiM, ResNet-18",
    "anomalib PatchCore": "PatchCore, Wide ResNet-50",
}
_TIME_NAME = "ms of CPU time per frame, from the decoded photo to the verdict, one thread"
_OURS, _THEIRS = ("edge-ad, INT8", SERIES[0]), ("anomalib, FP32", SERIES[1])
_ASKED = 12.0
_STFPM, _ASKED_OF_FADER = "anomalib STFPM", 4.0
_FADERS = ("fader", "fader:width=pico")
_LEVEL = 0.0005  # a difference that three digits do not show


class Figures(NamedTuple):
    """Means over seeds.

    Attributes:
        image_auroc: Image AUROC.
        pixel_auroc: Pixel AUROC.
        pro: PRO.
        cpu_seconds: CPU time of the training; None where it was not recorded.
        seeds: Trainings.
    """

    image_auroc: float
    pixel_auroc: float
    pro: float
    cpu_seconds: float | None
    seeds: int = 1


def accuracies(folder: Path) -> dict[str, dict[str, Figures]]:
    """Method → product → figures at 256 without a parameter that other files would not know."""
    found: dict[str, dict[str, Figures]] = {}
    for path in (folder / f"{name}.jsonl" for name in SOURCES):
        if path.is_file():
            results = read_results([path])
            for method, by_product in _by_method(results.accuracy, results.latency).items():
                found.setdefault(method, by_product)
    return found


def _by_method(trainings: Iterable[AccuracyRow], engines: Iterable[LatencyRow]) -> dict[str, dict[str, Figures]]:
    groups: dict[tuple[str, str], list[Figures]] = {}
    for row in trainings:
        if row.pixel_auroc is not None and row.pro is not None and (row.size, row.share) == (256, 1.0):
            figures = Figures(row.image_auroc, row.pixel_auroc, row.pro, row.cpu_seconds)
            groups.setdefault((row.method, row.product), []).append(figures)
    for engine in engines:
        if engine.accuracy is not None and engine.engine.precision == "int8" and engine.batch == 1:
            known = engine.accuracy.metrics
            figures = Figures(known["image_auroc"], known["pixel_auroc"], known["pro"], None)
            groups.setdefault((engine.method, engine.product), []).append(figures)
    found: dict[str, dict[str, Figures]] = {}
    for (method, product), seeds in groups.items():
        found.setdefault(method, {})[product] = _mean(seeds)
    return found


def _mean(seeds: Sequence[Figures]) -> Figures:
    seconds = [figures.cpu_seconds for figures in seeds if figures.cpu_seconds is not None]
    image, pixel, pro = (fmean(values) for values in list(zip(*seeds, strict=True))[:3])
    return Figures(image, pixel, pro, fmean(seconds) if seconds else None, len(seeds))


def _method(row: PeersRow, side: PeerSide) -> str:
    """Name of a side as accuracy rows have it."""
    return row.scope.split()[0] if side.name == row.reference else side.name.removeprefix(f"{row.reference} ")


def _times(path: Path) -> dict[str, PeersRow]:
    """Product → its last run."""
    return {row.product: row for row in read_results([path]).peers if row.scope.endswith("end to end")}


def points(
    row: PeersRow, known: Mapping[str, Mapping[str, Figures]]
) -> tuple[dict[str, list[Point]], dict[str, float]]:
    """Panels of the picture, and name → milliseconds of what has a time alone.

    Args:
        row: Times.
        known: Accuracy; see `accuracies`.
    """
    panels: dict[str, list[Point]] = {"image AUROC, mean of four products": [], "PRO, mean of four products": []}
    alone: dict[str, float] = {}
    for side in row.sides:
        method = _method(row, side)
        if side.cpu_ms is None:
            continue
        products = known.get(method, {})
        if all(name in products for name in _PRODUCTS):
            series = _THEIRS if method.startswith("anomalib ") else _OURS
            means = _mean([products[name] for name in _PRODUCTS])
            for panel, value in zip(panels.values(), (means.image_auroc, means.pro), strict=True):
                panel.append(Point(_NAMES.get(method, method), side.cpu_ms, value, *series))
        elif method.startswith("anomalib "):
            alone[_NAMES.get(method, method)] = side.cpu_ms
    return panels, alone


def picture(folder: Path = RESULTS) -> str:
    """The picture as an SVG file that follows the reader's light or dark theme."""
    row = _times(folder / f"{TIMES}.jsonl")[_PICTURE_OF]
    panels, alone = points(row, accuracies(folder))
    title = "Accuracy against time per frame: edge-ad's methods and anomalib's, one run"
    text = svg(stacked_pareto_chart(panels, _TIME_NAME, alone), title)
    return text.replace(">", f"><style>{_variables()}</style>", 1).rstrip() + "\n"


def _variables() -> str:
    """The lines of the pages' style sheets that say what the colours are."""
    sheets = (_ROOT / "edge_ad/evaluation/templates/report.css", _ROOT / "benchmarks/report/templates/benchmarks.css")
    lines = [line for sheet in sheets for line in sheet.read_text(encoding="utf-8").splitlines()]
    return "".join(line for line in lines if ":root{--" in line)


def peers_accuracy_table(path: Path) -> str:
    """A row for each product and way, as Markdown.

    Args:
        path: File of the times; accuracy is read from the files beside it.
    """
    known, times, cells = accuracies(path.parent), _times(path), []
    for product in _PRODUCTS:
        sides = {_method(row, side): side for row in [times[product]] for side in row.sides} if product in times else {}
        for method in (*_OUR_ROWS, *_PEERS):
            if figures := known.get(method, {}).get(product):
                cells.append(
                    [f"`{product}`", _OUR_ROWS.get(method) or _NAMES[method], *_cells(figures, sides.get(method))]
                )
    header = [
        "product",
        "what",
        "seeds",
        "I-AUROC",
        "P-AUROC",
        "PRO",
        "CPU time of a frame",
        "training, CPU s",
        "model, MiB",
    ]
    return markdown(Table(header, cells, text_columns=2))


def _cells(figures: Figures, side: PeerSide | None) -> list[str]:
    accuracy = [f"{value:.3f}" for value in figures[:3]]
    seconds = "–" if figures.cpu_seconds is None else f"{figures.cpu_seconds:.0f}"
    size = None if side is None else side.model_mib
    ratio = "–" if side is None or side.cpu_ratio is None else f"{side.cpu_ratio:.3g}"
    return [str(figures.seeds), *accuracy, ratio, seconds, "–" if size is None else f"{size:.1f}"]


def lines_table(path: Path) -> str:
    """What was asked and what was found, a row for each peer and product, as Markdown.

    Args:
        path: File of the times; accuracy is read from the files beside it.
    """
    known, times, cells = accuracies(path.parent), _times(path), []
    for peer in _PEERS:
        for product, theirs in known.get(peer, {}).items():
            shown = [_ahead(known.get(ours, {}).get(product), theirs) for ours in (_DEFAULT, _STRETCHED)]
            cells.append([f"{peer}, `{product}`", *shown, _time_line(times.get(product), peer, _DEFAULT)])
    header = ["against", "`patch-gaussian` ahead by I / P / PRO", "the same, with the same pixels"]
    return markdown(Table([*header, f"CPU time, asked {_ASKED:g} ×"], cells, text_columns=3))


def speed_table(path: Path) -> str:
    """How many times the CPU time others take, those without accuracy too, in the run of the picture, as Markdown.

    Args:
        path: File of the times.
    """
    row = _times(path)[_PICTURE_OF]
    names = [side.name for side in row.sides if side.name.startswith("anomalib ")]
    cells = []
    for name in names:
        of_fader = _ASKED_OF_FADER if name == _STFPM else 0.0
        over_fader = [_time_line(row, name, width, of_fader) for width in _FADERS]
        cells.append([name, _time_line(row, name, _DEFAULT), *over_fader])
    asked = [f"over `{width}`, asked {_ASKED_OF_FADER:g} × of STFPM" for width in _FADERS]
    return markdown(Table(["what ran", f"over `{_DEFAULT}`, asked {_ASKED:g} ×", *asked], cells))


def _ahead(ours: Figures | None, theirs: Figures) -> str:
    if ours is None:
        return "–"
    differences = [mine - other for mine, other in zip(ours[:3], theirs[:3], strict=True)]
    behind = [name for name, value in zip(("I", "P", "PRO"), differences, strict=True) if value < -_LEVEL]
    text = " / ".join(f"{value:+.3f}" for value in differences)
    return f"{text}; **behind by {', '.join(behind)}**" if behind else text


def _time_line(row: PeersRow | None, peer: str, ours: str, asked: float = _ASKED) -> str:
    """The peer's CPU time over that of one of our methods, and whether it is less than was asked."""
    cpu = {_method(row, side): side.cpu_ratio for side in row.sides} if row else {}
    mine, theirs = cpu.get(ours), cpu.get(peer)
    if mine is None or theirs is None:
        return "–"
    return f"{theirs / mine:.1f} ×" + ("" if theirs / mine >= asked else ", **missed**")


def main(arguments: list[str] | None = None) -> None:
    """Write the picture."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args(
        arguments
    )
    PICTURE.write_text(picture(), encoding="utf-8")
    print(f"{PICTURE.name}: written")


if __name__ == "__main__":
    main()
