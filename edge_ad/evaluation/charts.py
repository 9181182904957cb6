"""Charts for the pages, drawn by matplotlib as SVG whose colours follow the page's light or dark theme."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["DEFECTIVE", "GOOD", "INK", "LINE", "MUTED", "PAPER", "chart_style", "new_chart", "score_histogram", "svg"]

# Stand-ins of the variables of the style sheet: matplotlib knows no CSS, `svg` puts the variables in their place.
INK, MUTED, LINE, PAPER, GOOD, DEFECTIVE = (f"#01010{digit}" for digit in range(1, 7))
_VARIABLES = {INK: "ink", MUTED: "muted", LINE: "line", PAPER: "paper", GOOD: "good", DEFECTIVE: "defective"}
_VARIABLES |= {f"#0102{number:02x}": f"s{number}" for number in range(1, 8)}  # the series of a chart
_STYLE: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": LINE,
    "axes.facecolor": "none",
    "axes.labelcolor": MUTED,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.facecolor": "none",
    "font.size": 9.5,
    "grid.color": LINE,
    "legend.frameon": False,
    "legend.labelcolor": MUTED,
    "svg.fonttype": "none",  # letters stay letters: small, and found by a search
    "svg.hashsalt": "edge-ad",  # the same chart is the same file
    "text.color": MUTED,
    "text.parse_math": False,  # a name may hold a dollar sign
    "xtick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.color": LINE,
    "ytick.labelcolor": MUTED,
    "ytick.major.size": 0,
}
_WIDTH_IN = 10.5
_BINS = 40
_GROUP_ID = re.compile(r' id="[A-Za-z][A-Za-z0-9.]*_\d+"')  # nothing refers to it, and a page has several charts


@contextmanager
def chart_style() -> Iterator[None]:
    """Draw in the style of the pages; as a decorator, of a function that draws.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    with require("matplotlib", extra="charts").rc_context(_STYLE):
        yield


def new_chart(height_in: float, width_in: float = _WIDTH_IN) -> tuple[Figure, Axes]:
    """Make an empty chart; inside `chart_style`.

    Args:
        height_in: Height, in inches.
        width_in: Width, in inches.
    """
    figure: Figure = require("matplotlib.figure", extra="charts").Figure((width_in, height_in), layout="constrained")
    return figure, figure.add_subplot()


@chart_style()
def svg(figure: Figure, title: str) -> str:
    """Render a chart as an ``<svg>`` element to stand in a page; the same chart gives the same text.

    Args:
        figure: The chart.
        title: What it shows, for those who cannot see it; escaped here.
    """
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    text = buffer.getvalue()
    text = text[text.index("<svg ") :].replace("<svg ", f'<svg role="img" aria-label="{escape(title)}" ', 1)
    text = _GROUP_ID.sub("", text)
    for colour, name in _VARIABLES.items():
        text = text.replace(colour, f"var(--{name})")
    return text


@chart_style()
def score_histogram(scores: NDArray[np.float64], labels: NDArray[np.bool_], threshold: float | None) -> Figure:
    """Draw the scores of good and defective images over one axis.

    Args:
        scores: (N,) raw scores, finite, N >= 1.
        labels: bool (N,), True is defective.
        threshold: Drawn as a line; None where there is none.
    """
    figure, axes = new_chart(3.6)
    edges = _edges(scores, threshold)
    for name, rows, colour in (("good", ~labels, GOOD), ("defective", labels, DEFECTIVE)):
        axes.hist(scores[rows], list(edges), color=colour, alpha=0.65, rwidth=0.9, label=name)
    if threshold is not None:
        axes.axvline(threshold, color=INK, linestyle="--", linewidth=1.2, label=f"threshold {threshold:.4g}")
    axes.set_xlabel("image score")
    axes.set_ylabel("images")
    axes.locator_params("y", integer=True)
    axes.grid(axis="y")
    figure.legend(loc="outside upper left", ncols=3)
    return figure


def _edges(scores: NDArray[np.float64], threshold: float | None) -> NDArray[np.float64]:
    shown = scores if threshold is None else np.append(scores, threshold)
    low, high = float(shown.min()), float(shown.max())
    if high <= low:  # all equal: one bar in the middle of an axis that is not empty
        reach = max(abs(low) * 0.1, 1e-3)
        low, high = low - reach, high + reach
    return np.linspace(low, high, _BINS + 1)
