"""The recorded rows of the detectors on patch features as Markdown, for benchmarks/notes/discriminators.md.

python -m benchmarks.discriminator_markdown            # rewrite the tables of the page from the recorded rows
python -m benchmarks.discriminator_markdown --show     # print them
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

Row = Mapping[str, Any]

RESULTS = Path(__file__).parent / "results"
DOCUMENT = Path(__file__).with_name("notes") / "discriminators.md"
_COLUMNS = {
    "image_auroc": "I-AUROC",
    "pixel_auroc": "P-AUROC",
    "pixel_ap": "P-AP",
    "pro": "PRO",
    "held_out": "held out",
    "unseen": "thin",
}


def read_rows(name: str) -> list[dict[str, Any]]:
    """Rows of a recorded file, in the order in which they were measured; none where there is no file."""
    path = RESULTS / f"{name}.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []


def accuracy_table(rows: Iterable[Row]) -> str:
    """Products × methods, mean ± standard deviation over seeds, and the mean of each method over its products."""
    groups = _grouped(rows, ("product", "method"))
    table = [("product", "method", "seeds", *_COLUMNS.values())]
    for (product, method), group in groups.items():
        table.append((product, method, str(len(group)), *_cells(group)))
    means: defaultdict[str, list[float]] = defaultdict(list)
    for (_, method), group in groups.items():
        means[method].append(statistics.fmean(row["image_auroc"] for row in group))
    most = max(map(len, means.values()), default=0)
    for method, values in means.items():
        if len(values) == most > 1:
            table.append(
                (f"mean of {most}", method, "", f"{statistics.fmean(values):.3f}", *[""] * (len(_COLUMNS) - 1))
            )
    return _markdown(table)


def engine_table(rows: Iterable[Row]) -> str:
    """Engine of a precision minus FP32 engine, mean over seeds, and how far a single one goes."""
    names = ("image_auroc", "pixel_auroc", "pixel_ap", "pro")
    table = [("product", "method", "seeds", *(f"Δ {_COLUMNS[name]}" for name in names), "largest Δ I-AUROC of a seed")]
    for (product, method), group in _grouped(rows, ("product", "method")).items():
        built = [row for row in group if "refused" not in row]
        start = (product, method, str(len(built)))
        if not built:
            table.append((*start, "refused by the gate", *[""] * len(names)))
            continue
        differences = {name: [row[row["precision"]][name] - row["fp32"][name] for row in built] for name in names}
        means = (f"{statistics.fmean(values):+.4f}" for values in differences.values())
        table.append((*start, *means, f"{max(differences['image_auroc'], key=abs):+.4f}"))
    return _markdown(table)


def screw_table(rows: Iterable[Row]) -> str:
    """The learned detectors on ``screw``, where figures move most from one measurement to the next."""
    return engine_table(row for row in rows if row["product"] == "screw" and row["method"] != "patch-gaussian")


def cached_table(rows: Iterable[Row]) -> str:
    """An epoch with the backbone in the loop against one on cached features."""
    table = [
        (
            "method",
            "images",
            "in the loop, s",
            "cached, s",
            "ratio",
            "processes",
            "largest relative difference of a weight",
        )
    ]
    for row in rows:
        seconds = (str(row["loop_seconds"]), str(row["cached_seconds"]))
        spread = f"{row['processes']}: {row['lowest']}–{row['highest']}"
        start = (row["method"], str(row["images"]), *seconds)
        table.append((*start, f"{row['ratio']} ×", spread, f"{row['difference']:.1e}"))
    return _markdown(table)


def latency_table(rows: Iterable[Row]) -> str:
    """End to end on this machine, and against eager FP32 torch in the same run; of several passes the middle one."""
    names = ("engine p50, ms", "end to end p50, ms", "eager torch p50, ms")
    table = [("method", "precision", *names, "ratio", "its rounds", "all passes")]
    for (method, precision), passes in _grouped(rows, ("method", "precision")).items():
        ratios = sorted(row["ratio"] for row in passes)
        row = next(row for row in passes if row["ratio"] == statistics.median_low(ratios))
        times = (f"{row[name]:.1f}" for name in ("engine_ms", "end_to_end_ms", "torch_ms"))
        rounds = f"{min(row['ratio_per_round']):.1f}–{max(row['ratio_per_round']):.1f}"
        table.append((method, precision, *times, f"{row['ratio']:.2f} ×", rounds, f"{len(ratios)}: {_range(ratios)}"))
    return _markdown(table)


def nncf_table(rows: Iterable[Row]) -> str:
    """The INT8 recipe and NNCF: the gate, differences from FP32 on the test images, noise of features, and CPU time."""
    names = ("image_auroc", "pixel_auroc", "pro")
    deltas = ("Δ I-AUROC", "Δ P-AUROC", "Δ PRO")
    correlations = ("map correlation, gate", "map correlation, test")
    table = [("product", "made by", "gate", *deltas, *correlations, "features, dB", "CPU s")]
    for row in rows:
        for way, words in (("ours", "the recipe"), ("nncf", "NNCF")):
            made, test, exact = row[way], row["test"][way], row["test"]["fp32"]
            passed = "passes" if made["passed"] else f"fails: {made['failed']}"
            differences = (f"{test[name] - exact[name]:+.4f}" for name in names)
            found = (made["gate"]["map_correlation"], test["map_correlation"])
            noise = " / ".join(f"{value:.1f}" for value in row["feature_db"].get(way, ()))
            start = (row["product"], words, passed, *differences, *(f"{value:.4f}" for value in found))
            table.append((*start, noise, f"{made['cpu_seconds']:.0f}"))
    return _markdown(table)


def _range(values: Sequence[float]) -> str:
    return f"{min(values):.2f}–{max(values):.2f}"


def throughput_table(rows: Iterable[Row]) -> str:
    """Frames per second with several in flight, against the faster way of filling the machine with eager torch."""
    table = [("method", "precision", "frames/s", "eager torch, frames/s", "its way", "ratio", "rounds")]
    for row in rows:
        way = max(row["torch"], key=row["torch"].__getitem__)
        rounds = f"{min(row['ratio_per_round']):.1f}–{max(row['ratio_per_round']):.1f}"
        rates = (f"{row['fps']:.0f}", f"{row['torch'][way]:.0f}", way)
        table.append((row["method"], row["precision"], *rates, f"{row['ratio']:.2f} ×", rounds))
    return _markdown(table)


def _grouped(rows: Iterable[Row], names: Sequence[str]) -> dict[tuple[Any, ...], list[Row]]:
    groups: defaultdict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        groups[tuple(row[name] for name in names)].append(row)
    return dict(groups)


def _cells(group: Sequence[Row]) -> list[str]:
    return [_cell([row[name] for row in group]) for name in _COLUMNS]


def _cell(values: Sequence[float]) -> str:
    mean = f"{statistics.fmean(values):.3f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.3f}"


def _markdown(table: Sequence[Sequence[str]]) -> str:
    head, *body = (f"| {' | '.join(cells)} |" for cells in table)
    return "\n".join([head, "|" + "---|" * len(table[0]), *body]) + "\n"


TABLES: dict[str, tuple[str, Callable[[Iterable[Row]], str]]] = {
    "accuracy": ("discriminator_table", accuracy_table),
    "ablation": ("discriminator_ablation", accuracy_table),
    "int8": ("discriminator_int8", engine_table),
    "int8-first": ("again/discriminator_int8_first", screw_table),
    "int8-second": ("again/discriminator_int8_second", screw_table),
    "int8-bf16": ("discriminator_int8_bf16", engine_table),
    "int8-bf16-first": ("again/discriminator_int8_bf16_first", screw_table),
    "int8-bf16-second": ("again/discriminator_int8_bf16_second", screw_table),
    "nncf": ("nncf_comparison", nncf_table),
    "cached": ("cached_training", cached_table),
    "latency": ("discriminator_latency", latency_table),
    "throughput": ("discriminator_throughput", throughput_table),
}


def rewrite(text: str, rows_of: Callable[[str], Iterable[Row]] = read_rows) -> str:
    """The document with its tables made anew."""
    for name, (file, table) in TABLES.items():
        between = re.compile(rf"(?<=<!-- {name} -->\n).*?(?=<!-- end of {name} -->)", re.DOTALL)
        text = between.sub(table(rows_of(file)).replace("\\", r"\\"), text)
    return text


def main(arguments: Sequence[str] | None = None) -> None:
    """Rewrite the page, or print its tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--show", action="store_true", help="print the tables instead of rewriting the page")
    if parser.parse_args(arguments).show:
        print("\n".join(table(read_rows(file)) for file, table in TABLES.values()))
        return
    DOCUMENT.write_text(rewrite(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
