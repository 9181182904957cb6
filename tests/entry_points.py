"""Installs entry points of a third party for this process and for those that it starts."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge_ad.registry import forget_third_party

ROOT = Path(__file__).parents[1]


@contextmanager
def installed(folder: Path, group: str, name: str, value: str) -> Iterator[None]:
    """A distribution with one entry point.

    Args:
        folder: Where to write it.
        group: Group of the entry point.
        name: Its name.
        value: ``module:attribute``.
    """
    metadata = folder / f"edge_ad_{folder.name}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: edge-ad-{folder.name}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[{group}]\n{name} = {value}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setenv("PYTHONPATH", f"{folder}:{ROOT}:{os.environ.get('PYTHONPATH', '')}")
        importlib.invalidate_caches()
        forget_third_party()
        yield
    forget_third_party()
