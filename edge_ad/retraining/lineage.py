"""Which findings of a line are of a run's product: those that its own bundles judged."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from edge_ad.errors import DataError
from edge_ad.retraining.findings import Finding
from edge_ad.storage import sha256_file

__all__ = ["own_bundles", "own_findings"]

_SHOWN = 12
_MOST_ANCESTORS = 100


def own_bundles(run: Path) -> frozenset[str]:
    """Content hashes of a run's bundle, and of the bundles of the runs that it was retrained from.

    Args:
        run: Folder of the run.
    """
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
    findings: Sequence[Finding], own: frozenset[str], asked: Sequence[str], log: Callable[[str], None]
) -> list[Finding]:
    """The findings that bundles of this product judged: a line with recipes records several products in one database.

    Args:
        findings: All of the records.
        own: Content hashes of the product's bundles that are known.
        asked: Starts of the hashes of other bundles whose findings are to be taken.
        log: Told how many are left out.

    Raises:
        DataError: Bundles of this product judged none.
    """
    kept = [one for one in findings if one.bundle in own or (asked and one.bundle.startswith(tuple(asked)))]
    left_out = Counter(one.bundle[:_SHOWN] or "none recorded" for one in findings if one not in kept)
    listed = ", ".join(f"{name}: {count}" for name, count in left_out.most_common())
    if not kept:
        raise DataError(
            f"No labelled finding was judged by a bundle of this run, but by others ({listed}).",
            "If one of them is an earlier bundle of the same product: --bundle HASH.",
        )
    if left_out:
        log(f"Left out findings of bundles that are not of this run ({listed}). To take them: --bundle HASH.")
    return kept
