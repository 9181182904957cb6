"""Latency of every engine of some bundles, with the accuracy of exactly that engine beside it.

    python -m benchmarks.suites.latency BUNDLE... --data FOLDER... --out results.jsonl
    python -m benchmarks.suites.latency BUNDLE --backends openvino --batches 1 4 8 --threads 1 2
    python -m benchmarks.suites.latency NEW_BUNDLE --against OLD_BUNDLE --out new.jsonl --old-out old.jsonl

All engines of a bundle take turns in one process: warm-up of at least 200 ms and 10 runs, then at least 10 s and 1000
runs of each, until the medians of three windows agree within a tenth; a row that does not settle says so, and so does
one with fewer runs, which slow engines have where many bundles share the patience. ``--quick``
is a look of 1.5 s and 60 runs, and recorded as such. ``--data`` names products in MVTec layout: a bundle is measured on
the photos of its own product, from the file on, and evaluated on its test images. ``--against`` measures an older
bundle in the same rounds, so that ``benchmarks.report new.jsonl --compare old.jsonl`` can compare them round by round.
"""

from __future__ import annotations

import argparse
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.suites.accuracy import accuracy_of, torch_metrics
from benchmarks.suites.cold_start import cold_start
from benchmarks.suites.engine_rows import energy_of, engine_row, throughput_of
from benchmarks.suites.machine import clocks, machine_facts
from benchmarks.suites.record import append_row
from benchmarks.suites.session import Candidate, delayed, measure_in_turns
from benchmarks.suites.stability import Settings
from benchmarks.suites.stages import FramePath
from benchmarks.suites.yardstick import Yardstick
from edge_ad.bundle import Bundle
from edge_ad.data.products import open_product
from edge_ad.data.samples import Product
from edge_ad.errors import EdgeAdError
from edge_ad.evaluation.latency import read_frames
from edge_ad.runtime import Engine, open_engine

_LIMIT = 32
_PATIENCE_S, _SHARED_PATIENCE_S = 240.0, 400.0


@dataclass
class _Entry:
    """One row to be."""

    bundle: Bundle
    engine: Engine
    batch: int
    candidate: Candidate
    out: Path


def measure_bundles(bundles: Sequence[tuple[Bundle, Path]], products: dict[str, Product], chosen: Any) -> None:
    """Measure all engines of some bundles in the same rounds and append their rows.

    Args:
        bundles: Each with the file for its rows.
        products: Name → product.
        chosen: The arguments of the command.
    """
    settings, yardstick = Settings.short() if chosen.quick else Settings(patience_s=patience_of(chosen)), Yardstick()
    with ExitStack() as stack:
        entries = [entry for bundle, out in bundles for entry in _entries(bundle, out, products, chosen, stack)]
        before = clocks()
        measure_in_turns([entry.candidate for entry in entries], yardstick, settings)
        machine = machine_facts(yardstick.name, packages=("torch",)) | {"clocks_before": before}
        facts = {"session": secrets.token_hex(6), "machine": machine}
        references: dict[Path, Any] = {}
        for entry in entries:
            append_row(entry.out, _row(entry, settings, facts, products, references, chosen))


def _entries(
    bundle: Bundle, out: Path, products: dict[str, Product], chosen: Any, stack: ExitStack
) -> Iterator[_Entry]:
    product = products.get(bundle.manifest.product)
    for backend in chosen.backends:
        for precision in chosen.precisions or list(bundle.manifest.graphs):
            for threads in chosen.threads:
                if precision not in bundle.manifest.graphs:
                    continue
                engine = stack.enter_context(open_engine(bundle, backend=backend, precision=precision, threads=threads))
                for batch in chosen.batches:
                    path = _frame_path(bundle, engine, batch, product)
                    _say(f"{bundle.root}: {backend} {precision}, batch {batch}, {threads} threads")
                    yield _Entry(bundle, engine, batch, _candidate(path, engine, chosen.slow_down), out)


def _candidate(path: FramePath, engine: Engine, slow_down: float) -> Candidate:
    candidate = Candidate(path)
    if slow_down:
        median_ms = candidate.run_block(0.5, 20)
        path.log.marks.clear()
        path.replace_engine(delayed(engine.infer, slow_down * median_ms))
    return candidate


def _frame_path(bundle: Bundle, engine: Engine, batch: int, product: Product | None) -> FramePath:
    size_hw, threshold = engine.describe().input_size_hw, engine.threshold.value
    if product is None:
        images = read_frames(bundle, None).images
        return FramePath(engine.infer, size_hw, threshold, batch=batch, images=images)
    return FramePath(engine.infer, size_hw, threshold, batch=batch, files=_photos(product))


def _photos(product: Product) -> list[Path]:
    paths = [sample.path for sample in product.test] or list(product.good)
    return paths[:: max(1, -(-len(paths) // _LIMIT))]


def _row(
    entry: _Entry,
    settings: Settings,
    facts: dict[str, Any],
    products: dict[str, Product],
    references: dict[Path, Any],
    chosen: Any,
) -> dict[str, Any]:
    bundle, engine, product = entry.bundle, entry.engine, products.get(entry.bundle.manifest.product)
    frames = read_frames(bundle, None if product is None else product.root)
    seconds = 1.0 if settings.quick else 3.0
    energy, why = energy_of(entry.candidate, entry.batch, seconds)
    described = {"source": frames.source, "count": len(frames.images), "sizes_hw": frames.sizes_hw}
    extra: dict[str, Any] = {**facts, "batch": entry.batch, "frames": described, "energy": energy, "energy_absent": why}
    if entry.batch == 1:
        extra["throughput"] = throughput_of(engine, frames.images, seconds)
        extra["cold_start"] = None if chosen.no_cold_start else _cold_start(bundle, engine)
    if product is not None and product.test:
        if bundle.root not in references:
            references[bundle.root] = torch_metrics(bundle.root.resolve().parent, product)
        extra["accuracy"] = accuracy_of(engine, product, references[bundle.root])
    return engine_row(bundle, engine, entry.candidate, settings, extra)


def _cold_start(bundle: Bundle, engine: Engine) -> dict[str, float] | None:
    described = engine.describe()
    try:
        root = bundle.root.resolve()
        return cold_start(root, backend=described.backend, precision=described.precision, threads=described.threads)
    except subprocess.CalledProcessError as error:
        _say(f"cold start not measured: {error}")
        return None


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def parser() -> argparse.ArgumentParser:
    """Arguments of the command."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("bundles", type=Path, nargs="+", metavar="BUNDLE")
    made.add_argument("--data", type=Path, nargs="+", default=[], help="products in MVTec layout")
    made.add_argument("--out", type=Path, default=Path("engines.jsonl"))
    made.add_argument("--backends", nargs="+", default=["openvino"])
    made.add_argument("--precisions", nargs="+", default=[], help="all that the bundle has when not given")
    made.add_argument("--batches", type=int, nargs="+", default=[1])
    made.add_argument("--threads", type=int, nargs="+", default=[len(os.sched_getaffinity(0))])
    made.add_argument("--against", type=Path, help="an older bundle, measured in the same rounds")
    made.add_argument("--old-out", type=Path, default=Path("old.jsonl"))
    made.add_argument("--quick", action="store_true")
    patience = "seconds of a bundle after which nothing is repeated; 240, but several bundles share 400"
    made.add_argument("--patience", type=float, help=patience)
    made.add_argument("--no-cold-start", action="store_true")
    made.add_argument("--slow-down", type=float, default=0.0, help="delay every run by this share: a test of --compare")
    return made


def patience_of(chosen: Any) -> float:
    """Seconds of each bundle after which nothing is repeated."""
    shared = min(_PATIENCE_S, _SHARED_PATIENCE_S / len(chosen.bundles))
    return shared if chosen.patience is None else float(chosen.patience)


def main(arguments: list[str] | None = None) -> int:
    """Measure bundles, one after the other."""
    chosen = parser().parse_args(arguments)
    try:
        products = {product.name: product for product in map(open_product, chosen.data)}
        for root in chosen.bundles:
            bundles = [(Bundle.open(root), chosen.out)]
            if chosen.against is not None:
                bundles.append((Bundle.open(chosen.against), chosen.old_out))
            measure_bundles(bundles, products, chosen)
    except EdgeAdError as error:
        _say(f"error: {error}")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
