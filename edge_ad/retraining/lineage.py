"""Which findings of a line are of a run's product: those that bundles of this product judged."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_ad.errors import DataError
from edge_ad.outside_text import storable
from edge_ad.retraining.findings import Finding
from edge_ad.storage import sha256_file
from edge_ad.training.predictor import trained_on
from edge_ad.training.runs import Run

__all__ = ["Lineage", "own_findings"]

_SHOWN = 12
_MOST_ANCESTORS = 100


@dataclass(frozen=True)
class Lineage:
    """What tells the findings of a run's product from those of other products.

    Attributes:
        product: Name of the product.
        photos: SHA-256 of the good photos that the run was trained on.
        bundles: Content hashes of the run's bundle as it is now, and of those of the runs that it was retrained from:
            an older edge-ad recorded no more than these.
    """

    product: str
    photos: frozenset[str]
    bundles: frozenset[str]

    @classmethod
    def of(cls, run: Run) -> Lineage:
        """That of a run."""
        return cls(storable(run.product_name), trained_on(run.root), _own_bundles(run.root))

    def has(self, finding: Finding) -> bool:
        """Whether a bundle of this product judged a finding."""
        return finding.bundle in self.bundles or finding.product.is_of(self.product, self.photos)


def _own_bundles(run: Path) -> frozenset[str]:
    found = set[str]()
    for _ in range(_MOST_ANCESTORS):
        manifest = run / "bundle" / "manifest.json"
        found |= {sha256_file(manifest)} if manifest.is_file() else set()
        document = _proposal(run)
        named = (document.get(name) for name in ("old", "new"))
        found |= {str(one["manifest_sha256"]) for one in named if isinstance(one, dict) and "manifest_sha256" in one}
        if not isinstance(document.get("run"), str):
            break
        run = Path(document["run"])
    return frozenset(found)


def _proposal(run: Path) -> dict[str, Any]:
    """What `edge_ad.retraining.proposal` wrote about a run; empty where it was not retrained."""
    try:
        document = json.loads((run / "proposal" / "proposal.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def own_findings(
    findings: Sequence[Finding], own: Lineage, asked: Sequence[str], log: Callable[[str], None]
) -> list[Finding]:
    """The findings that bundles of this product judged: a line with recipes records several products in one database.

    Args:
        findings: All of the records.
        own: What the product's findings are known by.
        asked: Starts of the hashes of other bundles whose findings are to be taken.
        log: Told how many are left out, and why.

    Raises:
        DataError: Bundles of this product judged none.
    """
    kept = [one for one in findings if own.has(one) or (asked and one.bundle.startswith(tuple(asked)))]
    left_out = Counter(_bundle_words(one, own.product) for one in findings if one not in kept)
    listed = ", ".join(f"{name}: {count}" for name, count in left_out.most_common())
    if not kept:
        raise DataError(
            f"No labelled finding was judged by a bundle of {own.product}, but by others ({listed}).",
            "If one of them is an earlier bundle of the same product: --bundle HASH.",
        )
    if left_out:
        log(f"Left out findings of bundles that are not of {own.product} ({listed}). To take them: --bundle HASH.")
    return kept


def _bundle_words(finding: Finding, product: str) -> str:
    """Such as ``"3f0a91c2d4e5 of rod"``; for another product of the same name, what tells it apart."""
    shown, name = finding.bundle[:_SHOWN] or "none recorded", finding.product.name
    if not name:
        return shown
    return f"{shown} of {name}" + (", but of another product: no good photo in common" if name == product else "")
