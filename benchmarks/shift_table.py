"""Methods × products × seeds under shift, at the threshold of their bundles; goes on where it was stopped.

    python -m benchmarks.shift_table --data DIR/metal_plate DIR/ball_screw --seeds 0 1 2 --out shift.jsonl
    python -m benchmarks.shift_table --data DIR/metal_plate --methods patch-gaussian ear:epochs=20 --precision int8
    python -m benchmarks.shift_table --data DIR/metal_plate --shift line --shift-at network --pixels all
    python -m benchmarks.shift_table --show shift.jsonl

Each run is trained, exported and measured as a user does it: unshifted, at ImageNet-C severity 3, and at the steps of a
line that a detector is asked to hold (`ASKED`), or at those of ``--shift``. A method is written ``name`` or
``name:parameter=value,parameter=value``. A row is one step of one kind; steps that the file has already are not
measured again, and a run that is in ``--runs`` is not trained again: name another folder after a change of the code.
``--show`` prints means over seeds: image AUROC, false alarms / recall, and ✗ where false alarms are more than
asked + 0.10 or recall is more than 0.10 below unshifted.
No figure here may choose anything: they are of test photos.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.suites.accuracy_suite import run_name, split_method
from benchmarks.suites.record import append_row, now, read_lines
from edge_ad.data.products import open_product
from edge_ad.data.shift_kinds import ShiftKind, parse_shifts, step_words
from edge_ad.evaluation.results import Rate
from edge_ad.evaluation.shift import measure_shift
from edge_ad.evaluation.shift_results import ShiftReport, ShiftStep

ASKED = (
    "gain:0.8,1.25",
    "blur:1.5",
    "noise:8",
    "jpeg:50",
    "h264:28",
    "translation:-4,4",
    "rotation:-2,2",
    "imagenet-c:3",
)
_UNSHIFTED = "unshifted"
_RUN = ("product", "size", "seed", "method", "precision", "shift_at")
_USUAL_SIZE = 256
_MARGIN = 0.10 + 1e-9  # of a mean that is rounded


def subject_of(chosen: argparse.Namespace, data: Path, method: str, seed: int) -> dict[str, Any]:
    """What a row is about."""
    return {
        "product": data.resolve().name,
        "size": chosen.size,
        "seed": seed,
        "method": method,
        "precision": chosen.precision,
        "shift_at": chosen.shift_at,
    }


def missing(
    subject: Mapping[str, Any], shifts: Sequence[ShiftKind], rows: Sequence[Mapping[str, Any]]
) -> list[ShiftKind]:
    """The kinds and steps that no row has yet."""
    done = {(row["kind"], row["step"]) for row in rows if all(row[name] == subject[name] for name in _RUN)}
    left = [replace(kind, steps=tuple(step for step in kind.steps if (kind.name, step) not in done)) for kind in shifts]
    return [kind for kind in left if kind.steps]


def bundle_of(chosen: argparse.Namespace, data: Path, method: str, seed: int) -> Path:
    """The bundle of a run, which is trained and exported where it is not there; an interrupted run goes on."""
    from edge_ad.api import Run, train
    from edge_ad.training.train import resume

    name, values = split_method(method)
    root = chosen.runs / f"{run_name(data.resolve().name, method, seed)}-{chosen.size}"
    if (root / "checkpoint.safetensors").is_file():
        pass
    elif (root / "run.json").is_file():
        resume(root, lambda report: None)
    else:
        asked = {"size": chosen.size, "seed": seed, "false_alarm_rate": chosen.false_alarm_rate}
        train(data, name, name=root.name, runs=root.parent, **{**asked, **values})
    return Run(root).export(precision=chosen.precision).root


def measure(
    chosen: argparse.Namespace, data: Path, bundle: Path, shifts: Sequence[ShiftKind]
) -> tuple[ShiftReport, int]:
    """Measure a bundle, with progress on stderr; and how many test photos of another shape were left out."""
    from edge_ad.training.predictor import open_predictor, trained_on

    seen = trained_on(bundle)
    with open_predictor(bundle, backend=chosen.backend, precision=chosen.precision, threads=chosen.threads) as engine:
        product = open_product(data, part="test", trained_on=seen, skip_unreadable=True, photos=engine.photos)
        report = measure_shift(
            engine.predict,
            product,
            engine.size_hw,
            engine.threshold,
            engine.photos,
            shifts,
            shift_at=chosen.shift_at,
            pixels=chosen.pixels,
            engine=engine.engine,
            trained_on=seen,
            progress=lambda what, done, total: print(f"\r{done}/{total} {what}\x1b[K", end="", file=sys.stderr),
        )
    return report, len(product.skipped)


def rows_of(subject: Mapping[str, Any], report: ShiftReport) -> Iterator[dict[str, Any]]:
    """One row for each step, the unshifted photos first."""
    steps = [(result.kind.name, step) for result in report.results for step in result.steps]
    for kind, step in [(_UNSHIFTED, report.unshifted), *steps]:
        yield {**subject, "kind": kind, **_figures(step), **_of_threshold(report), "recorded": now()}


def _figures(step: ShiftStep) -> dict[str, Any]:
    return {
        "step": step.step,
        "image_auroc": step.image_auroc,
        "pixel_auroc": step.pixel_auroc,
        "pro": step.pro,
        "false_alarms": _value(step.false_alarms),
        "false_alarm_bound": step.false_alarm_bound,
        "recall": _value(step.recall),
        "good_over_threshold": step.good_over_threshold,
        "good": None if step.false_alarms is None else step.false_alarms.total,
        "defective": None if step.recall is None else step.recall.total,
    }


def _of_threshold(report: ShiftReport) -> dict[str, Any]:
    assert report.threshold is not None
    asked, count = report.threshold.false_alarm_rate, report.threshold.good_images
    return {"asked": asked, "threshold_photos": count, "engine": report.engine}


def _value(rate: Rate | None) -> float | None:
    return None if rate is None else rate.value


def run_missing(chosen: argparse.Namespace) -> int:
    """Train and measure what is missing; returns how many runs failed."""
    from edge_ad.errors import EdgeAdError

    shifts, failed = parse_shifts(chosen.shift or ASKED), 0
    for data in chosen.data:
        for seed in chosen.seeds:
            for method in chosen.methods:
                subject = subject_of(chosen, data, method, seed)
                if not (left := missing(subject, shifts, read_lines(chosen.out))):
                    continue
                try:
                    report, left_out = measure(chosen, data, bundle_of(chosen, data, method, seed), left)
                except EdgeAdError as error:
                    print(f"\n{method} on {data.name}, seed {seed}: {error}", file=sys.stderr)
                    failed += 1
                    continue
                rows = [row | {"left_out": left_out} for row in rows_of(subject, report)]
                for row in rows:
                    append_row(chosen.out, row)
                print(f"\r{table(rows)}", flush=True)
    return failed


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Means over seeds as Markdown: a table for each product, a line for each step, a column for each method."""
    latest = {tuple(row[name] for name in (*_RUN, "kind", "step")): row for row in rows}  # measured again: the last
    products: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in latest.values():
        products[row["product"]].append(row)
    return "\n\n".join(_of_product(product, found) for product, found in products.items())


def _of_product(product: str, rows: Sequence[Mapping[str, Any]]) -> str:
    runs: dict[str, dict[str, list[Mapping[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    steps: dict[str, None] = {_UNSHIFTED: None}
    for row in rows:
        step = row_words(row)
        steps[step] = None
        runs[_run_words(row)][step].append(row)
    seeds = {run: len(found[_UNSHIFTED]) for run, found in runs.items()}
    headings = [f"{run}, {count} seed{'' if count == 1 else 's'}" for run, count in seeds.items()]
    lines = [f"| {product} | {' | '.join(headings)} |", "|---" * (1 + len(runs)) + "|"]
    for step in steps:
        cells = [_cell(found[step], found[_UNSHIFTED]) for found in runs.values()]
        lines.append(f"| {step} | {' | '.join(cells)} |")
    return "\n".join(lines)


def row_words(row: Mapping[str, Any]) -> str:
    """The step of a row in words, such as ``"noise 8"``."""
    return _UNSHIFTED if row["kind"] == _UNSHIFTED else f"{row['kind']} {step_words(row['step'])}"


def _run_words(row: Mapping[str, Any]) -> str:
    """A method, and of how it ran what is not usual."""
    words = [f"`{row['method']}`"]
    words += [f"{row['size']} px"] if row["size"] != _USUAL_SIZE else []
    words += [row["precision"]] if row["precision"] != "fp32" else []
    words += ["shifted at the network"] if row["shift_at"] == "network" else []
    return ", ".join(words)


def _cell(rows: Sequence[Mapping[str, Any]], unshifted: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return "–"
    auroc, alarms, recall = (_mean(rows, name) for name in ("image_auroc", "false_alarms", "recall"))
    before = _mean(unshifted, "recall")
    fails = alarms is not None and alarms > fmean(row["asked"] for row in rows) + _MARGIN
    fails = fails or (recall is not None and before is not None and before - recall > _MARGIN)
    return f"{_words(auroc, 3)} {_words(alarms, 2)}/{_words(recall, 2)}{' ✗' if fails else ''}"


def _mean(rows: Sequence[Mapping[str, Any]], name: str) -> float | None:
    values = [row[name] for row in rows]
    return None if not values or None in values else fmean(values)


def _words(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def parser() -> argparse.ArgumentParser:
    """Arguments of the command."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--data", type=Path, nargs="+", default=[])
    made.add_argument("--methods", nargs="+", default=["patch-gaussian"])
    made.add_argument("--seeds", type=int, nargs="+", default=[0])
    made.add_argument("--size", type=int, default=_USUAL_SIZE)
    made.add_argument("--false-alarm-rate", type=float, default=0.05)
    made.add_argument("--precision", choices=["fp32", "bf16", "fp16", "int8", "int8-bf16"], default="fp32")
    made.add_argument("--backend", default="auto")
    made.add_argument("--threads", type=int, default=0)
    made.add_argument("--shift", nargs="+", help="as edge-ad evaluate --shift; by default the steps that are asked for")
    made.add_argument("--shift-at", choices=["file", "network"], default="file")
    made.add_argument("--pixels", choices=["all", "unshifted", "none"], default="unshifted")
    made.add_argument("--runs", type=Path, default=Path("runs"), help="folder that runs are kept in")
    made.add_argument("--out", type=Path, default=Path("shift.jsonl"))
    made.add_argument("--show", type=Path, nargs="+")
    return made


def main(arguments: list[str] | None = None) -> int:
    """Measure what is missing, or print what is there."""
    made = parser()
    chosen = made.parse_args(arguments)
    if chosen.show:
        print(table([row for path in chosen.show for row in read_lines(path)]))
        return 0
    if not chosen.data:
        made.error("--data FOLDER is needed")
    return 1 if run_missing(chosen) else 0


if __name__ == "__main__":
    sys.exit(main())
