"""What happens in a stream besides frames: an outage, an alarm, a change somebody made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Event"]


@dataclass(frozen=True)
class Event:
    """One thing that happened.

    Attributes:
        kind: ``"source lost"``, ``"source returned"``, ``"corrupt"``, ``"cut off"``, ``"request lost"``,
            ``"frame size"``, ``"another shape"``, ``"part"``, ``"drift"``, ``"alarm"``, ``"alarm cleared"``,
            ``"bundle swapped"``, ``"bundle refused"``, ``"threshold changed"``, ``"paused"`` or ``"resumed"``.
        at_unix: Wall-clock time, in seconds since the epoch.
        source: Name of the source it is about; empty when it is about the whole stream.
        text: One sentence for people.
        data: The same for programs; everything in it can be written as JSON.
    """

    kind: str
    at_unix: float
    source: str = ""
    text: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
