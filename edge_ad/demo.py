"""The whole way of a rendered product: train, export, calibrate, build, verify, evaluate and stream."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from edge_ad.bundle import Bundle
from edge_ad.data.sample_product import Shown, render_line_video, render_product
from edge_ad.data.samples import Product
from edge_ad.errors import DataError
from edge_ad.evaluation.evaluate import evaluate
from edge_ad.evaluation.latency import measure_engine, read_frames
from edge_ad.evaluation.report import write_report
from edge_ad.export.build import build_engines
from edge_ad.export.verify import Verification, verify_target
from edge_ad.manifest import Precision, Threshold
from edge_ad.runtime.engines import opened_engine
from edge_ad.storage import write_file
from edge_ad.streaming.records.export import csv_lines
from edge_ad.streaming.session import run_stream
from edge_ad.streaming.sinks import RecordsSink, VideoSink
from edge_ad.streaming.sinks.base import Sink
from edge_ad.streaming.sources import source_from_uri
from edge_ad.training.loop import EpochReport
from edge_ad.training.request import TrainingRequest
from edge_ad.training.train import train

__all__ = [
    "CalledNg",
    "DemoResult",
    "EngineRow",
    "LineVerdicts",
    "compare_with_truth",
    "read_verdicts",
    "run_demo",
    "write_truth",
]

_PRECISIONS: tuple[Precision, ...] = ("fp32", "int8")
_PHOTO_SIZE_HW = (512, 512)  # the line's: the photos are frames of its camera
_GOOD_PHOTOS = 240  # 36 of them set the threshold: an expected false-alarm rate of at most 1 in 37
_EPOCHS = 1  # of EAR and of FADeR: so many photos need no second one
_VIDEO_SECONDS = 12
_BENCHMARK_SECONDS = 3.0
_TRUTH_COLUMNS = ("part", "first_frame", "last_frame", "kind", "x", "y", "width", "height", "frames")

Log = Callable[[str], None]


@dataclass(frozen=True)
class CalledNg:
    """How many of something were called NG.

    Attributes:
        ng: That many.
        total: Of so many.
        share: ``ng / total``, in [0, 1]; None of nothing.
    """

    ng: int
    total: int
    share: float | None

    @classmethod
    def of(cls, verdicts: Sequence[bool]) -> CalledNg:
        """Count verdicts; True is NG."""
        ng, total = sum(verdicts), len(verdicts)
        return cls(ng, total, ng / total if total else None)

    def __str__(self) -> str:
        return f"{self.ng} of {self.total}" + ("" if self.share is None else f" ({self.share:.1%})")


@dataclass(frozen=True)
class LineVerdicts:
    """What an engine said about the line, by what is true.

    A part is called NG when more than half of its frames are.

    Attributes:
        engine: Backend and precision.
        good_frames: Frames of good parts: each NG is a false alarm.
        defective_frames: Frames of defective parts; every one of them shows the whole defect.
        good_parts: Good parts.
        defective_parts: Defective parts: each NG is a defect found.
        threshold_rule: How the engine's threshold was set, and what false-alarm rate that promises.
    """

    engine: str
    good_frames: CalledNg
    defective_frames: CalledNg
    good_parts: CalledNg
    defective_parts: CalledNg
    threshold_rule: str


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
class DemoResult:
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

    def __init__(self, log: Log) -> None:
        self._log = log
        self.seconds: dict[str, float] = {}

    def run(self, name: str, step: Callable[[], Any]) -> Any:
        self._log(f"— {name}")
        began = time.monotonic()
        result = step()
        self.seconds[name] = round(time.monotonic() - began, 1)
        return result


def run_demo(root: Path, *, log: Log, on_epoch: Callable[[EpochReport], None], seed: int = 0) -> DemoResult:
    """Render the sample product, train, export, calibrate, build, verify, evaluate and stream.

    Args:
        root: Empty or new folder for everything.
        log: Called with a line about each step.
        on_epoch: Called after each epoch.
        seed: Of the product and of the training.
    """
    steps = _Steps(log)
    video, run = root / "line.mp4", root / "runs" / "sample"
    product, truth = steps.run("render the sample product and its line", lambda: _render(root / "product", video, seed))
    steps.run("train FADeR", lambda: train(_request(root / "product", run, seed), on_epoch))
    steps.run("export, calibrate, build engines", lambda: build_engines(run, precisions=_PRECISIONS, log=log))
    verification = steps.run("verify", lambda: verify_target(run, log=log))
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
    return DemoResult(
        rows, [stream.line for stream in streams], streams[-1].summary, verification, paths, steps.seconds
    )


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


def compare_with_truth(
    engine: str, threshold: Threshold, truth: Sequence[Shown], verdicts: Mapping[int, bool]
) -> LineVerdicts:
    """Count the verdicts of a stream by what is true.

    Args:
        engine: What judged, in words.
        threshold: Its threshold.
        truth: What the video shows.
        verdicts: Frame → whether it was called NG.

    Raises:
        DataError: The verdicts are not one for each frame of the video.
    """
    _check_frames(truth, verdicts)
    frames, parts = ({is_defective: list[bool]() for is_defective in (False, True)} for _ in range(2))
    for shown in truth:
        called = [verdicts[frame] for frame in shown.frames]
        frames[shown.is_defective] += called
        parts[shown.is_defective].append(2 * sum(called) > len(called))
    return LineVerdicts(
        engine,
        good_frames=CalledNg.of(frames[False]),
        defective_frames=CalledNg.of(frames[True]),
        good_parts=CalledNg.of(parts[False]),
        defective_parts=CalledNg.of(parts[True]),
        threshold_rule=threshold.rule,
    )


def read_verdicts(path: Path) -> dict[int, bool]:
    """Frame → whether it was called NG, from the JSON lines that a stream recorded.

    Raises:
        DataError: A frame with two verdicts, or with one that is neither OK nor NG.
    """
    verdicts: dict[int, bool] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        frame, verdict = int(record["frame"]), record["verdict"]
        if frame in verdicts or verdict not in ("OK", "NG"):
            raise DataError(f"{path} has no single verdict for frame {frame}.", "Stream the line again.")
        verdicts[frame] = verdict == "NG"
    return verdicts


def write_truth(path: Path, truth: Sequence[Shown], verdicts: Mapping[str, Mapping[int, bool]]) -> None:
    """Write a line of CSV for each part: its frames, what is wrong where, and how many frames each engine called NG.

    Args:
        path: The file; replaced.
        truth: What the video shows.
        verdicts: Name of an engine's column → frame → whether it was called NG.

    Raises:
        StorageError: It cannot be written.
    """
    rows = [_row(part, shown, verdicts) for part, shown in enumerate(truth)]
    write_file(path, csv_lines(rows, (*_TRUTH_COLUMNS, *verdicts), has_header=True).encode())


def _row(part: int, shown: Shown, verdicts: Mapping[str, Mapping[int, bool]]) -> dict[str, object]:
    box = shown.defect_xywh or (None,) * 4
    counts = {name: sum(called[frame] for frame in shown.frames) for name, called in verdicts.items()}
    values = (part, shown.first_frame, shown.last_frame, shown.kind, *box, len(shown.frames))
    return {**dict(zip(_TRUTH_COLUMNS, values, strict=True)), **counts}


def _check_frames(truth: Sequence[Shown], verdicts: Mapping[int, bool]) -> None:
    shown = [frame for part in truth for frame in part.frames]
    missing = len(set(shown) - set(verdicts))
    unknown = len(set(verdicts) - set(shown))
    if missing or unknown:
        raise DataError(
            f"{missing} of {len(shown)} frames of the line have no verdict, {unknown} verdicts belong to none of them.",
            "The stream did not judge the whole video: run it again.",
        )
