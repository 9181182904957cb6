"""Evaluation on a small product written to disk, with a predictor whose answers are known."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_ad.alignment import Alignment
from edge_ad.data.products import open_product
from edge_ad.data.samples import Product, Sample
from edge_ad.data.shift_kinds import parse_shifts
from edge_ad.errors import DataError, EdgeAdError
from edge_ad.evaluation.comparison import COUNT_AS_DEFECTIVE
from edge_ad.evaluation.evaluate import evaluate
from edge_ad.evaluation.results import Rate
from edge_ad.evaluation.shift import measure_shift
from edge_ad.evaluation.thresholds import fit_threshold
from edge_ad.photo_spec import PhotoSpec
from edge_ad.prediction import Prediction
from tests.rendered_part import render_part

SIZE = (32, 48)


def brightness_predictor(images):
    """Calls what is bright anomalous: the defects below are bright squares."""
    maps = images.max(axis=3).astype(np.float32)
    return [Prediction(float(one.max()), one) for one in maps]


def write_image(path: Path, *, square: int = 0, size: int = 8, where: int = 10, level: int = 60):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.full((*SIZE, 3), level, np.uint8)
    image[where : where + size, where : where + size] += np.uint8(square)
    cv2.imwrite(str(path), image)
    return (image[..., 0] > level).astype(np.uint8) * 255


@pytest.fixture
def product(tmp_path) -> Product:
    root = tmp_path / "plate"
    for index in range(4):
        write_image(root / f"train/good/{index}.png")
        write_image(root / f"test/good/{index}.png", level=60 + index)
        for kind, square in (("dent", 100), ("stain", 2)):
            mask = write_image(root / f"test/{kind}/{index}.png", square=square)
            (root / f"ground_truth/{kind}").mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(root / f"ground_truth/{kind}/{index}_mask.png"), mask)
    return open_product(root)


def test_every_metric_is_measured_on_every_test_image(product):
    evaluation = evaluate(brightness_predictor, product, SIZE)
    assert set(evaluation.metrics) == {"image_auroc", "image_ap", "pixel_auroc", "pixel_ap", "pro"}
    assert evaluation.scores.shape == (12,)
    assert evaluation.maps.shape == (12, *SIZE)
    assert evaluation.labels.sum() == 8
    # Stains score 62 as one good image does, and above two and below one of the other three.
    assert evaluation.defect_auroc == {"dent": 1.0, "stain": pytest.approx((2 + 0.5) / 4)}
    assert evaluation.metrics["image_auroc"] == pytest.approx((1.0 + 2.5 / 4) / 2)


@pytest.mark.parametrize("batch", [1, 5, 12, 100])
def test_the_batch_size_changes_nothing(product, batch):
    sizes, calls = [], []

    def predict(images):
        sizes.append(len(images))
        return brightness_predictor(images)

    evaluation = evaluate(predict, product, SIZE, batch=batch, progress=lambda done, total: calls.append((done, total)))
    assert evaluation.to_json() == evaluate(brightness_predictor, product, SIZE).to_json()
    assert max(sizes) <= batch
    assert calls[-1] == (12, 12)
    assert len(calls) == len(sizes)


def test_decisions_are_counted_at_the_threshold_and_equality_is_not_an_alarm(product):
    threshold = fit_threshold(np.array([62.0]), false_alarm_rate=0.5)
    decisions = evaluate(brightness_predictor, product, SIZE, threshold=threshold).decisions
    assert decisions is not None
    assert decisions.false_alarms == Rate(1, 4)
    assert decisions.detections == Rate(4, 8)
    assert decisions.detections_by_type == {"dent": Rate(4, 4), "stain": Rate(0, 4)}


def test_brightness_that_gives_the_defects_away_is_reported_in_either_direction(product, tmp_path):
    evaluation = evaluate(brightness_predictor, product, SIZE)
    samples = tuple(replace(sample, is_defective=not sample.is_defective, mask_path=None) for sample in product.test)
    flipped = evaluate(brightness_predictor, replace(product, test=samples), SIZE)
    assert evaluation.brightness_auroc is not None
    assert 0.5 < evaluation.brightness_auroc <= 1.0
    assert flipped.brightness_auroc == pytest.approx(evaluation.brightness_auroc)


@pytest.mark.parametrize(("auroc", "is_said"), [(0.997, True), (0.8, False), (None, False)])
def test_brightness_that_alone_tells_defects_is_said_in_words(product, auroc, is_said):
    evaluation = replace(evaluate(brightness_predictor, product, SIZE), brightness_auroc=auroc)
    assert ("image AUROC 0.997" in evaluation.brightness_words) is is_said


def test_defects_without_a_mask_are_left_out_of_the_pixel_metrics_only(product):
    samples = tuple(
        replace(sample, mask_path=None) if sample.defect_type == "stain" else sample for sample in product.test
    )
    evaluation = evaluate(brightness_predictor, replace(product, test=samples), SIZE)
    assert evaluation.without_mask == 4
    assert evaluation.metrics["pixel_auroc"] == 1.0
    assert evaluation.metrics["pro"] == pytest.approx(1.0)
    assert evaluation.metrics["image_auroc"] == evaluate(brightness_predictor, product, SIZE).metrics["image_auroc"]


def test_an_empty_mask_counts_as_no_mask(product):
    for path in (product.root / "ground_truth/stain").iterdir():
        cv2.imwrite(str(path), np.zeros(SIZE, np.uint8))
    evaluation = evaluate(brightness_predictor, product, SIZE)
    assert evaluation.without_mask == 4
    assert evaluation.metrics["pixel_auroc"] == 1.0


@pytest.mark.parametrize("kept", [True, False])
def test_one_kind_of_image_alone_leaves_the_ranking_metrics_out(product, kept):
    samples = tuple(sample for sample in product.test if sample.is_defective is kept)
    threshold = fit_threshold(np.array([61.0]), false_alarm_rate=0.5)
    evaluation = evaluate(brightness_predictor, replace(product, test=samples), SIZE, threshold=threshold)
    assert "image_auroc" not in evaluation.metrics
    assert evaluation.brightness_auroc is None
    assert evaluation.defect_auroc == {}
    assert evaluation.decisions is not None
    assert (evaluation.decisions.false_alarms is None) is kept
    assert (evaluation.decisions.detections is None) is not kept


def test_maps_of_another_size_are_brought_to_the_size_of_the_masks(product):
    def predict(images):
        return [replace(one, anomaly_map=one.anomaly_map[::2, ::2]) for one in brightness_predictor(images)]

    evaluation = evaluate(predict, product, SIZE)
    assert evaluation.maps.shape == (12, *SIZE)
    assert evaluation.metrics["pixel_auroc"] > 0.9


def test_the_record_is_json_with_paths_inside_the_product(product):
    threshold = fit_threshold(np.array([62.0]))
    record = evaluate(brightness_predictor, product, SIZE, threshold=threshold, engine="a test").to_json()
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["samples"][0]["path"] == "test/dent/0.png"
    assert record["samples"][0]["is_called_defective"] is True
    assert str(product.root.parent) not in json.dumps(record)


def test_a_product_without_test_images_is_refused_with_what_to_add(product):
    with pytest.raises(DataError, match="no test images") as raised:
        evaluate(brightness_predictor, replace(product, test=()), SIZE)
    assert "test/good" in raised.value.hint


@pytest.mark.parametrize("broken", ["score", "map"])
def test_a_prediction_that_is_not_finite_names_the_image(product, broken):
    def predict(images):
        one = np.zeros(SIZE, np.float32)
        if broken == "map":
            one[3, 3] = np.nan
        return [Prediction(np.inf if broken == "score" else 1.0, one) for _ in images]

    with pytest.raises(EdgeAdError, match=r"0\.png is NaN"):
        evaluate(predict, product, SIZE)


def test_a_predictor_that_loses_images_is_refused(product):
    with pytest.raises(EdgeAdError, match="7 predictions came back for 8 images"):
        evaluate(lambda images: brightness_predictor(images)[1:], product, SIZE)


@pytest.mark.data
def test_real_photos_with_masks_are_measured(data_root):
    product = open_product(data_root / "magnetic_tile")
    chosen: list[Sample] = []
    for kind in ("good", "crack", "blowhole"):
        chosen += [sample for sample in product.test if sample.defect_type == kind][:4]

    def perfect(images):
        return [Prediction(float(image.mean()), image[..., 0].astype(np.float32)) for image in images]

    evaluation = evaluate(perfect, replace(product, test=tuple(chosen)), (64, 64))
    assert set(evaluation.defect_auroc) == {"crack", "blowhole"}
    auroc = evaluation.metrics["image_auroc"]
    # The score is the mean grey level, so the confound must say that light alone explains all of the result.
    assert evaluation.brightness_auroc == pytest.approx(max(auroc, 1 - auroc), abs=0.05)


def aligned_product(root):
    """Parts at any angle, with a dark spot on the defective ones; one of each kind is not on its photo."""
    for index, angle in enumerate(np.linspace(0, 6, 5)):
        centre = (900.0, 900.0) if index == 4 else (120.0, 90.0)
        for kind, spot in (("good", None), ("spot", (20.0, 3.0))):
            part = render_part(angle, centre_xy=centre, defect_at=spot, seed=index)
            for folder in (f"test/{kind}", *(["train/good"] if kind == "good" else [])):
                (root / folder).mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(root / folder / f"{index}.png"), part.photo)
            if spot is not None and index < 4:
                mask = np.zeros(part.photo.shape[:2], np.uint8)
                cv2.circle(mask, tuple(round(value) for value in part.defect_xy), 3, 255, -1)
                (root / "ground_truth/spot").mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(root / f"ground_truth/spot/{index}_mask.png"), mask)
    return open_product(root)


def darkness_predictor(images):
    maps = np.clip(70 - images.min(axis=3).astype(np.float32), 0, None)
    return [Prediction(float(one.max()), one) for one in maps]


BOX = Alignment(along=(-0.3, 0.4), across=(-0.2, 0.2), length=(0.4, 0.6))
ALIGNED = PhotoSpec(geometry="align", alignment=BOX, aspect_ratios=(4 / 3, 4 / 3), size_hw=(180, 240))


def test_photos_whose_part_cannot_be_aligned_are_counted_named_and_in_no_figure(tmp_path):
    evaluation = evaluate(darkness_predictor, aligned_product(tmp_path), (64, 112), photos=ALIGNED)
    assert len(evaluation.samples) == 8
    assert sorted(sample.path.name for sample, _ in evaluation.unjudged) == ["4.png", "4.png"]
    assert {reason for _, reason in evaluation.unjudged} == {"no part"}
    assert "2 test photos, 1 of them defective, could not be judged (2 no part)" in evaluation.unjudged_words
    assert "no part), and count as called defective" in evaluation.unjudged_words_for(COUNT_AS_DEFECTIVE)
    assert len(json.loads(json.dumps(evaluation.to_json()))["unjudged"]) == 2


def test_maps_of_aligned_parts_are_measured_on_the_photo(tmp_path):
    evaluation = evaluate(darkness_predictor, aligned_product(tmp_path), (64, 112), photos=ALIGNED)
    assert evaluation.map_hw == (73, 98)  # the photo's shape, the input's number of pixels
    assert evaluation.metrics["image_auroc"] == 1.0
    assert evaluation.metrics["pixel_auroc"] > 0.99


def test_photos_that_cannot_be_judged_are_in_no_pixel_figure_of_a_shift_either(tmp_path):
    product = aligned_product(tmp_path)
    expected = evaluate(darkness_predictor, product, (64, 112), photos=ALIGNED).metrics
    shifts = parse_shifts(["gain:1.1"])
    found = measure_shift(darkness_predictor, product, (64, 112), None, ALIGNED, shifts).unshifted
    assert found.unjudged == 2
    assert (found.pixel_auroc, found.pro) == pytest.approx((expected["pixel_auroc"], expected["pro"]), abs=1e-6)


def test_where_no_photo_can_be_judged_there_is_no_evaluation(tmp_path):
    other = ALIGNED.model_copy(update={"alignment": BOX.model_copy(update={"length": (0.8, 0.9)})})
    with pytest.raises(DataError, match="None of the 10 test photos could be judged"):
        evaluate(darkness_predictor, aligned_product(tmp_path), (64, 112), photos=other)


@pytest.mark.parametrize("shift_at", ["file", "network"])
def test_masks_move_with_an_aligned_part(tmp_path, shift_at):
    report = measure_shift(
        darkness_predictor,
        aligned_product(tmp_path),
        (64, 112),
        None,
        ALIGNED,
        parse_shifts(["translation:-6,6", "rotation:-8,8"]),
        shift_at=shift_at,
    )
    for result in report.results:
        for step in result.steps:
            assert step.unjudged == 2
            assert step.pixel_auroc > 0.95, (result.kind.name, step.step)
