"""``edge-ad inspect``: what is inside a bundle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_ad.cli.console import print_facts, print_json, print_line, print_table
from edge_ad.cli.options import BundleArgument, JsonOption

if TYPE_CHECKING:
    from edge_ad.bundle import Bundle, EngineDirectory
    from edge_ad.manifest import GateReport, Manifest
    from edge_ad.scene import SceneLimits

__all__ = ["inspect"]


def inspect(
    bundle: BundleArgument,
    layers: Annotated[bool, typer.Option("--layers", help="List every layer of every TensorRT plan.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show what is inside a bundle and check its files.

    Reads every file, those of the engines too, and compares its SHA-256 with the recorded one; exits with code 1 if one
    differs. For a TensorRT plan, shows the types its layers compute in, as TensorRT listed them when it was built.
    """
    from edge_ad.bundle import Bundle, check_engine, list_engines

    opened = Bundle.open(bundle)
    engines = list_engines(opened)
    for engine in engines:
        check_engine(engine)
    if as_json:
        print_json(_document(opened, engines, with_layers=layers))
        return
    _print(opened.manifest, opened.scene(), engines, str(bundle))
    _print_audit(_audit(opened))
    for engine in engines:
        _print_plan(engine, with_layers=layers)


def _document(bundle: Bundle, engines: list[EngineDirectory], *, with_layers: bool) -> dict[str, Any]:
    return {
        "bundle": bundle.root,
        "verified_files": len(bundle.manifest.files),
        "manifest": bundle.manifest,
        "scene": bundle.scene(),
        "audit": _audit(bundle),
        "engines": [
            {"path": engine.path, "sidecar": engine.sidecar, "plan": _describe_plan(engine, with_layers=with_layers)}
            for engine in engines
        ],
    }


def _print(manifest: Manifest, scene: SceneLimits | None, engines: list[EngineDirectory], path: str) -> None:
    split = manifest.split
    print_facts(
        {
            "bundle": path,
            "method": manifest.method,
            "product": manifest.product,
            "input": "{} x {} pixels, {}".format(*manifest.input_size_hw, manifest.photos.geometry),
            "good images": f"{len(split.fit)} fit, {len(split.calibrate)} calibrate, {len(split.threshold)} threshold"
            f" (seed {split.seed})",
            "created": manifest.created,
            "versions": ", ".join(f"{name} {version}" for name, version in manifest.versions.items()),
            "files": f"{len(manifest.files)}, every SHA-256 as recorded",
        }
    )
    _print_graphs(manifest)
    _print_scene(scene)
    _print_metrics(manifest)
    _print_engines(engines)


def _audit(bundle: Bundle) -> list[dict[str, Any]]:
    """The entries of every time that thresholds were set again, oldest first."""
    from edge_ad.bundle.bundle import AUDIT_FILE
    from edge_ad.bundle.documents import parse_json
    from edge_ad.errors import BundleError

    if AUDIT_FILE not in bundle.manifest.files:
        return []
    try:
        entries = [parse_json(line) for line in bundle.read_file(AUDIT_FILE).splitlines()]
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{bundle.root / AUDIT_FILE} is not understood: {error}.") from error
    return [entry if isinstance(entry, dict) else {"entry": entry} for entry in entries]


def _print_audit(entries: list[dict[str, Any]]) -> None:
    names = ("time", "action", "by", "photos", "from")
    if entries:
        rows = [[str(entry.get(name, "")) for name in names] for entry in entries]
        print_table(names, rows, title="\nThresholds set again")


def _print_scene(scene: SceneLimits | None) -> None:
    """The limits of the stream's scene monitor; older bundles have none."""
    if scene is not None:
        rows = [[name, limits.centre, limits.low, limits.high] for name, limits in scene.ranges.items()]
        print_table(["measure", "photos", "low", "high"], rows, title=f"\nScene, of {scene.photos} good photos")


def _print_graphs(manifest: Manifest) -> None:
    columns = ["precision", "file", "threshold", "asked rate", "bound", "good images", "gate", "INT8 layers"]
    rows = [
        [
            precision,
            graph.file,
            graph.threshold.value,
            graph.threshold.false_alarm_rate,
            graph.threshold.false_alarm_bound,
            graph.threshold.good_images,
            _verdict(graph.gate),
            None if graph.gate is None else graph.gate.quantised_layers,
        ]
        for precision, graph in manifest.graphs.items()
    ]
    print_table(columns, rows, title="\nGraphs")
    for precision, graph in manifest.graphs.items():
        if graph.gate is not None:
            _print_gate(precision, graph.gate)


def _print_gate(precision: str, gate: GateReport) -> None:
    rows = [[check, value, gate.limits.get(check)] for check, value in gate.checks.items()]
    print_table(["check", "value", "limit"], rows, title=f"\nAccuracy gate of {precision}, against fp32")
    if gate.float_layers:
        print_line(f"left in float: {', '.join(gate.float_layers)}")


def _print_metrics(manifest: Manifest) -> None:
    rows = [
        [record.data, record.engine, record.images, name, value]
        for record in manifest.metrics
        for name, value in record.values.items()
    ]
    if rows:
        print_table(["data", "engine", "images", "metric", "value"], rows, title="\nMetrics")


def _print_engines(engines: list[EngineDirectory]) -> None:
    if not engines:
        print_line()
        print_line("No engines; edge-ad build-engine makes one for this machine.")
        return
    rows = [
        [engine.path.name, engine.sidecar.backend_version, engine.sidecar.target, engine.sidecar.created]
        for engine in engines
    ]
    print_table(["engine", "backend version", "target", "created"], rows, title="\nEngines")


def _verdict(gate: GateReport | None) -> str | None:
    if gate is None:
        return None
    return "passed" if gate.passed else "failed"


def _describe_plan(engine: EngineDirectory, *, with_layers: bool) -> dict[str, Any] | None:
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


def _print_plan(engine: EngineDirectory, *, with_layers: bool) -> None:
    """Print the same for people; nothing for an engine of another kind."""
    plan = _describe_plan(engine, with_layers=with_layers)
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
