"""Weights of a run that are not those that were written: refused with what to do, wherever they are read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch

from edge_ad.cli import main
from edge_ad.errors import CheckpointError
from edge_ad.training.loop import EpochReport
from edge_ad.training.request import TrainingRequest
from edge_ad.training.runs import CHECKPOINT_FILE, RESUME_FILE, load_run
from edge_ad.training.train import resume, train

_TINY: dict[str, Any] = {"size": 64, "width": "pico", "mask_source": "full", "epochs": 2}


def _ignore(report: EpochReport) -> None:
    pass


def _stop(report: EpochReport) -> None:
    raise KeyboardInterrupt


@pytest.fixture
def root(product: Path, tmp_path: Path) -> Path:
    return train(TrainingRequest("ear", product, tmp_path / "run", _TINY), _ignore)


def _flip(path: Path, at: int, bit: int = 0) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1 << bit
    path.write_bytes(content)


def test_one_bit_anywhere_is_noticed(root: Path) -> None:
    path = root / CHECKPOINT_FILE
    whole = path.read_bytes()
    for at in [*np.random.default_rng(0).integers(0, len(whole), 40).tolist(), len(whole) - 1, 9]:
        _flip(path, at, at % 8)
        with pytest.raises(CheckpointError, match=r"changed or damaged|is damaged"):
            load_run(root)
        path.write_bytes(whole)
    assert load_run(root).method == "ear"


def test_the_weights_of_another_run_are_noticed(root: Path, product: Path, tmp_path: Path) -> None:
    other = train(TrainingRequest("ear", product, tmp_path / "other", {**_TINY, "seed": 1}), _ignore)
    shutil.copy(other / CHECKPOINT_FILE, root / CHECKPOINT_FILE)
    with pytest.raises(CheckpointError, match=r"not the file that run\.json names"):
        load_run(root)


def test_changed_weights_are_not_exported(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = root / CHECKPOINT_FILE
    _flip(path, path.stat().st_size - 2)
    assert main(["export", str(root)]) == 1
    assert "changed or damaged" in capsys.readouterr().err.splitlines()[0]
    assert not (root / "bundle").exists()


def test_a_training_does_not_go_on_from_changed_weights(product: Path, tmp_path: Path) -> None:
    root = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train(TrainingRequest("ear", product, root, _TINY), _stop)
    whole = (root / RESUME_FILE).read_bytes()
    _flip(root / RESUME_FILE, len(whole) // 2)
    with pytest.raises(CheckpointError, match="changed or damaged"):
        resume(root, _ignore)
    (root / RESUME_FILE).write_bytes(whole)
    assert load_run(resume(root, _ignore)).method == "ear"


def test_a_run_of_before_has_no_hashes_and_opens(root: Path) -> None:
    record = json.loads((root / "run.json").read_text())
    del record["checkpoint_sha256"]
    (root / "run.json").write_text(json.dumps(record))
    tensors = safetensors.torch.load_file(root / CHECKPOINT_FILE)
    safetensors.torch.save_file(tensors, root / CHECKPOINT_FILE, metadata={"method": "ear"})
    assert load_run(root).method == "ear"


def test_a_run_of_a_width_that_is_no_more_is_refused_with_the_command_that_renews_it(
    root: Path, product: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = json.loads((root / "run.json").read_text())
    record["parameters"]["width"] = "nano"
    (root / "run.json").write_text(json.dumps(record))
    assert main(["export", str(root)]) == 1
    error, hint = capsys.readouterr().err.splitlines()[:2]
    assert "cannot be opened: Parameter width of ear" in error
    assert f"edge-ad train ear --data {record['product_root']}" in hint


def test_images_that_changed_since_the_training_are_not_exported(
    root: Path, product: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    threshold_image = load_run(root).split.threshold[0]
    shutil.copy(next(path for path in product.iterdir() if path != threshold_image), threshold_image)
    assert main(["export", str(root)]) == 2
    assert f"{threshold_image.name} is not the image the run was trained with" in capsys.readouterr().err
    assert not (root / "bundle").exists()
