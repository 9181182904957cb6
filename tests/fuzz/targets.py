"""Every target, by name."""

from __future__ import annotations

from tests.fuzz.bundles import BundleTarget
from tests.fuzz.camera import CameraTarget
from tests.fuzz.images import ImageTarget
from tests.fuzz.mqtt import MqttTarget
from tests.fuzz.records import RecordTarget
from tests.fuzz.runs import RunTarget
from tests.fuzz.servers import MetricsTarget, PageTarget, TriggerTarget
from tests.fuzz.target import Target

__all__ = ["TARGETS"]

_TARGETS: tuple[type[Target], ...] = (
    BundleTarget, ImageTarget, RunTarget, RecordTarget, PageTarget, TriggerTarget, MetricsTarget, CameraTarget,
    MqttTarget,
)  # fmt: skip

TARGETS: dict[str, type[Target]] = {target.name: target for target in _TARGETS}
