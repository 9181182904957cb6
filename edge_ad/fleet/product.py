"""Whether a bundle is of the product of the one whose place it takes: a stream that starts later would not notice."""

from __future__ import annotations

from pathlib import Path

from edge_ad.bundle.bundle import read_manifest
from edge_ad.errors import BundleError, UsageError

__all__ = ["OtherProductError", "check_product"]


class OtherProductError(BundleError):
    """The bundle is of another product than the one whose place it would take."""


def check_product(present: Path, product: str, where: str) -> None:
    """Refuse a bundle of another product than the one in a folder.

    Args:
        present: Folder of the bundle that would be replaced; where its manifest cannot be read, any product may come.
        product: Name of the product of the bundle that would replace it.
        where: What that is called in messages.

    Raises:
        OtherProductError: It is of another product.
    """
    try:
        now = read_manifest(present).product
    except (BundleError, UsageError):
        return
    if now != product:
        raise OtherProductError(
            f"The product of {where} is {product!r}, and that of the bundle in {present} {now!r}.",
            "Name another folder or tag; to take it anyway: --any-product",
        )
