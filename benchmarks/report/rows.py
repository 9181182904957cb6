"""Rows of recorded results: one JSON object a line, written by `benchmarks`, read by `benchmarks.report`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "SCHEMA_VERSION",
    "Accuracy",
    "AccuracyRow",
    "ColdStart",
    "Energy",
    "EngineFacts",
    "LatencyFigures",
    "LatencyRow",
    "PeerSide",
    "PeersRow",
    "Protocol",
    "Round",
    "ScalingRow",
    "Throughput",
]

SCHEMA_VERSION = 1
_CALM = 0.03


class _Record(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


class _Measurement(_Record):
    recorded: str
    machine: dict[str, Any]


class LatencyFigures(_Record):
    """A latency; the fields are those of `edge_ad.runtime.timing.LatencyStats`."""

    mean_ms: float
    std_ms: float
    min_ms: float
    p50_ms: float = Field(gt=0)
    p90_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float
    runs: int
    fps: float


class EngineFacts(_Record):
    """What ran; the fields are those of `edge_ad.runtime.engine.EngineDescription`."""

    backend: str
    precision: str
    device: str = ""
    version: str
    input_size_hw: tuple[int, int]
    threads: int
    source: str = ""


class Protocol(_Record):
    """How it was measured.

    Attributes:
        seconds: Time that was measured, of this engine alone.
        runs: Number of timed runs.
        warm_up_ms: Time before that, untimed, in milliseconds.
        warm_up_runs: Runs before that.
        windows_ms: Median of each window, in milliseconds.
        spread: Largest of the last three windows over the smallest, minus 1.
        stable: Whether the last three windows agree within a tenth.
        quick: Whether it was cut short of 10 s and 1000 runs on purpose.
    """

    seconds: float
    runs: int
    warm_up_ms: float
    warm_up_runs: int
    windows_ms: list[float]
    spread: float
    stable: bool
    quick: bool


class Round(_Record):
    """Medians of one round, in which every engine of the session had its turn.

    Attributes:
        p50_ms: Of the engine's end-to-end latency.
        yardstick_ms: Of a fixed piece of work beside it, which says how fast the machine was in that round.
        stolen: Share of the machine's time that its host gave to others in that round; None where nothing says.
    """

    p50_ms: float = Field(gt=0)
    yardstick_ms: float = Field(gt=0)
    stolen: float | None = None

    @property
    def is_calm(self) -> bool:
        """Whether the machine had its time for itself, as far as is known."""
        return self.stolen is None or self.stolen <= _CALM


class Throughput(_Record):
    """Frames per second with several requests in flight, on frames of the input size.

    Attributes:
        in_flight_fps: Through ``Engine.infer_many``.
        one_by_one_fps: Through ``Engine.infer``, in the same minute.
    """

    in_flight_fps: float
    one_by_one_fps: float


class ColdStart(_Record):
    """A fresh process, from its start to its first verdict.

    Attributes:
        imports_s: Interpreter and imports, in seconds.
        open_s: Bundle opened, hashes checked, engine ready.
        first_verdict_s: From then to the first verdict.
        total_s: All of it.
        rss_mib: Resident memory after 20 frames.
        peak_mib: Largest resident memory until then (VmHWM).
    """

    imports_s: float
    open_s: float
    first_verdict_s: float
    total_s: float
    rss_mib: float
    peak_mib: float


class Energy(_Record):
    """What frames cost.

    Attributes:
        source: Where it was read: ``rapl`` or ``tegrastats``.
        watts: Mean power of all rails that the source counts as the total.
        mj_per_frame: Millijoules for one frame, everything else on the machine included.
    """

    source: str
    watts: float
    mj_per_frame: float


class Accuracy(_Record):
    """What exactly this engine reaches on test images.

    Attributes:
        data: Name of the product.
        images: Number of test images.
        metrics: ``image_auroc``, ``pixel_auroc``, ``pro`` and the others.
        difference: Metric → this engine minus eager FP32 torch on the same images; None where torch was not there.
    """

    data: str
    images: int
    metrics: dict[str, float]
    difference: dict[str, float] | None = None


class LatencyRow(_Measurement):
    """One engine with one batch size and one number of threads."""

    kind: Literal["latency"]
    schema_version: int = Field(default=1, le=SCHEMA_VERSION)
    session: str
    bundle: str
    manifest_sha256: str
    graph_sha256: str
    method: str
    product: str
    engine: EngineFacts
    batch: int = Field(ge=1)
    frames: dict[str, Any]
    protocol: Protocol
    end_to_end: LatencyFigures
    stages: dict[str, LatencyFigures | None]
    absent: dict[str, str] = {}
    quantiles_ms: list[float]
    rounds: list[Round]
    throughput: Throughput | None = None
    cold_start: ColdStart | None = None
    energy: Energy | None = None
    energy_absent: str = ""
    accuracy: Accuracy | None = None

    @property
    def key(self) -> tuple[str, ...]:
        """What makes two rows measurements of the same thing."""
        facts, size = self.engine, "x".join(map(str, self.engine.input_size_hw))
        batch, threads = f"batch {self.batch}", f"{facts.threads} threads"
        return (self.product, self.method, facts.backend, facts.precision, size, batch, threads)

    @property
    def label(self) -> str:
        """Short name, for charts."""
        facts = self.engine
        name = f"{self.method} {facts.backend} {facts.precision}"
        return name if self.batch == 1 else f"{name}, batch {self.batch}"


class ScalingRow(_Measurement):
    """A cost against a size, and the power law through it."""

    kind: Literal["scaling"]
    subject: str
    quantity: str
    cost: str
    points: list[tuple[float, float]]
    exponent: float
    low: float
    high: float
    note: str = ""


class PeerSide(_Record):
    """One way to do the same.

    Attributes:
        name: What ran.
        p50_ms: Median, in milliseconds.
        runs: Number of runs.
        ratio: Its median over the reference's, medians of the rounds' ratios.
        ratio_per_round: The same in each round.
        note: What to know about it.
        cpu_ms: Median of the CPU time of all its threads, in milliseconds; None where it was not recorded.
        cpu_ratio: The same over the reference's.
        model_mib: Size of its graph with the weights, in MiB; None where that was not recorded.
    """

    name: str
    p50_ms: float
    runs: int
    ratio: float
    ratio_per_round: list[float]
    note: str = ""
    cpu_ms: float | None = None
    cpu_ratio: float | None = None
    model_mib: float | None = None


class PeersRow(_Measurement):
    """Several ways to do the same, in turns in one run; ratios are to ``reference``."""

    kind: Literal["peers"]
    bundle: str
    product: str
    scope: str
    reference: str
    sides: list[PeerSide]
    threads: int | None = None
    rounds: int | None = None
    calm_rounds: int | None = None
    not_measured: dict[str, str] = {}


class AccuracyRow(_Record):
    """One training with one seed, measured on test images. Rows of older files have no kind."""

    kind: Literal["accuracy"] = "accuracy"
    product: str
    size: int
    seed: int
    share: float = 1.0
    method: str
    image_auroc: float
    pixel_auroc: float | None = None
    pixel_ap: float | None = None
    pro: float | None = None
    pro_paper: float | None = None
    seconds: float | None = None
    cpu_seconds: float | None = None
    peak_mib: float | None = None
