from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from edge_ad.cli import main
from edge_ad.data.products import Folders, open_product
from edge_ad.errors import CheckpointError, DataError, StorageError, UsageError
from edge_ad.images import read_resized
from edge_ad.training.checkpoints import load_tensors
from edge_ad.training.loop import EpochReport
from edge_ad.training.request import TrainingRequest
from edge_ad.training.runs import CHECKPOINT_FILE, RESUME_FILE, load_run, read_record, torch_predictor
from edge_ad.training.train import resume, train

_TINY = {"size": 64, "width": "pico", "mask_source": "full", "epochs": 3}


def _request(product: Path, root: Path, method: str = "ear", **values: Any) -> TrainingRequest:
    return TrainingRequest(method=method, data=product, root=root, values={**_TINY, **values})


def _ignore(report: EpochReport) -> None:
    pass


def _weights(root: Path) -> dict[str, torch.Tensor]:
    return load_tensors(root / CHECKPOINT_FILE)[0]


def _assert_same_weights(first: Path, second: Path) -> None:
    a, b = _weights(first), _weights(second)
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_finished_run_opens_and_predicts(product: Path, tmp_path: Path) -> None:
    root = train(_request(product, tmp_path / "run"), _ignore)
    run = load_run(root)
    assert (run.method, run.product_name) == ("ear", "squares")
    assert not (root / RESUME_FILE).exists()
    images = read_resized(run.split.threshold, (64, 64))
    predictions = torch_predictor(run.detector)(images)
    assert len(predictions) == len(images)
    assert all(p.anomaly_map.shape == (64, 64) and p.score == p.anomaly_map.max() for p in predictions)


def test_a_run_of_named_folders_opens_from_anywhere_and_knows_them(
    product: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, path in enumerate(sorted(product.iterdir())):
        folder = tmp_path / "line" / f"cam{1 + number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        path.rename(folder / path.name)
    monkeypatch.chdir(tmp_path / "line")
    folders = Folders(good=(Path("cam1"), Path("cam2")))
    request = TrainingRequest("patch-gaussian", None, tmp_path / "run", {"size": 64}, folders=folders)
    root = train(request, _ignore)
    monkeypatch.chdir(tmp_path)
    run = load_run(root)
    assert (run.product_root, run.product_name) == (tmp_path / "line", "line")
    assert run.folders == Folders(good=(tmp_path / "line/cam1", tmp_path / "line/cam2"))
    assert all(path.is_file() for path in (*run.split.fit, *run.split.calibrate, *run.split.threshold))
    assert len(open_product(None, run.folders, part="good").good) == 12


def test_a_run_with_further_folders_knows_their_photos_and_opens_from_anywhere(
    product: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corrected = tmp_path / "corrected" / "good"
    corrected.mkdir(parents=True)
    for path in sorted(product.iterdir())[:3]:
        path.rename(corrected / path.name)
    monkeypatch.chdir(tmp_path)
    folders = Folders(more=(Path("corrected"),))
    root = train(TrainingRequest("patch-gaussian", product, tmp_path / "run", {"size": 64}, folders=folders), _ignore)
    monkeypatch.chdir("/")
    run = load_run(root)
    assert (run.product_name, run.folders) == ("squares", Folders(more=(tmp_path / "corrected",)))
    photos = {*run.split.fit, *run.split.calibrate, *run.split.threshold}
    assert (len(photos), sum(path.parent == corrected for path in photos)) == (12, 3)
    assert all(path.is_file() for path in photos)
    assert set(run.good_scores) == photos


def test_a_run_of_before_that_names_no_folders_opens(product: Path, tmp_path: Path) -> None:
    root = train(TrainingRequest("patch-gaussian", product, tmp_path / "run", {"size": 64}), _ignore)
    record = json.loads((root / "run.json").read_text())
    del record["folders"]
    (root / "run.json").write_text(json.dumps(record))
    assert load_run(root).folders == Folders()


def test_a_wrong_limit_of_the_cache_leaves_no_run(
    product: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_AD_CACHE_LIMIT", "much")
    with pytest.raises(UsageError, match="EDGE_AD_CACHE_LIMIT=much"):
        train(_request(product, tmp_path / "run"), _ignore)
    assert not (tmp_path / "run").exists()


def test_the_parts_of_the_split_share_no_image(product: Path, tmp_path: Path) -> None:
    record = read_record(train(_request(product, tmp_path / "run"), _ignore))
    parts = [set(part.values()) for part in (record.split.fit, record.split.calibrate, record.split.threshold)]
    assert sum(len(part) for part in parts) == len(set.union(*parts)) == 12


def test_the_log_has_a_line_per_epoch_with_every_loss_term(product: Path, tmp_path: Path) -> None:
    root = train(_request(product, tmp_path / "run"), _ignore)
    lines = [json.loads(line) for line in (root / "log.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert all({"l2", "ssim", "msgms", "learning_rate", "seconds"} <= line.keys() for line in lines)


def test_the_same_seed_gives_the_same_weights_and_another_one_others(product: Path, tmp_path: Path) -> None:
    first = train(_request(product, tmp_path / "a"), _ignore)
    _assert_same_weights(first, train(_request(product, tmp_path / "b"), _ignore))
    other = train(_request(product, tmp_path / "c", seed=1), _ignore)
    assert not torch.equal(_weights(first)["unet.head.weight"], _weights(other)["unet.head.weight"])


@pytest.mark.parametrize("stop_after", [1, 2, 4])
def test_a_training_stopped_by_ctrl_c_goes_on_bit_for_bit(product: Path, tmp_path: Path, stop_after: int) -> None:
    values = {"fader_epochs": 2, "predictor": "mlp"}
    whole = train(_request(product, tmp_path / "whole", "fader", **values), _ignore)
    seen = []

    def interrupt(report: EpochReport) -> None:
        seen.append(report)
        if len(seen) == stop_after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(_request(product, tmp_path / "cut", "fader", **values), interrupt)
    with pytest.raises(CheckpointError, match="not finished"):
        load_run(tmp_path / "cut")
    _assert_same_weights(whole, resume(tmp_path / "cut", _ignore))


def test_a_flow_stopped_by_ctrl_c_goes_on_bit_for_bit(product: Path, tmp_path: Path) -> None:
    values = {"size": 64, "blocks": "1,1,2", "epochs": 3}
    whole = train(TrainingRequest("msflow", product, tmp_path / "whole", values), _ignore)

    def interrupt(report: EpochReport) -> None:
        if report.progress.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(TrainingRequest("msflow", product, tmp_path / "cut", values), interrupt)
    _assert_same_weights(whole, resume(tmp_path / "cut", _ignore))
    assert float(_weights(whole)["likelihood.score_unit"]) != 1.0


def test_a_killed_training_goes_on_bit_for_bit(product: Path, tmp_path: Path) -> None:
    whole = train(_request(product, tmp_path / "whole", epochs=40), _ignore)
    arguments = ["train", "ear", "--data", str(product), "--runs", str(tmp_path), "--name", "cut", "--epochs", "40"]
    parameters = ["-p", "size=64", "-p", "width=pico", "-p", "mask_source=full"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "edge_ad", *arguments, *parameters],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 300
    while not (tmp_path / "cut" / RESUME_FILE).exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (tmp_path / "cut" / RESUME_FILE).exists()
    assert read_record(tmp_path / "cut").status == "training"
    _assert_same_weights(whole, resume(tmp_path / "cut", _ignore))


def test_fader_on_a_finished_ear_equals_training_both(product: Path, tmp_path: Path) -> None:
    ear = train(_request(product, tmp_path / "ear"), _ignore)
    both = train(_request(product, tmp_path / "both", "fader", fader_epochs=2, predictor="ones"), _ignore)
    request = TrainingRequest("fader", product, tmp_path / "top", {"fader_epochs": 2, "predictor": "ones"}, ear=ear)
    _assert_same_weights(both, train(request, _ignore))


def test_patch_gaussian_is_fitted_without_an_epoch(product: Path, tmp_path: Path) -> None:
    request = TrainingRequest("patch-gaussian", product, tmp_path / "run", {"size": 64})
    run = load_run(train(request, _ignore))
    good = read_resized(run.split.threshold, (64, 64))
    defective = good.copy()
    defective[:, 24:40, 24:40] = (0, 0, 255)
    predict = torch_predictor(run.detector)
    assert min(p.score for p in predict(defective)) > max(p.score for p in predict(good))


def test_mosaic_auto_measures_every_candidate_and_records_it(product: Path, tmp_path: Path) -> None:
    root = train(_request(product, tmp_path / "run", mosaic="auto", epochs=1, steps=4), _ignore)
    record = read_record(root)
    figures = record.choices["mosaic"]
    assert isinstance(figures, dict)
    assert set(figures) == {"4", "8", "16", "32"}
    assert figures[str(record.parameters["mosaic"])] == max(figures.values())  # type: ignore[type-var]


def test_a_run_is_not_overwritten(product: Path, tmp_path: Path) -> None:
    root = train(_request(product, tmp_path / "run"), _ignore)
    before = (root / CHECKPOINT_FILE).read_bytes()
    with pytest.raises(UsageError, match="already"):
        train(_request(product, root), _ignore)
    assert (root / CHECKPOINT_FILE).read_bytes() == before


def test_resuming_as_another_method_is_refused(product: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(_request(product, tmp_path / "run"), _interrupt)
    with pytest.raises(CheckpointError, match="'ear', not 'fader'"):
        resume(tmp_path / "run", _ignore, method="fader")


def test_fader_on_a_run_of_another_method_is_refused_and_writes_nothing(product: Path, tmp_path: Path) -> None:
    gaussian = train(TrainingRequest("patch-gaussian", product, tmp_path / "gaussian", {"size": 64}), _ignore)
    with pytest.raises(CheckpointError, match="not 'ear'"):
        train(TrainingRequest("fader", product, tmp_path / "top", {}, ear=gaussian), _ignore)
    assert not (tmp_path / "top").exists()


def test_resuming_with_a_changed_image_is_refused(product: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(_request(product, tmp_path / "run"), _interrupt)
    cv2.imwrite(str(product / "03.png"), np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(CheckpointError, match=r"03\.png"):
        resume(tmp_path / "run", _ignore)


def test_a_checkpoint_put_into_a_run_of_another_method_is_refused(product: Path, tmp_path: Path) -> None:
    ear = train(_request(product, tmp_path / "ear"), _ignore)
    fader = train(_request(product, tmp_path / "fader", "fader", fader_epochs=1, predictor="ones"), _ignore)
    (fader / CHECKPOINT_FILE).write_bytes((ear / CHECKPOINT_FILE).read_bytes())
    with pytest.raises(CheckpointError, match="'ear'"):
        load_run(fader)


def test_a_damaged_checkpoint_is_refused(product: Path, tmp_path: Path) -> None:
    root = train(_request(product, tmp_path / "run"), _ignore)
    (root / CHECKPOINT_FILE).write_bytes((root / CHECKPOINT_FILE).read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="damaged"):
        load_run(root)


@pytest.mark.parametrize("values", [{"widht": "lean"}, {"width": "huge"}, {"size": 70}, {"mosaic": 5}])
def test_wrong_parameters_write_nothing(product: Path, tmp_path: Path, values: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        train(_request(product, tmp_path / "run", **values), _ignore)
    assert not (tmp_path / "run").exists()


def test_a_truncated_image_among_good_ones_writes_nothing(product: Path, tmp_path: Path) -> None:
    path = product / "05.png"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match=r"05\.png"):
        train(_request(product, tmp_path / "run"), _ignore)
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no file names that are no UTF-8")
@pytest.mark.parametrize("part", ["folder", "image"])
def test_a_name_that_is_no_utf8_writes_nothing(product: Path, tmp_path: Path, part: str) -> None:
    odd = os.fsdecode(b"\xff")
    if part == "folder":
        product = product.rename(product.with_name(odd))
    else:
        (product / "05.png").rename(product / f"{odd}.png")
    with pytest.raises(DataError, match="no UTF-8"):
        train(_request(product, tmp_path / "run"), _ignore)
    assert not (tmp_path / "run").exists()


def _interrupt(report: EpochReport) -> None:
    raise KeyboardInterrupt


def test_a_full_disk_in_training_says_how_to_go_on(
    product: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise StorageError("The disk is full.", "Free some space.")

    with monkeypatch.context() as full:
        full.setattr("edge_ad.training.train.save_tensors", refuse)
        with pytest.raises(StorageError, match=r"Free some space\. Then: .* --resume"):
            train(_request(product, tmp_path / "run"), _ignore)
    assert load_run(resume(tmp_path / "run", _ignore)).method == "ear"


def test_ctrl_c_in_training_says_how_to_go_on(
    product: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("edge_ad.training.train.run_stages", interrupt)
    arguments = ["--data", str(product), "--runs", str(tmp_path), "--name", "run", "--size", "64"]
    assert main(["train", "ear", *arguments, "-p", "width=pico", "-p", "mask_source=full"]) == 130
    assert f"edge-ad train --resume {tmp_path / 'run'}" in capsys.readouterr().err


@pytest.mark.parametrize("device", ["xpu", "meta", "abacus"])
def test_a_device_that_nothing_is_trained_on_is_refused_before_a_run_is_made(
    product: Path, tmp_path: Path, device: str
) -> None:
    with pytest.raises(UsageError, match="not a device"):
        train(TrainingRequest("ear", product, tmp_path / "run", _TINY, device=device), _ignore)
    assert not (tmp_path / "run").exists()
