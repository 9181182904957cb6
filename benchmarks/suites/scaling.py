"""What more costs: larger images, larger batches, more sources, more training images; with the fitted exponent.

    python -m benchmarks.suites.scaling --out scaling.jsonl
    python -m benchmarks.suites.scaling --method fader --what size batch --sizes 128 256 512

A latency does not depend on what a network has learned, so the detectors are trained for a step or two, on the rendered
sample product. Sizes, batches and numbers of sources take turns in several rounds; the fit is over the medians.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.frames import MemorySource
from benchmarks.suites.machine import machine_facts
from benchmarks.suites.power_law import fit_power_law
from benchmarks.suites.record import append_row, now
from edge_ad.bundle import Bundle
from edge_ad.data.sample_product import render_product
from edge_ad.data.splits import split_good
from edge_ad.errors import EdgeAdError
from edge_ad.runtime import Engine, open_engine

WHATS = ("size", "batch", "sources", "images")
_SHORT = {"fader": {"steps": 2, "fader_steps": 2}, "ear": {"steps": 2}}


def train_bundle(method: str, data: Path, root: Path, size: int) -> Bundle:
    """Train for a moment and export the FP32 graph."""
    from edge_ad.export.bundle_export import export_run
    from edge_ad.training.request import TrainingRequest
    from edge_ad.training.runs import load_run
    from edge_ad.training.train import train

    values = {"size": size, **_SHORT.get(method, {})}
    run = train(TrainingRequest(method=method, data=data, root=root, values=values), lambda report: None)
    return export_run(load_run(run))


def in_rounds(ways: Mapping[float, Callable[[], object]], rounds: int, seconds: float) -> list[tuple[float, float]]:
    """Median milliseconds of each way, in turns.

    Args:
        ways: Size → what to time.
        rounds: Rounds; each way has a block of at least two runs in each.
        seconds: Of each block.
    """
    blocks: dict[float, list[float]] = {size: [] for size in ways}
    for run in ways.values():
        run()
    for _ in range(rounds):
        for size, run in ways.items():
            run()
            ends, times = time.perf_counter() + seconds, list[float]()
            while len(times) < 2 or time.perf_counter() < ends:
                started = time.perf_counter()
                run()
                times.append((time.perf_counter() - started) * 1000)
            blocks[size].append(median(times))
    return [(size, median(values)) for size, values in blocks.items()]


def _frames(engine: Engine, batch: int = 1) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 255, (batch, *engine.describe().input_size_hw, 3), dtype=np.uint8)


def over_sizes(chosen: Any, data: Path, folder: Path) -> list[tuple[float, float]]:
    """Engine latency against the side of the image."""
    with ExitStack() as stack:
        ways: dict[float, Callable[[], object]] = {}
        for size in chosen.sizes:
            bundle = train_bundle(chosen.method, data, folder / f"size{size}", size)
            engine = stack.enter_context(open_engine(bundle, backend=chosen.backend, precision="fp32", threads=2))
            ways[size] = _inferring(engine, 1)
        return in_rounds(ways, chosen.rounds, chosen.seconds)


def over_batches(chosen: Any, bundle: Bundle) -> list[tuple[float, float]]:
    """Engine latency against the batch."""
    with open_engine(bundle, backend=chosen.backend, precision="fp32", threads=2) as engine:
        return in_rounds({batch: _inferring(engine, batch) for batch in chosen.batches}, chosen.rounds, chosen.seconds)


def _inferring(engine: Engine, batch: int) -> Callable[[], object]:
    frames = _frames(engine, batch)
    return lambda: engine.infer(frames)


def over_sources(chosen: Any, bundle: Bundle) -> list[tuple[float, float]]:
    """Milliseconds per frame, all sources counted together, against the number of sources into one engine."""
    from edge_ad.streaming.session import run_stream

    with open_engine(bundle, backend=chosen.backend, precision="fp32", threads=2) as engine:
        images, cost = list(_frames(engine, 8)), {count: list[float]() for count in chosen.sources}
        for _ in range(chosen.rounds):
            for count, values in cost.items():
                sources = [MemorySource(images, seconds=chosen.seconds * 3, name=f"m{index}") for index in range(count)]
                summary = run_stream(engine, sources, threshold=engine.threshold.value, policy="every")
                values.append(1000 / summary.fps)
        return [(count, median(values)) for count, values in cost.items()]


def over_images(chosen: Any, data: Path) -> list[tuple[float, float]]:
    """Seconds of fitting against the number of training images; the features are computed anew each time."""
    import torch

    from edge_ad.data.products import open_product
    from edge_ad.images import read_resized
    from edge_ad.models import create_detector
    from edge_ad.models.feature_detector import FeatureDetector
    from edge_ad.training.feature_cache import compute_features
    from edge_ad.training.preparation import fit_photos, fit_to_images

    good = open_product(data).good
    split = split_good(good, seed=0)
    held_out = read_resized(split.calibrate, (256, 256), split.photos)
    cost: dict[int, list[float]] = {count: [] for count in chosen.images}
    for _ in range(max(2, chosen.rounds // 2)):
        for count, values in cost.items():
            detector = create_detector("patch-gaussian", {"size": 256})
            assert isinstance(detector, FeatureDetector)
            backbone = detector.backbone
            assert isinstance(backbone, torch.nn.Module)
            images = read_resized((good * (count // len(good) + 1))[:count], (256, 256))
            began = time.perf_counter()
            fit_photos(detector, images)
            fit_to_images(detector, images, held_out, partial(compute_features, backbone))
            values.append(time.perf_counter() - began)
    return [(count, median(values)) for count, values in cost.items()]


def _row(subject: str, quantity: str, cost: str, points: Sequence[tuple[float, float]], note: str) -> dict[str, Any]:
    law = fit_power_law(points)
    return {
        "kind": "scaling",
        "recorded": now(),
        "subject": subject,
        "quantity": quantity,
        "cost": cost,
        "points": list(points),
        "exponent": law.exponent,
        "low": law.low,
        "high": law.high,
        "note": note,
        "machine": machine_facts("none", packages=("torch",)),
    }


def measure(chosen: Any) -> None:
    """Measure what is asked for, and append a row of each."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = render_product(folder / "product", good=24, test_good=2, defects_per_kind=1).root
        engine = f"{chosen.method}, {chosen.backend} fp32"
        if "size" in chosen.what:
            note = "2: time per pixel is constant; less: what a frame costs whatever its size counts"
            points = over_sizes(chosen, data, folder)
            append_row(chosen.out, _row(engine, "side of the image, pixels", "ms per frame", points, note))
        if {"batch", "sources"} & set(chosen.what):
            bundle = train_bundle(chosen.method, data, folder / "run", chosen.size)
            if "batch" in chosen.what:
                note = "1: a batch costs as much as its frames one by one; less: it pays"
                points = over_batches(chosen, bundle)
                append_row(chosen.out, _row(engine, "frames in a batch", "ms per batch", points, note))
            if "sources" in chosen.what:
                note = "0: many sources share the engine at no cost; above: switching between them costs"
                points = over_sources(chosen, bundle)
                append_row(chosen.out, _row(f"stream, {engine}", "sources", "ms per frame", points, note))
        if "images" in chosen.what:
            note = "1: every image costs the same; less: the held-out images and the covariance cost once"
            points = over_images(chosen, data)
            append_row(chosen.out, _row("patch-gaussian, fitting", "training images", "s", points, note))


def parser() -> argparse.ArgumentParser:
    """Arguments of the command."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--out", type=Path, default=Path("scaling.jsonl"))
    made.add_argument("--what", nargs="+", choices=WHATS, default=list(WHATS))
    made.add_argument("--method", default="patch-gaussian")
    made.add_argument("--backend", default="openvino")
    made.add_argument("--size", type=int, default=256)
    made.add_argument("--sizes", type=int, nargs="+", default=[128, 192, 256, 384, 512])
    made.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    made.add_argument("--sources", type=int, nargs="+", default=[1, 2, 4, 8])
    made.add_argument("--images", type=int, nargs="+", default=[16, 32, 64, 128])
    made.add_argument("--rounds", type=int, default=6)
    made.add_argument("--seconds", type=float, default=0.5, help="of each block")
    return made


def main(arguments: list[str] | None = None) -> int:
    """Measure and append rows."""
    os.environ.setdefault("TQDM_DISABLE", "1")
    chosen = parser().parse_args(arguments)
    try:
        measure(chosen)
    except EdgeAdError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
