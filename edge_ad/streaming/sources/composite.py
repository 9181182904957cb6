"""Several sources as one, for sinks that ask what the stream is made of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge_ad.streaming.sources.base import Source

__all__ = ["as_one_source"]


def as_one_source(sources: Sequence[Source]) -> Source:
    """The only source, or one that speaks for several: their names, their rates together, live if one of them is."""
    return sources[0] if len(sources) == 1 else _SeveralSources(sources)


class _SeveralSources(Source):
    def __init__(self, sources: Sequence[Source]) -> None:
        super().__init__("several sources", is_live=any(source.is_live for source in sources))
        self.name = ", ".join(source.name for source in sources)
        self._sources = sources

    @property
    def fps(self) -> float | None:
        rates = [source.fps for source in self._sources]
        known = [rate for rate in rates if rate is not None]
        return sum(known) if len(known) == len(rates) else None

    def open(self) -> None:
        """They are opened one by one."""

    def read(self) -> NDArray[np.uint8] | None:
        return None

    def close(self) -> None:
        """They are closed one by one."""
