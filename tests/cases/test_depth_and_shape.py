"""Photos of 12 bits, and of another depth or shape than was trained on, from train to evaluate."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_ad.data.products import open_product
from edge_ad.errors import DataError
from edge_ad.evaluation.evaluate import evaluate
from edge_ad.photo_spec import Geometry, PhotoSpec
from edge_ad.training.request import TrainingRequest
from edge_ad.training.runs import Run, load_run, read_record, torch_predictor
from edge_ad.training.train import train


def _trained(product: Path, root: Path, *, size: int = 64, geometry: Geometry = "stretch") -> Run:
    request = TrainingRequest("patch-gaussian", product, root, {"size": size}, geometry=geometry)
    return load_run(train(request, lambda report: None))


def _metrics(run: Run, tested: Path, *, photos: PhotoSpec | None = None) -> dict[str, float]:
    size_hw = run.detector.config.size_hw
    return evaluate(
        torch_predictor(run.detector), open_product(tested), size_hw, photos=photos or run.split.photos
    ).metrics


def test_photos_of_12_bits_measure_as_those_of_8(case_products: Path, tmp_path: Path) -> None:
    right, twelve = case_products / "right", case_products / "twelve_bits"
    of_8, of_12 = _trained(right, tmp_path / "8", size=256), _trained(twelve, tmp_path / "12", size=256)
    assert read_record(tmp_path / "12").photos.significant_bits == 12
    expected, measured = _metrics(of_8, right), _metrics(of_12, twelve)
    for name in ("image_auroc", "pixel_auroc"):  # other files are split otherwise: the rest differs a little more
        assert measured[name] == pytest.approx(expected[name], abs=0.005)
    assert _metrics(of_8, twelve, photos=of_12.split.photos) == pytest.approx(expected, abs=1e-6)


def test_photos_of_another_depth_are_not_evaluated(case_products: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="another depth"):
        _metrics(_trained(case_products / "twelve_bits", tmp_path / "run"), case_products / "right")


@pytest.mark.parametrize("geometry", ["stretch", "letterbox", "crop"])
def test_photos_of_another_shape_are_not_evaluated(case_products: Path, tmp_path: Path, geometry: Geometry) -> None:
    wide = tmp_path / "wide" / "test" / "good"
    wide.mkdir(parents=True)
    (tmp_path / "wide" / "train" / "good").mkdir(parents=True)
    for folder in (wide, tmp_path / "wide" / "train" / "good"):
        cv2.imwrite(str(folder / "a.png"), np.full((208, 512, 3), 90, np.uint8))
    with pytest.raises(DataError, match=r"512×208 is another shape"):
        _metrics(_trained(case_products / "right", tmp_path / "run", geometry=geometry), tmp_path / "wide")
