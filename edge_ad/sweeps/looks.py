"""Looks at a training before its end: the figure of its held-out photos, as its result will have it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from edge_ad.data.splits import GoodSplit
from edge_ad.models.base import AnomalyDetector
from edge_ad.models.ear import Ear
from edge_ad.models.registry import restore_detector
from edge_ad.sweeps.cell_folder import CellFolder
from edge_ad.training.loop import EpochReport
from edge_ad.training.recorded_photos import same_photos
from edge_ad.training.runs import read_record

__all__ = ["Looks", "epoch_of_look"]

_DETECTOR = "detector."


def epoch_of_look(number: int, looks: int, epochs: int) -> int:
    """After how many epochs a training is looked at.

    Args:
        number: Of the look, from 1.
        looks: In all, spread over the epochs.
        epochs: Of the training's last stage.
    """
    return math.ceil(number * epochs / (looks + 1))


class Looks:
    """Judges a training while its last stage goes on; the training is the same as without.

    It needs no more than what every listener of a training is told. Detectors that are not whole before their end, such
    as those that fit what turns a likelihood into a score, are not judged.

    Args:
        root: Folder of the run.
        folder: Of the cell; the figures are left there.
        count: How often.
        judge: The figure of a detector and its split; None where nothing is held out.
    """

    def __init__(
        self, root: Path, folder: CellFolder, count: int, judge: Callable[[AnomalyDetector, GoodSplit], float | None]
    ) -> None:
        self._root, self._folder, self._count, self._judge = root, folder, count, judge
        self._split: GoodSplit | None = None

    def __call__(self, report: EpochReport) -> None:
        """Look, if it is time to."""
        epoch = report.progress.epoch
        due = [k for k in range(1, self._count + 1) if epoch_of_look(k, self._count, report.epochs) == epoch]
        if not due or epoch == report.epochs:
            return
        with torch.random.fork_rng(devices=[]):  # making a detector draws weights
            detector = self._detector(report)
            if _is_whole(detector, report) and (figure := self._judge(detector, self._photos())) is not None:
                self._folder.look(due[-1], figure)

    def _detector(self, report: EpochReport) -> AnomalyDetector:
        record = read_record(self._root)
        state = {
            name.removeprefix(_DETECTOR): tensor.cpu()
            for name, tensor in report.tensors.items()
            if name.startswith(_DETECTOR)
        }
        return restore_detector(record.method, record.parameters, state)

    def _photos(self) -> GoodSplit:
        if self._split is None:
            record = read_record(self._root)
            self._split = replace(same_photos(record.split, Path(record.product_root)), photos=record.photos)
        return self._split


def _is_whole(detector: AnomalyDetector, report: EpochReport) -> bool:
    """Whether a detector scores in its last stage as it will after it."""
    nothing_follows = type(detector).end_stage in (AnomalyDetector.end_stage, Ear.end_stage)  # EAR's: of mask sources
    return nothing_follows and not detector.trains_backbone and report.progress.stage == len(detector.stages()) - 1
