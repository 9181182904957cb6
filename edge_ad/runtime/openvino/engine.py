"""OpenVINO on the CPU: the default where there is no GPU."""

from __future__ import annotations

import tempfile
import xml.etree.ElementTree as ET
from collections import OrderedDict, deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import BundleError, DeviceError
from edge_ad.manifest import BF16_OF, Precision
from edge_ad.prediction import Prediction
from edge_ad.runtime.deploy_graph import INPUT_NAME, OUTPUT_NAMES, check_deploy_graph
from edge_ad.runtime.engine import Engine, EngineDescription
from edge_ad.runtime.engine_source import EngineSource, backend_errors, saving
from edge_ad.runtime.openvino.api import openvino_api, openvino_core, openvino_version
from edge_ad.runtime.openvino.sorting import sort_stably
from edge_ad.runtime.target import available_cores

__all__ = ["OpenVinoEngine", "check_float32", "is_part", "keep_float32", "mark_float32", "save_openvino"]

_WITHOUT_ARITHMETIC = {"Const", "Parameter", "Result"}
_KEEP = {"name": "precise", "version": "0"}  # the attribute by which OpenVINO exempts a layer from a conversion to FP16
_CHECKED = {"Convolution", "GroupConvolution"}  # OpenVINO may rewrite other products, and then loses their marks


def keep_float32(core: Any, model: Any, parts: Collection[str]) -> Any:
    """A copy of a model that keeps some parts in float32; the model itself where there are none.

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
        parts: Names of nodes and modules: each stands for the layers of that name, and for those whose names continue
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
    """Refuse a compiled model that still computes a convolution of a part in bfloat16.

    Other layers of a part are left as OpenVINO compiles them; the accuracy gate tests the engine as it is.

    Args:
        compiled: ``openvino.CompiledModel``.
        parts: As for `mark_float32`.

    Raises:
        DeviceError: It computes one in bfloat16.
    """
    for node in compiled.get_runtime_model().get_ops() if parts else ():
        info = {key: node.rt_info[key].astype(str) for key in ("layerType", "runtimePrecision", "originalLayersNames")}
        if info["layerType"] not in _CHECKED or info["runtimePrecision"] != "bf16":
            continue
        name = info["originalLayersNames"].split(",")[0]  # the later ones were fused into it
        if found := next((part for part in parts if is_part(name, part)), None):
            raise DeviceError(
                f"OpenVINO {openvino_version()} computes {found} in bfloat16, but it passed the gate in float32.",
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


_NAME = "OpenVINO"
_DEVICE = "CPU"
_GRAPH_FILE = "model.xml"
_WEIGHTS_FILE = "model.bin"
_COMPILED_FILE = "model.blob"
_CONTROL_FLOW = frozenset({"If", "Loop", "TensorIterator"})
_KEPT_BATCH_SIZES = 3


def save_openvino(source: EngineSource, folder: Path) -> Mapping[str, str]:
    """Convert a graph to OpenVINO's format and compile it for this processor.

    Writes ``model.xml`` and ``model.bin``, which keep the dynamic batch, and ``model.blob``, which is the graph for one
    frame compiled: it loads several times faster.

    Args:
        source: The graph.
        folder: Where to write.

    Returns:
        The options of the build.

    Raises:
        DeviceError: OpenVINO refuses the graph.
        StorageError: No space or no permission.
    """
    openvino = openvino_api()
    model = _read_source(source)
    ir = folder / _GRAPH_FILE
    with saving(folder):
        openvino.save_model(model, str(ir), compress_to_fp16=False)
    if source.float32:  # saving drops marks
        ir.write_text(mark_float32(ir.read_text(encoding="utf-8"), source.float32), encoding="utf-8")
    settings = _settings(0, source.precision)
    compiled = _compile(_with_batch(model, 1), settings, source)
    blob = compiled.export_model()
    (folder / _COMPILED_FILE).write_bytes(blob if isinstance(blob, bytes) else blob.getvalue())
    return {
        "format": "ir+blob",
        "inference_precision": settings["INFERENCE_PRECISION_HINT"],
        "compiled_batch": "1",
    }


class OpenVinoEngine(Engine):
    """An engine on OpenVINO's CPU plugin.

    The graph is specialised to each batch size, one frame first: a static shape runs faster than a dynamic one. Float
    layers are computed in float32, or in bfloat16 where the precision says so, except the parts that passed the gate in
    float32. Left to itself, OpenVINO would choose, and its scores would differ from those that passed the gate.

    Args:
        source: The graph to run.
        threads: CPU threads; 0 lets OpenVINO use every physical core.
        spare: The graph that is compiled instead where the built engine does not load; None where it must load.
    """

    def __init__(self, source: EngineSource, *, threads: int = 0, spare: EngineSource | None = None) -> None:
        description = EngineDescription.on_cpu("openvino", openvino_version(), source, threads)
        super().__init__(description, source.threshold, spare)
        self._source = source
        self._threads = threads
        self._openvino: Any = None
        self._model: Any = None
        self._stream_model: Any = None
        self._requests: OrderedDict[int, Any] = OrderedDict()

    def _open(self) -> None:
        self._openvino = openvino_api()
        self._request(batch=1)

    def _close(self) -> None:
        self._requests.clear()
        self._stream_model = self._model = None

    def _infer(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        if not images.flags.writeable:
            images = images.copy()  # OpenVINO shares writeable memory only
        request = self._request(batch=images.shape[0])
        with backend_errors(_NAME, "run the engine"):
            request.set_input_tensor(self._openvino.Tensor(images, shared_memory=True))
            request.infer()
            return _outputs(request)

    def _infer_many(self, frames: Iterator[NDArray[np.uint8]]) -> Iterator[Prediction]:
        requests = self._stream_requests()
        free, running = deque(requests), deque[Any]()
        try:
            for frame in frames:
                if not free:
                    done = running.popleft()
                    yield self._finish(done)
                    free.append(done)
                request = free.popleft()
                with backend_errors(_NAME, "run the engine"):
                    request.get_input_tensor().data[:] = frame  # a copy: the caller may overwrite its frame
                    request.start_async()
                running.append(request)
            while running:
                yield self._finish(running.popleft())
        finally:
            for request in running:  # given up half-way; the first error is already being raised
                with suppress(RuntimeError):
                    request.wait()

    def _finish(self, request: Any) -> Prediction:
        with backend_errors(_NAME, "run the engine"):
            request.wait()
            scores, maps = _outputs(request)
        return self._predictions(scores, maps, 1)[0]

    def _request(self, batch: int) -> Any:
        if batch not in self._requests:
            compiled = self._compiled(batch)
            with backend_errors(_NAME, "allocate memory for the engine"):
                self._requests[batch] = compiled.create_infer_request()
            if len(self._requests) > _KEPT_BATCH_SIZES:
                oldest = next(size for size in self._requests if size != 1)
                del self._requests[oldest]
        self._requests.move_to_end(batch)
        return self._requests[batch]

    def _compiled(self, batch: int) -> Any:
        settings = _settings(self._threads, self._source.precision)
        directory = self._source.directory
        # A compiled graph fits exactly one version.
        if batch == 1 and directory is not None and self._source.directory_version == self._description.version:
            with backend_errors(_NAME, f"load {_COMPILED_FILE}"):
                compiled = openvino_core().import_model(self._source.read_built(_COMPILED_FILE), _DEVICE, settings)
            _check_ports(directory / _COMPILED_FILE, compiled, self._source.input_size_hw)
            _refuse_control_flow(directory / _COMPILED_FILE, _kinds_of_compiled(compiled))
            return compiled
        return _compile(_with_batch(self._graph(), batch), settings, self._source)

    def _graph(self) -> Any:
        if self._model is None:
            self._model = _read_source(self._source)
        return self._model

    def _stream_requests(self) -> list[Any]:
        threads = self._threads or available_cores()
        if self._stream_model is None:
            settings = _settings(threads, self._source.precision)
            settings |= {
                "PERFORMANCE_HINT": "THROUGHPUT",
                "NUM_STREAMS": threads,
            }  # one thread each, so that none waits within a frame
            self._stream_model = _compile(_with_batch(self._graph(), 1), settings, self._source)
        # One more than there are streams, so that none is idle while a result is fetched.
        with backend_errors(_NAME, "allocate memory for the engine"):
            return [self._stream_model.create_infer_request() for _ in range(threads + 1)]


def _settings(threads: int, precision: Precision) -> dict[str, Any]:
    # By default, CPUs with AMX would silently use bfloat16, and others would never use it.
    hint = "bf16" if precision in BF16_OF.values() else "f32"
    settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": hint}
    if threads:
        settings["INFERENCE_NUM_THREADS"] = threads
    return settings


def _read_source(source: EngineSource) -> Any:
    """Read a model from bytes: one read by path could name other files, which have no SHA-256."""
    if source.directory is not None:
        weights = source.read_built(_WEIGHTS_FILE)
        path = source.directory / _GRAPH_FILE
        return _read(path, (source.read_built(_GRAPH_FILE), weights), source.input_size_hw)
    model = _read(source.onnx, (source.read_graph(),), source.input_size_hw)
    with backend_errors(_NAME, f"mark what stays in float32 in {source.onnx.name}"):
        return keep_float32(openvino_core(), model, source.float32)


def _read(path: Path, contents: tuple[bytes, ...], size_hw: tuple[int, int]) -> Any:
    with backend_errors(_NAME, f"read {path.name}"):
        model = openvino_core().read_model(*contents)
    _check_ports(path, model, size_hw)
    _refuse_control_flow(path, [node.get_type_name() for node in model.get_ops()])
    return sort_stably(model)


def _check_ports(path: Path, model: Any, size_hw: tuple[int, int]) -> None:
    with backend_errors(_NAME, f"read {path.name}"):
        ports = {item.get_any_name(): item for item in (*model.inputs, *model.outputs)}
        inputs = {item.get_any_name(): _shape(item) for item in model.inputs}
        outputs = [item.get_any_name() for item in model.outputs]
        types = {name: item.get_element_type().get_type_name() for name, item in ports.items()}
    check_deploy_graph(path, inputs, outputs, size_hw, types)


def _refuse_control_flow(path: Path, kinds: Iterable[str]) -> None:
    if found := sorted(_CONTROL_FLOW.intersection(kinds)):
        raise BundleError(f"{path} holds control flow ({found[0]}).", "Export the bundle again: edge-ad export <run>")


def _kinds_of_compiled(compiled: Any) -> list[str]:
    with backend_errors(_NAME, f"look into {_COMPILED_FILE}"):
        return [node.rt_info["layerType"].astype(str) for node in compiled.get_runtime_model().get_ops()]


def _shape(port: Any) -> list[int]:
    return [-1 if size.is_dynamic else size.get_length() for size in port.get_partial_shape()]


def _with_batch(model: Any, batch: int) -> Any:
    with backend_errors(_NAME, f"set the batch to {batch}"):
        copy = model.clone()
        copy.reshape({INPUT_NAME: [batch, *_shape(model.input(INPUT_NAME))[1:]]})
        return copy


def _compile(model: Any, settings: dict[str, Any], source: EngineSource) -> Any:
    with backend_errors(_NAME, "compile the graph"):
        compiled = openvino_core().compile_model(model, _DEVICE, settings)
        check_float32(compiled, source.float32)
        return compiled


def _outputs(request: Any) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    score, anomaly_map = (request.get_tensor(name).data.copy() for name in OUTPUT_NAMES)
    return score, anomaly_map
