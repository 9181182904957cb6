"""Results to an OPC UA client that is not the server's own library: node-opcua, over the secured endpoint.

    npm install --prefix FOLDER node-opcua-client
    python -m benchmarks.opcua_second_client --modules FOLDER/node_modules [--results 10000] [--kills 3]

The server listens at all addresses, so that it asks for certificates, and the client connects with Basic256Sha256,
signed and encrypted. Results come at 200 a second. The client is killed (SIGKILL) while they come, and started again.
At the end its log must have every number once.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.plc_latency import NoSource, make_result
from edge_ad.plc import OpcuaServer, ResultRule
from edge_ad.streaming.control import StreamControl
from edge_ad.streaming.progress import Progress
from edge_ad.streaming.sinks import Sink

_INTERVAL_S = 0.005
_PATIENCE_S = 60.0
_SCRIPT = Path(__file__).with_suffix(".js")


def main() -> None:
    """Run, and print what arrived."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--modules", type=Path, required=True)
    parser.add_argument("--results", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        client = SecondClient(Path(folder), asked.modules)
        server = OpcuaServer("0.0.0.0:0", folder=Path(folder) / "server")
        with running(server) as sink:
            client.let_in(server)
            client.start(server.port)
            for index in range(1, asked.results + 1):
                time.sleep(_INTERVAL_S)
                sink.write(make_result(index), None)
                if index % (asked.results // (asked.kills + 1)) == 0 and index < asked.results:
                    client.kill()
                    client.start(server.port, wait=False)
            until = time.monotonic() + _PATIENCE_S
            while client.last() < asked.results and time.monotonic() < until:
                time.sleep(0.1)
            client.kill()
        report(client.lines(), asked.results, client.starts - 1, server.dropped)


@contextmanager
def running(server: OpcuaServer) -> Iterator[Sink]:
    """The sink of a stream that runs."""
    control = StreamControl(1.0)
    control.report_from(lambda: Progress(seconds=1.0))
    sink = server.sink(ResultRule())
    sink.attach(control)
    sink.begin(NoSource())
    try:
        yield sink
    finally:
        sink.close()


class SecondClient:
    """The client's process, its certificate and what it has taken.

    Args:
        folder: For them.
        modules: ``node_modules`` with node-opcua-client.
    """

    def __init__(self, folder: Path, modules: Path) -> None:
        self.folder, self.log, self.starts = folder, folder / "results.log", 0
        self._modules = modules.resolve()
        self._process: subprocess.Popen[bytes] | None = None
        self.log.touch()
        subject = [
            "-subj",
            "/CN=second-client",
            "-addext",
            "subjectAltName=URI:urn:edge-ad:second-client,DNS:localhost",
        ]
        usage = ["-addext", "extendedKeyUsage=clientAuth", "-addext", "basicConstraints=critical,CA:FALSE"]
        usage += ["-addext", "keyUsage=digitalSignature,nonRepudiation,keyEncipherment,dataEncipherment"]
        files = ["-keyout", str(folder / "client.key"), "-out", str(folder / "client.pem")]
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", *files, *subject, *usage]
        subprocess.run(command, check=True, capture_output=True)

    def let_in(self, server: OpcuaServer) -> None:
        """What an engineer does: put the client's certificate into ``trusted/``."""
        (server.certificates.trusted / "client.pem").write_bytes((self.folder / "client.pem").read_bytes())

    def start(self, port: int, *, wait: bool = True) -> None:
        """Start it where it was; wait until it has subscribed."""
        url = f"opc.tcp://127.0.0.1:{port}/edge-ad"
        request = {"url": url, "folder": str(self.folder), "log": str(self.log), "last": self.last()}
        environment = os.environ | {"NODE_PATH": str(self._modules)}
        command = ["node", str(_SCRIPT), json.dumps(request)]
        self._process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
        self.starts += 1
        if wait:
            assert self._process.stdout is not None
            assert self._process.stdout.readline() == b"ready\n", "the client does not connect"

    def kill(self) -> None:
        """End it without a word."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def lines(self) -> list[list[str]]:
        """What it has written."""
        return [line.split(" ") for line in self.log.read_text().splitlines()]

    def last(self) -> int:
        """The newest number that it has taken."""
        numbers = [int(line[0]) for line in self.lines()[-1:] if line[0] != "gap"]
        return numbers[0] if numbers else 0


def report(lines: list[list[str]], count: int, kills: int, dropped: int) -> None:
    """Print how many results came, and whether any is missing, doubled or wrong."""
    numbers = [int(line[0]) for line in lines if line[0] != "gap"]
    print(f"{count} results, client killed {kills} times, {dropped} given up by the server:")
    print(f"lost {count - len(set(numbers))}, doubled {len(numbers) - len(set(numbers))}", end=", ")
    print(f"gaps {sum(line[0] == 'gap' for line in lines)}, wrong verdict {sum(line[1] != '1' for line in lines)}")


if __name__ == "__main__":
    main()
