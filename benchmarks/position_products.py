"""Products with the directions of each position beside the same as a convolution with groups, in turns.

    python -m benchmarks.position_products BUNDLE...

The INT8 graph of a bundle is run by OpenVINO in both forms, and both in float32 (``int8``) and in bfloat16
(``int8-bf16``), one frame after the other: a row each, with the time of the convolution over that of the products.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto

from edge_ad.bundle import Bundle
from edge_ad.calibration.graph_runner import open_graph
from edge_ad.calibration.latency import interleaved_medians
from edge_ad.calibration.layers import FloatModules, float32_parts
from edge_ad.errors import EdgeAdError, UsageError
from edge_ad.export.passes import fill_channels, positions_as_groups
from edge_ad.manifest import Precision
from edge_ad.models.registry import method_class, parse_parameters
from edge_ad.runtime.engine import Engine
from edge_ad.runtime.target import processor


def forms(model: ModelProto) -> dict[str, ModelProto]:
    """The graph with products and with groups; both in whole blocks of channels.

    Raises:
        UsageError: It has no product by position.
    """
    products, groups = (ModelProto.FromString(model.SerializeToString()) for _ in range(2))
    fill_channels(products)
    fill_channels(groups)
    if not positions_as_groups(groups):
        raise UsageError("This graph has no product by position.", "Take a bundle of a detector on patch features.")
    return {"products": products, "groups": groups}


def row(bundle: Bundle, precision: Precision, *, rounds: int, runs: int) -> dict[str, Any]:
    """Medians of both forms in milliseconds, and their ratio.

    Args:
        bundle: With an INT8 graph.
        precision: ``"int8"`` or ``"int8-bf16"``.
        rounds: Turns of each form.
        runs: Frames of a turn.
    """
    model = onnx.load_from_string(bundle.graph_path("int8").read_bytes())
    float32 = float32_parts(model, _modules(bundle))[0] if precision == "int8-bf16" else []
    threshold = bundle.graph("int8").threshold
    with ExitStack() as stack:
        calls = {
            name: _call(stack.enter_context(open_graph(form, "openvino", precision, threshold, float32)))
            for name, form in forms(model).items()
        }
        medians = interleaved_medians(calls, rounds=rounds, runs=runs)
    times = {name: found.median_ms for name, found in medians.items()}
    ratio = times["groups"] / times["products"]
    return {"method": bundle.manifest.method, "precision": precision, "median_ms": times, "ratio": round(ratio, 3)}


def _modules(bundle: Bundle) -> FloatModules:
    method = bundle.manifest.method
    parameters = parse_parameters(method, bundle.manifest.parameters)
    return FloatModules.of(method_class(method)(parameters, pretrained=False))


def _call(engine: Engine) -> Callable[[], object]:
    frame = np.full((1, *engine.describe().input_size_hw, 3), 127, np.uint8)
    return lambda: engine.infer(frame)


def main(arguments: list[str] | None = None) -> int:
    """Print the rows; exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--runs", type=int, default=30)
    chosen = parser.parse_args(arguments)
    precisions: list[Precision] = ["int8", "int8-bf16"] if processor().has_bf16 else ["int8"]
    try:
        for root, precision in product(chosen.bundles, precisions):
            print(json.dumps(row(Bundle.open(root), precision, rounds=chosen.rounds, runs=chosen.runs)), flush=True)
    except EdgeAdError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
