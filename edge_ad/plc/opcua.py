"""Serves results to a PLC by OPC UA for Machine Vision."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_ad.errors import EdgeAdError, UsageError, require
from edge_ad.listen_address import Address, failure_to_listen, listen, parse_address
from edge_ad.plc.loop_thread import LoopThread
from edge_ad.plc.opcua_nodes import Condition, InspectionNodes
from edge_ad.plc.opcua_security import CertificateFolder, guarded_server, make_user_manager
from edge_ad.plc.opcua_types import MACHINE_VISION, OWN, Namespaces, add_types
from edge_ad.plc.results import PartResult, ResultRule
from edge_ad.plc.server import PlcServer, PlcSink
from edge_ad.streaming.frame import NO_RECIPE, RecipeMark
from edge_ad.streaming.operator_thresholds import state_folder
from edge_ad.streaming.sinks.hook import Alarm

if TYPE_CHECKING:
    from edge_ad.streaming.control import StreamControl

__all__ = ["OpcuaServer", "OpcuaSink"]

_PORT = 4840
_MOST_CLIENTS = 32
_KEPT = 1000
_START_S, _STOP_S = 60.0, 5.0  # the address space of the standard takes seconds on a small device
_CLOSE_S, _PUBLISH_S = 3.0, 0.5
_SHOW_EVERY_S = 0.2
_POLL_S = 0.02
_STALL_S = 10.0
_BY = "an OPC UA client"
_NOWHERE = logging.NullHandler()


class OpcuaSink(PlcSink):
    """Puts results into the nodes of an `OpcuaServer`."""


class OpcuaServer(PlcServer):
    """An OPC UA server with a ``VisionSystemType`` of OPC 40100-1.

    Where only this machine can reach it, anybody may connect. Elsewhere the channel must be signed, by a client whose
    certificate is in ``trusted/`` of the folder.

    Args:
        address: ``HOST:PORT``, ``HOST`` or ``:PORT``; by default 127.0.0.1:4840. Port 0 takes a free one.
        folder: The certificates; None for the user's.

    Raises:
        MissingDependencyError: asyncua is not installed.
        UsageError: The address cannot be used.
        DeviceError: The port is in use or may not be used.
    """

    def __init__(self, address: str = "", *, folder: Path | None = None) -> None:
        super().__init__()
        require("asyncua", extra="opcua")
        logging.getLogger("asyncua").addHandler(_NOWHERE)  # what clients do wrong, not what we do
        self._address = parse_address(address, port=_PORT, option="--opcua")
        listen(self._address, stall_s=_STALL_S).close()  # report a port in use before an engine is loaded
        self.certificates = CertificateFolder(folder or state_folder() / "opcua")
        self._alarm = Alarm("opc ua")
        self._control: StreamControl | None = None
        self._pending: deque[PartResult] = deque()
        self._kept: deque[PartResult] = deque(maxlen=_KEPT)
        self._lock = threading.Lock()
        self._lost = 0
        self._refusal = ""
        self._thread: LoopThread | None = None
        self._server: Any = None
        self._nodes: InspectionNodes | None = None
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def port(self) -> int:
        """The port it listens at, once it is open."""
        return self._address.port

    @property
    def url(self) -> str:
        """How a client reaches it."""
        return _url(self._address)

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return self._address.is_loopback

    @property
    def dropped(self) -> int:
        """Results that were never put out."""
        return self._lost

    @property
    def clients(self) -> int:
        """Clients that are connected."""
        server = self._server
        return 0 if server is None or server.bserver is None else len(server.bserver.clients)

    def sink(self, rule: ResultRule) -> OpcuaSink:
        """The sink that gives it the results of a stream."""
        return OpcuaSink(self, rule)

    def attach(self, control: StreamControl) -> None:
        """Follow this stream, and raise alarms there."""
        super().attach(control)
        self._control = control
        self._alarm.attach(control)

    def finish(self) -> None:
        """Put out what waits, for three seconds at most, and leave clients half a second to be told."""
        until = time.monotonic() + _CLOSE_S
        while self._pending and time.monotonic() < until:
            time.sleep(_POLL_S)
        with self._lock:
            self._lost += len(self._pending)
            self._pending.clear()
        if self._thread is not None and self.clients:
            self._thread.call(self._show(), _STOP_S)
            time.sleep(_PUBLISH_S)

    # What a client may call; see `opcua_methods.Commands`.

    def trigger_part(self, part_id: str) -> str | None:
        """Have the next frame judged; None where no trigger of the stream listens to clients."""
        return self.ask(part_id) if self.has_trigger else None

    def pause(self) -> None:
        """Let frames pass unjudged."""
        if self._control is not None:
            self._control.pause(_BY)

    def resume(self) -> None:
        """Judge frames again."""
        if self._control is not None:
            self._control.resume(_BY)

    @property
    def has_recipes(self) -> bool:
        """Whether the stream can be switched between recipes."""
        return self._control is not None and self._control.has_recipes

    async def recipe(self, name: str, *, only_prepare: bool = False) -> RecipeMark:
        """Switch to a recipe, or have its bundle opened only."""
        control = self._control
        if control is None:
            raise UsageError("The stream does not run yet.")
        try:
            asked = await asyncio.to_thread(control.switch_recipe, name, by=_BY, only_prepare=only_prepare)
            answer = await asyncio.wrap_future(asked)
        except EdgeAdError as error:
            self._refusal = str(error)
            await self._show()  # a client that is refused reads why at once
            raise
        self._refusal = ""
        await self._show()
        return answer.mark

    def since(self, sequence: int) -> tuple[Sequence[PartResult], int]:
        """The results that are kept and later than one, oldest first, and how many before them are not kept."""
        kept = list(self._kept)
        if kept and sequence > kept[-1].sequence:  # of the stream before this one, which began at 1
            sequence = 0
        found = [result for result in kept if result.sequence > sequence]
        return found, found[0].sequence - sequence - 1 if found else 0

    def _put(self, result: PartResult) -> None:
        with self._lock:
            self._pending.append(result)
            if len(self._pending) > _KEPT:
                self._pending.popleft()
                self._lost += 1
                self._alarm.raise_once(f"The OPC UA server is too slow: {_KEPT} results wait, older are lost.")
        thread = self._thread
        if thread is not None:
            with suppress(RuntimeError):  # the loop has ended
                thread.loop.call_soon_threadsafe(self._wake.set)

    def _start(self) -> None:
        self._thread = LoopThread("The OPC UA server")
        self._thread.call(self._serve(), _START_S)

    def _stop(self) -> None:
        thread, self._thread = self._thread, None
        server, self._server = self._server, None
        if thread is not None:
            try:
                if server is not None:
                    thread.call(server.stop(), _STOP_S)
            finally:
                thread.close()

    async def _serve(self) -> None:
        server = await self._make_server(self._address)
        spaces = Namespaces(await server.register_namespace(MACHINE_VISION), await server.register_namespace(OWN))
        types = await add_types(server, spaces)
        nodes = InspectionNodes(server, spaces, types, self, run=format(int(time.time()), "x"))
        await nodes.build()
        await self._listen(server)
        self._server, self._nodes = server, nodes
        self._wake = asyncio.Event()
        self._wake.set()
        await self._show()
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._put_out(nodes)), loop.create_task(self._keep_showing())]

    async def _make_server(self, address: Address) -> Any:
        host = socket.gethostname()
        uri = f"urn:{host}:edge-ad"
        await self.certificates.prepare(uri, host)
        manager = make_user_manager(self.certificates, allows_anonymous=self.is_loopback)
        server = guarded_server(manager, is_open=self.is_loopback)
        server.iserver.max_connections = _MOST_CLIENTS
        await server.init()
        server.set_endpoint(_url(address))
        server.socket_address = (address.ip, address.port)
        server.set_server_name("edge-ad")
        await server.set_application_uri(uri)
        await server.load_certificate(self.certificates.certificate)
        await server.load_private_key(self.certificates.key, format="pem")
        return server

    async def _listen(self, server: Any) -> None:
        try:
            await server.start()  # port 0 becomes a free one here: one that was free a moment ago may be another's now
        except OSError as error:
            raise failure_to_listen(self._address, error) from error
        self._address = self._address.at_port(server.bserver.port)
        server.set_endpoint(_url(self._address))

    async def _put_out(self, nodes: InspectionNodes) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._pending:
                await self._put_out_one(nodes)
                await asyncio.sleep(0)  # let clients be answered
            self._alarm.clear("The OPC UA server works again.", lost=self._lost)

    async def _put_out_one(self, nodes: InspectionNodes) -> None:
        result = self._pending[0]
        self._kept.append(result)
        try:
            await nodes.put(result, is_asked=self.is_asked)
        except Exception as error:  # one result that cannot be shown must not stop the later ones
            self._lost += 1
            self._alarm.raise_once(f"The OPC UA server cannot put out result {result.sequence}: {error}.")
        with self._lock:
            if self._pending and self._pending[0] is result:
                self._pending.popleft()

    async def _keep_showing(self) -> None:
        while True:
            await asyncio.sleep(_SHOW_EVERY_S)
            try:
                await self._show()
            except Exception as error:  # the heartbeat must not end with it
                self._alarm.raise_once(f"The OPC UA server cannot show the state of the stream: {error}.")

    async def _show(self) -> None:
        assert self._nodes is not None
        condition = self.condition
        await self._nodes.show(
            Condition(
                condition.fault(),
                condition.problem,
                self.is_asked,
                self.has_trigger,
                condition.has_alarm,
                self.seconds,
                self._lost,
                NO_RECIPE if self._control is None else self._control.recipe,
                self._refusal,
                condition.golden,
            )
        )


def _url(address: Address) -> str:
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"opc.tcp://{host}:{address.port}/edge-ad"
