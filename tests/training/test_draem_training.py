"""Training on simulated defects: the same weights with any number of workers, and after a stop."""

from pathlib import Path

import pytest
import torch

from edge_ad.training.checkpoints import load_tensors
from edge_ad.training.loop import EpochReport
from edge_ad.training.request import TrainingRequest
from edge_ad.training.runs import CHECKPOINT_FILE
from edge_ad.training.train import resume, train


def _request(product: Path, root: Path, *, workers: int = 0) -> TrainingRequest:
    values = {"size": 64, "epochs": 3, "rotation": 5.0, "crop": 32, "crops": 3}
    return TrainingRequest("draem", product, root, values, batch_size=4, workers=workers)


def _ignore(report: EpochReport) -> None:
    pass


def _assert_same_weights(first: Path, second: Path) -> None:
    a, b = (load_tensors(root / CHECKPOINT_FILE)[0] for root in (first, second))
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_workers_and_a_stop_change_no_weight(product: Path, tmp_path: Path) -> None:
    whole = train(_request(product, tmp_path / "whole"), _ignore)

    def interrupt(report: EpochReport) -> None:
        if report.progress.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(_request(product, tmp_path / "cut", workers=2), interrupt)
    _assert_same_weights(whole, resume(tmp_path / "cut", _ignore))  # which goes on with its two workers
