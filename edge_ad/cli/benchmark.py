"""``edge-ad benchmark``: latency and frame rate of a bundle on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from edge_ad.cli.console import note, print_facts, print_json, print_line, print_table
from edge_ad.cli.options import BackendOption, BundleArgument, JsonOption, PrecisionOption, ThreadsOption
from edge_ad.errors import UsageError

if TYPE_CHECKING:
    from edge_ad.bundle import Bundle
    from edge_ad.evaluation.evaluate import LoadedPredictor
    from edge_ad.evaluation.latency import Measurements
    from edge_ad.runtime.tensorrt.timings import DeviceTimings

__all__ = ["benchmark"]


def benchmark(
    bundle: BundleArgument,
    against: Annotated[
        Literal["torch"] | None, typer.Option(help="Also measure the same detector in eager FP32 torch, in turns.")
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="Run for --against torch; by default the folder that holds the bundle.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Product whose photos are the frames; by default the bundle's reference photos.")
    ] = None,
    backend: BackendOption = "auto",
    precision: PrecisionOption = "auto",
    threads: ThreadsOption = 0,
    seconds: Annotated[float, typer.Option(min=0.1, help="Shortest time for each measurement.")] = 5.0,
    as_json: JsonOption = False,
) -> None:
    """Measure latency and frame rate on this machine.

    Engine: inference alone, on a frame of the input size. End to end: a decoded frame is resized, inferred and judged.
    Pipelined: frames per second when the backend may work on several frames at a time. All with batch size 1, on real
    photos.
    """
    from edge_ad.bundle import Bundle
    from edge_ad.evaluation.latency import describe_machine, measure_engine, read_frames
    from edge_ad.runtime.engines import opened_engine
    from edge_ad.runtime.target import available_cores

    opened = Bundle.open(bundle)
    frames = read_frames(opened, data)
    # A comparison is fair only with the same threads on both sides.
    threads = threads or (available_cores() if against else 0)
    baseline = _open_baseline(opened, run, threads) if against else None
    with opened_engine(opened, backend=backend, precision=precision, threads=threads) as engine:
        description = engine.describe()
        note(f"Measuring {description.backend} {description.precision} ({description.source}).")
        measurements = measure_engine(engine, frames, baseline, seconds=seconds)
        on_device = engine.timings()
    document = {
        "bundle": bundle,
        "method": opened.manifest.method,
        "engine": description,
        "machine": describe_machine(["torch"] if against else []),
        "frames": {"source": frames.source, "count": len(frames.images), "sizes_hw": frames.sizes_hw},
        "measurements": measurements,
        "on_device": on_device,
    }
    if as_json:
        print_json(document)
    else:
        _print(document, measurements)
        if on_device is not None:
            _print_on_device(on_device)


def _open_baseline(bundle: Bundle, run: Path | None, threads: int) -> LoadedPredictor:
    from edge_ad.training import predictor

    root = run or bundle.root.resolve().parent
    try:
        baseline = predictor.open_run(root, threads)
    except UsageError as error:
        if run is not None:
            raise
        raise UsageError(
            f"--against torch needs the run that {bundle.root} was exported from, and the bundle does not lie in it.",
            "Name it: --run runs/NAME",
        ) from error
    if baseline.method != bundle.manifest.method:
        raise UsageError(
            f"The run {root} is of method {baseline.method}, the bundle of {bundle.manifest.method}.",
            "Name the run that the bundle was exported from with --run.",
        )
    return baseline


def _print(document: dict[str, Any], measurements: Measurements) -> None:
    engine, machine, frames = document["engine"], document["machine"], document["frames"]
    sizes = ", ".join(f"{height} x {width}" for height, width in frames["sizes_hw"])
    print_facts(
        {
            "engine": f"{engine.backend} {engine.version}, {engine.precision}, {engine.source}",
            "input": "{} x {} pixels".format(*engine.input_size_hw),
            "threads": engine.threads or "chosen by the backend",
            "frames": f"{frames['count']} {frames['source']} ({sizes})",
            "machine": f"{machine['processor']}, {machine['cores']} cores, {machine['system']}",
            "versions": ", ".join(f"{name} {version}" for name, version in machine["versions"].items()),
        }
    )
    columns = ["ms per frame", "mean", "std", "min", "p50", "p90", "p95", "p99", "max", "runs", "fps"]
    rows = [
        [name, s.mean_ms, s.std_ms, s.min_ms, s.p50_ms, s.p90_ms, s.p95_ms, s.p99_ms, s.max_ms, s.runs, s.fps]
        for name, s in measurements.latencies().items()
    ]
    print_table(columns, rows, title="\nLatency")
    print_line()
    print_line(f"pipelined: {measurements.pipelined_fps:.4g} frames per second")
    _print_comparison(measurements)


def _print_on_device(timings: DeviceTimings) -> None:
    launch = "launched as a CUDA graph" if timings.uses_cuda_graph else "launched kernel by kernel"
    print_line(
        f"on the GPU: upload {timings.h2d_ms:.3g} ms, plan {timings.compute_ms:.3g} ms, download {timings.d2h_ms:.3g}"
        f" ms (medians of {timings.runs} runs, by events; {launch})"
    )


def _print_comparison(measurements: Measurements) -> None:
    comparison = measurements.comparison
    if comparison is not None:
        low, high = min(comparison.ratio_per_round), max(comparison.ratio_per_round)
        print_line(
            f"end to end {comparison.ratio_of_medians:.3g} times as fast as eager FP32 torch, by medians"
            f" ({low:.3g} to {high:.3g} over {len(comparison.ratio_per_round)} rounds)"
        )
