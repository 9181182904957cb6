"""The deploy graph: the names of its tensors, and what is refused because it is none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from edge_ad.errors import BundleError

__all__ = ["EXPORT_AGAIN", "INPUT_NAME", "OUTPUT_NAMES", "check_deploy_graph"]

INPUT_NAME = "image"
OUTPUT_NAMES = ("score", "anomaly_map")
_TYPES = {INPUT_NAME: ("tensor(uint8)", "u8"), "output": ("tensor(float)", "f32")}
EXPORT_AGAIN = "Export the bundle again: edge-ad export <run>"
"""What to do about a graph that is none, or damaged."""


def check_deploy_graph(
    onnx: Path,
    inputs: Mapping[str, Sequence[object]],
    outputs: Iterable[str],
    size_hw: tuple[int, int],
    types: Mapping[str, str] | None = None,
) -> None:
    """Refuse a graph that is not a deploy graph of the bundle's input size.

    Args:
        onnx: The file, for the message.
        inputs: Input name → shape; the batch may be anything.
        outputs: Names of the outputs.
        size_hw: Height and width in the manifest, in pixels.
        types: Input or output → its type, as ONNX or OpenVINO names it; None where the caller checks them itself.

    Raises:
        BundleError: Other names, types, or another size.
    """
    if set(inputs) != {INPUT_NAME} or set(outputs) != set(OUTPUT_NAMES):
        raise BundleError(
            f"{onnx} takes {', '.join(inputs)} and gives {', '.join(outputs)}; a deploy graph takes {INPUT_NAME} and "
            f"gives {' and '.join(OUTPUT_NAMES)}.",
            EXPORT_AGAIN,
        )
    shape = list(inputs[INPUT_NAME])
    if shape[1:] != [*size_hw, 3]:
        raise BundleError(
            f"{onnx} takes images of shape {shape}, not (N, {size_hw[0]}, {size_hw[1]}, 3).", EXPORT_AGAIN
        )
    for name, found in (types or {}).items():
        wanted = _TYPES[INPUT_NAME if name == INPUT_NAME else "output"]
        if found not in wanted:
            raise BundleError(f"{onnx} has {name} as {found}, and a deploy graph as {wanted[0]}.", EXPORT_AGAIN)
