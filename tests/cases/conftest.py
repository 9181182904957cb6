"""Products as users have them, made by the generator that lies beside the real images."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def case_products(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the products that ``make_products.py`` makes of metal_plate; do not write into it."""
    script = data_root.parent / "cases" / "make_products.py"
    if not script.is_file() or not (data_root / "metal_plate").is_dir():
        pytest.skip(f"no {script}, or no metal_plate beside it")
    out = tmp_path_factory.mktemp("cases") / "products"
    subprocess.run([sys.executable, str(script), str(data_root / "metal_plate"), str(out)], check=True)
    return out
