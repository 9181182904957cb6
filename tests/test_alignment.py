import math

import numpy as np
import pytest

from edge_ad.alignment import OTHER_LENGTH, Alignment, part_on
from edge_ad.errors import DataError
from edge_ad.part_position import CUT_OFF, NO_PART, SEVERAL_PARTS
from edge_ad.photo_spec import PhotoSpec
from tests.rendered_part import LENGTH, render_part

SIZE_HW = (64, 160)
ALIGNMENT = Alignment(along=(-0.24, 0.34), across=(-0.12, 0.12), length=(0.44, 0.56))
SPEC = PhotoSpec(geometry="align", alignment=ALIGNMENT, aspect_ratios=(4 / 3, 4 / 3), size_hw=(180, 240))
ANGLES = np.linspace(-math.pi, math.pi, 13)[1:]


@pytest.mark.parametrize("angle", ANGLES)
def test_the_axis_is_found_and_its_two_ends_are_told_apart(angle: float) -> None:
    part = part_on(render_part(angle).photo)
    assert part.problem == ""
    turned = (part.angle - angle + math.pi) % (2 * math.pi) - math.pi
    assert turned == pytest.approx(0, abs=math.radians(1.5))
    assert part.length == pytest.approx(LENGTH, abs=4)


@pytest.mark.parametrize("angle", ANGLES)
def test_a_part_at_any_angle_and_place_gives_the_same_input(angle: float) -> None:
    straight = SPEC.to_input(render_part(0.0).photo, SIZE_HW).astype(float)
    turned = SPEC.to_input(render_part(angle, centre_xy=(110.4, 93.7), seed=1).photo, SIZE_HW).astype(float)
    assert np.abs(straight - turned).mean() < 5
    assert np.abs(straight[:, ::-1] - turned).mean() > 10  # what the other end would give


@pytest.mark.parametrize("enlarged", [1, 4, 7])
@pytest.mark.parametrize("angle", [0.0, 0.7, -2.4])
def test_a_painted_defect_comes_back_to_its_own_pixels(angle: float, enlarged: int) -> None:
    photo_hw = (180 * enlarged, 240 * enlarged)
    centre = (120.0 * enlarged, 90.0 * enlarged)
    part = render_part(angle, centre_xy=centre, photo_hw=photo_hw, scale=enlarged, defect_at=(25.0, 4.0))
    made = SPEC.prepare(part.photo, SIZE_HW)
    darkness = np.clip(60 - made.image[..., 0].astype(np.float32), 0, None)
    on_photo = SPEC.map_on_photo(darkness, photo_hw, made.matrix)
    rows, columns = np.nonzero(on_photo > 0.5 * on_photo.max())
    scale = photo_hw[1] / on_photo.shape[1]
    found = ((columns.mean() + 0.5) * scale - 0.5, (rows.mean() + 0.5) * scale - 0.5)
    assert found == pytest.approx(part.defect_xy, abs=max(1.0, scale))
    assert on_photo.max() == darkness.max()


def test_no_pixel_of_a_large_photo_is_skipped() -> None:
    part = render_part(0.3, centre_xy=(960, 720), photo_hw=(1440, 1920), scale=8)
    photo = part.photo.copy()
    inside = SPEC.prepare(photo, SIZE_HW)
    assert inside.matrix is not None
    x, y = (inside.matrix @ (80, 32, 1)).round().astype(int)
    photo[y - 2 : y + 3, x - 2 : x + 3] = 255
    for shift in range(6):  # wherever the spot lies between the pixels of the input
        moved = np.roll(photo, (shift, shift), (0, 1))
        assert SPEC.to_input(moved, SIZE_HW)[20:44, 60:100].max() > 105


def test_a_part_that_cannot_be_found_is_a_problem_and_never_an_input() -> None:
    empty = render_part(0.0, centre_xy=(900.0, 900.0)).photo
    cut = render_part(0.0, centre_xy=(40.0, 90.0)).photo
    short = render_part(0.0, scale=0.6).photo
    two = np.concatenate((render_part(0.0).photo, render_part(0.5, defect_at=(0.0, 0.0)).photo))
    for photo, problem in ((empty, NO_PART), (cut, CUT_OFF), (short, OTHER_LENGTH), (two, SEVERAL_PARTS)):
        made = SPEC.prepare(photo, SIZE_HW)
        assert (made.problem, made.matrix) == (problem, None)
        with pytest.raises(DataError, match=problem):
            SPEC.to_input(photo, SIZE_HW)


def test_a_shadow_is_no_part_of_the_part() -> None:
    photo = render_part(0.4).photo
    shaded = photo.copy()
    shaded[95:, :] = np.minimum(shaded[95:], 165)  # down to the border of the photo
    assert part_on(shaded).problem == ""
    assert part_on(shaded).angle == pytest.approx(part_on(photo).angle, abs=math.radians(2))


def test_an_alignment_without_a_box_is_refused() -> None:
    with pytest.raises(ValueError, match="go together"):
        PhotoSpec(geometry="align")


def test_what_older_runs_call_fit_is_read() -> None:
    assert PhotoSpec.model_validate({"fit": "letterbox"}).geometry == "letterbox"
    assert PhotoSpec.model_validate_json('{"significant_bits": 8, "fit": "stretch"}').geometry == "stretch"
