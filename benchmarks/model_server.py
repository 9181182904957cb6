"""Streams whose frames are judged by a real Triton: numbers, batches, and a server that is killed.

    python -m benchmarks.model_server --bundle BUNDLE --data FOLDER --triton-python PYTHON [--streams 4] [--frames 400]

PYTHON is the interpreter of an environment with ``nvidia-pytriton`` and ``onnxruntime``: that package brings a
tritonserver whose only backend is Python's, so the model of `edge-ad export --triton` is served by a Python model that
runs the same graph; all else is Triton's own. Printed are rows of JSON: scores against those of an engine here, the
batches that Triton formed, and what became of the frames while the server was killed by SIGKILL.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.discriminator_int8 import edge_ad
from edge_ad.runtime.kserve import parse_server_address

_MODEL = """
import numpy as np, onnxruntime
import triton_python_backend_utils as triton

class TritonPythonModel:
    def initialize(self, args):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(GRAPH, options, providers=["CPUExecutionProvider"])

    def execute(self, requests):
        images = [triton.get_input_tensor_by_name(request, "image").as_numpy() for request in requests]
        scores, maps = self.session.run(["score", "anomaly_map"], {"image": np.concatenate(images)})
        ends = np.cumsum([len(each) for each in images])[:-1]
        pairs = zip(np.split(scores, ends), np.split(maps, ends))
        return [
            triton.InferenceResponse([triton.Tensor("score", some[:, None]), triton.Tensor("anomaly_map", each)])
            for some, each in pairs
        ]
"""


def write_repository(bundle: Path, folder: Path, graph: Path) -> None:
    """The repository that ``export --triton`` writes, with Python in place of ONNX Runtime."""
    edge_ad(["export", bundle, "--triton", folder, "--model", "line", "--precision", "fp32"])
    shutil.move(folder / "line" / "1" / "model.onnx", graph)
    config = folder / "line" / "config.pbtxt"
    kept = re.sub(r"(?m)^(platform|default_model_filename):.*\n", "", config.read_text())
    kept = kept.replace("    reshape {\n    }\n", "").replace("  reshape {\n  }\n", "")
    config.write_text(f'backend: "python"\n{kept}')
    (folder / "line" / "1" / "model.py").write_text(_MODEL.replace("GRAPH", repr(str(graph))))


@contextmanager
def triton(python: str, repository: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A tritonserver in a process group of its own, ready."""
    where = "import pytriton, sys; print(pytriton.__path__[0], *sys.version_info[:2])"
    package, major, minor = subprocess.run(
        [python, "-c", where], check=True, capture_output=True, text=True
    ).stdout.split()
    server = Path(package) / "tritonserver"
    backend = server / "backends" / "python"
    stub = server / "python_backend_stubs" / f"{major}.{minor}" / "triton_python_backend_stub"
    if not (backend / stub.name).is_file():
        shutil.copy2(stub, backend)
    environment = os.environ | {
        "PATH": f"{Path(python).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(Path(package).parent),
        "LD_LIBRARY_PATH": str(Path(package).parent / "nvidia_pytriton.libs"),
    }
    options = ["--allow-http=false", "--allow-metrics=false", f"--grpc-port={port}", "--grpc-address=127.0.0.1"]
    folders = [f"--model-repository={repository}", f"--backend-directory={server / 'backends'}"]
    with subprocess.Popen(
        [server / "bin" / "tritonserver", *folders, *options],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            _wait_until_ready(port)
            yield process
        finally:
            kill(process)


def kill(process: subprocess.Popen[bytes]) -> None:
    """End a server and the processes of its models by SIGKILL."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _stub(port: int) -> Any:
    import grpc
    from tritonclient.grpc import service_pb2_grpc

    return service_pb2_grpc.GRPCInferenceServiceStub(grpc.insecure_channel(f"127.0.0.1:{port}"))


def _wait_until_ready(port: int) -> None:
    import grpc
    from tritonclient.grpc import service_pb2

    for _ in range(120):
        with suppress(grpc.RpcError):
            if _stub(port).ModelReady(service_pb2.ModelReadyRequest(name="line")).ready:
                return
        time.sleep(0.5)
    sys.exit("Triton is not ready after a minute.")


def batches(port: int) -> dict[int, int]:
    """Batch size → how many Triton formed since its start."""
    from tritonclient.grpc import service_pb2

    (model,) = _stub(port).ModelStatistics(service_pb2.ModelStatisticsRequest(name="line")).model_stats
    return {int(item.batch_size): int(item.compute_infer.count) for item in model.batch_stats}


def stream(bundle: Path, data: Path, records: Path, frames: int, *engine: str) -> subprocess.Popen[str]:
    """Start a stream over the photos of a folder, again and again."""
    options = ["--source", str(data), "--loop", "--max-frames", str(frames), "--save-records", str(records), "--json"]
    command = [sys.executable, "-m", "edge_ad", "stream", "--bundle", str(bundle), *options, *engine]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def said_at_end(running: subprocess.Popen[str]) -> str:
    """What a stream wrote to stderr until its end; one that fails ends the measurement."""
    _, errors = running.communicate()
    if running.returncode != 0:
        sys.exit(f"A stream failed: {errors}")
    return errors


def scores(records: Path) -> list[float]:
    """Scores of a stream, after a look at the numbers of its frames: each is there once, in order."""
    rows = [json.loads(line) for line in records.read_text().splitlines()]
    numbers = [row["frame"] for row in rows]
    if numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        sys.exit(f"{records} has gaps, or frames twice.")
    return [row["score"] for row in rows]


def main(arguments: list[str] | None = None) -> None:
    """Print a row for a quiet run, and one for a run whose server is killed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder of photos")
    parser.add_argument("--triton-python", required=True)
    parser.add_argument("--streams", type=int, default=4)
    parser.add_argument("--frames", type=int, default=400)
    parser.add_argument("--port", type=int, default=8001)
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        _measure(chosen, Path(folder))


def _measure(chosen: argparse.Namespace, folder: Path) -> None:
    write_repository(chosen.bundle, folder / "models", folder / "model.onnx")
    here = folder / "here.jsonl"
    local = ("--backend", "onnxruntime", "--precision", "fp32")
    said_at_end(stream(chosen.bundle, chosen.data, here, chosen.frames, *local))
    for is_killed in (False, True):
        given = _through_triton(chosen, folder, is_killed=is_killed)
        difference = max(float(np.abs(np.subtract(each, scores(here))).max()) for each in given["scores"])
        scale = max(np.abs(scores(here)))
        row = {
            "killed": is_killed,
            "streams": chosen.streams,
            "frames of each": [len(each) for each in given["scores"]],
        }
        print(json.dumps(row | {"largest difference": difference / scale, **given["said"]}), flush=True)


def _through_triton(chosen: argparse.Namespace, folder: Path, *, is_killed: bool) -> dict[str, Any]:
    address = parse_server_address(f"grpc://127.0.0.1:{chosen.port}/line")
    files = [folder / f"{is_killed}-{number}.jsonl" for number in range(chosen.streams)]
    with triton(chosen.triton_python, folder / "models", chosen.port) as server:
        running = [stream(chosen.bundle, chosen.data, file, chosen.frames, "--server", str(address)) for file in files]
        while is_killed and not all(file.is_file() and file.stat().st_size for file in files):
            time.sleep(0.2)  # until all of them judge
        if is_killed:
            kill(server)
            server.wait()
        else:
            for each in running:
                said_at_end(each)
            return {"scores": [scores(file) for file in files], "said": {"batches": batches(chosen.port)}}
    with triton(chosen.triton_python, folder / "models", chosen.port):
        waited = sum("answers again" in said_at_end(each) for each in running)
    return {"scores": [scores(file) for file in files], "said": {"streams that waited": waited}}


if __name__ == "__main__":
    main()
