"""Time anomalib's OpenVINO inferencer on frames; runs in anomalib's own environment, as `anomalib_peer` asks it to.

    .venv-anomalib/bin/python benchmarks/suites/anomalib_timer.py MODEL.xml FRAMES.npz THREADS

Says ``ready``, then answers each line with a number of seconds by a line of JSON: ``p50_ms``, ``runs`` and ``cpu_ms``.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from itertools import cycle
from statistics import median

import cv2
import numpy as np

_UNTIMED = 2
_FEWEST = 3


def judge_with(model: str, frames: str, threads: int) -> Callable[[], object]:
    """A callable that takes the next decoded frame to a verdict.

    Args:
        model: Exported graph.
        frames: File of uint8 (H, W, 3) BGR arrays.
        threads: CPU threads.
    """
    from anomalib.deploy import OpenVINOInferencer

    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
    inferencer = OpenVINOInferencer(model, device="CPU", config=settings)
    with np.load(frames) as stored:
        endless = cycle([stored[name] for name in stored.files])
    shape = inferencer.model.input(0).partial_shape  # the batch is dynamic
    height, width = shape[2].get_length(), shape[3].get_length()

    def judge() -> object:
        image = cv2.resize(next(endless), (width, height), interpolation=cv2.INTER_AREA)
        return inferencer.predict(cv2.cvtColor(image, cv2.COLOR_BGR2RGB)).pred_label

    return judge


def timed(run: Callable[[], object], seconds: float) -> dict[str, float]:
    """Median and number of the runs of a block."""
    for _ in range(_UNTIMED):
        run()
    times: list[float] = []
    cpu_times: list[float] = []
    ends = time.perf_counter() + seconds
    while len(times) < _FEWEST or time.perf_counter() < ends:
        used, started = time.process_time_ns(), time.perf_counter_ns()
        run()
        times.append((time.perf_counter_ns() - started) / 1e6)
        cpu_times.append((time.process_time_ns() - used) / 1e6)
    return {"p50_ms": median(times), "runs": len(times), "cpu_ms": median(cpu_times)}


def main() -> None:
    """Answer until stdin ends."""
    judge = judge_with(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    judge()
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(timed(judge, float(line))), flush=True)


if __name__ == "__main__":
    main()
