"""Whether results are lost when a PLC or a broker dies and comes back: ``python -m benchmarks.plc_restarts``.

    python -m benchmarks.plc_restarts [--results 10000] [--kills 3]

Modbus: the client, pymodbus in a process of its own, notes each new number and then confirms it; it is killed (SIGKILL)
while results come, and started again with the number that it noted last. MQTT: mosquitto is killed while results come,
and started again after a second; the receiver has a session that lasts. Results come at 200 a second meanwhile. Prints
a table. `benchmarks.opcua_second_client` does the same by OPC UA.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.mosquitto import Mosquitto
from benchmarks.plc_latency import NoSource, make_result
from edge_ad.plc import ModbusServer, ResultRule
from edge_ad.streaming.control import StreamControl
from edge_ad.streaming.progress import Progress
from edge_ad.streaming.sinks import Sink, mqtt_sink

_INTERVAL_S = 0.005
_PATIENCE_S = 60.0
_SPAWN = multiprocessing.get_context("spawn")


def modbus_client(port: int, log: str) -> None:
    """Note each number that is not the last one of the log, then confirm it."""
    from pymodbus.client import ModbusTcpClient

    client = ModbusTcpClient("127.0.0.1", port=port)
    client.connect()
    last = int((Path(log).read_text().split() or ["0"])[-1])
    with Path(log).open("a") as file:
        while True:
            words = client.read_input_registers(0, count=4).registers
            number = words[2] << 16 | words[3]
            if words[0] & 1 << 6 and number != last:
                file.write(f"{number}\n")
                file.flush()
                last = number
            client.write_registers(100, [last >> 16, last & 0xFFFF])


def main() -> None:
    """Run both, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--results", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=3)
    asked = parser.parse_args()
    print("| who dies | results | lost | doubled | overtaken | given up by the stream |\n|---|--:|--:|--:|--:|--:|")
    for name, run in (("Modbus client", modbus), ("MQTT broker", mqtt)):
        with tempfile.TemporaryDirectory() as folder:
            numbers, dropped = run(Path(folder), asked.results, asked.kills)
        lost, doubled = asked.results - len(set(numbers)), len(numbers) - len(set(numbers))
        overtaken = sum(later < earlier for earlier, later in itertools.pairwise(numbers))
        print(f"| {name}, {asked.kills} times | {asked.results} | {lost} | {doubled} | {overtaken} | {dropped} |")


def modbus(folder: Path, count: int, kills: int) -> tuple[list[int], int]:
    """Numbers that the client noted, and results that the server gave up."""
    server, log = ModbusServer("127.0.0.1:0"), folder / "numbers"
    log.touch()
    sink = _running(server.sink(ResultRule()))

    def start() -> Any:
        process = _SPAWN.Process(target=modbus_client, args=(server.port, str(log)), daemon=True)
        process.start()
        return process

    client = start()

    def restart() -> None:
        nonlocal client
        client.kill()
        client.join()
        client = start()

    _send(sink, count, kills, restart)
    _wait(lambda: log.read_text().endswith(f"\n{count}\n"))
    client.kill()
    client.join()
    sink.close()
    return [int(line) for line in log.read_text().split()], server.dropped


def mqtt(folder: Path, count: int, kills: int) -> tuple[list[int], int]:
    """Numbers that the receiver got, and results that the sink gave up."""
    import paho.mqtt.client as paho
    from paho.mqtt.enums import CallbackAPIVersion

    settings = f"allow_anonymous true\npersistence true\npersistence_location {folder}/\nmax_queued_messages 0\n"
    broker = Mosquitto(folder, settings)
    broker.start()
    numbers: list[int] = []
    receiver = paho.Client(CallbackAPIVersion.VERSION2, client_id="receiver", clean_session=False)
    receiver.on_connect = lambda client, *_: client.subscribe("line-1/verdict", qos=1)
    receiver.on_message = lambda _, __, message: numbers.append(json.loads(message.payload)["frame"])
    receiver.reconnect_delay_set(1, 1)
    receiver.connect("127.0.0.1", broker.port)
    receiver.loop_start()
    sink = _running(mqtt_sink(f"mqtt://127.0.0.1:{broker.port}/line-1"))

    def restart() -> None:
        broker.stop()
        time.sleep(1.0)
        broker.start()

    _send(sink, count, kills, restart)
    _wait(lambda: len(set(numbers)) >= count)
    sink.close()
    receiver.disconnect()
    receiver.loop_stop()
    broker.stop()
    return numbers, sink.dropped


def _running(sink: Sink) -> Sink:
    control = StreamControl(1.0)
    control.report_from(lambda: Progress(seconds=1.0))
    sink.attach(control)
    sink.begin(NoSource())
    return sink


def _send(sink: Sink, count: int, kills: int, restart: Callable[[], None]) -> None:
    for index in range(1, count + 1):
        time.sleep(_INTERVAL_S)
        sink.write(make_result(index), None)
        if index % (count // (kills + 1)) == 0 and index < count:
            threading.Thread(target=restart).start()


def _wait(holds: Callable[[], bool]) -> None:
    """Wait for the last results; what does not come is counted as lost."""
    until = time.monotonic() + _PATIENCE_S
    while not holds() and time.monotonic() < until:
        time.sleep(0.05)


if __name__ == "__main__":
    main()
