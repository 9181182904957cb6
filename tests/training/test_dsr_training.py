"""Stages on simulated anomalies: the same weights with workers and after a stop, alone and before EAR."""

from pathlib import Path

import pytest
import torch

from edge_ad.training.checkpoints import load_tensors
from edge_ad.training.loop import EpochReport
from edge_ad.training.request import TrainingRequest
from edge_ad.training.runs import CHECKPOINT_FILE
from edge_ad.training.train import resume, train


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


def _ear(product: Path, root: Path, **values: object) -> TrainingRequest:
    own = {"size": 64, "width": "pico", "mosaic": 8, "mask_source": "dsr", "dsr_steps": 8, "epochs": 2}
    return TrainingRequest("ear", product, root, {**own, **values}, batch_size=4)


def test_an_inpainting_behind_it_goes_on_after_a_stop_and_fader_takes_it_over(product: Path, tmp_path: Path) -> None:
    whole = train(_ear(product, tmp_path / "whole"), _ignore)

    def interrupt(report: EpochReport) -> None:
        if report.stage == "ear":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(_ear(product, tmp_path / "cut"), interrupt)
    a, b = (load_tensors(root / CHECKPOINT_FILE)[0] for root in (whole, resume(tmp_path / "cut", _ignore)))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert a["mask_source.limit"] != 0
    stages: list[str] = []
    request = TrainingRequest("fader", product, tmp_path / "fader", {"fader_epochs": 1}, batch_size=4, ear=whole)
    fader = train(request, lambda report: stages.append(report.stage))
    assert stages == ["fader"]
    kept = load_tensors(fader / CHECKPOINT_FILE)[0]
    assert all(torch.equal(kept[name], a[name]) for name in a if name.startswith("mask_source."))
