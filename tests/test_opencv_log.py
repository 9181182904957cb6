"""OpenCV's log is switched off with what each version offers."""

from types import SimpleNamespace

import cv2
import pytest

from edge_ad.opencv_log import silence_opencv


@pytest.mark.parametrize("has_utils", [True, False])
def test_opencv_4_is_silenced_by_its_own_function(monkeypatch: pytest.MonkeyPatch, has_utils: bool) -> None:
    levels: list[int] = []
    if has_utils:
        monkeypatch.setattr(cv2, "utils", SimpleNamespace())
    else:
        monkeypatch.delattr(cv2, "utils", raising=False)
    monkeypatch.setattr(cv2, "setLogLevel", levels.append, raising=False)
    silence_opencv()
    assert levels == [0]


def test_opencv_5_is_silenced_by_its_logging_module(monkeypatch: pytest.MonkeyPatch) -> None:
    levels: list[int] = []
    monkeypatch.delattr(cv2, "setLogLevel", raising=False)
    monkeypatch.setattr(cv2, "utils", SimpleNamespace(logging=SimpleNamespace(setLogLevel=levels.append)))
    silence_opencv()
    assert levels == [0]


def test_a_build_without_a_log_level_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(cv2, "setLogLevel", raising=False)
    monkeypatch.setattr(cv2, "utils", SimpleNamespace())
    silence_opencv()
