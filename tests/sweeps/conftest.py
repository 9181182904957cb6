"""What the tests of sweeps share: processes that find this repository, and two small products."""

import os
from pathlib import Path

import pytest

from edge_ad.data.sample_product import render_product

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _cells_find_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))


@pytest.fixture(scope="session")
def products(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two rendered products of a few small photos."""
    root = tmp_path_factory.mktemp("products")
    for index, name in enumerate(("bolt", "washer")):
        render_product(root / name, good=10, test_good=2, defects_per_kind=1, size_hw=(64, 64), seed=index)
    return [root / "bolt", root / "washer"]
