"""A method of a third party: one class in one file, found by its entry point, from photos to a stream."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_ad.bundle import Bundle
from edge_ad.cli.app import main
from edge_ad.models.registry import method_names
from edge_ad.training.runs import Run, load_run
from tests.entry_points import installed


@pytest.fixture
def _installed(tmp_path: Path) -> Iterator[None]:
    with installed(tmp_path / "site", "edge_ad.methods", "patch-mean", "tests.export.toy_method:PatchMean"):
        yield


@pytest.mark.usefixtures("_installed")
def test_it_is_trained_exported_calibrated_built_and_streamed(run: Run, tmp_path: Path) -> None:
    assert method_names()[-1] == "patch-mean"
    photos, root = run.product_root, tmp_path / "runs" / "discs"
    where = ["--data", str(photos), "--runs", str(root.parent), "--name", root.name]
    assert main(["train", "mean", *where, "--size", "64", "--no-check-photos"]) == 0
    assert load_run(root).method == "patch-mean"
    assert main(["calibrate", str(root), "--max-drop", "0.2"]) == 0
    assert "int8" in Bundle.open(root / "bundle").manifest.graphs
    assert main(["build-engine", str(root), "--precision", "int8"]) == 0
    assert main(["verify", str(root)]) == 0
    assert main(["stream", "--bundle", str(root / "bundle"), "--source", str(photos), "--headless"]) == 0
