"""A connection to a model on a server: what the server says of it, and calls that are under way."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import BundleError, DeviceError, require
from edge_ad.runtime.deploy_graph import INPUT_NAME, OUTPUT_NAMES
from edge_ad.runtime.kserve.address import ServerAddress

__all__ = ["Answer", "Connection", "Served", "ServerLostError"]

_EXTRA = "kserve"
_OFTEN_GONE = {"UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "NOT_FOUND", "ABORTED"}  # while a server starts, too
_OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2000),
)
_PARAMETERS = ("edge_ad.graph", "edge_ad.precision", "edge_ad.backend")
_EXPORT = "Write the server's model from this bundle: edge-ad export BUNDLE --triton DIR"


class Answer(NamedTuple):
    """What the model says of N images: scores (N,), maps (N, H, W), and the version of the model that says so."""

    scores: NDArray[np.float32]
    maps: NDArray[np.float32]
    version: str


class ServerLostError(Exception):
    """The server does not answer, or has no such model now; it may come back."""


@dataclass(frozen=True)
class Served:
    """What a server says of a model.

    Attributes:
        server: Name and version of the server.
        graph: SHA-256 of the bundle's graph that the model was written from; empty where it is not said.
        precision: Of its graph; empty where it is not said.
        backend: Name of what runs it; empty where it is not said.
        most_images: In one call; None where any number is taken.
    """

    server: str
    graph: str
    precision: str
    backend: str
    most_images: int | None


class Connection:
    """A connection to one model; closed connections can be opened again.

    Args:
        address: Server and model.
        timeout_s: Longest that a call may take, in seconds.

    Raises:
        MissingDependencyError: The extra ``kserve`` is not installed.
    """

    def __init__(self, address: ServerAddress, timeout_s: float) -> None:
        self.address = address
        self._timeout_s = timeout_s
        self._grpc = require("grpc", extra=_EXTRA)
        self._messages = require("tritonclient.grpc.service_pb2", extra=_EXTRA)
        self._service = require("tritonclient.grpc.service_pb2_grpc", extra=_EXTRA)
        self._channel: Any = None
        self._stub: Any = None

    def open(self) -> None:
        """Open it; nothing is sent yet."""
        if self.address.is_encrypted:
            credentials = self._grpc.ssl_channel_credentials()
            self._channel = self._grpc.secure_channel(self.address.endpoint, credentials, _OPTIONS)
        else:
            self._channel = self._grpc.insecure_channel(self.address.endpoint, _OPTIONS)
        self._stub = self._service.GRPCInferenceServiceStub(self._channel)

    def close(self) -> None:
        """Close it; calls that are under way fail."""
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()

    def served(self, size_hw: tuple[int, int]) -> Served:
        """Ask for the model.

        Args:
            size_hw: Height and width of the images that it must take, in pixels.

        Raises:
            ServerLostError: No answer, or the model is not ready.
            BundleError: It takes or gives something other than a deploy graph does.
            DeviceError: The server refuses to answer.
        """
        model = {"name": self.address.model, "version": self.address.version}
        if not self._ask("ModelReady", **model).ready:
            raise ServerLostError(f"{self.address.model} is not ready")
        self._check(self._ask("ModelMetadata", **model), size_hw)
        server = self._ask("ServerMetadata")
        most, parameters = self._config(model)
        graph, precision, backend = (parameters.get(name, "") for name in _PARAMETERS)
        return Served(f"{server.name} {server.version}".strip(), graph, precision, backend, most)

    def _config(self, model: Mapping[str, str]) -> tuple[int | None, Mapping[str, str]]:
        """Largest batch, and parameters of the model; only Triton tells them."""
        try:
            config = self._ask("ModelConfig", **model).config
        except DeviceError:
            return None, {}
        values = {name: str(value.string_value) for name, value in config.parameters.items()}
        return int(config.max_batch_size) or 1, values

    def _check(self, metadata: Any, size_hw: tuple[int, int]) -> None:
        inputs = [(item.name, item.datatype, list(item.shape)[-3:]) for item in metadata.inputs]
        outputs = sorted((item.name, item.datatype) for item in metadata.outputs)
        wanted = [(INPUT_NAME, "UINT8", [*size_hw, 3])], sorted((name, "FP32") for name in OUTPUT_NAMES)
        if (inputs, outputs) != wanted:
            raise BundleError(
                f"{self.address} takes {inputs} and gives {outputs}; this bundle's graph takes {wanted[0]} and gives "
                f"{wanted[1]}.",
                _EXPORT,
            )

    def _ask(self, question: str, **fields: str) -> Any:
        request = getattr(self._messages, f"{question}Request")(**fields)
        try:
            return getattr(self._stub, question)(request, timeout=self._timeout_s)
        except (self._grpc.RpcError, ValueError) as failure:  # ValueError on a closed channel
            raise self._error(failure) from failure

    def request(self, images: NDArray[np.uint8]) -> Any:
        """A request with a copy of the images, uint8 (N, H, W, 3); it can be sent more than once."""
        made = self._messages.ModelInferRequest(model_name=self.address.model, model_version=self.address.version)
        made.inputs.add(name=INPUT_NAME, datatype="UINT8", shape=images.shape)
        for name in OUTPUT_NAMES:
            made.outputs.add(name=name)
        made.raw_input_contents.append(images.tobytes())
        return made

    def send(self, request: Any) -> Any:
        """Send a request; gives what `answer` waits for.

        Raises:
            ServerLostError: The connection is closed.
        """
        try:
            return self._stub.ModelInfer.future(request, timeout=self._timeout_s)
        except ValueError as failure:
            raise self._error(failure) from failure

    def answer(self, call: Any) -> Answer:
        """Wait for the answer to a call.

        Raises:
            ServerLostError: It did not come.
            DeviceError: The server refused.
            BundleError: It does not hold what was asked for.
        """
        try:
            response = call.result()
        except (self._grpc.RpcError, self._grpc.FutureCancelledError) as failure:
            raise self._error(failure) from failure
        names = [output.name for output in response.outputs]
        if sorted(names) != sorted(OUTPUT_NAMES) or len(response.raw_output_contents) != len(names):
            raise BundleError(f"{self.address} answers with {', '.join(names) or 'nothing'}.", _EXPORT)
        scores, maps = (_array(response, names.index(name)) for name in OUTPUT_NAMES)
        # Triton's outputs have a dimension beside the batch.
        return Answer(scores[:, 0] if scores.shape[1:] == (1,) else scores, maps, response.model_version)

    def _error(self, failure: Exception) -> Exception:
        status = failure.code().name if isinstance(failure, self._grpc.Call) else "UNAVAILABLE"
        words = failure.details() if isinstance(failure, self._grpc.Call) else str(failure)
        if status in _OFTEN_GONE:
            return ServerLostError(words or status)
        return DeviceError(f"The server at {self.address} refuses: {words}.", "See the server's log.")


def _array(response: Any, index: int) -> NDArray[np.float32]:
    shape = tuple(response.outputs[index].shape)
    content = response.raw_output_contents[index]
    if response.outputs[index].datatype != "FP32" or len(content) != 4 * math.prod(shape):
        raise BundleError(f"A server answers with {response.outputs[index].datatype} {shape}, not float32.", _EXPORT)
    return np.frombuffer(content, np.float32).reshape(shape)
