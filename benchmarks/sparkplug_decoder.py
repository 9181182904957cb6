"""Results as Sparkplug B by way of mosquitto, read by a decoder that is not ours: that of Eclipse Tahu for JavaScript.

    npm install --prefix FOLDER sparkplug-payload
    python -m benchmarks.sparkplug_decoder --modules FOLDER/node_modules [--results 10000]

Prints how many results came, and whether any number of a message, any type or any value is another one.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from benchmarks.mosquitto import Mosquitto
from benchmarks.plc_latency import NoSource, make_result
from edge_ad.streaming.control import StreamControl
from edge_ad.streaming.sinks import mqtt_sink
from edge_ad.streaming.sinks.sparkplug import METRICS

_PATIENCE_S = 60.0
_AT_ONCE = 100  # so that the broker's queue for the listener does not overflow


def main() -> None:
    """Run, and print what was decoded."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--modules", type=Path, required=True)
    parser.add_argument("--results", type=int, default=10_000)
    asked = parser.parse_args()
    messages = heard(asked.results)
    lines = "\n".join(base64.b64encode(payload).decode() for _, payload in messages)
    environment = os.environ | {"NODE_PATH": str(asked.modules.resolve())}
    command = ["node", str(Path(__file__).with_suffix(".js"))]
    done = subprocess.run(command, input=lines, env=environment, capture_output=True, text=True, check=True)
    decoded = [json.loads(line) for line in done.stdout.splitlines()]
    report([topic.split("/")[2] for topic, _ in messages], decoded, asked.results)


def heard(count: int) -> list[tuple[str, bytes]]:
    """Topic and payload of every message of a stream with that many results."""
    import paho.mqtt.client as paho
    from paho.mqtt.enums import CallbackAPIVersion

    messages: list[tuple[str, bytes]] = []
    is_ready = threading.Event()
    with tempfile.TemporaryDirectory() as folder:
        broker = Mosquitto(Path(folder))
        broker.start()
        listener = paho.Client(CallbackAPIVersion.VERSION2)
        listener.on_subscribe = lambda *_: is_ready.set()
        listener.on_message = lambda _, __, message: messages.append((message.topic, bytes(message.payload)))
        listener.connect("127.0.0.1", broker.port)
        listener.subscribe("spBv1.0/#")
        listener.loop_start()
        is_ready.wait(_PATIENCE_S)
        sink = mqtt_sink(f"mqtt://127.0.0.1:{broker.port}", "plant/line-3/camera")
        sink.attach(StreamControl(1.0))
        sink.begin(NoSource())
        wait(lambda: len(messages) >= 2)
        for index in range(1, count + 1):
            sink.write(make_result(index), None)
            if index % _AT_ONCE == 0:
                wait(lambda: len(messages) >= index - _AT_ONCE)  # noqa: B023 - called at once
        sink.close()
        wait(lambda: messages[-1][0].split("/")[2] == "NDEATH")
        listener.loop_stop()
        broker.stop()
    return messages


def wait(holds: Any) -> None:
    """Wait for what another thread does."""
    until = time.monotonic() + _PATIENCE_S
    while not holds():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.002)


def report(kinds: list[str], decoded: list[dict[str, Any]], count: int) -> None:
    """Print what is as it should be."""
    data = [entry["values"] for kind, entry in zip(kinds, decoded, strict=True) if kind == "DDATA"]
    numbers = [values["Result Number"][1] for values in data]
    sequence = [entry["seq"] for entry in decoded[:-1]]
    types = {name: kind for values in data for name, (kind, _) in values.items()}
    print(f"{count} results: {count - len(set(numbers))} lost, {len(numbers) - len(set(numbers))} doubled, ", end="")
    print(f"in order {numbers == sorted(numbers)}; first {kinds[:2]}, last {kinds[-1]}")
    print(f"numbers of messages right: {sequence == [index % 256 for index in range(len(sequence))]}; ", end="")
    print(f"types right: {all(METRICS[name] == kind for name, kind in types.items())}; ", end="")
    is_right = all(v["Verdict"][1] == "OK" and v["Score"][1] == 0.5 and v["Is OK"][1] is True for v in data)
    print(f"values right: {is_right}")


if __name__ == "__main__":
    main()
