import logging
import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_ad.data.geometry import AskedGeometry, choose_geometry, fitting_size, without_unaligned
from edge_ad.data.photo_measures import measure_photos
from edge_ad.data.splits import GoodSplit
from edge_ad.errors import DataError, UsageError
from edge_ad.models.registry import parse_parameters
from edge_ad.photo_spec import PhotoSpec
from tests.rendered_part import render_part

ANY_ANGLE = np.linspace(0, 2 * math.pi, 20, endpoint=False)


def write_parts(root: Path, angles: Sequence[float], **drawn: object) -> list[Path]:
    paths = []
    for number, angle in enumerate(angles):
        paths.append(root / f"{len(list(root.glob('*.png'))):03}.png")
        cv2.imwrite(str(paths[-1]), render_part(angle, seed=number, **drawn).photo)  # type: ignore[arg-type]
    return paths


def chosen(paths: Sequence[Path], asked: str = "auto", size: object = 128) -> tuple[str, object]:
    found = choose_geometry(paths, measure_photos(paths), asked, size, 32)  # type: ignore[arg-type]
    return found.photos.geometry, found.size


def test_a_part_at_any_angle_is_aligned_in_an_input_of_its_shape(tmp_path: Path) -> None:
    assert chosen(write_parts(tmp_path, ANY_ANGLE)) == ("align", (96, 160))


def test_parts_that_all_lie_alike_are_not_turned(tmp_path: Path) -> None:
    assert chosen(write_parts(tmp_path, ANY_ANGLE / 20)) == ("stretch", (96, 160))


def test_a_few_angles_that_are_not_quite_even_are_still_spread(tmp_path: Path) -> None:
    angles = np.random.default_rng(1).uniform(0, 2 * math.pi, 8)
    assert abs(np.exp(2j * angles).mean()) > 0.4
    assert chosen(write_parts(tmp_path, angles))[0] == "align"
    (tmp_path / "alike").mkdir()
    assert chosen(write_parts(tmp_path / "alike", angles / 20))[0] == "stretch"


def test_parts_of_many_lengths_are_not_aligned(tmp_path: Path) -> None:
    for scale in (0.7, 0.85, 1.0):
        write_parts(tmp_path, ANY_ANGLE[::2], scale=scale)
    assert chosen(sorted(tmp_path.iterdir()))[0] == "stretch"


def test_parts_that_are_cut_off_are_not_aligned(tmp_path: Path) -> None:
    paths = write_parts(tmp_path, ANY_ANGLE[:15])
    assert chosen([*paths, *write_parts(tmp_path, ANY_ANGLE[:3], centre_xy=(30.0, 20.0))])[0] == "stretch"


@pytest.mark.parametrize("centre_xy", [(30.0, 20.0), None])
def test_a_single_photo_is_stretched_whether_its_part_is_whole_or_cut_off(
    tmp_path: Path, centre_xy: tuple[float, float] | None
) -> None:
    drawn = {} if centre_xy is None else {"centre_xy": centre_xy}
    assert chosen(write_parts(tmp_path, [0.5], **drawn))[0] == "stretch"


def test_round_parts_have_no_axis(tmp_path: Path) -> None:
    paths = []
    for number in range(12):
        photo = np.random.default_rng(number).integers(186, 194, (120, 120, 3), np.uint8)
        cv2.circle(photo, (60 + number % 3, 60), 30, (70, 70, 70), -1)
        paths.append(tmp_path / f"{number}.png")
        cv2.imwrite(str(paths[-1]), photo)
    assert chosen(paths) == ("stretch", 128)


def test_photos_of_one_shape_give_a_rectangle_and_those_of_many_a_square(tmp_path: Path) -> None:
    texture = np.random.default_rng(0).integers(0, 256, (220, 520, 3), np.uint8)
    for number, (height, width) in enumerate([(208, 512)] * 9 + [(214, 512)] * 2):
        cv2.imwrite(str(tmp_path / f"{number}.png"), texture[:height, :width])
    paths = sorted(tmp_path.iterdir())
    assert chosen(paths, size=256) == ("stretch", (160, 416))
    assert chosen(paths, "letterbox", size=256) == ("letterbox", 256)
    assert chosen(paths, "stretch", size=256) == ("stretch", 256)
    assert chosen(paths, size=(64, 96)) == ("stretch", (64, 96))
    for number in range(4):
        cv2.imwrite(str(tmp_path / f"tall{number}.png"), texture[:, :200])
    assert chosen(sorted(tmp_path.iterdir()), size=256) == ("stretch", 256)


@pytest.mark.parametrize(("aspect", "size_hw"), [(1.0, (256, 256)), (16.0, (64, 1024)), (1 / 3.9, (512, 128))])
def test_a_rectangle_has_about_the_pixels_of_the_square(aspect: float, size_hw: tuple[int, int]) -> None:
    assert fitting_size(aspect, 256 * 256, 32) == size_hw


def test_a_few_photos_without_their_part_are_named_and_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    paths = write_parts(tmp_path, ANY_ANGLE)
    photos = choose_geometry(paths, measure_photos(paths), "auto", 128, 32).photos
    odd = write_parts(tmp_path, [0.0], centre_xy=(900.0, 900.0))
    split = GoodSplit(0, tuple(paths[:14]), tuple(paths[14:17]), (*paths[17:], *odd), photos, (tuple(odd),))
    with caplog.at_level(logging.WARNING):
        left = without_unaligned(split)
    assert left.threshold == tuple(paths[17:])
    assert left.folds == ()
    assert f"1 no part ({odd[0].name})" in caplog.text


def test_many_photos_without_their_part_are_refused(tmp_path: Path) -> None:
    paths = write_parts(tmp_path, ANY_ANGLE[:15])
    empty = write_parts(tmp_path, [0.0] * 5, centre_xy=(900.0, 900.0))
    with pytest.raises(DataError, match="5 of 20 photos cannot be aligned: 5 no part"):
        chosen([*paths, *empty], "align")


@pytest.mark.parametrize(("asked", "share"), [("stretch", 0.9), ("auto", 0.9), ("crop", 0.0), ("crop", 1.5)])
def test_a_crop_share_that_cannot_be_is_refused(asked: AskedGeometry, share: float) -> None:
    with pytest.raises(UsageError, match="crop share"):
        choose_geometry([], PhotoSpec(), asked, 64, 32, share)


def test_a_part_that_fills_its_box_is_left_on_its_ground_where_each_picture_is_normalised(tmp_path: Path) -> None:
    paths = write_parts(tmp_path, ANY_ANGLE)  # about a third of the box is the part

    def geometry(asked: AskedGeometry, most_part_share: float) -> str:
        found = choose_geometry(paths, measure_photos(paths), asked, 128, 32, most_part_share=most_part_share)
        return found.photos.geometry

    assert [geometry("auto", share) for share in (0.25, 0.4)] == ["stretch", "align"]
    assert geometry("align", 0.25) == "align"
    normalised = parse_parameters("patch-gaussian", {"input_normalisation": "picture"})
    assert normalised.most_part_share < parse_parameters("patch-gaussian", {}).most_part_share == 1.0
