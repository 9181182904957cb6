"""The live page of a stream: what the camera sees, the verdict, the trend, and the few things one may change."""

from edge_ad.streaming.web.limits import Limits
from edge_ad.streaming.web.sink import WebSink, web_sink

__all__ = ["Limits", "WebSink", "web_sink"]
