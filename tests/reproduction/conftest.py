"""Small stand-ins of the data sets, made once."""

from pathlib import Path

import pytest

from tests.reproduction.stand_ins import mvtec_like, visa_like


@pytest.fixture(scope="session")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three categories of each data set."""
    root = tmp_path_factory.mktemp("trees")
    mvtec_like(root / "mvtec", ("carpet", "capsule", "screw"))
    visa_like(root / "visa", ("candle", "pcb1", "fryum"))
    mvtec_like(root / "mpdd", ("connector", "tubes", "metal_plate"))
    mvtec_like(root / "wfdd", ("grey_cloth", "grid_cloth", "pink_flower"))
    return root
