"""What the layers of a TensorRT plan compute in, for ``edge-ad inspect``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge_ad.cli.console import print_line, print_table

if TYPE_CHECKING:
    from edge_ad.bundle import EngineDirectory

__all__ = ["describe_plan", "print_plan"]


def describe_plan(engine: EngineDirectory, *, with_layers: bool) -> dict[str, Any] | None:
    """Types and arithmetic of a plan; None for an engine of another kind.

    Raises:
        BundleError: The list of layers cannot be read.
    """
    from edge_ad.bundle.plan_layers import LAYERS_FILE, convolution_share, count_types, read_layers

    layers = read_layers(engine.path) if LAYERS_FILE in engine.sidecar.files else []
    if not layers:
        return None
    share = convolution_share(layers)
    return {
        "layers": len(layers),
        "types": [{"type": kind, "precision": precision, "layers": n} for kind, precision, n in count_types(layers)],
        "convolution_macs": share.macs,
        "int8_share": share.int8,
        "not_int8": share.floats,
        **({"layer_list": layers} if with_layers else {}),
    }


def print_plan(engine: EngineDirectory, *, with_layers: bool) -> None:
    """Print the same for people; nothing for an engine of another kind."""
    plan = describe_plan(engine, with_layers=with_layers)
    if plan is None:
        return
    rows = [[item["type"], item["precision"] or None, item["layers"]] for item in plan["types"]]
    print_table(["type", "computes in", "layers"], rows, title=f"\nPlan {engine.path.name}: {plan['layers']} layers")
    macs, floats = plan["convolution_macs"], plan["not_int8"]
    if engine.sidecar.precision == "int8" and macs:
        print_line(
            f"INT8: {plan['int8_share']:.1%} of the arithmetic of the convolutions ({macs:,} products per image)"
        )
        rows = [[name, count, f"{count / macs:.2%}"] for name, count in floats.items()]
        if rows:
            print_table(["convolution not in INT8", "products", "share"], rows)
    if with_layers:
        rows = [
            [layer.name, layer.type, _types(layer.inputs), layer.weights or None, _types(layer.outputs), layer.macs]
            for layer in plan["layer_list"]
        ]
        print_table(["layer", "type", "inputs", "weights", "outputs", "products"], rows)


def _types(kinds: list[str]) -> str | None:
    """``["int8", "int8", "fp32"]`` → ``"int8 x2, fp32"``."""
    counts = {kind: kinds.count(kind) for kind in kinds}
    return ", ".join(f"{kind} x{count}" if count > 1 else kind for kind, count in counts.items()) or None
