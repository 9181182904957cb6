"""Where results go: records, video, window."""

from edge_ad.streaming.sinks.base import Sink
from edge_ad.streaming.sinks.records import RecordsSink
from edge_ad.streaming.sinks.video import VideoSink
from edge_ad.streaming.sinks.window import WindowSink, has_display

__all__ = ["RecordsSink", "Sink", "VideoSink", "WindowSink", "has_display"]
