from dataclasses import astuple
from itertools import pairwise

import cv2
import numpy as np
import pytest

from edge_ad.data.products import open_product
from edge_ad.data.sample_product import DEFECT_KINDS, render_line_video, render_product
from edge_ad.data.sample_product.camera import LINE_CAMERA, Camera, record
from edge_ad.data.sample_product.camera import frames_of as camera_frames
from edge_ad.data.sample_product.scene import Scene
from edge_ad.data.samples import read_mask
from edge_ad.errors import StorageError, UsageError
from edge_ad.images import read_image, resize

SIZE = (96, 96)


@pytest.fixture(scope="module")
def product(tmp_path_factory):
    root = tmp_path_factory.mktemp("sample") / "flange"
    return render_product(root, good=4, test_good=2, defects_per_kind=2, size_hw=SIZE)


def frames_of(path):
    capture = cv2.VideoCapture(str(path))
    frames = []
    while (read := capture.read())[0]:
        frames.append(read[1])
    capture.release()
    return frames


def test_the_layout_opens_with_every_kind(product):
    assert open_product(product.root) == product
    assert len(product.good) == 4
    counts = {kind: sum(s.defect_type == kind for s in product.test) for kind in ("good", *DEFECT_KINDS)}
    assert counts == dict.fromkeys(("good", *DEFECT_KINDS), 2)
    assert len(DEFECT_KINDS) == 6
    assert read_image(product.good[0]).shape == (*SIZE, 3)


def test_the_same_seed_renders_the_same_files_and_another_seed_others(product, tmp_path):
    again, other = (
        render_product(tmp_path / str(seed), seed=seed, good=4, test_good=2, defects_per_kind=2, size_hw=SIZE)
        for seed in (0, 1)
    )
    for path in sorted(again.root.rglob("*.png")):
        name = path.relative_to(again.root)
        assert path.read_bytes() == (product.root / name).read_bytes(), name
    assert again.good[0].read_bytes() != other.good[0].read_bytes()


def test_no_two_photos_are_equal(product):
    contents = {path.read_bytes() for path in [*product.good, *(sample.path for sample in product.test)]}
    assert len(contents) == 4 + 2 + 12


def test_masks_are_binary_and_neither_invisible_nor_huge(product):
    for sample in product.test:
        if sample.is_defective:
            assert set(np.unique(read_image(sample.mask_path))) == {0, 255}
            assert 0.001 <= read_mask(sample, SIZE).mean() <= 0.03, sample.path


@pytest.mark.parametrize("kind", DEFECT_KINDS)
@pytest.mark.parametrize("seed", range(4))
def test_the_mask_is_where_the_photo_differs_from_the_good_part(kind, seed):
    scene = Scene((seed, 9), (128, 128))
    photo, mask = scene.defective(kind)
    change = np.abs(photo - scene.good()).max(axis=2)
    assert change[~mask].max() <= 6
    near = cv2.dilate((change > 6).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    assert near[mask].all()
    assert (change[mask] > 6).mean() > 0.7
    assert 0.001 <= mask.mean() <= 0.03


def test_a_larger_photo_shows_the_same_part():
    small, large = (Scene((3, 1), size).good() for size in ((128, 128), (256, 256)))
    shrunk = resize(np.rint(large).astype(np.uint8), (128, 128))
    assert np.abs(shrunk - small).mean() < 5


def test_a_folder_with_something_in_it_is_left_alone(tmp_path):
    (tmp_path / "precious.txt").write_text("kept")
    with pytest.raises(UsageError, match="not an empty folder"):
        render_product(tmp_path, good=1, test_good=0, defects_per_kind=0, size_hw=SIZE)
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


@pytest.mark.parametrize("wrong", [{"good": 0}, {"size_hw": (32, 256)}, {"size_hw": (65, 64)}])
def test_a_product_that_cannot_be_is_refused(tmp_path, wrong):
    with pytest.raises(UsageError):
        render_product(tmp_path / "product", **wrong)
    assert not (tmp_path / "product").exists()


def test_the_video_shows_what_it_says(tmp_path):
    path = tmp_path / "line.mp4"
    shown = render_line_video(path, seconds=9.5, fps=6, size_hw=(96, 128), seed=2)
    frames = frames_of(path)
    assert len(frames) == 57
    assert frames[0].shape == (96, 128, 3)
    assert [span.first_frame for span in shown] == [0, *(span.last_frame + 1 for span in shown[:-1])]
    assert shown[-1].last_frame == 56
    assert [span.is_defective for span in shown].count(True) == 6
    assert [frame for span in shown for frame in span.frames] == list(range(57))
    assert shown[0].kind == "good"
    assert {span.kind for span in shown} <= {"good", *DEFECT_KINDS}


def test_within_a_part_only_noise_changes_and_between_parts_all_does(tmp_path):
    path = tmp_path / "line.mp4"
    shown = render_line_video(path, seconds=3, fps=8, size_hw=(128, 128), seed=1)
    frames = [cv2.blur(frame, (3, 3)).astype(float) for frame in frames_of(path)]
    steps = np.array([np.abs(after - before).mean() for before, after in pairwise(frames)])
    cuts = [span.last_frame for span in shown[:-1]]
    assert steps[cuts].min() > 2 * np.delete(steps, cuts).max()
    assert np.delete(steps, cuts).max() > 0


def test_the_video_shows_the_defect_where_it_says_and_nowhere_else(tmp_path):
    path = tmp_path / "line.mp4"
    shown = render_line_video(path, seconds=5, fps=6, size_hw=(128, 128), seed=4)
    frames = frames_of(path)
    for part, span in enumerate(shown):
        good = Scene((4, 5, 1, part), (128, 128)).good()
        change = cv2.blur(np.abs(frames[span.last_frame] - good).max(axis=2), (5, 5))
        if not span.is_defective:
            assert span.defect_xywh is None
            assert change.max() < 15
            continue
        x, y, width, height = span.defect_xywh
        assert change[y : y + height, x : x + width].max() > 15
        change[max(0, y - 3) : y + height + 3, max(0, x - 3) : x + width + 3] = 0
        assert change.max() < 15


def recorded(camera, *, frames=1):
    scene = Scene((0, 7), (128, 128)).good()
    recording = record([(scene, frames)], (128, 128), camera, np.random.default_rng(0), fps=6)
    return [frame.astype(float) for frame in camera_frames(recording)]


def test_the_camera_records_what_it_sees_with_its_focus_and_compression():
    fine = recorded(Camera(focus_pixels=0.0, noise_levels=0.0, constant_rate_factor=10), frames=3)
    assert len(fine) == 3
    assert np.abs(fine[0] - Scene((0, 7), (128, 128)).good()).mean() < 4
    coarse, unsharp = (recorded(Camera(*values))[0] for values in ((0.0, 0.0, 40), (2.0, 0.0, 10)))
    assert np.abs(coarse - fine[0]).mean() > 2
    assert np.abs(cv2.Laplacian(unsharp, cv2.CV_64F)).mean() < np.abs(cv2.Laplacian(fine[0], cv2.CV_64F)).mean() / 1.5


def test_a_photo_is_a_frame_of_a_recording_of_the_line(product):
    photo = read_image(product.good[0]).astype(float)
    scene = Scene((0, 0, 0), SIZE).good()
    assert 0.2 < np.abs(photo - scene).mean() < 6


def test_the_lines_camera_is_within_what_the_photos_were_taken_with():
    rng = np.random.default_rng(0)
    drawn = np.array([astuple(Camera.draw(rng)) for _ in range(50)])
    line = np.array(astuple(LINE_CAMERA))
    assert (drawn.min(axis=0) < line).all()
    assert (line < drawn.max(axis=0)).all()


def test_the_video_is_rendered_the_same_again(tmp_path):
    first, second = (
        (render_line_video(tmp_path / name, seconds=2, fps=4, size_hw=(64, 64)), (tmp_path / name).read_bytes())
        for name in ("a.mp4", "b.mp4")
    )
    assert first[0] == second[0]
    np.testing.assert_array_equal(frames_of(tmp_path / "a.mp4"), frames_of(tmp_path / "b.mp4"))


def test_a_video_that_cannot_be_written_says_so_and_leaves_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        render_line_video(tmp_path / "file" / "line.mp4", seconds=1, fps=4, size_hw=(64, 64))
    (tmp_path / "line.mp4").mkdir()
    with pytest.raises(StorageError):
        render_line_video(tmp_path / "line.mp4", seconds=1, fps=4, size_hw=(64, 64))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "line.mp4"]


@pytest.mark.parametrize("wrong", [{"seconds": 0}, {"seconds": 1, "fps": 0}, {"seconds": 1, "size_hw": (65, 64)}])
def test_a_video_that_cannot_be_is_refused(tmp_path, wrong):
    with pytest.raises(UsageError):
        render_line_video(tmp_path / "line.mp4", **wrong)
    assert list(tmp_path.iterdir()) == []
