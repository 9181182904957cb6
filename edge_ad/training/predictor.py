"""Open what is evaluated: a run in torch, or a bundle with the engine of the line, for which no torch is imported."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edge_ad.bundle import Bundle
from edge_ad.errors import EdgeAdError, UsageError
from edge_ad.evaluation.evaluate import LoadedPredictor
from edge_ad.photo_spec import PhotoSpec
from edge_ad.runtime.engines import opened_engine

__all__ = ["learned_defects", "open_predictor", "open_run", "photos_of", "trained_on"]


@contextmanager
def open_predictor(path: Path, *, backend: str, precision: str, threads: int) -> Iterator[LoadedPredictor]:
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
        with _open_bundle(path, backend, precision, threads) as predictor:
            yield predictor
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


def open_run(path: Path, threads: int) -> LoadedPredictor:
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
    return LoadedPredictor(
        torch_predictor(run.detector), run.detector.config.size_hw, None, "torch fp32", run.method, run.split.photos
    )


@contextmanager
def _open_bundle(path: Path, backend: str, precision: str, threads: int) -> Iterator[LoadedPredictor]:
    bundle = Bundle.open(path)
    with opened_engine(bundle, backend=backend, precision=precision, threads=threads) as engine:
        description = engine.describe()
        yield LoadedPredictor(
            predict=engine.infer,
            size_hw=description.input_size_hw,
            threshold=engine.threshold,
            engine=f"{description.backend} {description.precision}",
            method=bundle.manifest.method,
            photos=bundle.manifest.photos,
        )


def _is_run(path: Path) -> bool:
    return (path / "run.json").is_file()


def trained_on(target: Path) -> frozenset[str]:
    """Content hashes of the good photos of a run or bundle; none where it cannot be opened, which is told later."""
    try:
        return _trained_on(target)
    except EdgeAdError:
        return frozenset()


def _trained_on(target: Path) -> frozenset[str]:
    if (target / "manifest.json").is_file():
        split = Bundle.open(target).manifest.split
        return frozenset([*split.fit, *split.calibrate, *split.threshold])
    if not _is_run(target):
        return frozenset()
    from edge_ad.training.runs import read_record

    record = read_record(target).split
    return frozenset([*record.fit.values(), *record.calibrate.values(), *record.threshold.values()])


def photos_of(target: Path) -> PhotoSpec:
    """What the photos were like that a run or bundle was trained on; as `trained_on`."""
    try:
        if (target / "manifest.json").is_file():
            return Bundle.open(target).manifest.photos
        if not _is_run(target):
            return PhotoSpec()
        from edge_ad.training.runs import read_record

        return read_record(target).photos
    except EdgeAdError:
        return PhotoSpec()


def learned_defects(*targets: Path) -> frozenset[str]:
    """Content hashes of the labelled defects that any of some runs and bundles learned from; as `trained_on`."""
    found: set[str] = set()
    for target in targets:
        with suppress(EdgeAdError):
            found.update(_learned_defects(target))
    return frozenset(found)


def _learned_defects(target: Path) -> list[str]:
    if (target / "manifest.json").is_file():
        return Bundle.open(target).manifest.labelled_defects
    if not _is_run(target):
        return []
    from edge_ad.training.runs import read_record

    return [labelled.sha256 for labelled in read_record(target).labelled]
