"""Folders and masks as users really have them, on real photos."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_ad.data.products import Folders, open_product
from edge_ad.data.samples import Product
from edge_ad.data.splits import content_hash
from edge_ad.errors import DataError
from edge_ad.evaluation.evaluate import evaluate
from edge_ad.prediction import Prediction
from edge_ad.streaming.sources import source_from_uri

pytestmark = pytest.mark.data

_SIZE = (64, 64)


def _edges(images: NDArray[np.uint8]) -> list[Prediction]:
    """A detector without training: how much the picture changes at each pixel."""
    maps = [np.abs(cv2.Laplacian(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.CV_32F)) for image in images]
    return [Prediction(float(one.max()), np.asarray(one, np.float32)) for one in maps]


def _metrics(product: Product) -> dict[str, float]:
    return evaluate(_edges, product, _SIZE).metrics


@pytest.fixture(scope="module")
def right(case_products: Path) -> Any:
    product = open_product(case_products / "right")
    assert (len(product.good), product.remarks) == (12, ())
    return pytest.approx(_metrics(product), abs=1e-6)


@pytest.mark.parametrize(
    "name",
    [
        "mask_0_and_1",
        "mask_two_levels",
        "mask_palette_red",
        "mask_bmp",
        "mask_upper_case",
        "mask_gt_suffix",
        "good_is_called_ok",
        "good_is_called_Good",
        "train_is_called_OK",
        "system_folders",
        "photos_in_sub_folders",
    ],
)
def test_the_same_photos_give_the_same_metrics(case_products: Path, right: Any, name: str) -> None:
    product = open_product(case_products / name)
    assert len(product.good) == 12
    assert _metrics(product) == right
    assert product.remarks == ()


def test_masks_that_are_missing_are_counted_and_leave_their_photos_out(case_products: Path) -> None:
    product = open_product(case_products / "mask_some_missing")
    (remark,) = product.remarks
    assert remark.startswith("3 of 6 masks were not found (looked in: ground_truth")
    evaluation = evaluate(_edges, product, _SIZE)
    assert evaluation.without_mask == 3
    assert {"pixel_auroc", "pixel_ap", "pro"} <= set(evaluation.metrics)


def test_a_mask_of_another_aspect_is_refused(case_products: Path) -> None:
    with pytest.raises(DataError, match=r"6 masks do not fit: \w+\.png is 256 x 512, its photo \w+\.jpg 512 x 512"):
        open_product(case_products / "mask_other_aspect", part="test")
    assert len(open_product(case_products / "mask_other_aspect", part="good").good) == 12


def test_an_empty_test_photo_matters_to_evaluation_only(case_products: Path) -> None:
    root = case_products / "one_empty_photo"
    assert len(open_product(root, part="good").good) == 12
    with pytest.raises(DataError, match=r"test/good/test_00000\.jpg") as raised:
        open_product(root, part="test")
    assert "--skip-unreadable" in raised.value.hint
    assert len(open_product(root, part="test", skip_unreadable=True).test) == 11
    with source_from_uri(str(root / "test/good")) as source:
        assert sum(source.read() is not None for _ in range(5)) == 5
        assert source.read() is None
        assert (source.corrupt, list(source.corrupt_names)) == (1, ["test_00000.jpg"])


@pytest.mark.parametrize("name", ["ok_and_ng", "visa"])
def test_good_photos_that_are_not_split_are_shared_out(case_products: Path, name: str) -> None:
    good = open_product(case_products / name, part="good")
    assert len(good.good) == 10
    assert "2 of 12 good photos are held out" in good.remarks[0]
    hashes = {content_hash(path) for path in good.good}
    tested = open_product(case_products / name, part="test", trained_on=hashes)
    assert [sample.is_defective for sample in tested.test].count(True) == 12
    assert not hashes & {content_hash(sample.path) for sample in tested.test}
    if name == "visa":
        assert {"image_auroc", "pro"} <= set(_metrics(tested))
    else:
        assert "12 of 12 masks were not found" in tested.remarks[1]


def test_two_cameras_are_named_and_can_be_given(case_products: Path) -> None:
    root = case_products / "two_cameras"
    with pytest.raises(DataError) as raised:
        open_product(root)
    assert "good/cam1 (8 photos), good/cam2 (8 photos)" in raised.value.hint
    assert len(open_product(None, Folders(good=(root / "good",)), part="good").good) == 16
    cameras = Folders(good=(root / "good/cam1", root / "good/cam2"), defects=(root.parent / "ok_and_ng/NG",))
    product = open_product(None, cameras)
    assert (len(product.good), len(product.test)) == (13, 15)
