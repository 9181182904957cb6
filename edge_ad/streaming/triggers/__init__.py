"""Which frames are judged: all, every n-th, those with motion across a line, those that a machine requests."""

from edge_ad.streaming.triggers.base import Trigger
from edge_ad.streaming.triggers.selection import trigger_from_text

__all__ = ["Trigger", "trigger_from_text"]
