"""Steps of the GPU check that need CUDA and nothing on top of it."""

from __future__ import annotations

import gc
import shutil
import subprocess
import time

import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import DeviceError, MissingDependencyError
from edge_ad.gpu_check.stand_in import StandInEngine, expected_results, stand_in_frames
from edge_ad.gpu_check.steps import CannotRunError, Findings, Work
from edge_ad.prediction import Prediction
from edge_ad.runtime.cuda import device
from edge_ad.runtime.cuda.device import CUDA_PACKAGES, cuda_driver, open_package
from edge_ad.runtime.cuda.driver import CudaDriver
from edge_ad.runtime.cuda.owner_thread import OwnerThread

__all__ = ["check_cuda", "check_device", "check_package", "require_driver"]

_MIB = 1 << 20
_SIZE_HW = (256, 256)
_CALL_TIMEOUT_S = 30.0


def require_driver() -> None:
    """Refuse a machine without an NVIDIA driver.

    Raises:
        CannotRunError: There is none.
    """
    if device.has_driver_library():
        return
    if device.has_gpu():
        raise CannotRunError("There is an NVIDIA GPU without its driver.", "Install it: sudo ubuntu-drivers install")
    raise CannotRunError("There is no NVIDIA driver, and no NVIDIA GPU on the PCI bus.")


def check_device(work: Work) -> Findings:
    """What the driver finds."""
    require_driver()
    findings = Findings()
    if smi := _nvidia_smi():
        findings.facts["nvidia-smi"] = smi
    driver = cuda_driver()
    major, minor = driver.compute_capability()
    findings.check("CUDA finds a device", True, f"{driver.device_name()}, compute capability {major}.{minor}")
    findings.facts["target"] = f"sm{major}{minor}"
    findings.facts["CUDA through"] = f"{driver.name} {driver.version}"
    with driver.current_context():
        free, total = driver.memory_info()
    findings.facts["free memory, MiB"], findings.facts["memory, MiB"] = free // _MIB, total // _MIB
    return findings


def check_cuda(work: Work) -> Findings:
    """Copies, batches, videos and graphs on a stand-in for a plan, with every package for CUDA that is installed."""
    require_driver()
    findings = Findings()
    for name in CUDA_PACKAGES:
        try:
            driver = open_package(name)
        except (MissingDependencyError, DeviceError) as error:
            findings.facts[name] = error.message
            continue
        check_package(driver, findings)
    if not findings.checks:
        raise CannotRunError(" ".join(map(str, findings.facts.values())), "Install it: pip install cuda-bindings")
    return findings


def _nvidia_smi() -> str:
    if shutil.which("nvidia-smi") is None:  # Jetson before JetPack 7 has none
        return ""
    command = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total,power.limit", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    return "; ".join(done.stdout.split("\n")).strip("; ")


def check_package(
    driver: CudaDriver, findings: Findings, *, frames: int = 64, repeats: int = 20, timed_runs: int = 200
) -> None:
    """Check memory, streams, events and graphs through one package for CUDA.

    Args:
        driver: The package, initialised.
        findings: Where checks and facts are added.
        frames: Length of the video, at least 9.
        repeats: How often the stand-in for a plan copies in each run.
        timed_runs: Calls whose time is taken.
    """
    name = driver.name
    owner = OwnerThread(driver)
    owner.start()
    try:
        before = owner.call(lambda: driver.memory_info()[0], timeout_s=_CALL_TIMEOUT_S, action="tell its memory")
        is_same = owner.call(lambda: _round_trip(driver), timeout_s=_CALL_TIMEOUT_S, action="copy")
        findings.check(f"{name}: bytes come back from the GPU as they were", is_same)
        engine = StandInEngine(driver, _SIZE_HW, repeats=repeats)
        _check_engine(engine, name, stand_in_frames(frames, _SIZE_HW), timed_runs, findings)
        gc.collect()
        after = owner.call(lambda: driver.memory_info()[0], timeout_s=_CALL_TIMEOUT_S, action="tell its memory")
    finally:
        owner.stop(lambda: None, timeout_s=_CALL_TIMEOUT_S)
    findings.facts[f"{name}: version"] = driver.version
    findings.facts[f"{name}: memory kept, MiB"] = (before - after) / _MIB  # other programs change it too


def _round_trip(driver: CudaDriver) -> bool:
    content = np.random.default_rng(0).integers(0, 256, 3 * _MIB, dtype=np.uint8)
    stream, pinned = driver.make_stream(), driver.allocate_pinned(content.shape, np.uint8)
    first, second = driver.allocate(content.nbytes), driver.allocate(content.nbytes)
    try:
        pinned.array[:] = content
        driver.upload(first, pinned.array, stream)
        driver.fill(int(second), 0, content.nbytes, stream)
        driver.copy(int(second), int(first), content.nbytes // 2, stream)
        driver.download(pinned.array, second, stream)
        stream.synchronize()
        found = pinned.array.copy()
    finally:
        for free in (first.free, second.free, pinned.free):
            free()
    half = content.nbytes // 2
    return bool((found[:half] == content[:half]).all() and not found[half:].any())


def _check_engine(
    engine: StandInEngine, name: str, frames: NDArray[np.uint8], timed_runs: int, findings: Findings
) -> None:
    with engine:
        batch = frames[:9]  # 4 + 4 + 1
        findings.check(f"{name}: batches of 4, 4 and 1", _is_expected(engine.infer(batch), *expected_results(batch)))
        singly = [expected_results(frame[None]) for frame in frames]
        predictions = list(engine.infer_many(frames[:, None]))
        scores, maps = (np.concatenate([each[part] for each in singly]) for part in range(2))
        findings.check(f"{name}: a video, two frames at a time, in order", _is_expected(predictions, scores, maps))
        engine.clear_timings()
        seconds = _timed(engine, frames, timed_runs)
        timings = engine.timings()
        assert timings is not None
        findings.facts[f"{name}: one frame, ms"] = {"caller": 1e3 * seconds, **timings.to_dict()}
        findings.check(f"{name}: CUDA events give a time above zero", min(timings.h2d_ms, timings.compute_ms) > 0)
        if name == "cuda-bindings":  # pycuda captures only where that is installed too
            findings.check(f"{name}: the work is captured and launched as a graph", timings.uses_cuda_graph)
        began = time.perf_counter()
        list(engine.infer_many(frames[:, None]))
        findings.facts[f"{name}: a frame of a video, ms"] = 1e3 * (time.perf_counter() - began) / len(frames)


def _timed(engine: StandInEngine, frames: NDArray[np.uint8], runs: int) -> float:
    """Median seconds of a call on one frame."""
    times = []
    for run in range(runs):
        began = time.perf_counter()
        engine.infer(frames[run % len(frames)][None])
        times.append(time.perf_counter() - began)
    return float(np.median(times))


def _is_expected(
    predictions: list[Prediction],
    scores: NDArray[np.float32],
    maps: NDArray[np.float32],
) -> bool:
    found = np.stack([prediction.anomaly_map for prediction in predictions])
    return [prediction.score for prediction in predictions] == scores.tolist() and bool((found == maps).all())
