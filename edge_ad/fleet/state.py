"""State of a device that follows a tag, kept in a file."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal

from pydantic import Field

from edge_ad.bundle.documents import read_document, to_bytes
from edge_ad.document import Document
from edge_ad.errors import BundleError
from edge_ad.fleet.health import Health
from edge_ad.storage import write_file

__all__ = ["FollowState", "Step", "Trial", "read_state", "write_state"]

Step = Literal[
    "current", "pulling", "building", "verifying", "golden check", "on trial", "refused", "rolled back", "waiting"
]
"""What a device does, or did last: ``refused`` and ``rolled back`` keep the old bundle, ``waiting`` tries again."""

_SCHEMA_VERSION = 1
_MOST_REFUSED = 50
_log = logging.getLogger(__name__)


class Trial(Document):
    """A bundle that is being tried out by the stream.

    Attributes:
        digest: Of its artifact.
        before: Health of the stream with the old one.
    """

    digest: str
    before: Health


class FollowState(Document):
    """Contents of the state file.

    Attributes:
        schema_version: Version of this schema; a newer one is refused.
        reference: What is followed.
        step: What was done last.
        digest: Of the bundle in the folder; empty where it was not pulled.
        message: Why, in one line.
        refused: Digest → why it is not used; it is not tried again.
        trial: The bundle that is on trial.
        at: ISO 8601 date and time, UTC.
    """

    schema_version: int = _SCHEMA_VERSION
    reference: str
    step: Step = "waiting"
    digest: str = ""
    message: str = ""
    refused: dict[str, str] = Field(default_factory=dict)
    trial: Trial | None = None
    at: str = ""

    def refusing(self, digest: str, why: str) -> FollowState:
        """The state in which a bundle is not used; the newest fifty are remembered."""
        others = {name: text for name, text in self.refused.items() if name != digest}
        kept = list(others.items())[-(_MOST_REFUSED - 1) :]
        return self.model_copy(update={"refused": {**dict(kept), digest: why}})


def read_state(path: Path, reference: str) -> FollowState:
    """The state in a file; an empty one where there is none, or of another reference.

    A file that is damaged is told of and replaced: the bundles are what counts.
    """
    if not path.exists():
        return FollowState(reference=reference)
    try:
        state = read_document(path, FollowState, supported_version=_SCHEMA_VERSION, hint="Remove it.")
    except BundleError as error:
        _log.warning("%s It is begun anew.", error.message)
        return FollowState(reference=reference)
    return state if state.reference == reference else FollowState(reference=reference)


def write_state(path: Path, state: FollowState) -> None:
    """Write the state atomically.

    Raises:
        StorageError: No space or no permission.
    """
    write_file(path, to_bytes(state))
