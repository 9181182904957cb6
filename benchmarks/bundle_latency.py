"""CPU time of several bundles and precisions on one image, in turns, over that of the first.

    python -m benchmarks.bundle_latency RUN/bundle@fp32 RUN/bundle@int8... [--rounds 40] [--out F]

Each engine is OpenVINO's with one thread. A figure is CPU time, which a busy machine moves least: the 20th percentile
over rounds, in milliseconds, and over that of the first. A round times every engine once, in turns.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from edge_ad.bundle import Bundle
from edge_ad.runtime.engine import Engine
from edge_ad.runtime.engines import opened_engine

_PERCENTILE = 20


def measure(bundles: Sequence[tuple[Bundle, str]], rounds: int) -> list[dict[str, Any]]:
    """A row for each bundle and precision."""
    with ExitStack() as stack:
        engines = [
            stack.enter_context(opened_engine(bundle, backend="openvino", precision=precision, threads=1))
            for bundle, precision in bundles
        ]
        inputs = [_image(bundle) for bundle, _ in bundles]
        times = _times(engines, inputs, rounds)
    found = [float(np.percentile(values, _PERCENTILE)) for values in times]
    return [
        {
            "product": bundle.manifest.product,
            "method": bundle.manifest.method,
            "size_hw": list(bundle.manifest.input_size_hw),
            "precision": precision,
            "rounds": rounds,
            "cpu_ms": round(ms, 2),
            "ratio": round(ms / found[0], 2),
        }
        for (bundle, precision), ms in zip(bundles, found, strict=True)
    ]


def _image(bundle: Bundle) -> Any:
    shape = (1, *bundle.manifest.input_size_hw, 3)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def _times(engines: Sequence[Engine], inputs: Sequence[Any], rounds: int) -> list[list[float]]:
    """CPU milliseconds of each engine in each round but the first."""
    times: list[list[float]] = [[] for _ in engines]
    order = range(len(engines))
    for index in range(rounds + 1):
        for number in order if index % 2 else reversed(order):
            began = time.process_time()
            engines[number].infer(inputs[number])
            times[number].append(1e3 * (time.process_time() - began))
    return [values[1:] for values in times]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", nargs="+", help="folder of a bundle, @ and a precision")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    named = [text.rpartition("@") for text in arguments.bundles]
    for row in measure([(Bundle.open(Path(folder)), precision) for folder, _, precision in named], arguments.rounds):
        print(json.dumps(row))
        if arguments.out:
            with arguments.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
