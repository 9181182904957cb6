"""The bundle: what the workstation hands to a device, as a folder of checked data.

    manifest.json            what was trained and measured, and the SHA-256 of every file
    model.onnx, model.int8.onnx, model.fp16.onnx    one graph per precision
    reference.npz            held-out good photos with the FP32 outputs of the training framework
    precision/*.json         reports of the calibration
    engines/<backend>-<precision>-<target>/         engines, each with a sidecar engine.json
    origin.json              of a bundle that was pulled from a registry: where it came from

Nothing in a bundle is executed or unpickled.
"""

from edge_ad.bundle.bundle import Bundle, newest_bundle, write_bundle
from edge_ad.bundle.documents import Reference
from edge_ad.bundle.engines import (
    EngineDirectory,
    EngineKey,
    EngineSidecar,
    check_engine,
    find_engine,
    list_engines,
    rebuild_command,
    record_latency,
    set_thresholds,
    write_engine,
)

__all__ = [
    "Bundle",
    "EngineDirectory",
    "EngineKey",
    "EngineSidecar",
    "Reference",
    "check_engine",
    "find_engine",
    "list_engines",
    "newest_bundle",
    "rebuild_command",
    "record_latency",
    "set_thresholds",
    "write_bundle",
    "write_engine",
]
