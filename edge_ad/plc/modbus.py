"""Serves results to a PLC by Modbus TCP."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any

from edge_ad.errors import require
from edge_ad.listen_address import listen, parse_address
from edge_ad.plc.handshake import Handshake
from edge_ad.plc.loop_thread import LoopThread
from edge_ad.plc.modbus_map import (
    COILS,
    REGISTERS,
    WRITABLE,
    Coil,
    LineState,
    RecipeState,
    Status,
    Writable,
    encode,
    status_bits,
)
from edge_ad.plc.results import PartResult, ResultRule
from edge_ad.plc.server import PlcServer, PlcSink
from edge_ad.streaming.frame import NO_RECIPE

if TYPE_CHECKING:
    from edge_ad.streaming.control import StreamControl
    from edge_ad.streaming.requests import RecipeAnswer

__all__ = ["ModbusServer", "ModbusSink"]

_PORT = 502
_NOWHERE = logging.NullHandler()
_MOST_CLIENTS = 32
_START_S = 60.0  # as imports take on a busy small device
_END_S = 3.0
_STALL_S = 10.0  # after which the kernel ends a connection whose client is gone
_READ_COILS, _READ_BITS = 1, 2  # function codes
_WRITE_COILS = (5, 15)


class ModbusSink(PlcSink):
    """Puts results into the registers of a `ModbusServer`."""


class ModbusServer(PlcServer):
    """A Modbus TCP server with the map of `edge_ad.plc.modbus_map`; any unit identifier is answered.

    Every request is answered from one moment's state: what it reads belongs together. Whoever reaches it may
    acknowledge and trigger: Modbus has no login.

    Args:
        address: ``HOST:PORT``, ``HOST`` or ``:PORT``; by default 127.0.0.1:502. Port 0 takes a free one.
        timeout_s: How long a result waits for its acknowledgement before the next one is put out; None for ever.
        end_s: Longest that the end of a stream waits for the client to take what waits, in seconds.

    Raises:
        MissingDependencyError: pymodbus is not installed.
        UsageError: The address cannot be used.
        DeviceError: The port is in use or may not be used.
    """

    def __init__(self, address: str = "", *, timeout_s: float | None = None, end_s: float = _END_S) -> None:
        super().__init__()
        require("pymodbus.server", extra="plc")
        logging.getLogger("pymodbus").addHandler(_NOWHERE)  # what clients do wrong, not what we do
        self._handshake, self._end_s = Handshake("Modbus", timeout_s=timeout_s), end_s
        self._address = parse_address(address, port=_PORT, option="--modbus")
        listen(self._address, stall_s=_STALL_S).close()  # report a port in use before an engine is loaded
        self._written = dict.fromkeys(range(WRITABLE, WRITABLE + len(Writable) * 2), 0)
        self._trigger_bit: Status | None = None
        self._recipe_asked: Future[RecipeAnswer] | None = None
        self._thread: LoopThread | None = None
        self._server: Any = None

    @property
    def dropped(self) -> int:
        """Results that were never put out."""
        return self._handshake.dropped

    @property
    def port(self) -> int:
        """The port it listens at, once it is open."""
        return self._address.port

    @property
    def clients(self) -> int:
        """Clients that are connected."""
        return 0 if self._server is None else len(self._server.active_connections)

    def sink(self, rule: ResultRule) -> ModbusSink:
        """The sink that gives it the results of a stream."""
        return ModbusSink(self, rule)

    def attach(self, control: StreamControl) -> None:
        """Follow this stream, and raise alarms there."""
        super().attach(control)
        self._handshake.alarm.attach(control)

    def finish(self) -> None:
        """Let the client take what waits, as long as is allowed."""
        self._handshake.end(self._end_s, lambda: self.clients > 0)

    def _put(self, result: PartResult) -> None:
        self._handshake.put(result)

    def _start(self) -> None:
        listener = listen(self._address, stall_s=_STALL_S)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # what is accepted inherits it
        self._address = self._address.at_port(int(listener.getsockname()[1]))
        self._thread = LoopThread("The Modbus server")
        self._thread.call(self._serve(listener), _START_S)

    def _stop(self) -> None:
        thread, self._thread = self._thread, None
        server, self._server = self._server, None
        if thread is not None:
            try:
                if server is not None:
                    thread.call(server.shutdown(), _START_S)
            finally:
                thread.close()

    async def _serve(self, listener: socket.socket) -> None:
        from pymodbus.server import ModbusTcpServer

        server = ModbusTcpServer(_device(self._access))
        server.call_create = partial(
            asyncio.get_running_loop().create_server, lambda: _protocol(server), sock=listener, start_serving=True
        )
        await server.serve_forever(background=True)
        self._server = server

    async def _access(
        self,
        function_code: int,
        start: int,
        address: int,
        count: int,
        registers: list[int],
        values: Sequence[int] | Sequence[bool] | None,
    ) -> Any:
        """Called by pymodbus for each request, in its thread, before it reads or writes its registers."""
        if values is None and function_code == _READ_BITS:
            registers[0] = status_bits(self._state())
        elif values is None and function_code != _READ_COILS:
            registers[:REGISTERS] = encode(self._state())
        elif values is None:
            pass  # pymodbus keeps the coils as they were written
        elif function_code in _WRITE_COILS:
            for coil, is_set in enumerate(values, address):
                self._write_coil(coil, is_set=bool(is_set))
        else:
            before = self._number(Writable.RECIPE_NUMBER)
            self._written.update((place, int(value)) for place, value in enumerate(values, address))
            if (number := self._number(Writable.RECIPE_NUMBER)) != before:
                self._select_recipe(number)
            self._handshake.acknowledge_number(self._number(Writable.ACKNOWLEDGED_SEQUENCE))
        return None

    def _write_coil(self, coil: int, *, is_set: bool) -> None:
        if coil == Coil.ACKNOWLEDGE:
            self._handshake.acknowledge(is_set)
        elif coil == Coil.TRIGGER and not is_set:
            self._trigger_bit = None
        elif coil == Coil.TRIGGER and self._trigger_bit is None:  # a rising edge
            number = self._number(Writable.PART_NUMBER)
            is_taken = bool(self.ask(str(number) if number else ""))
            self._trigger_bit = Status.TRIGGER_ACCEPTED if is_taken else Status.TRIGGER_REFUSED

    def _select_recipe(self, number: int) -> None:
        """Switch to the recipe of a number that was written; 0 asks for nothing."""
        if number and self.control is not None:
            self._recipe_asked = self.control.switch_recipe(number, by="the PLC (Modbus)")
        else:
            self._recipe_asked = None

    def _recipe_state(self) -> RecipeState:
        asked = self._recipe_asked
        if asked is None:
            return RecipeState.NOTHING_ASKED
        if not asked.done():
            return RecipeState.UNDER_WAY
        return RecipeState.DONE if asked.exception() is None else RecipeState.REFUSED

    def _number(self, first: int) -> int:
        return self._written[first] << 16 | self._written[first + 1]

    def _state(self) -> LineState:
        control = self.control
        return LineState(
            self._handshake.state(),
            self.condition.fault(),
            self.condition.problem,
            self.seconds,
            is_asked=self.is_asked,
            trigger_bit=self._trigger_bit,
            has_alarm=self.condition.has_alarm,
            recipe=NO_RECIPE if control is None else control.recipe,
            recipe_number=0 if control is None else control.recipe_number,
            recipe_state=self._recipe_state(),
            golden=self.condition.golden,
        )


def _device(access: Callable[..., Any]) -> Any:
    """The blocks of the map, for pymodbus; unit identifier 0 stands for all."""
    from pymodbus.simulator import DataType, SimData, SimDevice

    bits, words = DataType.BITS, DataType.REGISTERS
    coils = [SimData(0, values=[False] * COILS, datatype=bits)]
    inputs = [SimData(0, values=[False] * COILS, datatype=bits)]
    holding = [
        SimData(0, count=REGISTERS, datatype=words, readonly=True),
        SimData(WRITABLE, count=2 * len(Writable), datatype=words),
    ]
    registers = [SimData(0, count=REGISTERS, datatype=words)]
    return SimDevice(0, simdata=(coils, inputs, holding, registers), action=access)


def _protocol(server: Any) -> asyncio.BaseProtocol:
    if len(server.active_connections) >= _MOST_CLIENTS:
        return _Refusal()
    protocol: asyncio.BaseProtocol = server.handle_new_connection()
    return protocol


class _Refusal(asyncio.Protocol):
    """Ends a connection at once: there are enough."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """End it."""
        transport.close()
