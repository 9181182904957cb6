"""Notices that the picture is no longer like the photos that were trained on: light, lens, focus, camera settings.

Of each measure the median over the newest groups of frames, each of about one part, is held against the limits of the
bundle, so that one odd frame, or a few defective parts in a row, are no event. Every frame that is judged counts,
whatever its verdict, and no verdict is changed.
"""

from __future__ import annotations

import statistics
from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from typing import Any

from edge_ad.scene import SceneMeasures, SceneReading, changes_in_words
from edge_ad.streaming.frame import Event, Result
from edge_ad.streaming.verdicts.frame_groups import FrameGroups

__all__ = ["SCENE_CHANGED", "SCENE_RESTORED", "SceneMonitor", "SceneObserver"]

SCENE_CHANGED, SCENE_RESTORED = "scene changed", "scene restored"
"""Kinds of the events."""

_WINDOW = 15  # groups in the median
_LEAST = 12  # groups before anything is said
_START_AFTER = 2  # groups in a row, so that what changes together is told together
_END_AFTER = 4
_WELL_INSIDE = 0.9  # of the way to a limit: what sits on it is not told again and again
_MOST_SOURCES = 64  # the one not seen for longest is forgotten


class SceneMonitor:
    """Follows the pictures of one source.

    Attributes:
        changed: The measures that were told to be outside their limits; empty while all is well.
    """

    def __init__(self) -> None:
        self.changed: tuple[str, ...] = ()
        self._groups, self._group = FrameGroups(), list[SceneMeasures]()
        self._newest: deque[SceneMeasures] = deque(maxlen=_WINDOW)
        self._outside, self._inside = 0, 0

    def update(self, reading: SceneReading, at: float) -> SceneReading | None:
        """Take the next frame's.

        Args:
            reading: What its picture is like.
            at: Monotonic time at which it was captured, in seconds.

        Returns:
            The smoothed reading, when there is something to tell: ``changed`` is what is outside now, or empty where
            the scene is as before. A scene in which something else changes too is told again.
        """
        is_over = self._groups.begins(at)
        if is_over:
            self._newest.append(_median(self._group))
            self._group.clear()
        self._group.append(reading.measures)
        if not is_over or len(self._newest) < _LEAST:
            return None
        smoothed = SceneReading(_median(self._newest), reading.limits)
        outside = smoothed.changed()
        is_new = bool(set(outside) - set(self.changed))
        self._outside = self._outside + 1 if is_new else 0
        self._inside = self._inside + 1 if self.changed and not smoothed.changed(within=_WELL_INSIDE) else 0
        if self._outside >= _START_AFTER:
            self.changed, self._outside = tuple(name for name in SceneMeasures._fields if name in outside), 0
            return smoothed
        if self._inside >= _END_AFTER:
            self.changed, self._inside = (), 0
            return smoothed
        return None


def _median(measures: Iterable[SceneMeasures]) -> SceneMeasures:
    return SceneMeasures(*map(statistics.median, zip(*measures, strict=True)))


class SceneObserver:
    """Gives ``"scene changed"`` and ``"scene restored"``, for each source by itself.

    A bundle without limits has no readings, and so there are no events. Another bundle starts again.
    """

    def __init__(self) -> None:
        self._lines: OrderedDict[str, tuple[str, SceneMonitor, float]] = OrderedDict()

    def see(self, result: Result) -> Sequence[Event]:
        """Take the next result and give the events that follow from it."""
        if result.scene is None:
            return ()
        name = result.frame.source
        bundle, monitor, since = self._lines.pop(name, (result.bundle, SceneMonitor(), 0.0))
        if bundle != result.bundle:
            monitor = SceneMonitor()
        was_changed = bool(monitor.changed)
        found = monitor.update(result.scene, result.frame.captured_at)
        if found is not None and not was_changed:
            since = result.frame.captured_unix
        self._lines[name] = (result.bundle, monitor, since)
        if len(self._lines) > _MOST_SOURCES:
            self._lines.popitem(last=False)
        return () if found is None else [_event(result, found, monitor.changed, since)]


def _event(result: Result, found: SceneReading, changed: tuple[str, ...], since: float) -> Event:
    frame = result.frame
    data: dict[str, Any] = {
        "frame": frame.index,
        "path": frame.path,
        "bundle": result.bundle,
        "changed": list(changed),
        "started_unix": since,
        "measures": {
            name: {
                "now": getattr(found.measures, name),
                "photos": limits.centre,
                "low": limits.low,
                "high": limits.high,
            }
            for name, limits in found.limits.ranges.items()
        },
    }
    if not changed:
        seconds = frame.captured_unix - since
        text = f"The scene is again as in the training photos, after {seconds:.0f} s."
        return Event(SCENE_RESTORED, frame.captured_unix, frame.source, text, data)
    what = changes_in_words(found, changed)
    text = f"The scene has changed: {what}, against the training photos. Look at light, lens and camera."
    return Event(SCENE_CHANGED, frame.captured_unix, frame.source, text, data)
