"""Thresholds that an operator set while a stream ran, kept for the next stream of the same bundle."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

from pydantic import ConfigDict, Field

from edge_ad.bundle.documents import read_document, to_bytes
from edge_ad.document import Document
from edge_ad.errors import EdgeAdError, StorageError
from edge_ad.outside_text import storable
from edge_ad.storage import storage_errors, write_file
from edge_ad.streaming.active_engine import JudgingEngine
from edge_ad.streaming.bundle_opening import OpenBundle
from edge_ad.streaming.control import BundleFacts, StreamControl
from edge_ad.streaming.frame import Event

__all__ = [
    "OperatorThreshold",
    "OperatorThresholds",
    "state_folder",
    "tell_operator_threshold",
    "with_operator_threshold",
]

_SCHEMA_VERSION = 1


class OperatorThreshold(Document):
    """A threshold that an operator set.

    Attributes:
        schema_version: Version of this schema; a newer one is refused.
        value: Raw score, finite.
        by: Who set it.
        time: When, ISO 8601 in UTC.
    """

    model_config = ConfigDict(strict=True)

    schema_version: int = _SCHEMA_VERSION
    value: float = Field(allow_inf_nan=False)
    by: str
    time: str


class OperatorThresholds:
    """One small file for each bundle, by its content hash, and each precision, which has a scale of its own.

    Args:
        folder: Where they are; None for that of the user.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or state_folder() / "thresholds"

    def of(self, bundle: BundleFacts) -> OperatorThreshold | None:
        """What an operator set for a bundle; None where nobody did, or where the bundle has no hash.

        Raises:
            BundleError: It cannot be read: the bundle's own threshold would not be what the operator wants.
        """
        path = self._path(bundle)
        if not bundle["hash"] or not path.is_file():
            return None
        hint = f"Use the bundle's own threshold with --bundle-threshold, or delete {path}."
        return read_document(path, OperatorThreshold, supported_version=_SCHEMA_VERSION, hint=hint)

    def keep(self, bundle: BundleFacts, value: float, by: str) -> str:
        """Keep a threshold, or forget the one that is kept where it is the bundle's own again.

        Returns:
            What became of it, as a sentence for the audit; empty where the bundle has no hash.
        """
        if not bundle["hash"]:
            return ""
        path = self._path(bundle)
        try:
            if value == bundle["threshold"]:
                with storage_errors(path):
                    path.unlink(missing_ok=True)
                return "It is the bundle's own."
            now = datetime.now(timezone.utc).isoformat(timespec="seconds")
            write_file(path, to_bytes(OperatorThreshold(value=value, by=storable(by), time=now)))
        except StorageError as error:
            return f"It holds until this stream ends: {error.message}"
        return "Later streams of this bundle use it too."

    def _path(self, bundle: BundleFacts) -> Path:
        return self._folder / f"{bundle['hash']}-{bundle['precision']}.json"


def with_operator_threshold(opened: OpenBundle, kept: OperatorThresholds | None = None) -> OpenBundle:
    """An open bundle with the threshold that an operator set for it, if one did.

    Args:
        opened: The bundle; closed when this fails.
        kept: What operators set; None for that of the user.

    Raises:
        BundleError: What is kept cannot be read.
    """
    try:
        found = (kept or OperatorThresholds()).of(opened.judging.bundle)
    except EdgeAdError:
        opened.stack.close()
        raise
    if found is None:
        return opened
    judging = replace(opened.judging, threshold=found.value, threshold_set=f"set by {found.by} at {found.time}")
    return replace(opened, judging=judging)


def tell_operator_threshold(control: StreamControl, judging: JudgingEngine) -> None:
    """Report an event: the stream begins with a threshold that is not the bundle's own."""
    own = judging.bundle["threshold"]
    text = (
        f"Threshold {judging.threshold:g}, {judging.threshold_set}, instead of the bundle's {own:g}; "
        "--bundle-threshold ignores it."
    )
    data = {"old": own, "new": judging.threshold, "by": judging.threshold_set}
    control.emit(Event("threshold changed", time.time(), text=text, data=data))


def state_folder() -> Path:
    """Folder of what must outlive a run: ``$EDGE_AD_STATE``, else the user's; it need not exist."""
    chosen = os.environ.get("EDGE_AD_STATE")
    base = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return Path(chosen) if chosen else base / "edge-ad"
