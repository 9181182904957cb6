import logging

import cv2
import numpy as np
import pytest

from edge_ad.data.products import open_product
from edge_ad.data.samples import Sample, read_mask
from edge_ad.errors import DataError
from edge_ad.images import read_image


def test_mvtec_layout_is_opened_with_types_and_masks(mvtec):
    product = open_product(mvtec)
    assert product.name == "bolt"
    assert [path.name for path in product.good] == ["0.png", "1.png", "2.png"]
    assert [(s.defect_type, s.is_defective, s.mask_path and s.mask_path.name) for s in product.test] == [
        ("good", False, None),
        ("scratch", True, "0_mask.png"),
        ("scratch", True, "1.png"),
        ("unlabelled", True, None),
    ]


def test_a_flat_folder_holds_good_images_of_any_kind_and_size(tmp_path, write_image):
    write_image(tmp_path / "a.png", shape=(10, 20, 3))
    write_image(tmp_path / "b.JPG", shape=(200, 15))  # grey
    write_image(tmp_path / "._b.jpg")
    (tmp_path / "notes.txt").write_text("not an image, and not asked to be one")
    product = open_product(tmp_path)
    assert [path.name for path in product.good] == ["a.png", "b.JPG"]
    assert product.test == ()
    assert read_image(product.good[1]).shape == (200, 15, 3)


def test_unreadable_files_are_named_and_counted(mvtec):
    (mvtec / "train" / "good" / "1.png").write_bytes(b"")
    mask = mvtec / "ground_truth" / "scratch" / "0_mask.png"
    mask.write_bytes(mask.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"2 of 9 image files") as raised:
        open_product(mvtec)
    assert "train/good/1.png" in raised.value.message
    assert "ground_truth/scratch/0_mask.png" in raised.value.message
    assert "--skip-unreadable" in raised.value.hint


def test_skipping_leaves_unreadable_files_out_and_logs_them(mvtec, caplog):
    (mvtec / "train" / "good" / "1.png").write_bytes(b"")
    (mvtec / "ground_truth" / "scratch" / "0_mask.png").write_bytes(b"text")
    with caplog.at_level(logging.WARNING):
        product = open_product(mvtec, skip_unreadable=True)
    assert [path.name for path in product.good] == ["0.png", "2.png"]
    assert [(s.defect_type, s.path.name) for s in product.test if s.defect_type == "scratch"] == [("scratch", "1.png")]
    assert [path.name for path in product.skipped] == ["0_mask.png", "1.png"]
    assert sum(record.getMessage().startswith("Skipped: ") for record in caplog.records) == 2
    assert product.remarks[0] == f"2 image files of {mvtec} were left out: they cannot be read or judged."


def test_nothing_left_after_skipping_is_an_error(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(DataError, match="None of the 1 images"):
        open_product(tmp_path, skip_unreadable=True)


def test_a_missing_or_empty_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="No such folder"):
        open_product(tmp_path / "nowhere")
    with pytest.raises(DataError, match="No images of good parts"):
        open_product(tmp_path)


def test_a_folder_of_products_names_them(mvtec):
    with pytest.raises(DataError) as raised:
        open_product(mvtec.parent)
    assert "bolt" in raised.value.hint


def test_masks_are_resized_and_good_parts_have_an_empty_one(mvtec):
    good, scratch, _, unlabelled = open_product(mvtec).test
    assert not read_mask(good, (48, 64)).any()
    mask = read_mask(scratch, (48, 64))
    expected = np.zeros((48, 64), bool)
    expected[8:16, 20:40] = True
    np.testing.assert_array_equal(mask, expected)
    with pytest.raises(DataError, match="No mask"):
        read_mask(unlabelled, (48, 64))


@pytest.mark.parametrize("pixel", [(0, 0), (101, 333), (511, 511)])
def test_a_one_pixel_defect_survives_shrinking(tmp_path, pixel):
    mask = np.zeros((512, 512), np.uint8)
    mask[pixel] = 255
    path = tmp_path / "mask.png"
    cv2.imwrite(str(path), mask)
    assert read_mask(Sample(path, True, "speck", path), (64, 64)).sum() == 1


@pytest.mark.data
def test_every_real_product_opens_with_masks_where_there_are_any(data_root):
    opened = 0
    for root in sorted(path for path in data_root.iterdir() if path.is_dir() and path.name != "textures"):
        product = open_product(root)
        assert len(product.good) >= 8, root.name
        assert {sample.is_defective for sample in product.test} == {False, True}, root.name
        masks = [sample for sample in product.test if sample.mask_path]
        for sample in masks[:3]:
            assert read_mask(sample, (256, 256)).any(), sample.path
        opened += 1
    assert opened
