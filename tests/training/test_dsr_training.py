"""Three stages on simulated anomalies: the same weights with any number of workers, and after a stop in each stage."""

from pathlib import Path

import pytest
import torch

from edge_ad.training.checkpoints import load_tensors
from edge_ad.training.loop import EpochReport
from edge_ad.training.runs import CHECKPOINT_FILE
from edge_ad.training.train import TrainingRequest, resume, train


def _request(product: Path, root: Path, *, workers: int = 0) -> TrainingRequest:
    values = {"size": 64, "crop": 0, "quantiser_epochs": 2, "epochs": 2, "upsampling_epochs": 2}
    return TrainingRequest("dsr", product, root, values, batch_size=4, workers=workers)


def _ignore(report: EpochReport) -> None:
    pass


def test_workers_and_a_stop_in_each_stage_change_no_weight(product: Path, tmp_path: Path) -> None:
    whole = train(_request(product, tmp_path / "whole"), _ignore)
    seen: list[str] = []

    def interrupt(report: EpochReport) -> None:
        if report.stage not in seen and report.progress.epoch == 1:
            seen.append(report.stage)
            raise KeyboardInterrupt

    cut = tmp_path / "cut"
    with pytest.raises(KeyboardInterrupt):
        train(_request(product, cut, workers=1), interrupt)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            resume(cut, interrupt)
    resume(cut, _ignore)
    assert seen == ["quantiser", "subspaces", "upsampling"]
    a, b = (load_tensors(root / CHECKPOINT_FILE)[0] for root in (whole, cut))
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)
