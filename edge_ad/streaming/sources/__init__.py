"""Where frames come from: cameras, network streams, video files, folders of images."""

from edge_ad.streaming.sources.base import Source
from edge_ad.streaming.sources.options import SourceOptions
from edge_ad.streaming.sources.selection import camera_source, source_from_uri

__all__ = ["Source", "SourceOptions", "camera_source", "source_from_uri"]
