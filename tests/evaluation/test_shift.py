"""Measuring under shift, on a small product written to disk, with a predictor whose answers are known."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_ad.data.products import open_product
from edge_ad.data.samples import Product
from edge_ad.data.shift_kinds import KINDS, LINE, parse_shifts
from edge_ad.errors import DataError, UsageError
from edge_ad.evaluation.evaluate import evaluate
from edge_ad.evaluation.results import Rate
from edge_ad.evaluation.shift import measure_shift
from edge_ad.evaluation.shift_page import render_shift_page, write_shift_report
from edge_ad.evaluation.shift_requirements import check_requirements, parse_requirements
from edge_ad.evaluation.shift_results import ShiftStep, find_tolerances, is_tolerated
from edge_ad.evaluation.thresholds import rate_upper_bound
from edge_ad.manifest import Threshold
from edge_ad.photo_spec import PhotoSpec
from edge_ad.prediction import Prediction

SIZE = (32, 48)
THRESHOLD = Threshold(
    value=100.0, rule="chosen", false_alarm_rate=0.05, false_alarm_bound=0.3, confidence=0.95, good_images=9
)


def predict(images):
    """The brighter, the more anomalous: a map is the blue channel, a score its maximum."""
    maps = images[..., 0].astype(np.float32)
    return [Prediction(float(one.max()), one) for one in maps]


def write_photo(path: Path, level: int, square: int | None = None, size_hw: tuple[int, int] = (64, 96)) -> np.ndarray:
    image = np.full((*size_hw, 3), level, np.uint8)
    mask = np.zeros(size_hw, np.uint8)
    if square is not None:
        mask[10:22, 40:56] = 255
        image[mask > 0] = square
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)
    return mask


@pytest.fixture
def product(tmp_path) -> Product:
    """Good parts at 60, 70, 80 and 90, defects with squares at 120 to 150; twice the network's size."""
    root = tmp_path / "plate"
    for index in range(4):
        write_photo(root / f"test/good/{index}.png", 60 + 10 * index)
        mask = write_photo(root / f"test/stain/{index}.png", 60, 120 + 10 * index)
        (root / "ground_truth/stain").mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(root / f"ground_truth/stain/{index}_mask.png"), mask)
    return open_product(root, part="test")


def measured(product, *shifts, **options):
    threshold = options.pop("threshold", THRESHOLD)
    photos = options.pop("photos", None)
    return measure_shift(predict, product, SIZE, threshold, photos, parse_shifts(shifts), **options)


def step_of(report, kind, step):
    (result,) = (result for result in report.results if result.kind.name == kind)
    (found,) = (each for each in result.steps if each.step == step)
    return found


def test_false_alarms_and_recall_are_counted_at_the_threshold_of_unshifted_photos(product):
    report = measured(product, "gain:0.8,1.25,1.6")
    assert report.unshifted.false_alarms == Rate(0, 4)
    assert report.unshifted.recall == Rate(4, 4)
    # 60, 70, 80, 90 and 120 to 150, times 1.25: 100 is not above 100.
    brighter = step_of(report, "gain", 1.25)
    assert brighter.false_alarms == Rate(1, 4)
    assert brighter.false_alarm_bound == pytest.approx(rate_upper_bound(1, 4, 0.95))
    assert brighter.recall == Rate(4, 4)
    assert brighter.good_score == pytest.approx(94.0)  # of 75, 88 (87.5 to even), 100 and 112
    assert brighter.good_over_threshold == pytest.approx(0.94)
    # Times 0.8: 96 to 120.
    assert step_of(report, "gain", 0.8).recall == Rate(3, 4)
    assert step_of(report, "gain", 1.6).false_alarms == Rate(3, 4)
    assert {step.image_auroc for step in report.results[0].steps} == {1.0}


def test_the_tolerance_is_the_last_step_before_false_alarms_or_misses_are_too_many(product):
    (result,) = measured(product, "gain:0.7,0.8,0.9,1.1,1.25,1.6").results
    down, up = result.tolerances
    assert (down.direction, down.step, down.first_failing) == ("down", 0.9, 0.8)
    assert (up.direction, up.step, up.first_failing) == ("up", 1.1, 1.25)


def made(step: float, alarms: int, found: int) -> ShiftStep:
    return ShiftStep(step, 1.0, None, None, 1.0, 0.5, Rate(alarms, 100), 0.1, Rate(found, 100))


def test_a_step_is_tolerated_within_five_points_of_what_was_asked_and_of_unshifted_recall():
    before = made(0.0, 2, 90)
    assert is_tolerated(made(1.0, 10, 85), before, THRESHOLD)  # 5 % asked + 5, 90 % - 5
    assert not is_tolerated(made(1.0, 11, 90), before, THRESHOLD)
    assert not is_tolerated(made(1.0, 0, 84), before, THRESHOLD)
    assert is_tolerated(replace(made(1.0, 0, 0), recall=None), before, THRESHOLD)


def test_a_step_that_holds_behind_one_that_fails_is_not_tolerated():
    kind = KINDS["blur"]
    steps = [made(1.0, 0, 90), made(2.0, 50, 90), made(3.0, 0, 90)]
    (tolerance,) = find_tolerances(kind, steps[::-1], made(0.0, 0, 90), THRESHOLD)
    assert (tolerance.direction, tolerance.step, tolerance.first_failing) == ("up", 1.0, 2.0)


def test_all_steps_may_hold_or_none():
    kind = KINDS["jpeg"]
    good, bad = [made(90.0, 0, 90), made(50.0, 0, 90)], [made(90.0, 50, 90), made(50.0, 90, 90)]
    (all_hold,) = find_tolerances(kind, good, made(101.0, 0, 90), THRESHOLD)
    assert (all_hold.direction, all_hold.step, all_hold.first_failing) == ("down", 50.0, None)
    (none_holds,) = find_tolerances(kind, bad, made(101.0, 0, 90), THRESHOLD)
    assert (none_holds.step, none_holds.first_failing) == (None, 90.0)
    # Nothing is tolerated by a detector that rejects good photos without any shift.
    (unshifted_fails,) = find_tolerances(kind, good, made(101.0, 50, 90), THRESHOLD)
    assert (unshifted_fails.step, unshifted_fails.first_failing) == (None, 90.0)
    assert find_tolerances(kind, good, made(101.0, 0, 90), None) == ()


def test_a_run_without_a_threshold_gives_scores_alone(product):
    report = measured(product, "gain:1.25", threshold=None)
    found = step_of(report, "gain", 1.25)
    assert (found.image_auroc, found.false_alarms, found.recall, found.good_over_threshold) == (1.0, None, None, None)
    assert report.results[0].tolerances == ()
    assert json.loads(json.dumps(report.to_json()))["threshold"] is None


def test_unshifted_values_are_those_of_an_evaluation(product):
    report, evaluation = measured(product, "noise:4"), evaluate(predict, product, SIZE, threshold=THRESHOLD)
    for name in ("image_auroc", "pixel_auroc", "pro"):
        assert getattr(report.unshifted, name) == pytest.approx(evaluation.metrics[name])
    assert report.unshifted.false_alarms == evaluation.decisions.false_alarms


@pytest.mark.parametrize("shift_at", ["file", "network"])
@pytest.mark.parametrize("geometry", ["stretch", "letterbox", "crop"])
def test_masks_move_with_their_photo(product, shift_at, geometry):
    """The map is the photo itself, so pixel AUROC stays where it was only if the mask lies on the square."""
    report = measured(
        product,
        "translation:-6,6",
        "rotation:-8,8",
        shift_at=shift_at,
        photos=PhotoSpec(geometry=geometry),
        threshold=None,
    )
    for result in report.results:
        for step in result.steps:
            assert step.pixel_auroc > 0.985, (result.kind.name, step.step)
    assert report.unshifted.pixel_auroc > 0.985


def test_a_shift_at_the_network_is_in_pixels_of_its_input(product):
    seen = []

    def watch(images):
        seen.append(images.copy())
        return predict(images)

    for shift_at in ("file", "network"):
        measure_shift(watch, product, SIZE, None, None, parse_shifts(["translation:4"]), shift_at=shift_at)
    still, by_file, _, by_network = seen
    assert np.array_equal(by_file[:, 2:, 2:], still[:, :-2, :-2])  # half the size: 4 pixels are 2
    assert np.array_equal(by_network[:, 4:, 4:], still[:, :-4, :-4])


def test_neither_batches_nor_memory_nor_repetition_change_anything(product):
    first = measured(product, "noise:8", "h264:28").to_json()
    assert measured(product, "noise:8", "h264:28", batch=3).to_json() == first
    assert measured(product, "noise:8", "h264:28", room_mib=0).to_json() == first


def test_noise_is_that_of_the_photo_wherever_it_lies_in_the_set(product):
    turned = replace(product, test=product.test[::-1])
    assert measured(product, "noise:8").to_json() == measured(turned, "noise:8").to_json()


def test_progress_counts_every_image_of_every_step(product):
    calls = []
    measured(product, "gain:0.8,1.25", batch=3, progress=lambda *call: calls.append(call))
    assert calls[-1] == ("gain 1.25", 24, 24)
    assert [call[1] for call in calls] == [3, 6, 8, 11, 14, 16, 19, 22, 24]
    assert calls[0][0] == "unshifted"


def test_photos_that_were_trained_on_are_named(product):
    from edge_ad.data.splits import content_hash

    report = measured(product, "gain:1.25", trained_on={content_hash(product.test[0].path)})
    assert report.to_json()["trained_on"] == ["test/good/0.png"]


def test_what_cannot_be_measured_is_refused(product):
    with pytest.raises(UsageError, match="no shift"):
        measured(product)
    with pytest.raises(DataError, match="no test images"):
        measured(replace(product, test=()), "gain:1.25")
    spec = PhotoSpec(aspect_ratios=(1.0, 1.0))
    with pytest.raises(DataError, match="another shape"):
        measured(product, "gain:1.25", photos=spec)


def test_good_photos_alone_have_false_alarms_and_nothing_else(product):
    good = replace(product, test=tuple(sample for sample in product.test if not sample.is_defective))
    report = measured(good, "gain:1.6")
    found = step_of(report, "gain", 1.6)
    assert (found.image_auroc, found.pixel_auroc, found.recall) == (None, None, None)
    assert found.false_alarms == Rate(3, 4)
    assert report.results[0].tolerances == ()
    assert "good and defective photos" in report.why_no_tolerance
    assert report.why_no_tolerance in render_shift_page(report)


@pytest.mark.parametrize("found", [0, 5])
def test_no_step_is_tolerated_by_a_detector_that_finds_nothing_to_lose(product, found):
    kind = KINDS["blur"]
    assert find_tolerances(kind, [made(1.0, 0, found)], made(0.0, 0, found), THRESHOLD) == ()
    blind = THRESHOLD.model_copy(update={"value": 1000.0})
    report = measured(product, "gain:1.25", threshold=blind)
    assert report.results[0].tolerances == ()
    (outcome,) = check_requirements(report, parse_requirements(["gain>=1.25"], parse_shifts(["gain:1.25"])))
    assert not outcome.is_met
    assert "0 of 4 defective photos are found" in outcome.found
    assert "0 of 4 defective photos are found" in render_shift_page(report)


@pytest.mark.parametrize(
    ("text", "is_met", "found"),
    [
        ("false-alarms<=0.25", True, "0.25 at worst: gain 1.25"),
        ("false-alarms<=0.1", False, "gain 1.25"),
        ("false-alarms@gain:0.9<=0", True, "gain 0.9"),
        ("recall >= 0.75", True, "gain 0.8"),
        ("recall@gain:0.8>=0.8", False, "0.75 at worst"),
        ("recall-loss@gain<=0.2", False, "0.25 at worst: gain 0.8"),
        ("image-auroc>=0.99", True, "1 at worst"),
        ("pixel-auroc>=1.0", True, "1 at worst"),
        ("gain>=1.1", True, "tolerated as far as 1.1"),
        ("gain>=1.2", False, "tolerated as far as 1.1"),
        ("gain<=0.9", True, "tolerated as far as 0.9"),
        ("gain<=0.8", False, "tolerated as far as 0.9"),
    ],
)
def test_requirements_are_held_against_the_worst_step(product, text, is_met, found):
    report = measured(product, "gain:0.8,0.9,1.1,1.25")
    (outcome,) = check_requirements(report, parse_requirements([text], [result.kind for result in report.results]))
    assert outcome.is_met is is_met
    assert found in outcome.found


def test_a_requirement_about_what_was_not_measured_is_not_met(product):
    good = replace(product, test=tuple(sample for sample in product.test if not sample.is_defective))
    report = measured(good, "gain:1.1")
    kinds = [result.kind for result in report.results]
    outcomes = check_requirements(report, parse_requirements(["recall>=0.0", "image-auroc@gain:1.1>=0.0"], kinds))
    assert [outcome.is_met for outcome in outcomes] == [False, False]


@pytest.mark.parametrize("are_defective", [False, True])
def test_no_tolerance_is_met_without_good_or_without_defective_photos(product, are_defective):
    one_kind = replace(product, test=tuple(each for each in product.test if each.is_defective == are_defective))
    report = measured(one_kind, "gain:1.01")
    (outcome,) = check_requirements(report, parse_requirements(["gain>=1.01"], [report.results[0].kind]))
    assert not outcome.is_met
    assert "takes good and defective photos" in outcome.found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gain", "not understood"),
        ("false-alarms<0.1", "not understood"),
        ("speed>=3", "neither a metric"),
        ("false-alarms>=0.1", "required with <="),
        ("recall>=90", "between 0 and 1"),
        ("recall>=nan", "no number"),
        ("gain>=0.8", "Write 'gain<=0.8'"),
        ("gain>=1", "goes away from there"),
        ("gain>=3", "from 0.8 to 1.25 only"),
        ("blur>=1", "blur is not measured"),
        ("recall@fog>=0.5", "fog is no kind of shift"),
        ("recall@gain:2>=0.5", "step 2 is not measured"),
        ("gain@gain>=1.1", "that of one kind"),
    ],
)
def test_a_requirement_that_cannot_be_answered_is_a_usage_error(text, message):
    with pytest.raises(UsageError, match=message):
        parse_requirements([text], parse_shifts(["gain:0.8,1.25"]))


def test_the_report_has_a_record_and_a_page_with_a_curve_for_each_kind(product, tmp_path):
    report = measured(product, "gain", "jpeg:50,90", "imagenet-c:3")
    outcomes = check_requirements(report, parse_requirements(["false-alarms<=0.1"], list(LINE.values())))
    page, missing = write_shift_report(tmp_path / "report", report, outcomes)
    assert missing == ""
    text = page.read_text(encoding="utf-8")
    assert text.count("<svg ") == 6
    assert "not met" in text
    record = json.loads((tmp_path / "report/shift.json").read_text(encoding="utf-8"))
    assert record["requirements"][0]["met"] is False
    assert record["shift_at"] == "file"
    assert [kind["kind"] for kind in record["shifts"]][:2] == ["gain", "jpeg"]
    assert record["shifts"][0]["steps"][0]["false_alarms"] == {"count": 0, "total": 4, "rate": 0.0}


def test_photos_of_12_bits_are_shifted_after_they_are_read(tmp_path):
    for index, level in enumerate((1600, 1280, 3200)):  # of 4095: 100, 80 and 200 of 255
        image = np.full((64, 96, 3), level, np.uint16)
        path = tmp_path / f"plate/test/{'stain' if level > 3000 else 'good'}/{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), image)
    report = measured(open_product(tmp_path / "plate", part="test"), "offset:10", photos=PhotoSpec(significant_bits=12))
    assert report.unshifted.good_score == 90.0
    assert step_of(report, "offset", 10).good_score == 100.0
    assert step_of(report, "offset", 10).false_alarms == Rate(1, 2)
