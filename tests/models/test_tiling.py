from typing import Any

import numpy as np
import pytest
import torch

from edge_ad.calibration.graph_runner import run_graph
from edge_ad.errors import UsageError
from edge_ad.export.onnx_export import export_onnx
from edge_ad.models.registry import create_detector, restore_detector
from edge_ad.models.tiling import choose_tiles, parse_tiles, spans
from edge_ad.training.runs import torch_predictor

SIZE_HW = (256, 384)


def gaussian(tiles: str, **values: Any) -> torch.nn.Module:
    return create_detector(
        "patch-gaussian", {"size": SIZE_HW, "weights": "random", "tiles": tiles, "rank": 2, **values}
    )


def pictures(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *SIZE_HW, 3), np.uint8)


@pytest.mark.parametrize(("given", "tiles"), [("auto", "auto"), ("3x4", (3, 4)), ([1, 2], (1, 2)), ("2×2", (2, 2))])
def test_tiles_are_auto_or_rows_by_columns(given: object, tiles: object) -> None:
    assert parse_tiles(given) == tiles


@pytest.mark.parametrize("given", ["", "3", "0x2", "9x9", 4, None, "axb"])
def test_what_are_no_tiles_is_refused(given: object) -> None:
    with pytest.raises(ValueError, match=r"auto, or rows|at most 64"):
        parse_tiles(given)


@pytest.mark.parametrize(
    ("size_hw", "tiles"), [((256, 256), (1, 1)), ((1024, 1024), (1, 1)), ((3008, 4096), (3, 4)), ((512, 8192), (1, 4))]
)
def test_auto_keeps_each_tile_below_a_million_pixels(size_hw: tuple[int, int], tiles: tuple[int, int]) -> None:
    assert choose_tiles("auto", size_hw) == tiles


@pytest.mark.parametrize("count", [1, 2, 3, 7, 50])
def test_what_is_a_tiles_own_covers_the_axis_once(count: int) -> None:
    parts = spans(416, count, 16)
    assert [part.own_start for part in parts] == [0, *(part.own_end for part in parts[:-1])]
    assert parts[-1].own_end == 416
    for part in parts:
        assert part.start == max(0, part.own_start - 128)
        assert part.end == min(416, part.own_end + 128)
        assert all(border % 16 == 0 for border in part)


def test_features_of_tiles_are_those_of_the_whole_picture_without_a_seam() -> None:
    whole, tiled = gaussian("1x1"), gaussian("2x2")
    images = torch.from_numpy(pictures(2)).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        expected, found = whole.backbone(images), tiled.backbone(images)  # type: ignore[operator]
    assert found.shape == expected.shape
    error = (found - expected).abs().mean((0, 1)) / expected.std()
    assert error.mean() < 0.002
    seam = torch.cat([error[14:18].flatten(), error[:, 22:26].flatten()])
    assert seam.max() < 0.02


def test_the_exported_graph_of_tiles_is_one_graph_that_gives_the_detectors_numbers() -> None:
    detector = gaussian("2x3")
    model = export_onnx(detector)  # type: ignore[arg-type]
    images = pictures(2)
    names = [node.name for node in model.graph.node]
    assert len(set(names)) == len(names)
    for found, expected in zip(run_graph(model, images), torch_predictor(detector)(images), strict=True):  # type: ignore[arg-type]
        assert found.score == pytest.approx(expected.score, rel=1e-3)
        np.testing.assert_allclose(found.anomaly_map, expected.anomaly_map, atol=1e-3 * expected.anomaly_map.max())


def test_weights_are_stored_once_whatever_the_tiles() -> None:
    sizes = [len(export_onnx(gaussian(tiles)).SerializeToString()) for tiles in ("1x1", "2x2")]  # type: ignore[arg-type]
    assert sizes[1] < 1.1 * sizes[0]


def test_matching_and_tiles_exclude_each_other() -> None:
    with pytest.raises(UsageError, match="tile by tile"):
        gaussian("2x2", matching="moments")


def test_a_run_of_before_is_not_cut_into_tiles() -> None:
    values = {"size": 2048, "weights": "random", "bank": 10}
    new = create_detector("patch-nearest", values)
    old = restore_detector("patch-nearest", values, new.state_dict())
    assert [len(axis) for axis in new.backbone.tiles] == [2, 2]  # type: ignore[union-attr, arg-type]
    assert [len(axis) for axis in old.backbone.tiles] == [1, 1]  # type: ignore[union-attr, arg-type]
