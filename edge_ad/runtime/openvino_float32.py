"""Parts of a graph that OpenVINO computes in float32 while the rest is computed in bfloat16."""

from __future__ import annotations

import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Collection
from pathlib import Path
from typing import Any

from edge_ad.errors import BundleError, DeviceError
from edge_ad.runtime.openvino_api import openvino_api, openvino_version

__all__ = ["check_float32", "is_part", "keep_float32", "mark_float32"]

_WITHOUT_ARITHMETIC = {"Const", "Parameter", "Result"}
_KEEP = {"name": "precise", "version": "0"}  # as OpenVINO writes it where a conversion to FP16 must leave a layer alone
_CHECKED = {"Convolution", "GroupConvolution"}  # OpenVINO may rewrite other products, and forgets marks as it does


def keep_float32(core: Any, model: Any, parts: Collection[str]) -> Any:
    """A copy of a model whose parts stay in float32; the model itself where there are none.

    The Python API cannot mark a layer. The IR can, so the model goes through it.

    Args:
        core: ``openvino.Core``.
        model: ``openvino.Model``.
        parts: Names of nodes and modules, as `mark_float32` takes them.

    Raises:
        BundleError: The graph lacks one of them.
    """
    if not parts:
        return model
    with tempfile.TemporaryDirectory(prefix="edge-ad-") as folder:
        ir, weights = Path(folder) / "model.xml", Path(folder) / "model.bin"
        openvino_api().serialize(model, str(ir), str(weights))
        return core.read_model(mark_float32(ir.read_text(encoding="utf-8"), parts).encode(), weights.read_bytes())


def mark_float32(ir: str, parts: Collection[str]) -> str:
    """Mark layers of an OpenVINO IR, so that a bfloat16 engine computes them in float32.

    Args:
        ir: XML of the IR.
        parts: Names of nodes, and of modules: each stands for every layer of that name, and for those whose names go on
            with ``/`` or ``.``.

    Raises:
        BundleError: A part has no layer.
    """
    root = ET.fromstring(ir)
    layers = [layer for layer in root.iter("layer") if layer.get("type") not in _WITHOUT_ARITHMETIC]
    for part in parts:
        own = [layer for layer in layers if is_part(layer.get("name", ""), part)]
        if not own:
            raise BundleError(
                f"The graph has no part {part}, which its manifest keeps in float32.",
                "Export the bundle again: edge-ad export <run>",
            )
        for layer in own:
            _mark(layer)
    return ET.tostring(root, encoding="unicode")


def check_float32(compiled: Any, parts: Collection[str]) -> None:
    """Refuse a compiled model that computes a convolution of a part in bfloat16 nevertheless.

    What else is in a part is as OpenVINO makes it; the accuracy gate judges the engine as it is.

    Args:
        compiled: ``openvino.CompiledModel``.
        parts: As for `mark_float32`.

    Raises:
        DeviceError: It does.
    """
    for node in compiled.get_runtime_model().get_ops() if parts else ():
        info = {key: node.rt_info[key].astype(str) for key in ("layerType", "runtimePrecision", "originalLayersNames")}
        if info["layerType"] not in _CHECKED or info["runtimePrecision"] != "bf16":
            continue
        name = info["originalLayersNames"].split(",")[0]  # those that follow were fused into it
        if found := next((part for part in parts if is_part(name, part)), None):
            raise DeviceError(
                f"OpenVINO {openvino_version()} computes {found} in bfloat16, which was gated in float32.",
                "Use another precision: --precision int8 or fp32",
            )


def is_part(name: str, part: str) -> bool:
    """Whether a layer belongs to a part."""
    return name == part or name.startswith((f"{part}/", f"{part}."))


def _mark(layer: ET.Element) -> None:
    info = layer.find("rt_info")
    if info is None:
        info = ET.SubElement(layer, "rt_info")
    if not any(child.attrib == _KEEP for child in info):
        ET.SubElement(info, "attribute", _KEEP)
