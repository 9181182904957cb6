"""The benchmark of the feature cache runs, and its cache is its own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks import feature_cache


def test_the_three_ways_take_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_AD_CACHE", str(tmp_path))
    monkeypatch.setattr(feature_cache, "_backbone", lambda config: torch.nn.Conv2d(3, 4, 8, 8).eval())
    monkeypatch.setattr(feature_cache, "memory_mib", lambda way, config, images, cache: {"resident": 0})
    report = feature_cache.run(10, 2, {"size": 64, "levels": (8,)})
    assert report["images"] == 10
    assert all(len(taken) == 2 for taken in report["rounds"].values())
    assert set(report["rounds"]) == {"compute", "store", "map"}
    assert not list(tmp_path.iterdir())
