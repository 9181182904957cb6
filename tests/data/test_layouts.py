"""How products' folders are arranged, as people really arrange them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from edge_ad.data.products import Folders, open_product
from edge_ad.data.splits import content_hash
from edge_ad.errors import DataError


@pytest.fixture
def fill(write_image):
    """Write some photos, each another, into a folder."""
    numbers = iter(range(10_000))

    def write(folder: Path, count: int, ending: str = ".png") -> Path:
        for index in range(count):
            write_image(folder / f"{index:03d}{ending}", next(numbers))
        return folder

    return write


@pytest.mark.parametrize("name", ["good", "ok", "OK", "Normal", "PASS", "passed"])
def test_good_parts_have_one_list_of_names_for_train_and_test(tmp_path: Path, fill, name: str) -> None:
    fill(tmp_path / "train" / name, 3)
    fill(tmp_path / "test" / name, 2)
    fill(tmp_path / "test" / "ko", 2)
    product = open_product(tmp_path)
    assert len(product.good) == 3
    assert [sample.defect_type for sample in product.test].count("good") == 2
    assert sum(sample.is_defective for sample in product.test) == 2


@pytest.mark.parametrize(
    "name",
    [".ipynb_checkpoints", "__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found", "#recycle"],
)
def test_folders_of_a_system_are_nobodys_photos(tmp_path: Path, fill, name: str) -> None:
    for folder in ("train/good", "test/good", "test/dent"):
        fill(tmp_path / folder, 2)
        fill(tmp_path / folder / name, 1)
        (tmp_path / folder / "._000.png").write_bytes(b"\0\5\x16\7")
    fill(tmp_path / "test" / name, 2)
    product = open_product(tmp_path)
    assert (len(product.good), len(product.test)) == (2, 4)
    assert all("Left out" not in remark for remark in product.remarks)


def test_photos_in_folders_of_good_parts_are_trained_on_and_other_endings_are_told(tmp_path: Path, fill) -> None:
    fill(tmp_path / "train/good", 2)
    fill(tmp_path / "train/good/line1/monday", 3, ".jpg")
    for number in range(4):
        (tmp_path / "train/good" / f"{number}.jp2").write_bytes(b"\0")
    fill(tmp_path / "validation/good", 2)
    product = open_product(tmp_path)
    assert len(product.good) == 5
    (remark,) = product.remarks
    assert "4 of ending .jp2 in train/good" in remark
    assert "2 photos in validation" in remark


def test_jfif_is_a_photo(tmp_path: Path, write_image) -> None:
    (write_image(tmp_path / "a.jpg")).rename(tmp_path / "a.JFIF")
    assert [path.name for path in open_product(tmp_path).good] == ["a.JFIF"]


@pytest.mark.parametrize("name", ["NG", "defects", "masks", "test", "Anomaly"])
def test_photos_beside_a_folder_that_is_not_of_good_parts_are_refused(tmp_path: Path, fill, name: str) -> None:
    fill(tmp_path, 4)
    fill(tmp_path / name, 3)
    with pytest.raises(DataError, match=rf"{name} \(3 photos\)"):
        open_product(tmp_path, part="good")
    fill(tmp_path / "other" / "good", 4)
    shutil.move(str(tmp_path / name), str(tmp_path / "other" / "good" / "NG"))
    with pytest.raises(DataError, match="seem to be good parts: NG"):
        open_product(None, Folders(good=(tmp_path / "other" / "good",)), part="good")


def test_other_folders_beside_photos_are_told(tmp_path: Path, fill) -> None:
    fill(tmp_path, 4)
    fill(tmp_path / "scratch", 3)
    product = open_product(tmp_path)
    assert len(product.good) == 4
    assert "3 photos in the folders inside it (scratch)" in product.remarks[0]


def test_links_that_lead_back_or_nowhere_end(tmp_path: Path, fill) -> None:
    fill(tmp_path / "train/good", 2)
    (tmp_path / "train/good/again").symlink_to(tmp_path / "train/good", target_is_directory=True)
    (tmp_path / "train/good/gone.png").symlink_to(tmp_path / "nowhere.png")
    fill(tmp_path / "disk", 3)
    (tmp_path / "train/good/disk").symlink_to(tmp_path / "disk", target_is_directory=True)
    product = open_product(tmp_path)
    assert len(product.good) == 5
    assert "2 links that lead nowhere or back" in product.remarks[0]


def test_a_folder_with_only_test_photos_is_evaluated(tmp_path: Path, fill) -> None:
    fill(tmp_path / "test/ok", 2)
    fill(tmp_path / "test/ko", 3)
    assert len(open_product(tmp_path, part="test").test) == 5
    with pytest.raises(DataError, match="No images of good parts"):
        open_product(tmp_path, part="good")


def test_what_one_command_does_not_need_does_not_stop_it(tmp_path: Path, fill) -> None:
    for folder in ("train/good/rgb", "train/good/gt", "test/good", "test/cut/rgb"):
        fill(tmp_path / folder, 2)
    assert len(open_product(tmp_path, part="test").test) == 4
    with pytest.raises(DataError, match="train/good/gt"):
        open_product(tmp_path, part="good")
    shutil.rmtree(tmp_path / "train/good/gt")
    fill(tmp_path / "test/cut/ok", 2)
    assert len(open_product(tmp_path, part="good").good) == 2
    with pytest.raises(DataError, match="test/cut/ok"):
        open_product(tmp_path, part="test")


def test_a_bad_test_photo_does_not_matter_to_training(mvtec: Path) -> None:
    (mvtec / "test/good/0.png").write_bytes(b"")
    (mvtec / "ground_truth/scratch/0_gt.png").write_bytes(b"two masks of one photo")
    assert len(open_product(mvtec, part="good").good) == 3
    with pytest.raises(DataError):
        open_product(mvtec, part="test")


@pytest.mark.parametrize(
    ("good", "bad"), [("OK", "NG"), ("Data/Images/Normal", "Data/Images/Anomaly"), ("good", "bad")]
)
def test_good_photos_that_no_folder_splits_are_never_trained_on_and_tested_with(
    tmp_path: Path, fill, good: str, bad: str
) -> None:
    fill(tmp_path / good, 20)
    fill(tmp_path / bad / "dent", 2)
    fill(tmp_path / bad / "scratch", 2)
    trained = open_product(tmp_path, part="good")
    assert len(trained.good) == 16
    assert "4 of 20 good photos are held out" in trained.remarks[0]
    hashes = {content_hash(path) for path in trained.good}
    fill(tmp_path / good / "later", 5)  # which moves the fifth that is held out
    tested = open_product(tmp_path, part="test", trained_on=hashes)
    kinds = [sample.defect_type for sample in tested.test]
    assert (kinds.count("good"), kinds.count("dent"), kinds.count("scratch")) == (9, 2, 2)
    assert not {sample.path for sample in tested.test} & set(trained.good)


def test_few_good_photos_are_all_trained_on(tmp_path: Path, fill) -> None:
    fill(tmp_path / "OK", 8)
    fill(tmp_path / "NG", 2)
    assert len(open_product(tmp_path, part="good").good) == 8


def test_unknown_folders_are_named_with_their_photos_and_can_be_given(tmp_path: Path, fill) -> None:
    fill(tmp_path / "gut" / "cam1", 10)
    fill(tmp_path / "gut" / "cam2", 6)
    fill(tmp_path / "schrott", 3)
    with pytest.raises(DataError) as raised:
        open_product(tmp_path)
    assert "gut/cam1 (10 photos), gut/cam2 (6 photos), schrott (3 photos)" in raised.value.hint
    folders = Folders(good=(tmp_path / "gut/cam1", tmp_path / "gut/cam2"), defects=(tmp_path / "schrott",))
    product = open_product(tmp_path, folders)
    assert (len(product.good), product.root) == (13, tmp_path)
    assert [sample.defect_type for sample in product.test] == ["good"] * 3 + ["schrott"] * 3
    alone = open_product(None, Folders(good=folders.good), part="good")
    assert (len(alone.good), alone.root) == (16, tmp_path / "gut")
    with pytest.raises(DataError, match="No such folder"):
        open_product(None, Folders(good=(tmp_path / "nowhere",)))


def test_all_good_photos_of_a_further_folder_are_trained_on_and_its_defects_tested(tmp_path: Path, fill) -> None:
    fill(tmp_path / "line/OK", 10)
    fill(tmp_path / "line/NG/scratch", 2)
    fill(tmp_path / "corrected/good", 5)
    fill(tmp_path / "corrected/defect", 1)
    folders = Folders(more=(tmp_path / "corrected",))
    product = open_product(tmp_path / "line", folders)
    assert (product.name, product.root) == ("line", tmp_path / "line")
    assert [path.parent.name for path in product.good] == ["OK"] * 8 + ["good"] * 5
    assert [sample.defect_type for sample in product.test] == ["good"] * 2 + ["scratch"] * 2 + ["defect"]
    only_missed = tmp_path / "missed"
    fill(only_missed / "defect", 1)
    (only_missed / "good").mkdir()
    assert len(open_product(tmp_path / "line", Folders(more=(only_missed,)), part="good").good) == 8


def test_named_defects_inside_the_named_good_folder_are_not_good(tmp_path: Path, fill) -> None:
    fill(tmp_path, 10)
    fill(tmp_path / "NG", 2)
    product = open_product(None, Folders(good=(tmp_path,), defects=(tmp_path / "NG",)))
    assert len(product.good) == 8
    assert not any("NG" in path.parts for path in product.good)


def test_the_split_file_of_visa_is_followed(tmp_path: Path, fill) -> None:
    root = tmp_path / "candle"
    fill(root / "Data/Images/Normal", 5, ".JPG")
    fill(root / "Data/Images/Anomaly", 2, ".JPG")
    fill(root / "Data/Masks/Anomaly", 2)
    rows = ["object,split,label,image,mask", "pcb1,train,normal,pcb1/Data/Images/Normal/000.JPG,"]
    for index in range(5):
        part = "train" if index < 4 else "test"
        rows.append(f"candle,{part},normal,candle/Data/Images/Normal/{index:03d}.JPG,")
    rows.append("candle,test,anomaly,candle/Data/Images/Anomaly/001.JPG,candle/Data/Masks/Anomaly/001.png")
    (tmp_path / "split_csv").mkdir()
    split = tmp_path / "split_csv" / "1cls.csv"
    split.write_text("\n".join(rows) + "\n")
    product = open_product(root)
    assert [path.name for path in product.good] == ["000.JPG", "001.JPG", "002.JPG", "003.JPG"]
    assert [(sample.path.name, sample.mask_path and sample.mask_path.name) for sample in product.test] == [
        ("004.JPG", None),
        ("001.JPG", "001.png"),
    ]
    split.write_text("\n".join([*rows, "candle,train,normal,candle/../secret/0.png,"]))
    with pytest.raises(DataError, match="not in"):
        open_product(root)


def test_a_product_that_is_one_of_good_photos_only_is_read_with_all_inside(tmp_path: Path, fill) -> None:
    fill(tmp_path / "good" / "cam1", 3)
    fill(tmp_path / "good" / "cam2", 3)
    assert len(open_product(tmp_path / "good").good) == 6


@pytest.mark.parametrize("name", ["OK", "good", "IO", "gut"])
def test_a_folder_with_nothing_but_good_parts_in_a_folder_is_trained_on(tmp_path: Path, fill, name: str) -> None:
    fill(tmp_path / name, 3)
    (tmp_path / "notes").mkdir()
    assert len(open_product(tmp_path, part="good").good) == 3
    fill(tmp_path / "scratch", 2)  # may be the folder of the test photos
    with pytest.raises(DataError, match="No images of good parts"):
        open_product(tmp_path, part="good")


@pytest.mark.parametrize(("good", "bad"), [("gut", "schlecht"), ("IO", "NIO"), ("i.O.", "n.i.O."), ("OK", "scrap")])
def test_names_of_good_and_defective_parts_come_in_pairs(tmp_path: Path, fill, good: str, bad: str) -> None:
    root = tmp_path / "gut"  # the name of the product's folder says nothing of what is in it
    fill(root / good, 10)
    fill(root / bad, 3)
    product = open_product(root)
    assert {path.parent.name for path in product.good} == {good}
    assert sum(sample.is_defective for sample in product.test) == 3
