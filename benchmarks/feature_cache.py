"""What the feature cache saves: computing a set, computing and storing it, and mapping it again.

    python -m benchmarks.feature_cache

The three take turns in one process, in a cache of its own. Then a process for each shows the memory it takes:
`anonymous` is its own, the rest are pages of the file, which the system may drop. Prints JSON: `ratio` is the median
time of computing by that of mapping, in which every value is read once.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edge_ad.data.sample_product import render_product
from edge_ad.images import read_resized
from edge_ad.models.registry import create_detector
from edge_ad.training.feature_cache import FeatureCache, compute_features

_WAYS = ("compute", "store", "map")
_MIB = 1 << 20
_RENDERED = 20


def seconds(way: str, backbone: torch.nn.Module, images: NDArray[np.uint8], cache: Path) -> float:
    """Time until every feature has been read once, in seconds; the cache is emptied before one is stored."""
    os.environ["EDGE_AD_CACHE"] = str(cache)
    if way == "store":
        shutil.rmtree(cache, ignore_errors=True)
    started = time.perf_counter()
    features = compute_features(backbone, images) if way == "compute" else FeatureCache(backbone)(images)
    features.sum()
    return time.perf_counter() - started


def memory_mib(way: str, config: dict[str, Any], images: NDArray[np.uint8], cache: Path) -> dict[str, int]:
    """Growth of a new process's memory at its peak, in MiB."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_watched, (way, config, images, cache))


def _watched(way: str, config: dict[str, Any], images: NDArray[np.uint8], cache: Path) -> dict[str, int]:
    backbone = _backbone(config)
    compute_features(backbone, images[:8])  # the network's own memory is not the set's
    before, peak, done = _resident(), {"resident": 0, "anonymous": 0}, threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            for kind, size in _resident().items():
                peak[kind] = max(peak[kind], size - before[kind])

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        seconds(way, backbone, images, cache)
    finally:
        done.set()
        watcher.join()
    return {kind: size // _MIB for kind, size in peak.items()}


def _resident() -> dict[str, int]:
    pages = [int(field) for field in Path("/proc/self/statm").read_text().split()]
    page_bytes = os.sysconf("SC_PAGE_SIZE")
    return {"resident": pages[1] * page_bytes, "anonymous": (pages[1] - pages[2]) * page_bytes}


def _backbone(config: dict[str, Any]) -> torch.nn.Module:
    backbone = create_detector("patch-gaussian", config).backbone
    assert backbone is not None
    return backbone


def run(count: int, rounds: int, config: dict[str, Any]) -> dict[str, Any]:
    """Measure in turns."""
    with tempfile.TemporaryDirectory() as folder:
        size_hw = (config["size"], config["size"])
        product = render_product(
            Path(folder) / "product", good=_RENDERED, test_good=1, defects_per_kind=1, size_hw=size_hw
        )
        photos = read_resized(product.good, size_hw)
        images = np.concatenate([photos] * (count // len(photos) + 1))[:count]
        backbone, cache = _backbone(config), Path(folder) / "cache"
        compute_features(backbone, images[:8])
        taken: dict[str, list[float]] = {way: [] for way in _WAYS}
        for _ in range(rounds):
            for way in _WAYS:
                taken[way].append(seconds(way, backbone, images, cache))
        (kept,) = (cache / "features").iterdir()
        set_mib = kept.stat().st_size // _MIB
        memory = {way: memory_mib(way, config, images, cache) for way in _WAYS} if sys.platform == "linux" else {}
    return _report(taken) | {"images": count, "set_mib": set_mib, "peak_memory_mib": memory}


def _report(taken: dict[str, list[float]]) -> dict[str, Any]:
    medians = {way: median(values) for way, values in taken.items()}
    return {
        "ratio": round(medians["compute"] / medians["map"], 1),
        "ratio_first_time": round(medians["compute"] / medians["store"], 3),
        "seconds": {way: round(value, 4) for way, value in medians.items()},
        "rounds": {way: [round(value, 4) for value in values] for way, values in taken.items()},
        "threads": torch.get_num_threads(),
    }


def main() -> int:
    """Measure computing, storing and mapping in turns and print them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--levels", default="8,16", help="strides of the backbone; 4,8,16 gives larger features")
    arguments = parser.parse_args()
    levels = tuple(int(level) for level in arguments.levels.split(","))
    config = {"size": arguments.size, "levels": levels}
    print(json.dumps(run(arguments.images, arguments.rounds, config), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
