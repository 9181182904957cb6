import numpy as np
import pytest

from edge_ad.photo_spec import PhotoSpec, resize

PHOTO = np.random.default_rng(0).integers(0, 256, (60, 120, 3), np.uint8)


def test_the_defaults_do_what_runs_of_before_did() -> None:
    spec = PhotoSpec()
    np.testing.assert_array_equal(spec.to_input(PHOTO, (32, 32)), resize(PHOTO, (32, 32)))
    assert spec.shape_problem(7, 900) == ""


def test_letterbox_keeps_the_photo_whole_and_goes_on_with_its_edge() -> None:
    image = PhotoSpec(geometry="letterbox").to_input(PHOTO, (32, 32))
    np.testing.assert_array_equal(image[8:24], resize(PHOTO, (16, 32)))
    for row in (*range(8), *range(24, 32)):
        np.testing.assert_array_equal(image[row], image[8 if row < 8 else 23])


def test_crop_takes_the_middle() -> None:
    image = PhotoSpec(geometry="crop").to_input(PHOTO, (32, 32))
    np.testing.assert_array_equal(image, resize(np.ascontiguousarray(PHOTO[:, 30:90]), (32, 32)))


@pytest.mark.parametrize("geometry", ["stretch", "letterbox", "crop"])
@pytest.mark.parametrize("size_hw", [(60, 120), (120, 60), (97, 101), (33, 300)])
def test_a_spot_in_the_middle_of_a_photo_is_in_the_middle_of_its_map(geometry: str, size_hw: tuple[int, int]) -> None:
    spec = PhotoSpec.model_validate({"geometry": geometry})
    photo = np.zeros((*size_hw, 3), np.uint8)
    centre = size_hw[0] // 2, size_hw[1] // 2
    photo[centre[0] - 4 : centre[0] + 4, centre[1] - 4 : centre[1] + 4] = 255
    seen = spec.to_input(photo, (64, 64))[..., 0].astype(np.float32)
    on_photo = spec.map_on_photo(seen, size_hw, None)
    shape = 1.0 if geometry == "stretch" else size_hw[1] / size_hw[0]
    assert on_photo.shape[1] / on_photo.shape[0] == pytest.approx(shape, rel=0.15)
    rows, columns = np.nonzero(on_photo > 0.5 * on_photo.max())
    assert rows.mean() / (on_photo.shape[0] - 1) == pytest.approx(0.5, abs=0.06)
    assert columns.mean() / (on_photo.shape[1] - 1) == pytest.approx(0.5, abs=0.06)


def test_what_a_crop_leaves_out_is_no_defect_in_the_map() -> None:
    seen = np.linspace(1.0, 2.0, 32 * 32, dtype=np.float32).reshape(32, 32)
    on_photo = PhotoSpec(geometry="crop").map_on_photo(seen, (60, 120), None)
    assert on_photo.shape == (32, 64)
    np.testing.assert_array_equal(on_photo[:, 16:48], seen)
    assert (on_photo[:, :16] == 1.0).all()
    assert (on_photo[:, 48:] == 1.0).all()


@pytest.mark.parametrize("size_hw", [(208, 512), (512, 208), (512, 540), (1, 512)])
def test_a_frame_of_another_shape_is_named_with_both_sizes(size_hw: tuple[int, int]) -> None:
    problem = PhotoSpec(aspect_ratios=(1.0, 1.0), size_hw=(512, 512)).shape_problem(*size_hw)
    assert f"{size_hw[1]}×{size_hw[0]}" in problem
    assert "512×512" in problem


@pytest.mark.parametrize("size_hw", [(1, 1), (3, 3), (99, 100), (127, 128)])
def test_a_frame_of_the_same_shape_and_far_fewer_pixels_is_named_with_both_sizes(size_hw: tuple[int, int]) -> None:
    problem = PhotoSpec(aspect_ratios=(1.0, 1.0), size_hw=(512, 512)).shape_problem(*size_hw)
    assert f"{size_hw[1]}×{size_hw[0]} is far smaller" in problem
    assert "512×512" in problem


def test_the_smallest_photos_that_were_trained_on_say_what_is_far_smaller() -> None:
    spec = PhotoSpec(aspect_ratios=(1.0, 1.0), size_hw=(512, 512), smallest_hw=(64, 64))
    assert spec.shape_problem(32, 32) == ""
    assert "far smaller" in spec.shape_problem(31, 31)
    assert PhotoSpec(aspect_ratios=(1.0, 1.0)).shape_problem(1, 1) == ""  # nothing is known


@pytest.mark.parametrize("size_hw", [(1024, 1024), (512, 520), (128, 128), (256, 250)])
def test_another_size_of_the_same_shape_is_taken(size_hw: tuple[int, int]) -> None:
    assert PhotoSpec(aspect_ratios=(1.0, 1.0), size_hw=(512, 512)).shape_problem(*size_hw) == ""


def test_every_shape_between_those_that_were_trained_on_is_taken() -> None:
    spec = PhotoSpec(aspect_ratios=(0.5, 2.0))
    assert spec.shape_problem(100, 130) == ""
    assert "0.50:1 to 2.00:1" in spec.shape_problem(100, 300)


def test_a_crop_share_cuts_the_middle_of_the_middle_and_its_map_lies_there() -> None:
    photo = np.zeros((329, 329, 3), np.uint8)
    photo[20:309, 20:309] = 200  # the 289 pixels that a crop of 288 out of 329 lies in
    photos = PhotoSpec(geometry="crop", crop_share=288 / 329)
    assert (photos.to_input(photo, (288, 288)) == 200).all()
    on_photo = photos.map_on_photo(np.ones((288, 288), np.float32) + np.eye(288, dtype=np.float32), (329, 329), None)
    assert on_photo.shape == (329, 329)
    assert (np.argwhere(on_photo > 1.5).min(), np.argwhere(on_photo > 1.5).max()) == (20, 307)
