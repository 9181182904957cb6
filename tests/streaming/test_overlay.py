"""The picture the operator sees."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_ad.prediction import Prediction, Verdict
from edge_ad.streaming.frame import Frame, Result
from edge_ad.streaming.overlay import draw_overlay


def _result(size_hw: tuple[int, int], score: float, *, latency_ms: float = 8.0) -> Result:
    anomaly_map = np.zeros((16, 16), np.float32)
    anomaly_map[6:10, 6:10] = score
    frame = Frame(3, np.full((*size_hw, 3), 90, np.uint8), 0.0, 0.0, 1.0)
    return Result(frame, Prediction(score, anomaly_map), Verdict.of(score, 1.0), 0.0, latency_ms, 9.0)


def _pill(picture: NDArray[np.uint8]) -> tuple[int, ...]:
    return tuple(int(value) for value in picture[2, 2])


@pytest.mark.parametrize("size_hw", [(480, 640), (720, 1280), (64, 64), (65, 97), (1080, 400)])
def test_picture_holds_the_whole_frame_at_even_height(size_hw: tuple[int, int]) -> None:
    picture = draw_overlay(_result(size_hw, 0.0), fps=30.0)
    assert picture.dtype == np.uint8
    factor = picture.shape[1] // size_hw[1]
    assert picture.shape[1] == factor * size_hw[1]
    strips = picture.shape[0] - factor * size_hw[0]
    assert 0 < strips < 0.25 * picture.shape[0]
    assert strips % 2 == 0
    assert min(picture.shape[:2]) >= 320


def test_frame_of_a_good_part_keeps_its_pixels() -> None:
    picture = draw_overlay(_result((480, 640), 0.0), fps=30.0)
    assert (picture[100:500, 50:600] == 90).all()


def test_verdict_has_its_colour() -> None:
    blue, green, red = _pill(draw_overlay(_result((480, 640), 0.5), fps=30.0))
    assert green > max(blue, red)
    blue, green, red = _pill(draw_overlay(_result((480, 640), 2.0), fps=30.0))
    assert red > max(blue, green)


def test_defect_is_painted_and_outlined() -> None:
    good = draw_overlay(_result((480, 640), 0.0), fps=30.0)
    bad = draw_overlay(_result((480, 640), 3.0), fps=30.0)
    changed = (good[60:-32] != bad[60:-32]).any(axis=2)
    rows, columns = np.nonzero(changed)
    assert 120 < rows.mean() < 360
    assert 0.01 < changed.mean() < 0.3
    assert (bad[60:-32] == (0, 0, 255)).all(axis=2).any()
    assert 200 < columns.mean() < 440


def test_rate_and_latency_are_written() -> None:
    footers = [
        draw_overlay(_result((480, 640), 0.0, latency_ms=latency_ms), fps=fps)[-32:].tobytes()
        for fps, latency_ms in ((30.0, 8.0), (31.0, 8.0), (30.0, 9.0))
    ]
    assert len(set(footers)) == 3


@pytest.mark.parametrize("score", [float("inf"), float("nan"), 1e-9, 1e9])
def test_strange_scores_are_drawn(score: float) -> None:
    assert draw_overlay(_result((64, 64), score), fps=0.0).size > 0


def test_frame_itself_is_not_drawn_on() -> None:
    result = _result((480, 640), 2.0)
    draw_overlay(result, fps=30.0)
    assert (result.frame.image == 90).all()
