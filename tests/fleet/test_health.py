"""Health of a stream: read from its real metrics, and compared."""

import pytest

from edge_ad.fleet.health import Health, HealthLimits, health_problem, parse_health
from edge_ad.server.metrics import StreamMetrics

BEFORE = Health(bundle="old", fps=10.0, alarms=1, frames=1000, defective=10)
START = Health(bundle="new", fps=10.0, alarms=1, frames=1100, defective=10)


def test_the_metrics_of_a_stream_are_understood() -> None:
    found = parse_health(StreamMetrics().expose().decode())
    assert found is not None
    assert (found.alarms, found.frames) == (0, 0)


def test_labels_and_numbers_are_summed() -> None:
    text = """\
# TYPE edge_ad_alarms gauge
edge_ad_alarms 2.0
edge_ad_scene_changed{source="a"} 1.0
edge_ad_events_total{kind="golden check failed"} 4.0
edge_ad_events_total{kind="drift"} 1.0
edge_ad_events_total{kind="golden check passed"} 7.0
edge_ad_bundle_info{bundle="abc"} 1.0
edge_ad_frames_total{source="a {b} \\"c\\"",verdict="OK"} 90.0
edge_ad_frames_total{source="a {b} \\"c\\"",verdict="NG"} 10.0
edge_ad_frames_per_second{source="a"} 4.5
edge_ad_frames_per_second{source="b"} NaN
"""
    assert parse_health(text) == Health(bundle="abc", fps=4.5, alarms=3, findings=5, frames=100, defective=10)


def test_another_page_is_no_health() -> None:
    assert parse_health("<html>edge_ad_alarms</html>") is None


@pytest.mark.parametrize(
    ("now", "problem"),
    [
        (None, "does not answer"),
        (START.model_copy(update={"alarms": 2}), "2 alarms instead of 1"),
        (START.model_copy(update={"findings": 1}), "a golden check failed"),
        (START.model_copy(update={"fps": 7.9}), "7.9 frames per second instead of 10"),
        (START.model_copy(update={"frames": 1200, "defective": 40}), "30 of 100 frames are defective"),
        (START.model_copy(update={"frames": 1200, "defective": 15, "fps": 8.0}), ""),
    ],
)
def test_what_is_worse_than_before_is_named(now: Health | None, problem: str) -> None:
    limits = HealthLimits(least_fps_share=0.8, most_defective_share=0.2)
    found = health_problem(BEFORE, START, now, limits)
    assert problem in found
    assert bool(found) == bool(problem)
