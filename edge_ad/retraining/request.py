"""How a run is trained again: as it was, with labelled findings beside its own photos."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from edge_ad.data.products import Folders
from edge_ad.errors import CheckpointError
from edge_ad.models.registry import method_class
from edge_ad.retraining.findings import Finding
from edge_ad.training.request import TrainingRequest
from edge_ad.training.runs import Run, RunRecord

__all__ = ["earlier_defects", "training_request"]

_SHARED = ("size", "seed")


def training_request(
    run: Run, record: RunRecord, root: Path, learned: Path, *, method: str, device: str, workers: int
) -> TrainingRequest:
    """The request that trains a run again.

    Args:
        run: The old run.
        record: What it recorded.
        root: Folder of the new run.
        learned: Folder of findings, as `write_findings` makes it.
        method: Name of the method; another one than the run's keeps its size and seed alone.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        workers: Processes that simulate defects, for a method that learns from them.

    Raises:
        CheckpointError: The photos of the run are gone.
    """
    if not run.product_root.is_dir():
        raise CheckpointError(f"The photos of {run.root} are not in {run.product_root} any more.", "Put them back.")
    is_same = method == record.method
    values: dict[str, Any] = {name: value for name, value in record.parameters.items() if is_same or name in _SHARED}
    labelled = _labelled(learned, method)
    if labelled and not run.labelled:  # it learns from defects for the first time
        values |= method_class(method).parameters_type.taught
    photos = run.split.photos
    return TrainingRequest(
        method=method,
        data=None if run.folders.good else run.product_root,
        root=root,
        values=values,
        device=device,
        batch_size=int(str(record.training["batch_size"])),
        flips=bool(record.training["flips"]) if is_same else None,
        mixed_precision=bool(record.training["mixed_precision"]),
        geometry=photos.geometry,
        crop_share=photos.crop_share if photos.geometry == "crop" else None,
        all_photos=run.split.has_no_held_out,
        workers=workers,
        folders=_folders(run.folders, learned),
        false_alarm_rate=run.false_alarm_rate,
        labelled=labelled,
    )


def earlier_defects(run: Run) -> list[Finding]:
    """The labelled defects that a run learned from, to be learned from again."""
    root = run.product_root
    return [
        Finding(root / record.photo, "defect", "", next((root / name for name in record.masks), None))
        for record in run.labelled
    ]


def _folders(old: Folders, learned: Path) -> Folders:
    good = learned / "good"
    return replace(old, more=(*old.more, good)) if good.is_dir() else old


def _labelled(learned: Path, method: str) -> tuple[Path, ...]:
    defects = learned / "defect"
    return (defects,) if defects.is_dir() and method_class(method).learns_from_defects else ()
