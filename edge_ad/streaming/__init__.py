"""Frames in, verdicts out: sources, pipeline, statistics, overlay and sinks of `edge-ad stream`."""
