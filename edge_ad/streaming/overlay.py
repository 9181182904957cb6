"""The overlay for the operator: heat map, contour, verdict, score against its threshold, FPS and latency."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.heatmap import blend, contour
from edge_ad.prediction import Verdict
from edge_ad.streaming.frame import Result

__all__ = ["draw_overlay"]

_SMALLEST_SIDE = 320
_OK_BGR = (80, 175, 76)
_NG_BGR = (54, 54, 229)
_TEXT_BGR = (255, 255, 255)
_TRACK_BGR = (110, 110, 110)
_FONT = cv2.FONT_HERSHEY_DUPLEX
_STRIP_BGR = (48, 40, 36)

_Point = tuple[int, int]
_Colour = tuple[int, int, int]


def draw_overlay(result: Result, *, fps: float) -> NDArray[np.uint8]:
    """Draw a result on its frame, with a strip above and a strip below it: no part of the frame is covered.

    A frame that could not be judged is shown as it is.

    Args:
        result: A judged frame.
        fps: Frames per second to show; 0 shows none.

    Returns:
        uint8 (h, w, 3), BGR; a new array. The frame keeps its size, or is enlarged by a whole factor where its
        shorter side is below 320 pixels, so that the text can be read.
    """
    threshold, anomaly_map = result.verdict.threshold, result.prediction.anomaly_map
    frame = _enlarged(result.frame.image)
    if result.has_map:
        frame = contour(blend(frame, anomaly_map, threshold), anomaly_map, threshold)
    unit = min(frame.shape[:2]) / 480
    banner, footer = (_strip(frame.shape[1], height * unit) for height in (60, 32))
    _draw_banner(banner, result.verdict, unit)
    _draw_footer(footer, result, fps, unit)
    return np.concatenate((banner, frame, footer))


def _enlarged(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    factor = math.ceil(_SMALLEST_SIDE / min(image.shape[:2]))
    if factor <= 1:
        return image
    return np.asarray(cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC), np.uint8)


def _strip(width: int, height: float) -> NDArray[np.uint8]:
    """An empty strip; of even height, as video encoders want it."""
    return np.full((2 * round(height / 2), width, 3), _STRIP_BGR, np.uint8)


def _draw_banner(strip: NDArray[np.uint8], verdict: Verdict, unit: float) -> None:
    """The verdict, and the score as text and as a bar with a tick at the threshold."""
    height, pill_end, pad = strip.shape[0], round(110 * unit), round(16 * unit)
    strip[:, :pill_end] = _colour(verdict)
    strip[-max(2, round(4 * unit)) :] = _colour(verdict)
    _centred(strip, "NG" if verdict.is_anomalous else "OK", (pill_end // 2, height // 2), 1.25 * unit)
    left, right = pill_end + pad, strip.shape[1] - pad
    score = verdict.reason or f"score {_number(verdict.score)}"
    text = f"{score}   limit {_number(verdict.threshold)}"
    _write(strip, text, (left, round(24 * unit)), 0.6 * unit)
    _draw_bar(strip, verdict, (left, round(34 * unit)), (right, round(46 * unit)), unit)


def _draw_bar(strip: NDArray[np.uint8], verdict: Verdict, start: _Point, end: _Point, unit: float) -> None:
    share = verdict.normalised if math.isfinite(verdict.normalised) else 1.0
    filled = start[0] + round(share * (end[0] - start[0]))
    middle = (start[0] + end[0]) // 2
    cv2.rectangle(strip, start, end, _TRACK_BGR, cv2.FILLED)
    cv2.rectangle(strip, start, (filled, end[1]), _colour(verdict), cv2.FILLED)
    overhang = round(4 * unit)
    cv2.line(strip, (middle, start[1] - overhang), (middle, end[1] + overhang), _TEXT_BGR, max(1, round(2 * unit)))


def _draw_footer(strip: NDArray[np.uint8], result: Result, fps: float, unit: float) -> None:
    """Frame rate and latency at the left, the frame's number at the right."""
    baseline, pad, scale = round(22 * unit), round(12 * unit), 0.55 * unit
    rate = f"{fps:.1f} FPS   " if fps > 0 else ""
    _write(strip, f"{rate}{result.prepare_ms + result.infer_ms:.1f} ms", (pad, baseline), scale)
    number = f"# {result.frame.index}"
    width = cv2.getTextSize(number, _FONT, scale, _thickness(scale))[0][0]
    _write(strip, number, (strip.shape[1] - pad - width, baseline), scale)


def _centred(strip: NDArray[np.uint8], text: str, centre: _Point, scale: float) -> None:
    thickness = _thickness(scale) + 1
    (width, height), _ = cv2.getTextSize(text, _FONT, scale, thickness)
    _write(strip, text, (centre[0] - width // 2, centre[1] + height // 2), scale, thickness)


def _write(strip: NDArray[np.uint8], text: str, at: _Point, scale: float, thickness: int | None = None) -> None:
    cv2.putText(strip, text, at, _FONT, scale, _TEXT_BGR, thickness or _thickness(scale), cv2.LINE_AA)


def _thickness(scale: float) -> int:
    return max(1, round(1.4 * scale))


def _number(value: float) -> str:
    return f"{value:#.3g}" if 1e-3 <= abs(value) < 1e3 else f"{value:.3g}"


def _colour(verdict: Verdict) -> _Colour:
    return _NG_BGR if verdict.is_anomalous else _OK_BGR
