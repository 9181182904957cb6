"""What the charts of statistics say in words and numbers."""

from __future__ import annotations

import numpy as np

from edge_ad.spc.charts import plain_chart
from edge_ad.spc.shifts import Span


def test_ticks_of_shares_that_lie_close_together_are_told_apart() -> None:
    spans = [Span(float(start), start + 900.0) for start in (0, 900)]
    figure = plain_chart(np.array([0.1898, 0.1912]), spans, "NG share", is_share=True)
    figure.canvas.draw()
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert len(set(labels)) == len(labels) > 3
    assert all(label.endswith(" %") for label in labels)
