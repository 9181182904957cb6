"""Labelled findings that show a product's own test photos: what is compared on them must not have been learned."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from edge_ad.errors import DataError
from edge_ad.images import read_image
from edge_ad.retraining.findings import Finding

__all__ = ["without_test_photos"]


def without_test_photos(
    findings: Sequence[Finding], test_photos: Sequence[Path], significant_bits: int | None, log: Callable[[str], None]
) -> list[Finding]:
    """The findings that are not a test photo of the product: a stream may have been tried on those.

    The pixels are compared, since a finding is kept in a file of its own.

    Args:
        findings: Findings of the line.
        test_photos: The product's test photos; one that cannot be read is left to the comparison.
        significant_bits: Bits of a value that the product's photos use.
        log: Told how many are left out.

    Raises:
        DataError: All are test photos, or a finding cannot be read.
    """
    tested = set[str]()
    for path in test_photos:
        with suppress(DataError):
            tested.add(_pixels(path, significant_bits))
    kept = [finding for finding in findings if _pixels(finding.photo, None) not in tested]
    if len(kept) < len(findings):
        log(f"{len(findings) - len(kept)} labelled findings are test photos of the product, and left out.")
    if not kept:
        raise DataError(
            "All labelled findings are test photos of the product: nothing could be compared then.",
            "Label frames of the line itself.",
        )
    return kept


def _pixels(path: Path, significant_bits: int | None) -> str:
    image = read_image(path, significant_bits)
    return hashlib.sha256(repr(image.shape).encode() + image.tobytes()).hexdigest()
