"""Fixtures of the runtime tests."""

from pathlib import Path

import pytest

from edge_ad.bundle import Bundle
from tests.runtime.tiny_bundle import tiny_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return tiny_bundle(tmp_path / "bundle")
