"""An engine that is on a server."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, cast, get_args

import numpy as np
from numpy.typing import NDArray

from edge_ad.bundle import Bundle
from edge_ad.bundle.documents import REFERENCE_FILE
from edge_ad.errors import BundleError, DeviceError, UsageError
from edge_ad.manifest import Precision
from edge_ad.prediction import Prediction
from edge_ad.runtime.backend import backend_names
from edge_ad.runtime.engine import Engine, EngineDescription
from edge_ad.runtime.kserve.address import ServerAddress
from edge_ad.runtime.kserve.connection import Answer, Connection, Served, ServerLostError
from edge_ad.runtime.parity import parity_of_engine, recorded_predictions

__all__ = ["KServeEngine", "served_engine"]

_log = logging.getLogger(__name__)
_IN_FLIGHT = 4
_HASH_EVERY_S, _NUMBERS_EVERY_S = 1.0, 10.0  # the second where a server says no hash
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.2, 2.0
_SAME = "Write the server's model from this bundle: edge-ad export BUNDLE --triton DIR; or name the bundle it has."


class _Call(NamedTuple):
    request: Any
    answer: Any
    reconnections: int  # before it was sent


class KServeEngine(Engine):
    """An engine on a server that speaks KServe's protocol v2 over gRPC.

    Each time it connects, the model must be that of the bundle and give the outputs that the bundle recorded. A server
    that does not answer is waited for, and what it had not answered is sent again, so no image is left out.

    Args:
        connection: To the model.
        bundle: What the model was written from.
        served: What the server says of it.
        precision: Graph of the bundle that it runs.
        batch: Images that a stream gives in one call.
        in_flight: Calls under way at a time in ``infer_many``; the server may join them into one batch.
    """

    def __init__(
        self,
        connection: Connection,
        bundle: Bundle,
        served: Served,
        precision: Precision,
        *,
        batch: int = 1,
        in_flight: int = _IN_FLIGHT,
    ) -> None:
        description = EngineDescription(
            backend=served.backend if served.backend in backend_names() else "onnxruntime",
            precision=precision,
            device=f"server {served.server}",
            version=served.server.rpartition(" ")[2],
            input_size_hw=bundle.manifest.input_size_hw,
            threads=0,
            source=str(connection.address),
        )
        super().__init__(description, bundle.graph(precision).threshold)
        self._connection, self._bundle, self._served = connection, bundle, served
        self._batch, self._in_flight = batch, in_flight
        self._is_ending = threading.Event()
        self._is_checking = False
        self._reconnections = 0
        self._version = ""  # of the model that was checked
        self._checked_at = -math.inf

    def __enter__(self) -> Engine:
        super().__enter__()
        try:
            self._check_model()
        except ServerLostError as error:
            self.__exit__(None, None, None)
            raise _no_answer(self._connection.address, error) from error
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def give_up(self) -> None:
        """Wait no longer for a server that is away: what it has not answered is not judged."""
        self._is_ending.set()

    def _open(self) -> None:
        self._is_ending.clear()
        self._connection.open()

    def _close(self) -> None:
        self._is_ending.set()
        self._connection.close()

    def _infer(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        most = self._served.most_images or len(images)
        sent = [self._send(self._connection.request(images[at : at + most])) for at in range(0, len(images), most)]
        answers = [self._answer(call) for call in sent]
        return np.concatenate([each.scores for each in answers]), np.concatenate([each.maps for each in answers])

    def _infer_many(self, frames: Iterator[NDArray[np.uint8]]) -> Iterator[Prediction]:
        sent: deque[_Call] = deque()
        for frame in frames:
            sent.append(self._send(self._connection.request(frame)))
            if len(sent) >= self._in_flight:
                yield self._prediction(sent.popleft())
        while sent:
            yield self._prediction(sent.popleft())

    def _prediction(self, call: _Call) -> Prediction:
        answer = self._answer(call)
        return self._predictions(answer.scores, answer.maps, 1)[0]

    def _send(self, request: Any) -> _Call:
        return _Call(request, self._connection.send(request), self._reconnections)

    def _answer(self, call: _Call) -> Answer:
        """The answer to a call, by the model that was checked; it is sent again after the server was away."""
        while True:
            try:
                answer = self._connection.answer(call.answer)
                if self._is_checking:
                    self._version = answer.version
                    return answer
                if answer.version == self._version:
                    self._check_now_and_then()
                    return answer
                self._check_model()
            except ServerLostError as error:
                if self._is_checking:
                    raise
                if call.reconnections == self._reconnections:  # else lost with one that was waited for already
                    self._wait_for_server(str(error))
            call = self._send(call.request)

    def _wait_for_server(self, reason: str) -> None:
        address = self._connection.address
        _log.warning("%s does not answer (%s). Waiting for it.", address, reason)
        wait_s = _FIRST_WAIT_S
        while not self._is_ending.wait(wait_s):
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
            self._connection.close()
            self._connection.open()
            try:
                self._check_model()
            except ServerLostError:
                continue
            self._reconnections += 1
            _log.warning("%s answers again, and gives the recorded outputs.", address)
            return
        message = f"{address} was away when the stream ended: the frames that it had not answered are not judged."
        raise DeviceError(message, "Start the server, and judge them again.")

    def _check_model(self) -> None:
        """Hold the model to the bundle, by what the server says of it and by its numbers: it may be another now.

        Raises:
            ServerLostError: The server is not there.
            BundleError: Another model.
        """
        self._check_graph()
        self._check_numbers()
        self._checked_at = time.monotonic()

    def _check_now_and_then(self) -> None:
        """A server may have started again between two calls, and have another graph under the same version."""
        if self._served.graph and time.monotonic() > self._checked_at + _HASH_EVERY_S:
            self._check_graph()
            if not self._served.graph:  # it says no hash any more
                self._check_numbers()
            self._checked_at = time.monotonic()
        elif time.monotonic() > self._checked_at + _NUMBERS_EVERY_S:
            self._check_model()

    def _check_graph(self) -> None:
        self._served = self._connection.served(self._bundle.manifest.input_size_hw)
        precision = cast("Precision", self._description.precision)
        _check_graph(self._bundle, precision, self._served, self._connection.address)

    def _check_numbers(self) -> None:
        """Hold the model to the recorded outputs.

        Raises:
            ServerLostError: The server is not there any more.
            BundleError: It gives other outputs.
        """
        reference = self._bundle.reference()
        recorded = recorded_predictions(reference)
        self._is_checking = True
        try:
            problem = parity_of_engine(self._bundle, self, reference.images, recorded, batch=self._batch).problem
        finally:
            self._is_checking = False
        if problem:
            raise BundleError(f"{self._connection.address} does not give the trained numbers: {problem}.", _SAME)


def served_engine(
    bundle: Bundle, address: ServerAddress, *, precision: str = "auto", timeout_s: float = 10.0, batch: int = 1
) -> KServeEngine:
    """Make an engine for a model on a server; enter it to connect.

    Args:
        bundle: What the model was written from.
        address: Server and model.
        precision: ``"auto"`` for what the server says, else FP32; or a precision.
        timeout_s: Longest that a call may take, in seconds; after it the server counts as lost.
        batch: Images that a stream gives in one call.

    Raises:
        DeviceError: The server does not answer.
        BundleError: It has another model, or the bundle has no recorded outputs to check it by.
        UsageError: Another precision than the server's.
        MissingDependencyError: The extra ``kserve`` is not installed.
    """
    if REFERENCE_FILE not in bundle.manifest.files:
        raise BundleError(
            f"{bundle.root} has no recorded outputs to check a server by.", "Export it again: edge-ad export RUN"
        )
    connection = Connection(address, timeout_s)
    connection.open()
    try:
        served = connection.served(bundle.manifest.input_size_hw)
    except ServerLostError as error:
        raise _no_answer(address, error) from error
    finally:
        connection.close()
    chosen = _precision(served, precision)
    _check_graph(bundle, chosen, served, address)
    return KServeEngine(connection, bundle, served, chosen, batch=batch)


def _no_answer(address: ServerAddress, error: ServerLostError) -> DeviceError:
    return DeviceError(f"{address} does not answer: {error}.", "Start the server, or check host, port and model.")


def _check_graph(bundle: Bundle, precision: Precision, served: Served, address: ServerAddress) -> None:
    if served.graph and served.graph != bundle.graph_sha256(precision):
        raise BundleError(f"{address} was written from another graph than {bundle.root} has.", _SAME)


def _precision(served: Served, asked: str) -> Precision:
    known: Sequence[str] = get_args(Precision)
    found = served.precision or ("fp32" if asked == "auto" else asked)
    if asked not in ("auto", found):
        raise UsageError(f"The server runs {found}, not {asked}.", "Leave --precision out.")
    if found not in known:
        raise UsageError(f"There is no precision {found!r}.", f"Choose: auto, {', '.join(known)}.")
    return cast("Precision", found)
