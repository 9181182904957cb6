"""A bundle as one object: photos of any kind in, the same verdict as the stream out."""

import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageFile

from edge_ad.detector import Detector, load
from edge_ad.errors import DataError, DeviceError, EdgeAdError, UsageError
from tests.rendered_part import render_part
from tests.runtime.tiny_bundle import SIZE_HW, tiny_bundle


@pytest.fixture(scope="module")
def bundle_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny").root


@pytest.fixture
def detector(bundle_root: Path) -> Iterator[Detector]:
    with load(bundle_root, backend="onnxruntime") as opened:
        yield opened


@pytest.fixture
def frame() -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, (2 * SIZE_HW[0], 2 * SIZE_HW[1], 3), dtype=np.uint8)


def test_path_array_and_pil_image_of_one_photo_have_one_result(
    detector: Detector, frame: np.ndarray, tmp_path: Path
) -> None:
    path = tmp_path / "photo.png"
    cv2.imwrite(str(path), frame)
    from_path, from_array = detector.predict(path), detector.predict(frame)
    with Image.open(path) as opened:
        from_pil = detector.predict(opened)
    assert from_path.score == from_array.score == from_pil.score
    assert from_path.path == str(path)
    assert from_array.path == ""


@pytest.mark.parametrize("given", [None, 3, b"line"])
def test_what_is_no_path_of_a_bundle_is_named(given: object) -> None:
    with pytest.raises(UsageError, match=f"{type(given).__name__} is no path of a bundle"):
        load(given)  # type: ignore[arg-type]


def test_list_gives_a_list_in_its_order_whatever_the_batch(detector: Detector) -> None:
    frames = [np.full((*SIZE_HW, 3), value, np.uint8) for value in range(0, 250, 12)]
    together = [result.score for result in detector.predict(frames)]
    assert together == pytest.approx([detector.predict(item).score for item in frames], rel=1e-5)
    assert detector.predict([]) == []


@pytest.mark.parametrize(("size_hw", "photos"), [((256, 256), 8), ((1024, 1024), 2), ((512, 8192), 1)])
def test_fewer_photos_are_judged_in_one_call_where_the_input_is_large(
    detector: Detector, monkeypatch: pytest.MonkeyPatch, size_hw: tuple[int, int], photos: int
) -> None:
    monkeypatch.setattr(Detector, "input_size_hw", size_hw)
    assert detector.batch_size == photos


def test_result_has_map_and_regions_at_the_size_of_the_photo(detector: Detector, frame: np.ndarray) -> None:
    low = detector.predict(frame)
    detector.threshold = low.score * 0.9
    result = detector.predict(frame)
    assert result.is_defective
    assert result.anomaly_map.shape == frame.shape[:2]
    assert result.regions
    assert result.regions[0].peak == pytest.approx(result.score, rel=1e-5)
    assert result.plot().shape[1] >= frame.shape[1]


def test_threshold_of_the_object_is_what_judges(detector: Detector, frame: np.ndarray) -> None:
    score = detector.predict(frame).score
    for threshold, is_defective in ((score + 1, False), (score, False), (score - 1e-3, True)):
        detector.threshold = threshold
        assert detector.predict(frame).is_defective == is_defective
    for wrong in (float("nan"), "0.5", None):
        with pytest.raises(UsageError, match="finite"):
            detector.threshold = wrong  # type: ignore[assignment] # what is under test


def test_grey_arrays_are_three_equal_channels(detector: Detector, frame: np.ndarray) -> None:
    grey = frame[..., 0].copy()
    assert detector.predict(grey).score == detector.predict(np.repeat(grey[..., None], 3, axis=2)).score


@pytest.mark.parametrize(
    "wrong", [np.zeros((4, 4, 3), np.float32), np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8), 7, None]
)
def test_what_is_no_photo_is_refused(detector: Detector, wrong: object) -> None:
    with pytest.raises(UsageError, match="no photo"):
        detector.predict(wrong)  # type: ignore[call-overload] # what is under test


def test_missing_damaged_and_folders_are_named(detector: Detector, tmp_path: Path) -> None:
    (tmp_path / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(DataError, match=r"none\.png"):
        detector.predict(tmp_path / "none.png")
    with pytest.raises(DataError, match=r"damaged\.png"):
        detector.predict(tmp_path / "damaged.png")
    for impossible in ("x" * 5000, "a\0b.png"):
        with pytest.raises(DataError, match="cannot be read"):
            detector.predict(impossible)
    with pytest.raises(UsageError, match="stream"):
        detector.predict(tmp_path)


def test_stream_of_a_folder_judges_each_photo_as_predict_does(
    detector: Detector, frame: np.ndarray, tmp_path: Path
) -> None:
    frames = [frame, frame[::-1].copy(), frame[:, ::-1].copy()]
    for index, image in enumerate(frames):
        cv2.imwrite(str(tmp_path / f"{index}.png"), image)
    found = list(detector.stream(tmp_path))
    expected = detector.predict(frames)
    assert [Path(result.path).name for result in found] == ["0.png", "1.png", "2.png"]
    assert [result.score for result in found] == pytest.approx([result.score for result in expected], rel=1e-5)


def test_frame_that_cannot_be_judged_comes_as_defective_with_its_reason(detector: Detector, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "black.png"), np.zeros((*SIZE_HW, 3), np.uint8))
    (result,) = detector.stream(tmp_path)
    assert (result.is_defective, result.reason) == (True, "black")
    assert np.isnan(result.score)
    assert result.regions == ()


def test_stream_that_is_left_frees_the_detector(detector: Detector, frame: np.ndarray, tmp_path: Path) -> None:
    for index in range(3):
        cv2.imwrite(str(tmp_path / f"{index}.png"), frame)
    results = detector.stream(tmp_path)
    next(results)
    with pytest.raises(EdgeAdError, match="stream"):
        detector.predict(frame)
    results.close()  # type: ignore[attr-defined] # a generator
    assert detector.predict(frame).score == pytest.approx(detector.predict([frame])[0].score, rel=1e-5)


def test_closed_detector_says_so(bundle_root: Path, frame: np.ndarray) -> None:
    with load(bundle_root, backend="onnxruntime") as opened:
        pass
    with pytest.raises(EdgeAdError, match="closed"):
        opened.predict(frame)


@pytest.mark.parametrize("mode", ["RGBA", "CMYK", "RGBX"])
def test_modes_that_hold_the_same_colours_have_one_result(detector: Detector, frame: np.ndarray, mode: str) -> None:
    picture = Image.fromarray(frame[..., ::-1].copy())
    assert detector.predict(picture.convert(mode)).score == detector.predict(frame).score


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_pil_images_of_more_than_8_bits_are_never_cut_off(
    detector: Detector, frame: np.ndarray, dtype: type[np.generic]
) -> None:
    deep = Image.fromarray((frame[..., 0].astype(np.uint16) * 257).astype(dtype))
    assert deep.mode in ("I", "F")
    with pytest.raises(DataError):
        detector.predict(deep)


@pytest.mark.parametrize("fills_gaps", [False, True])
def test_pil_images_that_cannot_be_read_are_refused(
    detector: Detector, frame: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fills_gaps: bool
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", fills_gaps)  # as many programs set it
    cv2.imwrite(str(tmp_path / "photo.png"), frame)
    closed = Image.open(tmp_path / "photo.png")
    closed.close()
    (tmp_path / "cut.png").write_bytes((tmp_path / "photo.png").read_bytes()[:800])
    with Image.open(tmp_path / "cut.png") as cut:
        for unreadable in (closed, cut):
            with pytest.raises(DataError, match="PIL image cannot be read"):
                detector.predict(unreadable)
    assert ImageFile.LOAD_TRUNCATED_IMAGES is fills_gaps


@pytest.mark.parametrize("layout", ["fortran", "strided", "read-only"])
def test_arrays_may_lie_in_memory_as_they_like(detector: Detector, frame: np.ndarray, layout: str) -> None:
    strided = np.repeat(frame, 2, axis=1)[:, ::2]
    arrays = {"fortran": np.asfortranarray(frame), "strided": strided, "read-only": frame.copy()}
    arrays["read-only"].flags.writeable = False
    assert detector.predict(arrays[layout]).score == detector.predict(frame).score


def test_photos_of_a_generator_are_asked_for_as_a_list(detector: Detector, frame: np.ndarray) -> None:
    with pytest.raises(UsageError, match="or a list of them"):
        detector.predict(image for image in [frame])  # type: ignore[call-overload] # what is under test


@pytest.mark.parametrize("wrong", [None, ["a"], 1.5])
def test_what_is_no_source_is_refused(detector: Detector, wrong: object) -> None:
    with pytest.raises(UsageError, match="no source of frames"):
        detector.stream(wrong)  # type: ignore[arg-type] # what is under test


def test_number_of_a_camera_may_be_of_numpy(detector: Detector) -> None:
    with pytest.raises(DeviceError, match="Camera 63 cannot be opened"):
        next(detector.stream(np.int64(63)))  # type: ignore[call-overload,arg-type] # any whole number will do


def test_region_as_a_text_is_refused(detector: Detector, frame: np.ndarray, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "0.png"), frame)
    with pytest.raises(UsageError, match="four numbers"):
        detector.stream(tmp_path, region="0,0,5,5")  # type: ignore[arg-type] # what is under test


def test_an_error_in_the_loop_of_a_stream_frees_the_detector(
    detector: Detector, frame: np.ndarray, tmp_path: Path
) -> None:
    for index in range(3):
        cv2.imwrite(str(tmp_path / f"{index}.png"), frame)

    def fail() -> None:
        for _ in detector.stream(tmp_path):
            raise KeyError("of the caller")

    with pytest.raises(KeyError, match="of the caller"):
        fail()
    assert detector.predict(frame).score > 0


def test_two_detectors_of_one_bundle_do_not_share_a_state(
    detector: Detector, bundle_root: Path, frame: np.ndarray
) -> None:
    expected = detector.predict(frame).score
    with load(bundle_root, backend="onnxruntime") as other:
        other.threshold = expected + 1
        assert other.predict(frame).score == expected
    assert detector.threshold != expected + 1
    assert detector.predict(frame).score == expected


def test_a_result_is_shown_without_its_pixels(detector: Detector, frame: np.ndarray) -> None:
    text = repr(detector.predict(frame))
    assert "score=" in text
    assert "array(" not in text


@pytest.fixture
def aligning(tmp_path: Path) -> Iterator[Detector]:
    """Of a bundle that aligns the part."""
    root = tiny_bundle(tmp_path / "tiny").root
    manifest = json.loads((root / "manifest.json").read_text())
    box = {"along": (-0.3, 0.3), "across": (-0.2, 0.2), "length": (0.4, 0.6)}
    manifest["photos"] = {"geometry": "align", "alignment": box}
    (root / "manifest.json").write_text(json.dumps(manifest))
    with load(root, backend="onnxruntime") as opened:
        yield opened


def test_a_photo_whose_part_cannot_be_aligned_is_unjudged_and_never_ok(aligning: Detector) -> None:
    empty = render_part(0.0, centre_xy=(900.0, 900.0)).photo
    found = aligning.predict([render_part(0.3).photo, empty, render_part(2.0).photo])
    assert [result.reason for result in found] == ["", "no part", ""]
    assert found[1].is_defective
    assert np.isnan(found[1].score)
    assert found[1].regions == ()
    assert aligning.predict(empty).reason == "no part"


def test_regions_of_an_aligned_part_lie_on_it_in_the_photo(aligning: Detector) -> None:
    part = render_part(2.0)
    score = aligning.predict(part.photo).score
    aligning.threshold = score * 0.98
    result = aligning.predict(part.photo)
    box = result.regions[0]
    from_centre = np.hypot(box.x + box.width / 2 - 120, box.y + box.height / 2 - 90)
    assert from_centre < 90  # in the box around the part, which is smaller than the photo
    assert result.anomaly_map.shape == part.photo.shape[:2]
    assert box.peak == pytest.approx(score, rel=1e-5)
