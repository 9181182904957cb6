"""Ways to do the same work, each timed in blocks that take turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from benchmarks.suites.steal import StealClock, is_calm

__all__ = ["Block", "Turns", "Way", "in_turns", "plain_onnxruntime", "plain_openvino", "timed"]

_UNTIMED = 5  # wake the threads and caches that the way before has taken
_FEWEST = 3
_MOST_ROUNDS = 2  # times as many as are asked for, until so many are calm


@dataclass(frozen=True)
class Block:
    """What a way took in its turn.

    Attributes:
        p50_ms: Median of its runs, in milliseconds.
        runs: Number of timed runs.
        cpu_ms: Median of the CPU time of all its threads, in milliseconds, which other jobs move least; None where it
            is not known.
    """

    p50_ms: float
    runs: int
    cpu_ms: float | None = None


Way = Callable[[float], Block]
"""Seconds → a block of about so long."""


def timed(run: Callable[[], object]) -> Way:
    """Time a callable in this process."""

    def measure(seconds: float) -> Block:
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
        return Block(median(times), len(times), median(cpu_times))

    return measure


def plain_openvino(graph: Path, frames: list[NDArray[np.uint8]], threads: int) -> Callable[[], object]:
    """OpenVINO as its first tutorial has it: read, fix the shape, compile, call.

    Args:
        graph: ONNX file.
        frames: uint8 (1, H, W, 3) each, used again and again.
        threads: CPU threads.
    """
    import openvino

    core = openvino.Core()
    model = core.read_model(graph)
    model.reshape({0: list(frames[0].shape)})
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
    compiled, endless = core.compile_model(model, "CPU", settings), cycle(frames)
    return lambda: compiled(next(endless))


def plain_onnxruntime(graph: Path, frames: list[NDArray[np.uint8]], threads: int) -> Callable[[], object]:
    """ONNX Runtime as its first tutorial has it.

    Args:
        graph: ONNX file.
        frames: uint8 (1, H, W, 3) each, used again and again.
        threads: CPU threads.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    name, endless = session.get_inputs()[0].name, cycle(frames)
    return lambda: session.run(None, {name: next(endless)})


@dataclass
class Turns:
    """What ways took in each round.

    Attributes:
        blocks: Name → a block of each round.
        stolen: Share of the machine's time that its host took in each round; None where nothing says.
    """

    blocks: dict[str, list[Block]]
    stolen: list[float | None] = field(default_factory=list)

    @property
    def calm(self) -> list[int]:
        """Indices of the rounds that count: the calm ones, or all where none was."""
        found = [index for index, share in enumerate(self.stolen) if is_calm(share)]
        return found or list(range(len(self.stolen)))


def in_turns(ways: Mapping[str, Way], rounds: int, seconds: float, patience_s: float = 240.0) -> Turns:
    """A block of each way in each round; who begins changes from round to round.

    Args:
        ways: Name → way.
        rounds: So many calm rounds; given up after twice as many.
        seconds: Of each block.
        patience_s: After so many seconds the round is the last, but for the first three.
    """
    turns, names, calm = Turns({name: [] for name in ways}), list(ways), 0
    ends = time.perf_counter() + patience_s
    for index in range(_MOST_ROUNDS * rounds):
        first, clock = index % len(names), StealClock()
        for name in [*names[first:], *names[:first]]:
            turns.blocks[name].append(ways[name](seconds))
        turns.stolen.append(clock.lap())
        calm += is_calm(turns.stolen[-1])
        if calm == rounds or (index + 1 >= _FEWEST and time.perf_counter() >= ends):
            break
    return turns
