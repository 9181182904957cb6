"""Where results go: records, pictures, video, window, messages, metrics, commands."""

from edge_ad.streaming.sinks.base import Sink
from edge_ad.streaming.sinks.database import DatabaseSink, NgImagesSink
from edge_ad.streaming.sinks.factories import (
    hook_sink,
    mqtt_sink,
    ng_images_sink,
    records_sink,
    third_party_sink,
    webhook_sink,
)
from edge_ad.streaming.sinks.records import RecordsSink
from edge_ad.streaming.sinks.video import VideoSink, WindowSink, has_display

__all__ = [
    "DatabaseSink",
    "NgImagesSink",
    "RecordsSink",
    "Sink",
    "VideoSink",
    "WindowSink",
    "has_display",
    "hook_sink",
    "mqtt_sink",
    "ng_images_sink",
    "records_sink",
    "third_party_sink",
    "webhook_sink",
]
