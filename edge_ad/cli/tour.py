"""The whole way of a product in one go: what ``edge-ad demo`` runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from edge_ad.bundle import Bundle
from edge_ad.cli.frames import read_frames
from edge_ad.cli.latency import measure_engine
from edge_ad.cli.line_verdicts import LineVerdicts, compare_with_truth, read_verdicts, write_truth
from edge_ad.data.products import Product
from edge_ad.data.sample_product import Shown, render_line_video, render_product
from edge_ad.evaluation.evaluate import evaluate
from edge_ad.evaluation.report import write_report
from edge_ad.export.build import build_engines
from edge_ad.export.verify import Verification, verify_target
from edge_ad.manifest import Precision
from edge_ad.runtime.engines import opened_engine
from edge_ad.streaming.session import run_stream
from edge_ad.streaming.sinks import RecordsSink, VideoSink
from edge_ad.streaming.sinks.base import Sink
from edge_ad.streaming.sources import source_from_uri
from edge_ad.training.loop import EpochReport
from edge_ad.training.train import TrainingRequest, train

__all__ = ["EngineRow", "Tour", "run_tour"]

_PRECISIONS: tuple[Precision, ...] = ("fp32", "int8")
_PHOTO_SIZE_HW = (512, 512)  # the line's: the photos are frames of its camera
_GOOD_PHOTOS = 240  # 36 of them set the threshold: an expected false-alarm rate of at most 1 in 37
_EPOCHS = 1  # of EAR and of FADeR: so many photos need no second one
_VIDEO_SECONDS = 12
_BENCHMARK_SECONDS = 3.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class EngineRow:
    """What one engine measured on the test images and on this machine.

    Attributes:
        engine: Backend and precision.
        image_auroc: On the sample product's test images.
        pixel_auroc: Likewise.
        fps: Frames per second, end to end, one after the other.
        p50_ms: Median latency end to end, milliseconds.
        p99_ms: 99th percentile.
    """

    engine: str
    image_auroc: float
    pixel_auroc: float
    fps: float
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True)
class Tour:
    """What the demo did.

    Attributes:
        engines: One row per precision, FP32 first.
        line: The verdicts on the line's video against its truth, one row per precision, FP32 first.
        stream: Summary of the stream over the line's video with the INT8 engine.
        verification: Torch, ONNX and engines on the same images.
        paths: What to look at.
        seconds: Step → wall time.
    """

    engines: list[EngineRow]
    line: list[LineVerdicts]
    stream: dict[str, Any]
    verification: Verification
    paths: dict[str, Path]
    seconds: dict[str, float] = field(default_factory=dict)


class _Steps:
    """Announces steps and times them."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self.seconds: dict[str, float] = {}

    def run(self, name: str, step: Callable[[], Any]) -> Any:
        self._say(f"— {name}")
        began = time.monotonic()
        result = step()
        self.seconds[name] = round(time.monotonic() - began, 1)
        return result


def run_tour(root: Path, *, say: Say, listen: Callable[[EpochReport], None], seed: int = 0) -> Tour:
    """Render the sample product, train, export, calibrate, build, verify, evaluate and stream.

    Args:
        root: Empty or new folder for everything.
        say: Told about each step.
        listen: Told about each epoch.
        seed: Of the product and of the training.
    """
    steps = _Steps(say)
    video, run = root / "line.mp4", root / "runs" / "sample"
    product, truth = steps.run("render the sample product and its line", lambda: _render(root / "product", video, seed))
    steps.run("train FADeR", lambda: train(_request(root / "product", run, seed), listen))
    steps.run("export, calibrate, build engines", lambda: build_engines(run, precisions=_PRECISIONS, say=say))
    verification = steps.run("verify", lambda: verify_target(run, say=say))
    bundle = Bundle.open(run / "bundle")
    report = root / "report"
    rows = steps.run("evaluate and benchmark", lambda: [_measure(bundle, p, product, report) for p in _PRECISIONS])
    streams = steps.run("stream the line", lambda: [_stream(bundle, p, video, root, truth) for p in _PRECISIONS])
    write_truth(root / "truth.csv", truth, {f"ng_{stream.precision}": stream.verdicts for stream in streams})
    paths = {
        "overlay video": root / "overlay.mp4",
        "picture sheet": report / "sheet.png",
        "report": report / "index.html",
        "records": _records_file(root, "int8"),
        "truth": root / "truth.csv",
        "bundle": bundle.root,
    }
    return Tour(rows, [stream.line for stream in streams], streams[-1].summary, verification, paths, steps.seconds)


def _render(root: Path, video: Path, seed: int) -> tuple[Product, list[Shown]]:
    product = render_product(root, seed=seed, good=_GOOD_PHOTOS, size_hw=_PHOTO_SIZE_HW)
    return product, render_line_video(video, seconds=_VIDEO_SECONDS, size_hw=_PHOTO_SIZE_HW, seed=seed)


def _request(data: Path, run: Path, seed: int) -> TrainingRequest:
    values = {"seed": seed, "epochs": _EPOCHS, "fader_epochs": _EPOCHS}
    return TrainingRequest(method="fader", data=data, root=run, values=values)


def _measure(bundle: Bundle, precision: Precision, product: Product, report: Path) -> EngineRow:
    with opened_engine(bundle, precision=precision) as engine:
        description = engine.describe()
        name = f"{description.backend} {precision}"
        size_hw = description.input_size_hw
        result = evaluate(
            engine.infer, product, size_hw, threshold=engine.threshold, photos=bundle.manifest.photos, engine=name
        )
        if precision == "int8":
            write_report(report, result)
        latency = measure_engine(engine, read_frames(bundle, product.root), None, seconds=_BENCHMARK_SECONDS)
    times = latency.end_to_end
    figures = result.metrics
    return EngineRow(name, figures["image_auroc"], figures["pixel_auroc"], times.fps, times.p50_ms, times.p99_ms)


class _Streamed(NamedTuple):
    precision: Precision
    summary: dict[str, Any]
    verdicts: dict[int, bool]
    line: LineVerdicts


def _stream(bundle: Bundle, precision: Precision, video: Path, root: Path, truth: list[Shown]) -> _Streamed:
    records = _records_file(root, precision)
    sinks: list[Sink] = [RecordsSink(records)]
    if precision == "int8":
        sinks.append(VideoSink(root / "overlay.mp4"))
    with opened_engine(bundle, precision=precision) as engine:
        name = f"{engine.describe().backend} {precision}"
        threshold = engine.threshold
        summary = run_stream(engine, source_from_uri(str(video)), threshold=threshold.value, sinks=sinks).to_dict()
    verdicts = read_verdicts(records)
    return _Streamed(precision, summary, verdicts, compare_with_truth(name, threshold, truth, verdicts))


def _records_file(root: Path, precision: Precision) -> Path:
    return root / ("records.jsonl" if precision == "int8" else f"records-{precision}.jsonl")
