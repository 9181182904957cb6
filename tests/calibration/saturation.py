"""Whether OpenVINO's sums of 8-bit products saturate here: they do in 16 bits where the processor has no VNNI."""

from edge_ad.runtime.target import processor

__all__ = ["SUMS_SATURATE"]

SUMS_SATURATE = processor().target in {"x86_64-avx512", "x86_64-avx2", "x86_64-base"}
