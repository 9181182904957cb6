"""Folders of photos that train and evaluate are given, and what an evaluated run or bundle was trained on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_ad.data.products import Folders

__all__ = ["named_folders", "trained_on"]


def named_folders(good: list[Path] | None, defects: list[Path] | None, masks: Path | None) -> Folders:
    """The folders that ``--good``, ``--defect`` and ``--masks`` name."""
    from edge_ad.data.products import Folders

    return Folders(tuple(good or ()), tuple(defects or ()), masks)


def trained_on(target: Path) -> frozenset[str]:
    """Content hashes of the good photos of a run or bundle; none where it cannot be opened, which is told later."""
    from edge_ad.errors import EdgeAdError

    try:
        return _trained_on(target)
    except EdgeAdError:
        return frozenset()


def _trained_on(target: Path) -> frozenset[str]:
    if (target / "manifest.json").is_file():
        from edge_ad.bundle import Bundle

        split = Bundle.open(target).manifest.split
        return frozenset([*split.fit, *split.calibrate, *split.threshold])
    if not (target / "run.json").is_file():
        return frozenset()
    from edge_ad.training.runs import read_record

    record = read_record(target).split
    return frozenset([*record.fit.values(), *record.calibrate.values(), *record.threshold.values()])
