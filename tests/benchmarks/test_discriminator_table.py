"""The table of detectors on patch features: how rows are named, resumed and shown."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from benchmarks import discriminator_table as table
from benchmarks.suites.accuracy_suite import split_method
from benchmarks.suites.record import read_lines
from edge_ad.data.pseudo_defects import KINDS
from edge_ad.models import create_detector, method_names, parse_parameters


@pytest.fixture
def product(tmp_path: Path) -> Path:
    """MVTec layout: 14 good squares, and a test set with a stain on half of them."""
    rng = np.random.default_rng(0)
    for folder, count in (("train/good", 14), ("test/good", 3), ("test/stain", 3), ("ground_truth/stain", 3)):
        (tmp_path / "squares" / folder).mkdir(parents=True)
        for index in range(count):
            image = np.full((64, 64, 3), 90, np.uint8)
            image[16:48, 16 + index % 3 : 48 + index % 3] = 180
            image = cv2.add(image, rng.integers(0, 20, image.shape, dtype=np.uint8))
            if folder == "test/stain":
                image[24:36, 24:36] = (0, 0, 255)
            if folder == "ground_truth/stain":
                image[:] = 0
                image[24:36, 24:36] = 255
            cv2.imwrite(str(tmp_path / "squares" / folder / f"{index:02d}.png"), image)
    return tmp_path / "squares"


def test_rows_are_measured_once_and_averaged_over_seeds(
    product: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "rows.jsonl"
    methods = ["patch-gaussian:levels=8,16,rank=3", "simplenet:hidden=8,epochs=2"]
    arguments = ["--data", str(product), "--out", str(out), "--size", "64", "--workers", "0", "--methods", *methods]
    table.main([*arguments, "--seeds", "0"])
    first = read_lines(out)
    assert [row["method"] for row in first] == methods
    assert first[0]["image_auroc"] == 1.0
    assert all(0 <= row[name] <= 1 for row in first for name in table.COLUMNS if name != "seconds")
    table.main([*arguments, "--seeds", "0", "1"])
    rows = read_lines(out)
    assert rows[:2] == first
    assert [row["seed"] for row in rows] == [0, 0, 1, 1]
    capsys.readouterr()
    table.main(["--show", str(out)])
    shown = capsys.readouterr().out
    assert shown.count("±") == 2 * len(table.COLUMNS)
    assert "| squares | 64 | 1.0 | simplenet:hidden=8,epochs=2 | 2 |" in shown


def test_a_share_of_the_images_is_a_row_of_its_own(product: Path, tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    arguments = ["--data", str(product), "--out", str(out), "--size", "64", "--workers", "0"]
    arguments += ["--methods", "patch-nearest:bank=20"]
    table.main(arguments)
    table.main([*arguments, "--share", "0.4"])
    assert [row["share"] for row in read_lines(out)] == [1.0, 0.4]


@pytest.mark.parametrize("method", [*table.METHODS, *(name for group in table.ABLATIONS.values() for name in group)])
def test_every_method_of_the_table_exists_and_takes_its_parameters(method: str) -> None:
    name, values = split_method(method)
    assert name in method_names()
    parse_parameters(name, values)


def test_values_may_hold_commas() -> None:
    assert split_method("simplenet:levels=4,8,16,noise=0.3") == ("simplenet", {"levels": "4,8,16", "noise": "0.3"})


def test_the_unseen_column_leaves_kinds_to_learn_from() -> None:
    assert set(table.UNSEEN) < set(KINDS)
    others = ",".join(kind for kind in KINDS if kind not in table.UNSEEN)
    assert others == "perlin,cutpaste,blur"  # as the table says how to learn without it
    assert parse_parameters("patch-metric", {"kinds": others})


def test_rows_of_one_backbone_with_other_weights_have_other_features() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    one, other = (create_detector("patch-gaussian", {"size": 64}) for _ in range(2))
    first = next(other.backbone.parameters())
    with torch.no_grad():
        first.mul_(2.0)  # as another file of weights of the same backbone
    features, others = table.features_of(one, images), table.features_of(other, images)
    assert not torch.equal(features, others)
    assert torch.equal(features, table.features_of(create_detector("patch-gaussian", {"size": 64, "seed": 3}), images))
