"""Training with labelled defects: what is recorded, refused, learned again for INT8, and left out of evaluation."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from edge_ad.data.products import Folders, open_product
from edge_ad.errors import CheckpointError, DataError, UsageError
from edge_ad.photo_spec import PhotoSpec
from edge_ad.training.feature_cache import compute_features
from edge_ad.training.labelled_defects import read_labelled
from edge_ad.training.predictor import learned_defects
from edge_ad.training.preparation import refit
from edge_ad.training.request import TrainingRequest
from edge_ad.training.runs import Run, load_run
from edge_ad.training.train import train

SMALL = {
    "size": 64,
    "weights": "random",
    "epochs": 2,
    "hidden": 8,
    "classifier_width": 4,
    "metric_steps": 2,
    "draws": 1,
}


@pytest.fixture
def defects(product: Path, tmp_path: Path) -> Path:
    """Three scratched squares, of which two have a mask beside them."""
    root = tmp_path / "labelled"
    (root / "scratch").mkdir(parents=True)
    for index, photo in enumerate(sorted(product.iterdir())[:3]):
        image = cv2.imread(str(photo))
        assert image is not None
        image[20:30, 30:34] = 0
        cv2.imwrite(str(root / "scratch" / f"{index}.png"), image)
        if index:
            mask = np.zeros((64, 64), np.uint8)
            mask[20:30, 30:34] = 255
            cv2.imwrite(str(root / "scratch" / f"{index}_mask.png"), mask)
    return root


def _train(product: Path, tmp_path: Path, name: str, **settings: object) -> Run:
    request = TrainingRequest("supersimplenet", product, tmp_path / name, SMALL, **settings)  # type: ignore[arg-type]
    return load_run(train(request, lambda report: None))


def test_a_run_keeps_its_labelled_defects_and_learned_something_from_them(
    product: Path, defects: Path, tmp_path: Path
) -> None:
    plain, taught = _train(product, tmp_path, "plain"), _train(product, tmp_path, "taught", labelled=(defects,))
    assert plain.labelled == []
    assert [Path(record.photo).name for record in taught.labelled] == ["0.png", "1.png", "2.png"]
    assert [len(record.masks) for record in taught.labelled] == [0, 1, 1]
    assert [run.parameters["classifier_score"] for run in (plain, taught)] == [False, True]
    weights = [run.detector.state_dict()["head.hidden.weight"] for run in (plain, taught)]
    assert not torch.equal(*weights)


def test_evaluation_leaves_out_the_defects_that_were_learned_from(product: Path, defects: Path, tmp_path: Path) -> None:
    run = _train(product, tmp_path, "taught", labelled=(defects,))
    test = tmp_path / "test"
    test.mkdir()
    for number in (1, 2):
        (test / f"{number}.png").write_bytes((defects / "scratch" / f"{number}.png").read_bytes())
    (test / "new.png").write_bytes(cv2.imencode(".png", np.zeros((64, 64, 3), np.uint8))[1].tobytes())
    folders = Folders((product,), (test,))
    tested = open_product(None, folders, part="test", learned_defects=learned_defects(run.root))
    assert [sample.path.name for sample in tested.test if sample.is_defective] == ["new.png"]
    assert any("2 defective photos were learned from" in remark for remark in tested.remarks)


def test_on_other_features_the_head_is_taught_the_same_defects(product: Path, defects: Path, tmp_path: Path) -> None:
    run = _train(product, tmp_path, "taught", labelled=(defects,))
    backbone = run.detector.backbone
    assert backbone is not None
    fit, held_out = (
        np.stack([cv2.imread(str(path)) for path in part]) for part in (run.split.fit, run.split.calibrate)
    )
    again = refit(run, fit, held_out, lambda images: compute_features(backbone, images))
    for name, tensor in run.detector.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], tensor, msg=name)


def test_a_mask_is_brought_into_the_input_with_its_photo() -> None:
    mask = np.zeros((40, 80), np.bool_)
    mask[:20, 40:] = True
    for geometry, expected in (("stretch", (0, 64, 128, 256)), ("letterbox", (64, 128, 128, 256))):
        found = PhotoSpec(geometry=geometry).mask_in_input(mask, (40, 80), None, (256, 256))  # type: ignore[arg-type]
        rows, columns = np.flatnonzero(found.any(1)), np.flatnonzero(found.any(0))
        assert abs(columns[0] - expected[2]) <= 2
        assert columns[-1] == 255
        bottom = 127
        assert abs(rows[-1] - bottom) <= 4


def test_a_method_that_learns_from_good_parts_alone_refuses_them(product: Path, defects: Path, tmp_path: Path) -> None:
    request = TrainingRequest("patch-gaussian", product, tmp_path / "run", {"size": 64}, labelled=(defects,))
    with pytest.raises(UsageError, match="good parts alone") as caught:
        train(request, lambda report: None)
    assert "supersimplenet" in caught.value.hint


def test_a_photo_that_is_good_and_defective_is_refused(product: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="good part too"):
        _train(product, tmp_path, "run", labelled=(product,))


def test_a_labelled_defect_that_was_changed_since_is_refused(product: Path, defects: Path, tmp_path: Path) -> None:
    run = _train(product, tmp_path, "taught", labelled=(defects,))
    (defects / "scratch" / "1_mask.png").write_bytes((defects / "scratch" / "2.png").read_bytes())
    with pytest.raises(CheckpointError, match="1_mask"):
        read_labelled(run.labelled, run.product_root, (64, 64), run.split.photos)
