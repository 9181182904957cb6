"""A bundle as a model of a Triton repository.

    DIR/<model>/config.pbtxt        inputs, outputs, dynamic batching, instances, warm-up, what it was written from
    DIR/<model>/edge_ad.json        threshold, product, and how photos are fitted to the input
    DIR/<model>/warmup/image        a reference photo, which each instance judges before the model is ready
    DIR/<model>/<version>/          model.onnx, or model.plan

OpenVINO Model Server reads the same folders (``--model_path DIR/<model>``), without ``config.pbtxt``.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_ad.bundle import Bundle, EngineDirectory, check_engine, list_engines
from edge_ad.errors import BundleError, UsageError, require
from edge_ad.manifest import Precision, Threshold
from edge_ad.runtime.deploy_graph import INPUT_NAME, OUTPUT_NAMES
from edge_ad.runtime.engines import choose_precision
from edge_ad.runtime.backend import Backend, backend_names, get_backend
from edge_ad.storage import atomic_directory, one_at_a_time, sha256_file, storage_errors, write_file

__all__ = ["TritonOptions", "served_precision", "write_triton_model"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PLAN_FILE = "model.plan"
_WARM_UP = "image"
_DOCUMENT_FILE = "edge_ad.json"


@dataclass(frozen=True)
class TritonOptions:
    """How a server is to run a model.

    Attributes:
        name: Of the model; empty for the bundle's product.
        backend: What runs it there: one that has a platform of Triton's.
        target: GPU that the plan was built for, as ``edge-ad inspect`` names it; empty where there is one plan.
        most_images: Largest batch.
        longest_wait_us: How long a request waits for others to share a batch with, in microseconds.
        instances: Copies that work side by side.
    """

    name: str = ""
    backend: str = "onnxruntime"
    target: str = ""
    most_images: int = 8
    longest_wait_us: int = 500
    instances: int = 1


def served_precision(bundle: Bundle, asked: str, options: TritonOptions) -> Precision:
    """What to serve.

    Args:
        bundle: The bundle.
        asked: A precision, or ``"auto"`` for the fastest of those that passed their gate, and have a plan if one is run.
        options: How it is to be run.

    Raises:
        UsageError: There is no such precision.
        BundleError: The bundle has no such graph.
    """
    backend = _served_backend(options.backend)
    if asked != "auto" or not backend.runs_plans_only:
        return choose_precision(bundle, asked)
    built = {engine.sidecar.precision for engine in list_engines(bundle) if engine.sidecar.backend == backend.name}
    return next((name for name in backend.fastest_first if name in built), "fp32")


def _served_backend(name: str) -> Backend:
    backend = get_backend(name)
    if not backend.triton_platform:
        served = ", ".join(each for each in backend_names() if get_backend(each).triton_platform)
        raise UsageError(f"Triton has no platform for {name}.", f"Choose one of: {served}.")
    return backend


def write_triton_model(bundle: Bundle, precision: Precision, folder: Path, options: TritonOptions) -> Path:
    """Write a bundle as a model of a repository, as a new version where one is there that differs.

    The version appears whole, and the description after it: a server that polls the repository never reads half of one.

    Args:
        bundle: The bundle.
        precision: Its graph.
        folder: The repository.
        options: How it is to be run.

    Returns:
        The folder of the version.

    Raises:
        BundleError: The bundle has no such graph or plan, or no reference photos; or one is damaged.
        UsageError: A name that no model may have, or that a model of another product has, or a batch that the plan does
            not take.
        StorageError: No space or no permission; what was there is untouched.
        MissingDependencyError: The extra ``kserve`` is not installed.
    """
    name = options.name or re.sub(r"[^A-Za-z0-9._-]+", "-", bundle.manifest.product or bundle.root.name)
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name} is no name of a model.", "Use letters, digits, dots, dashes and underscores: --model NAME")
    source, threshold = _source(bundle, precision, options)
    model = folder / name
    config = _config(bundle, precision, name, options)
    document = _document(bundle, precision, threshold)
    image = bundle.reference().images[0].tobytes()
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with one_at_a_time(folder), storage_errors(model):
        _check_product(model, bundle.manifest.product)
        version = _version(model, source)
        if not version.is_dir():
            with atomic_directory(version) as staged:
                write_file(staged / _file_of(_served_backend(options.backend)), source.read_bytes())
        write_file(model / "warmup" / _WARM_UP, image)
        write_file(model / _DOCUMENT_FILE, json.dumps(document, indent=2).encode() + b"\n")
        write_file(model / "config.pbtxt", config.encode())
    return version


def _check_product(model: Path, product: str) -> None:
    """Refuse a model of another product: its streams would lose their server."""
    try:
        there = json.loads((model / _DOCUMENT_FILE).read_bytes())["product"]
    except (OSError, ValueError, LookupError, TypeError):
        return  # not there, or not ours
    if there != product:
        raise UsageError(f"{model} serves {there}, not {product}.", "Give another name: --model NAME")


def _source(bundle: Bundle, precision: Precision, options: TritonOptions) -> tuple[Path, Threshold]:
    """The checked file that the server loads, and the threshold on its scores."""
    backend = _served_backend(options.backend)
    if not backend.runs_plans_only:
        bundle.read_file(bundle.graph(precision).file)
        return bundle.graph_path(precision), bundle.graph(precision).threshold
    plan = _plan(bundle, backend, precision, options.target)
    check_engine(plan)
    most = int(plan.sidecar.options.get("max_batch", "1"))
    if options.most_images > most:
        raise UsageError(f"The plan takes up to {most} images, not {options.most_images}.", f"Give --max-batch {most}.")
    return plan.path / _PLAN_FILE, plan.sidecar.threshold


def _file_of(backend: Backend) -> str:
    return _PLAN_FILE if backend.runs_plans_only else "model.onnx"


def _plan(bundle: Bundle, backend: Backend, precision: Precision, target: str) -> EngineDirectory:
    plans = [
        engine
        for engine in list_engines(bundle)
        if (engine.sidecar.backend, engine.sidecar.precision) == (backend.name, precision)
        and target in ("", engine.sidecar.target)
        and engine.sidecar.onnx_sha256 == bundle.graph_sha256(precision)
    ]
    if not plans:
        raise BundleError(
            f"{bundle.root} has no {backend.name} plan of its {precision} graph{f' for {target}' if target else ''}.",
            f"Build it with the server's version: edge-ad build-engine RUN --backend {backend.name}",
        )
    if len(plans) > 1:
        names = ", ".join(engine.sidecar.target for engine in plans)
        raise UsageError(f"There are plans for {names}.", "Name the server's: --target NAME")
    return plans[0]


def _version(model: Path, source: Path) -> Path:
    """The newest version where its file is the same, else the one after it."""
    versions = sorted((path for path in model.glob("*") if path.name.isdecimal() and path.is_dir()), key=lambda path: int(path.name))
    if versions:
        newest = versions[-1]
        files = list(newest.iterdir())
        if len(files) == 1 and files[0].suffix == source.suffix and sha256_file(files[0]) == sha256_file(source):
            return newest
    return model / str(int(versions[-1].name) + 1 if versions else 1)


def _document(bundle: Bundle, precision: Precision, threshold: Threshold) -> dict[str, Any]:
    """What a client needs beside the network."""
    manifest = bundle.manifest
    return {
        "product": manifest.product,
        "method": manifest.method,
        "precision": precision,
        "graph_sha256": bundle.graph_sha256(precision),
        "labels": {"OK": "score <= threshold", "NG": "score > threshold, or not finite"},
        "threshold": threshold.model_dump(mode="json"),
        "input_size_hw": manifest.input_size_hw,
        "photos": manifest.photos.model_dump(mode="json"),
    }


def _config(bundle: Bundle, precision: Precision, name: str, options: TritonOptions) -> str:
    """``config.pbtxt``, in Triton's own schema."""
    schema: Any = require("tritonclient.grpc.model_config_pb2", extra="kserve")
    text_format: Any = require("google.protobuf.text_format", extra="kserve")
    backend = _served_backend(options.backend)
    config = schema.ModelConfig(name=name, platform=backend.triton_platform, max_batch_size=options.most_images)
    config.default_model_filename = _file_of(backend)
    height, width = bundle.manifest.input_size_hw
    config.input.add(name=INPUT_NAME, data_type=schema.TYPE_UINT8, dims=[height, width, 3])
    score = config.output.add(name=OUTPUT_NAMES[0], data_type=schema.TYPE_FP32, dims=[1])
    score.reshape.SetInParent()  # the graph gives one number an image; Triton's outputs have a dimension
    config.output.add(name=OUTPUT_NAMES[1], data_type=schema.TYPE_FP32, dims=[height, width])
    config.dynamic_batching.max_queue_delay_microseconds = options.longest_wait_us
    config.instance_group.add(count=options.instances, kind=_kind(schema, backend))
    warm_up = config.model_warmup.add(name="a reference photo", batch_size=1, count=1)
    warm_up.inputs[INPUT_NAME].data_type = schema.TYPE_UINT8
    warm_up.inputs[INPUT_NAME].dims.extend([height, width, 3])
    warm_up.inputs[INPUT_NAME].input_data_file = _WARM_UP
    said = {"graph": bundle.graph_sha256(precision), "precision": precision, "backend": options.backend}
    for key, value in said.items():
        config.parameters[f"edge_ad.{key}"].string_value = value
    return str(text_format.MessageToString(config))


def _kind(schema: Any, backend: Backend) -> int:
    group = schema.ModelInstanceGroup
    return int(group.KIND_GPU if backend.runs_on_gpu else group.KIND_AUTO)
