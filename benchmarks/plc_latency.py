"""How long a result takes from the stream to a PLC: by Modbus TCP and by OPC UA, on one machine.

    python -m benchmarks.plc_latency [--results 500] [--servers modbus opcua]

Results come every 10 ms. A client reads the sequence number without a pause (by Modbus it acknowledges it, too), or has
subscribed to the events of OPC UA with a publishing interval of 10 ms. The clients are those of pymodbus and asyncua,
in a process of their own. The time is from the call of `Sink.write` to the moment when the client has the number.
Prints a table: median and 99th percentile in milliseconds.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from edge_ad.plc import ModbusServer, OpcuaServer, PlcServer, ResultRule
from edge_ad.prediction import Prediction, Verdict
from edge_ad.streaming.control import StreamControl
from edge_ad.streaming.frame import Frame, Result
from edge_ad.streaming.progress import Progress
from edge_ad.streaming.sources import Source

_INTERVAL_S = 0.01
_PATIENCE_S = 60.0
_PUBLISHING_MS = 10


class NoSource(Source):
    """A source of nothing, for a sink that asks about it."""

    def __init__(self) -> None:
        super().__init__("benchmark", is_live=True)

    def open(self) -> None:
        """Nothing to open."""

    def read(self) -> None:
        """Nothing to read."""

    def close(self) -> None:
        """Nothing to close."""


def make_result(index: int) -> Result:
    """A frame that passed."""
    frame = Frame(index, np.zeros((48, 64, 3), np.uint8), 0.0, time.time(), 0.0)
    prediction = Prediction(0.5, np.zeros((2, 2), np.float32))
    return Result(frame, prediction, Verdict.judge(prediction, 1.0), 0.0, 0.0, 0.0, "00" * 32)


def modbus_client(port: int, count: int, tell: Connection) -> None:
    """Note when each sequence number was read first."""
    from pymodbus.client import ModbusTcpClient

    client = ModbusTcpClient("127.0.0.1", port=port)
    client.connect()
    tell.send("ready")
    seen: dict[int, float] = {}
    last = 0
    while len(seen) < count:
        answer = client.readwrite_registers(
            read_address=0, read_count=6, write_address=100, values=[last >> 16, last & 0xFFFF]
        )
        number = answer.registers[2] << 16 | answer.registers[3]
        if number and number not in seen:
            seen[number] = time.perf_counter()
        last = number
    tell.send(seen)


def opcua_events(port: int, count: int, tell: Connection) -> None:
    """Note when each event came."""
    seen: dict[int, float] = {}

    async def listen() -> None:
        from asyncua import Client, ua

        class Handler:
            def event_notification(self, event: Any) -> None:
                seen.setdefault(event.SequenceNumber, time.perf_counter())

        async with Client(f"opc.tcp://127.0.0.1:{port}/edge-ad") as client:
            await client.load_data_type_definitions()
            space = await client.get_namespace_index("urn:edge-ad:inspection")
            subscription = await client.create_subscription(_PUBLISHING_MS, Handler())
            kind = client.get_node(ua.NodeId("InspectionReadyEventType", space))
            await subscription.subscribe_events(client.get_node(ua.NodeId("VisionSystem", space)), [kind])
            tell.send("ready")
            while len(seen) < count:
                await asyncio.sleep(0.01)

    asyncio.run(listen())
    tell.send(seen)


def opcua_reads(port: int, count: int, tell: Connection) -> None:
    """Note when each sequence number was read first."""
    seen: dict[int, float] = {}

    async def read() -> None:
        from asyncua import Client, ua

        async with Client(f"opc.tcp://127.0.0.1:{port}/edge-ad") as client:
            space = await client.get_namespace_index("urn:edge-ad:inspection")
            node = client.get_node(ua.NodeId("VisionSystem.Latest.SequenceNumber", space))
            tell.send("ready")
            number = 0
            while number < count:
                number = await node.read_value()
                seen.setdefault(number, time.perf_counter())

    asyncio.run(read())
    tell.send(seen)


def latencies_ms(server: PlcServer, client: Callable[..., None], count: int) -> list[float]:
    """The time of each result in milliseconds; one that was never seen, since a newer one came, is left out."""
    control = StreamControl(1.0)
    control.report_from(lambda: Progress(seconds=1.0))
    sink = server.sink(ResultRule())
    sink.attach(control)
    sink.begin(NoSource())
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=client, args=(getattr(server, "port", 0), count, theirs), daemon=True
    )
    process.start()
    try:
        assert ours.poll(_PATIENCE_S), "the client does not connect"
        ours.recv()
        sent = {}
        for index in range(1, count + 1):
            time.sleep(_INTERVAL_S)
            sent[index] = time.perf_counter()
            sink.write(make_result(index), None)
        assert ours.poll(_PATIENCE_S), "the client did not get all results"
        seen = ours.recv()
    finally:
        process.terminate()
        process.join()
        sink.close()
    return [1e3 * (seen[number] - at) for number, at in sent.items() if number in seen]


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--results", type=int, default=500)
    parser.add_argument("--servers", nargs="+", choices=["modbus", "opcua"], default=["modbus", "opcua"])
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        ways: list[tuple[str, Callable[[], PlcServer], Callable[..., None]]] = []
        if "modbus" in asked.servers:
            ways.append(("Modbus TCP, read without a pause", lambda: ModbusServer("127.0.0.1:0"), modbus_client))
        if "opcua" in asked.servers:
            make = lambda: OpcuaServer("127.0.0.1:0", folder=Path(folder))  # noqa: E731
            ways.append(("OPC UA, read without a pause", make, opcua_reads))
            ways.append((f"OPC UA, events every {_PUBLISHING_MS} ms", make, opcua_events))
        print("| way | results | p50 ms | p99 ms |\n|---|--:|--:|--:|")
        for name, make_server, client in ways:
            found = latencies_ms(make_server(), client, asked.results)
            print(f"| {name} | {len(found)} | {np.percentile(found, 50):.1f} | {np.percentile(found, 99):.1f} |")


if __name__ == "__main__":
    main()
