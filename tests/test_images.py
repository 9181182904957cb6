from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_ad.errors import DataError
from edge_ad.images import read_image, read_resized, resize


@pytest.fixture(scope="module")
def photo():
    """Smooth shading, edges and grain in known proportions; odd sides."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:301, 0:403].astype(np.float32)
    image = 110 + 60 * np.sin(x / 37) * np.cos(y / 23) + 40 * (np.hypot(x - 200, y - 150) < 90)
    image = image[..., None] + rng.normal(0, 12, (301, 403, 3))
    return np.clip(image, 0, 255).astype(np.uint8)


def encoded(image, suffix):
    return cv2.imencode(suffix, image)[1].tobytes()


def area_average(image, size_hw):
    return cv2.resize(image, size_hw[::-1], interpolation=cv2.INTER_AREA).astype(np.float32)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff"])
def test_lossless_files_are_read_exactly(tmp_path, photo, suffix):
    path = tmp_path / f"photo{suffix}"
    path.write_bytes(encoded(photo, suffix))
    np.testing.assert_array_equal(read_image(path), photo)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tiff"])
@pytest.mark.parametrize("kept", [0.02, 0.3, 0.7, 0.99])
def test_a_truncated_file_is_refused_by_name(tmp_path, photo, suffix, kept):
    content = encoded(photo, suffix)
    path = tmp_path / f"half{suffix}"
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(DataError, match=path.name):
        read_image(path)


def test_a_png_with_a_flipped_bit_in_its_pixels_is_refused(tmp_path, photo):
    content = bytearray(encoded(photo, ".png"))
    content[len(content) // 2] ^= 1
    path = tmp_path / "flipped.png"
    path.write_bytes(content)
    with pytest.raises(DataError, match="truncated or damaged"):
        read_image(path)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "is empty"),
        (b"just some text\n", "Not an image"),
        (b"\x89PNG\r\n\x1a\n", "truncated"),
        (b"BM", "truncated"),
    ],
)
def test_what_is_no_image_is_refused(tmp_path, content, what):
    path = tmp_path / "photo.png"
    path.write_bytes(content)
    with pytest.raises(DataError, match=what):
        read_image(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(DataError, match="No such image"):
        read_image(tmp_path / "none.png")
    with pytest.raises(DataError, match="cannot be read"):
        read_image(tmp_path)


@settings(max_examples=60)
@given(
    content=st.binary(max_size=200), signature=st.sampled_from([b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"II*\0"])
)
def test_random_bytes_behind_a_signature_never_crash(tmp_path_factory, content, signature):
    path = tmp_path_factory.getbasetemp() / "fuzz"
    path.write_bytes(signature + content)
    with pytest.raises(DataError):
        read_image(path)


def test_grey_becomes_three_equal_channels(tmp_path, photo):
    path = tmp_path / "grey.png"
    path.write_bytes(encoded(photo[..., 0], ".png"))
    np.testing.assert_array_equal(read_image(path), np.repeat(photo[..., :1], 3, axis=2))


def test_alpha_is_dropped(tmp_path, photo):
    path = tmp_path / "alpha.png"
    path.write_bytes(encoded(np.dstack([photo, np.full(photo.shape[:2], 7, np.uint8)]), ".png"))
    np.testing.assert_array_equal(read_image(path), photo)


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_sixteen_bits_keep_their_high_byte(tmp_path, photo, suffix):
    path = tmp_path / f"deep{suffix}"
    path.write_bytes(encoded(photo.astype(np.uint16) * 256 + 255, suffix))
    np.testing.assert_array_equal(read_image(path), photo)


def test_floating_point_pixels_are_refused(tmp_path, photo):
    path = tmp_path / "float.tiff"
    path.write_bytes(encoded(photo.astype(np.float32), ".tiff"))
    with pytest.raises(DataError, match="no fixed range"):
        read_image(path)


sides = st.integers(1, 300)


@settings(max_examples=120)
@given(height=sides, width=sides, to_height=sides, to_width=sides, level=st.integers(0, 255))
def test_a_constant_image_stays_constant_at_any_size(height, width, to_height, to_width, level):
    resized = resize(np.full((height, width, 3), level, np.uint8), (to_height, to_width))
    assert resized.shape == (to_height, to_width, 3)
    assert resized.dtype == np.uint8
    assert np.abs(resized.astype(int) - level).max() == 0


def test_the_right_size_is_returned_as_it_is(photo):
    assert resize(photo, photo.shape[:2]) is photo


def one_step_after_another(image, size_hw):
    """The same resizing with new images in between; for photos that shrink to at most half."""
    height, width = size_hw
    while image.shape[0] >= 2 * height and image.shape[1] >= 2 * width:
        image = cv2.resize(image, (image.shape[1] // 2, image.shape[0] // 2), interpolation=cv2.INTER_AREA)
    if image.shape[:2] != size_hw:
        image = cv2.resize(image, (2 * width, 2 * height), interpolation=cv2.INTER_LINEAR)
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return image


@settings(max_examples=40, deadline=None)
@given(sizes=st.lists(st.tuples(st.integers(130, 420), st.integers(130, 420)), min_size=2, max_size=12), seed=sides)
def test_what_a_thread_keeps_between_images_never_shows_in_a_result(sizes, seed):
    draw = np.random.default_rng(seed)
    images = [draw.integers(0, 256, (*size, 3), np.uint8) for size in sizes]
    results = [resize(image, (64, 60)) for image in images]
    for image, result in zip(images, results, strict=True):
        np.testing.assert_array_equal(result, one_step_after_another(image, (64, 60)))


def test_threads_do_not_share_what_they_keep():
    images = [np.full((720, 1280, 3), level, np.uint8) for level in range(0, 240, 8)]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda image: resize(image, (256, 256)), images * 4))
    for image, result in zip(images * 4, results, strict=True):
        assert (result == image[0, 0]).all()


@pytest.mark.parametrize("size_hw", [(150, 201), (128, 128), (256, 256), (64, 96), (33, 77), (10, 10)])
def test_shrinking_is_close_to_the_exact_area_average(photo, size_hw):
    error = np.abs(resize(photo, size_hw).astype(np.float32) - area_average(photo, size_hw))
    assert error.mean() < 2.0


@pytest.mark.parametrize("row", range(200, 216))
def test_a_thin_bright_line_is_not_lost_wherever_it_lies(row):
    image = np.zeros((720, 1280, 3), np.uint8)
    image[row] = 255
    column = resize(image, (256, 256))[:, 128, 0].astype(float)
    # A row of 720 is 0.36 of a row of 256: that much light must arrive.
    assert column.sum() == pytest.approx(255 * 256 / 720, rel=0.25)


@pytest.mark.parametrize("shape", [(40, 4000), (4000, 40), (1, 2000), (300, 5000)])
def test_long_strips_are_averaged_along_their_length(shape):
    image = np.zeros((*shape, 3), np.uint8)
    stripes = [slice(None), slice(None)]
    stripes[int(np.argmax(shape))] = slice(None, None, 2)
    image[tuple(stripes)] = 255
    resized = resize(image, (128, 128))
    assert resized.shape == (128, 128, 3)
    assert abs(resized.mean() - 127.5) < 4
    assert resized.std() < 12


def test_many_files_become_one_array(tmp_path, photo):
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path, image in zip(paths, [photo, photo[::2]], strict=True):
        path.write_bytes(encoded(image, ".png"))
    images = read_resized(paths, (64, 48))
    assert images.shape == (2, 64, 48, 3)
    np.testing.assert_array_equal(images[1], resize(photo[::2], (64, 48)))


@pytest.mark.parametrize(("suffix", "channels"), [(".pgm", 1), (".ppm", 3)])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_pgm_and_ppm_are_read_as_the_same_picture_in_png(tmp_path, suffix, channels, kind):
    image = np.random.default_rng(0).integers(0, np.iinfo(kind).max, (20, 30, channels), kind)
    for ending in (suffix, ".png"):
        (tmp_path / f"a{ending}").write_bytes(encoded(image, ending))
    np.testing.assert_array_equal(read_image(tmp_path / f"a{suffix}"), read_image(tmp_path / "a.png"))


@pytest.mark.parametrize(
    "content",
    [b"P5 4 4 15 " + bytes(16), b"P2 2 2 255 1 2 3 4", b"P5 99999 99999 255 " + bytes(16), b"P6 4 4 255 " + bytes(47)],
)
def test_pgm_of_few_values_as_text_or_without_all_pixels_is_refused(tmp_path, content):
    (tmp_path / "a.pgm").write_bytes(content)
    with pytest.raises(DataError):
        read_image(tmp_path / "a.pgm")
