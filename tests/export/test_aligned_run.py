"""Parts at any angle, from train to the engines: found, turned, judged alike by all, and unjudged where not found."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_ad.cli.app import main
from edge_ad.detector import load
from edge_ad.export.build import build_engines
from edge_ad.training.runs import Run, load_run, torch_predictor
from edge_ad.training.request import TrainingRequest
from edge_ad.training.train import train
from tests.rendered_part import render_part


@pytest.fixture(scope="module")
def aligned(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A patch Gaussian, fitted to parts at any angle; one photo in twenty is empty."""
    root = tmp_path_factory.mktemp("aligned")
    (root / "parts").mkdir()
    for index, angle in enumerate(np.linspace(0, 2 * np.pi, 21, endpoint=False)):
        centre = (900.0, 900.0) if index == 3 else (120.0, 90.0)
        cv2.imwrite(str(root / "parts" / f"{index:02d}.png"), render_part(angle, centre_xy=centre, seed=index).photo)
    values = {"size": 96, "rank": 4, "weights": "random", "views": 0}
    return load_run(train(TrainingRequest("patch-gaussian", root / "parts", root / "run", values), lambda report: None))


def test_the_run_holds_the_geometry_and_the_photos_that_could_be_aligned(aligned: Run) -> None:
    photos = aligned.split.photos
    assert photos.geometry == "align"
    assert aligned.detector.config.size_hw == (64, 128)
    assert len({*aligned.split.fit, *aligned.split.calibrate, *aligned.split.threshold}) == 20
    assert not any(path.name == "03.png" for fold in aligned.split.folds for path in fold)


@pytest.mark.parametrize("backend", [pytest.param("openvino", marks=pytest.mark.slow), "onnxruntime"])
def test_engines_judge_an_aligned_part_as_torch_does(aligned: Run, backend: str) -> None:
    build_engines(aligned.root, backend=backend, precisions=("fp32", "int8"))
    part = render_part(1.234, defect_at=(20.0, 2.0), seed=99)
    size_hw = aligned.detector.config.size_hw
    inside = aligned.split.photos.to_input(part.photo, size_hw)
    expected = torch_predictor(aligned.detector)(inside[None])[0].score
    for precision, tolerance in (("fp32", 1e-3), ("int8", 0.3)):
        with load(aligned.root, backend=backend, precision=precision) as detector:
            found = detector.predict([part.photo, render_part(0.0, centre_xy=(900.0, 900.0)).photo])
            assert found[0].score == pytest.approx(expected, rel=tolerance)
            peak = np.unravel_index(found[0].anomaly_map.argmax(), found[0].anomaly_map.shape)
            assert np.hypot(peak[1] - part.defect_xy[0], peak[0] - part.defect_xy[1]) < 12
            assert found[1].reason == "no part"


def test_a_photo_without_its_part_ends_predict_with_2(
    aligned: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, centre in (("part.png", (120.0, 90.0)), ("empty.png", (900.0, 900.0))):
        cv2.imwrite(str(tmp_path / name), render_part(2.0, centre_xy=centre).photo)
    out = tmp_path / "out"
    photos = str(tmp_path / "*.png")
    options = ["--format", "csv", "--backend", "onnxruntime", "--out", str(out)]
    assert main(["predict", str(aligned.root), photos, *options]) == 2
    printed = capsys.readouterr()
    assert "empty.png" in printed.err
    assert "no part" in printed.err
    assert printed.out.count("unjudged") == 1
    (overlay,) = (out / "overlays").glob("*empty*")
    assert cv2.imread(str(overlay)).std() < 5  # the plain ground, under no heat
