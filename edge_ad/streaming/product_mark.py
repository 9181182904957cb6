"""Which product a bundle is of, as records keep it: the same for every revision of the bundle."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass

from edge_ad.outside_text import storable

__all__ = ["NO_PRODUCT", "ProductMark"]

_KEPT = 8


@dataclass(frozen=True)
class ProductMark:
    """What tells the product of a bundle from others, also from those of the same name.

    The hash of a bundle changes with its thresholds and with INT8; the photos that it was trained on stay. A run that
    is trained again has them too, beside new ones.

    Attributes:
        name: Name of the product; empty where it is not known.
        photos: SHA-256 of some of the good photos that it was trained on.
    """

    name: str = ""
    photos: tuple[str, ...] = ()

    @classmethod
    def of(cls, name: str, photos: Iterable[str]) -> ProductMark:
        """The mark of a product; of its photos, the eight lowest hashes: whoever has the photos finds the same ones.

        Args:
            name: Its name.
            photos: SHA-256 of all good photos.
        """
        return cls(storable(name), tuple(sorted(set(photos))[:_KEPT]))

    def is_of(self, name: str, photos: Container[str]) -> bool:
        """Whether a run is of this product: it has its name, and was trained on one of its photos at least.

        Args:
            name: Name of the run's product.
            photos: SHA-256 of all good photos of the run.
        """
        return self.name == storable(name) and any(photo in photos for photo in self.photos)


NO_PRODUCT = ProductMark()
"""That of an engine that came from no bundle, and of bundles that an older edge-ad recorded."""
