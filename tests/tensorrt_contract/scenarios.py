"""Builds with doubles of one version, all in one process; prints a JSON object of name → what happened.

python -m tests.tensorrt_contract.scenarios <model.onnx> <folder>
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from edge_ad.errors import EdgeAdError
from edge_ad.export.tensorrt.builder import build_plan
from edge_ad.export.tensorrt.config import PlanOptions
from edge_ad.manifest import Precision
from tests.tensorrt_contract.builder_doubles import install
from tests.tensorrt_contract.spec_double import assert_nothing_missing


def attempt(onnx: Path, precision: Precision, options: PlanOptions, **world_options: Any) -> dict[str, Any]:
    """Build once, and say what the builder was told."""
    world = install(**world_options)
    try:
        built = build_plan(
            onnx, "tensorrt", precision, options, macs={"first": 7}, calibration_cache=b"TRT-8601-EntropyCalibration2\n"
        )
        answer = {
            "options": built.options,
            "plan": built.plan.decode(),
            "layers": [layer.model_dump() for layer in built.layers],
        }
    except EdgeAdError as error:
        answer = {"error": error.message, "exit": error.exit_code}
    assert_nothing_missing()
    return answer | {
        "flags": world.flags(),
        "network": world.network_kind(),
        "values": sorted(world.config.values),
        "calls": [name for name, _, _ in world.config.calls],
        "profile": [call[1] for call in world.profile.calls],
        "parser flags": world.parser_flags,
    }


def main(onnx: Path, folder: Path) -> None:
    """Build in every way there is."""
    everything = PlanOptions(
        workspace_mib=64,
        version_compatible=True,
        hardware_compatibility="ampere_plus",
        timing_cache=folder / "timings",
    )
    answers = {
        "fp32": attempt(onnx, "fp32", PlanOptions()),
        "fp16": attempt(onnx, "fp16", PlanOptions()),
        "int8": attempt(onnx, "int8", PlanOptions()),
        "batch": attempt(onnx, "fp32", PlanOptions(max_batch=16, opt_batch=4)),
        "everything": attempt(onnx, "fp32", everything),
        "again": attempt(onnx, "fp32", everything),
        "same": attempt(onnx, "fp32", PlanOptions(hardware_compatibility="same_compute_capability")),
        "dla": attempt(onnx, "int8", PlanOptions(dla_core=1)),
        "dla fp16": attempt(onnx, "fp16", PlanOptions(dla_core=1)),
        "no dla": attempt(onnx, "fp16", PlanOptions(dla_core=0), dla_cores=0),
        "unparsable": attempt(onnx, "fp32", PlanOptions(), parses=False),
    }
    print(json.dumps(answers))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
