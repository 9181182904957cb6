"""What papers report, with their source: quoted, never computed with. Backbone, data and protocol are others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge_ad.reproduction.datasets import DATASETS
from edge_ad.reproduction.tables import Recipe, table_of

__all__ = ["PRO_NOTE", "PUBLISHED", "Published", "published_columns"]


@dataclass(frozen=True)
class Published:
    """A mean over a data set's categories, in percent.

    Attributes:
        data: The data set.
        image_auroc: Image AUROC.
        pixel_auroc: Pixel AUROC; None where the paper gives none.
        pro: PRO; None where the paper gives none.
        source: The paper.
    """

    data: str
    image_auroc: float
    pixel_auroc: float | None
    pro: float | None
    source: str

    def __str__(self) -> str:
        values = (self.image_auroc, self.pixel_auroc, self.pro)
        return f"{self.data} {' / '.join('–' if value is None else f'{value:.1f}' for value in values)}"


_OWN_TABLES: dict[str, tuple[str, tuple[str, ...]]] = {
    "draem": ("DRAEM paper, 700 epochs, 97 million weights", ("003/1", "003/2")),
    "ear": ("FADeR paper, tables 1 to 5", ("002/1", "002/2")),
    "fader": ("FADeR paper, tables 1 to 5", ("002/1", "002/2", "002/5")),
    "pbas": ("PBAS paper, WideResNet-50", ("001/1", "001/2", "001/3", "001/4")),
    "boundary-shuffling": ("boundary-shuffling paper, WideResNet-50", ("000/1",)),
}


def _published(method: str) -> tuple[Published, ...]:
    """Means of a method's column in the tables of its own paper, data set by data set."""
    source, tables = _OWN_TABLES[method]
    found: dict[str, dict[str, float]] = {}
    for table in map(table_of, tables):
        at = next(at for at, column in enumerate(table.columns) if column.recipe == Recipe(method=method))
        factor = 100 if table.unit == "share" else 1
        for part in table.parts:
            means = zip(table.metrics, part.mean[at], strict=True)
            found.setdefault(part.dataset, {}).update({name: factor * mean for name, mean in means if mean is not None})
    return tuple(
        Published(DATASETS[key].name, means["image_auroc"], means.get("pixel_auroc"), means.get("pro"), source)
        for key, means in found.items()
    )


PUBLISHED: dict[str, tuple[Published, ...]] = {method: _published(method) for method in _OWN_TABLES}


PRO_NOTE = (
    "Published PRO is not ours: the code of SimpleNet and PBAS dilates predictions by 5×5 and renormalises them first, "
    "and takes the best epoch on the test set. Ours is exact, and no test image chooses anything."
)
"""To stand beside every table with published figures."""


def published_columns(methods: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """Two columns for a table of ours: what the paper of each row's method reports, and where.

    Args:
        methods: Methods of the rows, with or without parameters.

    Returns:
        The headings, and the cells of each row.
    """
    header = ["published, I / P / PRO in % (other data, backbone and protocol)", "source"]
    return header, [_cells(method.partition(":")[0]) for method in methods]


def _cells(method: str) -> list[str]:
    found = PUBLISHED.get(method, ())
    return ["; ".join(map(str, found)) or "–", "; ".join(dict.fromkeys(item.source for item in found)) or "–"]
