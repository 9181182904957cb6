"""Whether a frame has the size and the shape that it is to be judged by; a change is told once."""

from __future__ import annotations

import time
from collections.abc import Callable

from edge_ad.photo_spec import PhotoSpec
from edge_ad.streaming.events import Event

__all__ = ["FrameShape"]

_Size = tuple[int, int]  # height and width, in pixels


class FrameShape:
    """Compares the frames of one source with its first one, and with the photos that were trained on.

    Args:
        source: Name of the source, for the events.
        has_region: Whether a region of the frame is judged: it was given for frames of the first one's size.
        emit: Takes the events ``"frame size"`` and ``"another shape"``, one for each change.
    """

    def __init__(self, source: str, has_region: bool, emit: Callable[[Event], None]) -> None:
        self._source, self._has_region, self._emit = source, has_region, emit
        self._first: _Size | None = None
        self._last: _Size | None = None
        self._told = ""

    def size_problem(self, size_hw: _Size) -> str:
        """Note the size of a frame.

        Args:
            size_hw: Height and width of the whole frame, in pixels.

        Returns:
            ``"another size"`` where the region was given for frames of another size; else nothing.
        """
        before, self._last = self._last, size_hw
        self._first = self._first or size_hw
        is_other = self._has_region and size_hw != self._first
        if before is not None and before != size_hw:
            old, new = _words(before), _words(size_hw)
            region = f"; the region was given for {_words(self._first)}: not judged" if is_other else ""
            text = f"The frames were {old} and are {new} now{region}."
            self._tell("frame size", text, {"old": old, "new": new})
        return "another size" if is_other else ""

    def shape_problem(self, size_hw: _Size, photos: PhotoSpec) -> str:
        """Compare what is judged of a frame with the photos that were trained on.

        Args:
            size_hw: Height and width of it, in pixels.
            photos: What they were like.

        Returns:
            ``"another shape"``, or nothing.
        """
        problem = photos.shape_problem(*size_hw)
        if problem and problem != self._told:
            self._tell("another shape", f"Not judged: {problem}.", {"size": _words(size_hw)})
        self._told = problem
        return "another shape" if problem else ""

    def _tell(self, kind: str, text: str, data: dict[str, str]) -> None:
        self._emit(Event(kind, time.time(), self._source, text, dict(data)))


def _words(size_hw: _Size) -> str:
    return f"{size_hw[1]}×{size_hw[0]}"
