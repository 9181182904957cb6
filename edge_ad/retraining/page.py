"""The page of a proposal: old and new in a table for each set of photos, with the pages that show the photos."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge_ad.evaluation.page import render
from edge_ad.outside_text import storable

__all__ = ["render_proposal"]

_TEMPLATES = Path(__file__).with_name("templates")
_METRICS = ("image_auroc", "pixel_auroc", "pro")


def render_proposal(document: Mapping[str, Any], words: Mapping[str, str]) -> str:
    """Render ``proposal.json`` as a complete HTML document.

    Args:
        document: What it holds.
        words: Name of a set of photos → what they are.

    Raises:
        MissingDependencyError: Jinja is not installed.
    """
    tables = [
        {"name": name, "words": words[name], "rows": [_row(place, row) for place, row in enumerate(rows["candidates"])]}
        for name, rows in document["comparisons"].items()
    ]
    return storable(render("proposal.html", _TEMPLATES, title="Proposed detector", proposal=document, tables=tables))


def _row(place: int, candidate: Mapping[str, Any]) -> list[str]:
    counts = [_share(candidate[name]) for name in ("false_alarms", "detections")]
    figures = ["–" if candidate[name] is None else f"{candidate[name]:.3f}" for name in _METRICS]
    return [("old", "new")[place], *counts, *figures]


def _share(counted: list[int] | None) -> str:
    return "–" if counted is None else f"{counted[0]} of {counted[1]}"
