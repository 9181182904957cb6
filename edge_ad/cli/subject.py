"""What is evaluated: a run in torch, or a bundle through the engine that would run it on the line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from edge_ad.bundle import Bundle
from edge_ad.errors import UsageError
from edge_ad.evaluation.evaluate import Predictor
from edge_ad.manifest import Threshold
from edge_ad.photo_spec import PhotoSpec
from edge_ad.runtime.engines import opened_engine

__all__ = ["Subject", "open_run", "open_subject"]


@dataclass(frozen=True)
class Subject:
    """Something that predicts.

    Attributes:
        predict: uint8 (N, H, W, 3) BGR → one prediction per image.
        size_hw: Height and width it takes, in pixels.
        threshold: Threshold of its scores; None when it has none.
        engine: What runs, in words, such as ``"openvino int8"``.
        method: Method of the detector.
        photos: What the photos were like that it was trained on.
    """

    predict: Predictor
    size_hw: tuple[int, int]
    threshold: Threshold | None
    engine: str
    method: str
    photos: PhotoSpec = field(default_factory=PhotoSpec)


@contextmanager
def open_subject(path: Path, *, backend: str, precision: str, threads: int) -> Iterator[Subject]:
    """Open a bundle or a run.

    Args:
        path: Folder of either.
        backend: Backend of a bundle's engine, or ``"auto"``.
        precision: Precision of a bundle's engine, or ``"auto"``.
        threads: CPU threads; 0 leaves it to the backend.

    Raises:
        UsageError: Neither a bundle nor a run, or a backend or precision was asked of a run.
    """
    if (path / "manifest.json").is_file():
        with _open_bundle(path, backend, precision, threads) as subject:
            yield subject
    elif _is_run(path):
        if backend not in ("auto", "torch") or precision not in ("auto", "fp32"):
            raise UsageError(
                f"{path} is a run: it is evaluated in torch, fp32.",
                "Export it first and name the bundle: edge-ad export",
            )
        yield open_run(path, threads)
    else:
        problem = "is neither a bundle (manifest.json) nor a run (run.json)" if path.exists() else "does not exist"
        raise UsageError(f"{path} {problem}.", "Name the folder that edge-ad train or edge-ad export wrote.")


def open_run(path: Path, threads: int) -> Subject:
    """Open a training run in eager FP32 torch.

    Args:
        path: Folder of the run.
        threads: CPU threads; 0 leaves it to torch.

    Raises:
        UsageError: Not a run.
        CheckpointError: The run is damaged.
    """
    if not _is_run(path):
        raise UsageError(f"{path} is not a run (no run.json in it).", "Name the run's folder, such as runs/<name>.")
    import torch

    from edge_ad.training.runs import load_run, torch_predictor

    if threads:
        torch.set_num_threads(threads)
    run = load_run(path)
    size = run.detector.config.size
    return Subject(torch_predictor(run.detector), (size, size), None, "torch fp32", run.method, run.split.photos)


@contextmanager
def _open_bundle(path: Path, backend: str, precision: str, threads: int) -> Iterator[Subject]:
    bundle = Bundle.open(path)
    with opened_engine(bundle, backend=backend, precision=precision, threads=threads) as engine:
        description = engine.describe()
        yield Subject(
            predict=engine.infer,
            size_hw=description.input_size_hw,
            threshold=engine.threshold,
            engine=f"{description.backend} {description.precision}",
            method=bundle.manifest.method,
            photos=bundle.manifest.photos,
        )


def _is_run(path: Path) -> bool:
    return (path / "run.json").is_file()
