"""What was trained or fitted on features is so again on those of the INT8 backbone."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_ad.export import refit as refitting
from edge_ad.export.bundle_export import export_run
from edge_ad.images import read_resized
from edge_ad.models.base import AnomalyDetector
from edge_ad.runtime import open_engine
from edge_ad.runtime.parity import map_correlation
from edge_ad.training import preparation
from edge_ad.training.runs import Run, load_run
from edge_ad.training.request import TrainingRequest
from edge_ad.training.train import train
from tests.export.conftest import with_int8


@pytest.mark.parametrize(
    ("method", "values"),
    [
        ("simplenet", {"hidden": 16, "epochs": 3}),
        ("supersimplenet", {"hidden": 16, "epochs": 3, "classifier_score": True}),
        ("patch-metric", {"rank": 4, "epochs": 2}),
        ("cutpaste", {"head_epochs": 1, "epochs": 1}),
    ],
)
def test_the_int8_engine_sees_what_the_trained_head_sees(
    run: Run, method: str, values: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_AD_CACHE", str(tmp_path / "cache"))
    request = TrainingRequest(method, data=run.product_root, root=tmp_path / "run", values={"size": 64, **values})
    learned = load_run(train(request, lambda report: None))
    fitted_again: list[Path] = []

    def refit(run: Run, *arguments: Any) -> AnomalyDetector:
        fitted_again.append(run.root)
        return preparation.refit(run, *arguments)

    monkeypatch.setattr(refitting, "refit", refit)
    bundle = with_int8(learned, export_run(learned))
    images = read_resized([*run.split.calibrate, *run.split.threshold], (64, 64))
    maps = []
    for precision in ("fp32", "int8"):
        with open_engine(bundle, backend="openvino", precision=precision) as engine:
            maps.append(np.stack([item.anomaly_map for item in engine.infer(images)]))
    assert fitted_again == [learned.root]  # a fresh head that starts as the Gaussian correlates well untrained
    assert map_correlation(*maps) > 0.9
