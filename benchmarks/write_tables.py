"""The tables of the documents, made from recorded results; a test holds the documents to them.

    python -m benchmarks.write_tables            # rewrite what stands between the marks
    python -m benchmarks.write_tables --show     # print the tables

A table stands between ``<!-- table: NAME -->`` and ``<!-- end of table -->``; the line under it says which
recorded file it comes from and which command made that. A table that has not been recorded is left out of both.
benchmarks/notes/controls.md has a writer of its own (`benchmarks.fader_markdown`).
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.growth import table as growth_table
from benchmarks.peer_comparison import lines_table, peers_accuracy_table, speed_table
from benchmarks.report.comparison import Limits, compare_results
from benchmarks.report.results import Results, read_results
from benchmarks.report.rows import AccuracyRow, LatencyRow
from benchmarks.report.tables import Table, cost_table, latency_table, markdown, peers_table, scaling_table
from benchmarks.shift_precision import table as shift_precision_table
from benchmarks.shift_table import table as shift_table
from benchmarks.suites.accuracy_suite import table as accuracy_with_published
from benchmarks.suites.record import read_lines
from benchmarks.threshold_splits import table as thresholds_table

__all__ = ["DOCUMENTS", "RESULTS", "main", "rewrite", "tables"]

RESULTS = Path(__file__).parent / "results"
_ROOT = Path(__file__).parents[1]
_PAGES = ("index.md", "benchmarks.md", "distribution_shift.md", "peers.md")
DOCUMENTS = tuple(_ROOT / "docs" / "results" / name for name in _PAGES)
DOCUMENTS += tuple(_ROOT / "docs" / "explanation" / name for name in ("thresholds.md", "growth.md"))
_BLOCK = re.compile(r"(<!-- table: ([\w-]+) -->\n).*?(<!-- end of table -->)", re.DOTALL)
_GAUSSIAN = (
    "Rows of `patch-gaussian`: seed 0 of `discriminator_table.jsonl` (commands: `benchmarks/notes/discriminators.md`)."
)
_NAMES = {"fader": "FADeR", "ear": "EAR", "draem": "DRAEM", "cutpaste": "CutPaste"}
_METRICS = ("image_auroc", "pixel_auroc", "pixel_ap", "pro")


@dataclass(frozen=True)
class Source:
    """Where a table comes from.

    Attributes:
        file: Recorded file, below `RESULTS`.
        command: What made it.
        make: Recorded file → Markdown.
    """

    file: str
    command: str
    make: Callable[[Path], str]

    def text(self) -> str:
        """The table, and the line that says where it comes from."""
        where = f"*From `benchmarks/results/{self.file}`, made by `{self.command}`.*"
        return f"{self.make(RESULTS / self.file)}\n\n{where}\n"


_ENGINES = "python -m benchmarks.suites.latency BUNDLE... --data DIR/<product>... [--quick] --out engines.jsonl"
_AGAIN = "python -m benchmarks.suites.latency BUNDLE --data DIR/metal_plate --patience 110 --out again/engines.jsonl"
_PEERS = (
    "python -m benchmarks.suites.peers BUNDLE --run RUN --data DIR/metal_plate --rounds 8 "
    "--anomalib MODELS --anomalib-python PYTHON --out peers.jsonl"
)
_PEER_TIMES = (
    "python -m benchmarks.suites.peers BUNDLE --data DIR/<product> --what end-to-end --threads 1 "
    "--beside NAME=BUNDLE... --anomalib MODELS FITTED --anomalib-python PYTHON --out peer_times.jsonl"
)
_DETECTION = "python -m benchmarks.suites.detection BUNDLE --data DIR/metal_plate --out detection.jsonl"
_SCALING = "python -m benchmarks.suites.scaling --what size batch sources --rounds 4 --seconds 0.3 --out scaling.jsonl"
_GROWTH = "python -m benchmarks.growth --bundle BUNDLE --data FOLDER --out growth.jsonl"
_SHIFT = "python -m benchmarks.shift_table --data DIR/<product>... --out shift.jsonl"
_THRESHOLDS = "python -m benchmarks.threshold_splits --data DIR --turns 34 --out threshold_splits.jsonl"
_ACCURACY = "python -m benchmarks.suites.accuracy_suite --data DIR/<product>... --out accuracy.jsonl"


def tables() -> dict[str, Source]:
    """Name → source, of those that have been recorded."""
    return {name: source for name, source in _sources().items() if (RESULTS / source.file).is_file()}


def _sources() -> dict[str, Source]:
    return {
        "growth": Source("growth.jsonl", _GROWTH, growth_table),
        "accuracy": Source("engines.jsonl", _ENGINES, _accuracy),
        "precision": Source("engines.jsonl", _ENGINES, _precision),
        "latency": Source("engines.jsonl", _ENGINES, lambda path: markdown(latency_table(_latency(path)))),
        "cost": Source("engines.jsonl", _ENGINES, lambda path: markdown(cost_table(_latency(path)))),
        "speed": Source("peers.jsonl", _PEERS, _speed),
        "peers": Source("peers.jsonl", _PEERS, _peers),
        "peers-accuracy": Source("peer_times.jsonl", _PEER_TIMES, peers_accuracy_table),
        "peers-asked": Source("peer_times.jsonl", _PEER_TIMES, lines_table),
        "peers-speed": Source("peer_times.jsonl", _PEER_TIMES, speed_table),
        "again": Source("again/engines.jsonl", _AGAIN, _again),
        "scaling": Source("scaling.jsonl", _SCALING, lambda path: markdown(scaling_table(_read(path).scaling))),
        "detection": Source("detection.jsonl", _DETECTION, _detection),
        "shift": Source("shift.jsonl", _SHIFT, lambda path: shift_table(read_lines(path))),
        "shift-int8": Source(
            "shift_int8.jsonl",
            f"{_SHIFT} --precision int8",
            lambda path: shift_precision_table(read_lines(path.with_name("shift.jsonl")), read_lines(path)),
        ),
        "thresholds": Source("threshold_splits.jsonl", _THRESHOLDS, lambda path: thresholds_table(read_lines(path))),
        "methods": Source("accuracy.jsonl", _ACCURACY, lambda path: accuracy_with_published(read_lines(path))),
    }


def rewrite(text: str, made: Mapping[str, str]) -> str:
    """A document with its tables made anew.

    Raises:
        KeyError: It asks for a table that there is not.
    """
    return _BLOCK.sub(lambda found: f"{found[1]}{made[found[2]]}{found[3]}", text)


def _read(path: Path) -> Results:
    return read_results([path])


def _latency(path: Path) -> list[LatencyRow]:
    return _read(path).latency


def _accuracy(path: Path) -> str:
    """Engines and, beneath each product, the patch Gaussian in torch (seed 0)."""
    gaussian = {row.product: row for row in _gaussians(path)}
    cells: list[list[str]] = []
    bundles = _by_bundle(_latency(path))
    for product in dict.fromkeys(product for product, _ in bundles):
        rows = [row for (name, _), both in bundles.items() if name == product for row in both]
        for row in rows:
            assert row.accuracy is not None
            cells.append([_code(product), _engine(row), *_figures(row.accuracy.metrics)])
        if product in gaussian:
            cells.append([_code(product), "`patch-gaussian`, torch FP32", *_figures(gaussian[product].model_dump())])
    table = Table(["product", "engine", "I-AUROC", "P-AUROC", "P-AP", "PRO"], cells, text_columns=2)
    return f"{markdown(table)}\n\n{_GAUSSIAN}"


def _gaussians(path: Path) -> list[AccuracyRow]:
    found = [path.with_name(name) for name in ("accuracy.jsonl", "discriminator_table.jsonl")]
    rows = [row for row in _read_all(found) if row.method == "patch-gaussian"]
    return [row for row in rows if (row.size, row.seed, row.share) == (256, 0, 1.0)][::-1]


def _read_all(paths: list[Path]) -> list[AccuracyRow]:
    return read_results([path for path in paths if path.is_file()]).accuracy


def _by_bundle(rows: Iterable[LatencyRow]) -> dict[tuple[str, str], list[LatencyRow]]:
    """Rows of OpenVINO that know their accuracy: product and method → precisions, INT8 before FP32."""
    found: dict[tuple[str, str], list[LatencyRow]] = {}
    for row in sorted(rows, key=lambda item: item.engine.precision, reverse=True):
        if row.batch == 1 and row.accuracy is not None and row.engine.backend == "openvino":
            found.setdefault((row.product, row.method), []).append(row)
    return found


def _engine(row: LatencyRow) -> str:
    return f"{_NAMES.get(row.method, _code(row.method))}, OpenVINO {row.engine.precision.upper()}"


def _code(product: str) -> str:
    return f"`{product}`"


def _figures(metrics: Mapping[str, object]) -> list[str]:
    return ["–" if (value := metrics.get(name)) is None else f"{value:.3f}" for name in _METRICS]


def _precision(path: Path) -> str:
    """How far the INT8 engines are from the FP32 engines, as a sentence."""
    names = {"image_auroc": "image AUROC", "pixel_auroc": "pixel AUROC", "pro": "PRO"}
    largest = dict.fromkeys(names, (0.0, "–"))
    for (product, method), rows in _by_bundle(_latency(path)).items():
        metrics = {row.engine.precision: row.accuracy.metrics for row in rows if row.accuracy is not None}
        if {"int8", "fp32"} <= metrics.keys():
            for name in names:
                change = metrics["int8"][name] - metrics["fp32"][name]
                largest[name] = max(
                    largest[name], (change, f"{_code(method)} on {_code(product)}"), key=lambda item: abs(item[0])
                )
    words = [f"{change:+.4f} of {names[name]} ({which})" for name, (change, which) in largest.items()]
    return f"The INT8 engines against the FP32 engines on the same test images, at most: {', '.join(words)}."


def _speed(path: Path) -> str:
    """How many times as fast as others, end to end."""
    cells, notes = [], dict[str, None]()
    for row in _read(path).peers:
        for side in row.sides:
            if row.scope.endswith("end to end") and side.name not in (row.reference, "benchmark_app"):
                ratios = side.ratio_per_round
                over = f"{min(ratios):.1f} to {max(ratios):.1f} in {len(ratios)} rounds"
                cells.append([f"{row.product}: {row.scope}", side.name, f"{side.ratio:.1f} × ({over})"])
                notes |= {f"{side.name.split()[0]}: {side.note}.": None} if side.note else {}
    table = markdown(Table(["what", "instead of", "times as fast"], cells, text_columns=2))
    return "\n\n".join([table, *notes])


def _peers(path: Path) -> str:
    return "\n\n".join(f"**{row.product}, {row.scope}**\n\n{markdown(peers_table(row))}" for row in _read(path).peers)


def _again(path: Path) -> str:
    """The same suite run twice: how far its medians are from each other, as they are and as ratios."""
    second, first = ({row.key: row for row in _latency(file)} for file in (path.parents[1] / path.name, path))
    common = [key for key in second if key in first]
    changes = compare_results([second[key] for key in common], [first[key] for key in common], Limits()).changes
    cells = []
    for key, change in zip(common, changes, strict=True):
        old, new = (rows[key].end_to_end.p50_ms for rows in (first, second))
        interval = f"{change.interval.ratio:.3f} ({change.interval.low:.3f} to {change.interval.high:.3f})"
        medians = [f"{old:.2f}", f"{new:.2f}", f"{new / old:.3f}"]
        cells.append([_code(change.row.product), _engine(change.row), *medians, interval, change.verdict])
    header = [
        "product",
        "engine",
        "first, ms",
        "second, ms",
        "second / first",
        "by the yardstick, calm rounds",
        "verdict",
    ]
    table = markdown(Table(header, cells, text_columns=2))
    ratios = [_int8_over_fp32([rows[key] for key in common]) for rows in (first, second)]
    return f"{table}\n\n{', then '.join(ratios)}."


def _int8_over_fp32(rows: Iterable[LatencyRow]) -> str:
    """Ratio of the two precisions within one session, medians of the calm rounds' ratios, by bundle."""
    found = []
    for (product, _), group in _by_bundle(rows).items():
        turns = {row.engine.precision: row.rounds for row in group}
        if {"int8", "fp32"} <= turns.keys():
            pairs = zip(turns["fp32"], turns["int8"], strict=True)
            ratio = median(slow.p50_ms / fast.p50_ms for slow, fast in pairs if slow.is_calm)
            found.append(f"FP32 / INT8 on {_code(product)} {ratio:.3f}")
    return ", ".join(found)


def _detection(path: Path) -> str:
    """How often a delay and noise are flagged, by what the two sides have in common."""
    rows = [row for row in read_lines(path) if row.get("kind") == "detection"]
    cells = [_detected(how, [row[how] for row in rows if how in row]) for how in ("paired", "yardstick")]
    header = ["how", "slower build flagged", "its ratio", "noise flagged", "its ratio"]
    names = ", ".join(dict.fromkeys(f"{row['product']}, {row['engine']}, delay {row['delay']:.0%}" for row in rows))
    calm, every = sum(row["calm_rounds"] for row in rows), sum(row["rounds"] for row in rows)
    note = f"{names}; {calm} of {every} rounds were calm."
    return f"{markdown(Table(header, cells))}\n\n{note}"


def _detected(how: str, rows: list[dict[str, Any]]) -> list[str]:
    cells = [how]
    for kind in ("delay", "noise"):
        found = [row[kind] for row in rows]
        ratios = sorted(item["ratio"] for item in found)
        cells += [
            f"{sum(item['flagged'] for item in found)} of {len(found)}",
            f"{median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f})",
        ]
    return cells


def main(arguments: list[str] | None = None) -> None:
    """Rewrite the documents, or print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--show", action="store_true", help="print, change nothing")
    chosen = parser.parse_args(arguments)
    made = {name: source.text() for name, source in tables().items()}
    if chosen.show:
        print("\n".join(f"## {name}\n\n{text}" for name, text in made.items()))
        return
    for document in DOCUMENTS:
        old = document.read_text(encoding="utf-8")
        new = rewrite(old, made)
        if new != old:
            document.write_text(new, encoding="utf-8")
            print(f"{document.name}: rewritten")


if __name__ == "__main__":
    main()
