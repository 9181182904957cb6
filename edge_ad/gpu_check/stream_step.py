"""The step of the GPU check that streams a video."""

from __future__ import annotations

from edge_ad.data.sample_product import render_line_video
from edge_ad.demo import read_verdicts
from edge_ad.errors import DeviceError, EdgeAdError
from edge_ad.gpu_check.engine_step import require_bundle
from edge_ad.gpu_check.steps import CannotRunError, Findings, Work
from edge_ad.runtime.backend import backend_names, get_backend, probe_backend
from edge_ad.runtime.engines import open_engine
from edge_ad.streaming.session import run_stream
from edge_ad.streaming.sinks import RecordsSink
from edge_ad.streaming.sources import source_from_uri

__all__ = ["check_stream", "gpu_backends"]

_REFERENCE = "onnxruntime"
_SECONDS = 4
_FPS = 30
_MOST_OTHER_VERDICTS = 0.02  # a score near the threshold may fall on its other side


def check_stream(work: Work) -> Findings:
    """Stream a rendered line in FP32 on the first backend that runs on the GPU, and on the CPU."""
    backend = _first_that_opens(work)
    bundle = require_bundle(work)
    video = work.folder / "line.mp4"
    if not video.is_file():
        render_line_video(video, seconds=_SECONDS, fps=_FPS, size_hw=(256, 256))
    verdicts, findings = {}, Findings()
    for name in (backend, _REFERENCE):
        records = work.folder / f"records-{name}.jsonl"
        with open_engine(bundle, backend=name, precision="fp32") as engine:
            threshold = engine.threshold.value
            source, sinks = source_from_uri(str(video)), [RecordsSink(records)]
            summary = run_stream(engine, source, threshold=threshold, sinks=sinks, policy="every")
        verdicts[name] = read_verdicts(records)
        findings.facts[f"{name}: frames per second"] = summary.to_dict()["fps"]
    expected = _SECONDS * _FPS
    findings.check("every frame has one verdict", len(verdicts[backend]) == expected, f"{len(verdicts[backend])}")
    other = sum(verdicts[backend].get(frame) != verdict for frame, verdict in verdicts[_REFERENCE].items())
    is_same = other <= _MOST_OTHER_VERDICTS * expected
    findings.check("the verdicts are those of the CPU", is_same, f"{other} of {expected} are others")
    findings.facts["streamed on"] = backend
    return findings


def gpu_backends() -> list[str]:
    """Names of the backends that run on a GPU, the one to stream with first."""
    return [name for name in backend_names() if get_backend(name).runs_on_gpu]


def _first_that_opens(work: Work) -> str:
    """The first backend on the GPU that opens the bundle.

    Raises:
        CannotRunError: None works here.
        DeviceError: Some do, and none of them opens it.
    """
    found = {name: probe_backend(name) for name in gpu_backends()}
    reasons = [f"{name}: {status.why}" for name, status in found.items() if not status.available]
    available = [name for name, status in found.items() if status.available]
    if not available:
        raise CannotRunError(f"No backend runs on a GPU here: {'; '.join(reasons)}.")
    failures = []
    for name in available:
        try:
            with open_engine(require_bundle(work), backend=name, precision="fp32"):
                return name
        except EdgeAdError as error:
            failures.append(f"{name}: {error.message.rstrip('.')}")
    raise DeviceError(f"No backend opens the bundle on the GPU: {'; '.join(failures)}.")
