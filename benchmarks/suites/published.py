"""What papers report, with their source: quoted, never computed with. Backbone, data and protocol are others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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


_FADER = "FADeR paper, tables 1 to 5"
_PBAS = "PBAS paper, WideResNet-50"
_SHUFFLING = "boundary-shuffling paper, WideResNet-50"
_DRAEM = "DRAEM paper, 700 epochs, 97 million weights"

PUBLISHED: dict[str, tuple[Published, ...]] = {
    "draem": (Published("MVTec AD", 98.0, 97.3, None, _DRAEM),),
    "ear": (Published("MVTec AD", 94.2, 90.2, None, _FADER),),
    "fader": (Published("MVTec AD", 96.4, 93.8, None, _FADER), Published("VisA", 96.0, None, None, _FADER)),
    "pbas": (
        Published("MVTec AD", 99.8, 98.6, 97.3, _PBAS),
        Published("VisA", 97.7, 98.6, 93.3, _PBAS),
        Published("MPDD", 97.7, 98.8, 97.1, _PBAS),
    ),
    "boundary-shuffling": (
        Published("MVTec AD", 99.6, 98.8, None, _SHUFFLING),
        Published("WFDD", 99.7, 99.2, None, _SHUFFLING),
        Published("MPDD", 98.0, 99.4, None, _SHUFFLING),
    ),
}


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
