"""A model server in this process that speaks KServe's protocol v2 as Triton does; it runs ONNX Runtime."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
import onnxruntime
from tritonclient.grpc import service_pb2, service_pb2_grpc

_KINDS = {"score": [-1, 1], "anomaly_map": [-1, 24, 32]}


class ModelServer(service_pb2_grpc.GRPCInferenceServiceServicer):
    """Serves one graph as the model ``plate``.

    Attributes:
        batches: Images of each call.
        parameters: What its description says.
        version: Of the model.
        refuses: Calls that it answers by an error, as a server that has no memory does.
    """

    def __init__(self, model: bytes, *, most_images: int = 8, has_config: bool = True, **parameters: str) -> None:
        self.batches: list[int] = []
        self.parameters = {f"edge_ad.{name}": value for name, value in parameters.items()}
        self.refuses = False
        self._most_images, self._has_config = most_images, has_config
        self.load(model, version="1")
        self._server: Any = None
        self._port = 0

    def load(self, model: bytes, *, version: str) -> None:
        self._session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        self.version = version

    def start(self) -> int:
        """Listen, after a stop at the same port; returns it."""
        self._server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(self, self._server)
        self._port = self._server.add_insecure_port(f"127.0.0.1:{self._port}")
        self._server.start()
        return self._port

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop(None).wait()

    def ModelReady(self, request: Any, context: Any) -> Any:  # noqa: N802 - the protocol's names
        return service_pb2.ModelReadyResponse(ready=request.name == "plate")

    def ServerMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        return service_pb2.ServerMetadataResponse(name="double", version="1.2")

    def ModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        answer = service_pb2.ModelMetadataResponse(name=request.name)
        answer.inputs.add(name="image", datatype="UINT8", shape=[-1, 24, 32, 3])
        for name, shape in _KINDS.items():
            answer.outputs.add(name=name, datatype="FP32", shape=shape)
        return answer

    def ModelConfig(self, request: Any, context: Any) -> Any:  # noqa: N802
        if not self._has_config:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "only Triton has it")
        answer = service_pb2.ModelConfigResponse()
        answer.config.max_batch_size = self._most_images
        for name, value in self.parameters.items():
            answer.config.parameters[name].string_value = value
        return answer

    def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802
        shape = list(request.inputs[0].shape)
        if self.refuses or shape[0] > self._most_images:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"{shape[0]} images are too many")
        self.batches.append(shape[0])
        images = np.frombuffer(request.raw_input_contents[0], np.uint8).reshape(shape)
        answer = service_pb2.ModelInferResponse(model_name=request.model_name, model_version=self.version)
        for name, values in zip(_KINDS, self._session.run(list(_KINDS), {"image": images}), strict=True):
            given = values[:, None] if name == "score" else values
            answer.outputs.add(name=name, datatype="FP32", shape=given.shape)
            answer.raw_output_contents.append(given.tobytes())
        return answer
