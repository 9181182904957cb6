"""What is known of the line by its master parts, and the verdict on one of them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

__all__ = [
    "GOLDEN_CHECK",
    "GOLDEN_ENDS",
    "GOLDEN_FAILED",
    "GOLDEN_JUDGED",
    "GOLDEN_STEPS",
    "MASTER_PART",
    "FrameSpan",
    "GoldenState",
    "Judged",
]

GOLDEN_CHECK = "golden check"
"""Why a part is not judged while a golden check that has failed stops the line."""

MASTER_PART = "master part"
"""Kind of the event that tells which frames show a master part, whether or not a check asks for it."""

GOLDEN_JUDGED, GOLDEN_FAILED = "golden check judged", "golden check failed"
GOLDEN_STEPS = ("golden check due", "golden check begun", GOLDEN_JUDGED)
"""Kinds of the events of a check that has not ended."""
GOLDEN_ENDS = ("golden check passed", GOLDEN_FAILED, "golden check waived")
"""Kinds of the events that end a check."""


class GoldenState(IntEnum):
    """What is known of the line by its master parts."""

    NONE = 0
    """No golden check is asked for."""
    VALID = 1
    DUE = 2
    UNDER_WAY = 3
    UNSIGNED = 4
    """All master parts were judged as recorded; a person has still to sign."""
    FAILED = 5
    OVERDUE = 6

    @property
    def word(self) -> str:
        """Such as ``"under way"``."""
        return self.name.replace("_", " ").lower()


@dataclass(frozen=True)
class FrameSpan:
    """The frames of one source that show a part.

    Attributes:
        source: Name of the source; empty where it is not known.
        since_unix: When the first was captured, in seconds since the epoch.
        until_unix: When the last was captured.
    """

    source: str
    since_unix: float
    until_unix: float


@dataclass(frozen=True)
class Judged:
    """The verdict on a master part.

    Attributes:
        part: Its id.
        expect: What it must be.
        verdict: What the stream said.
        score: Raw score; None where there is none.
        threshold: Raw score above which it is NG.
        bundle: Content hash of the bundle that judged it.
        at_unix: When it was captured, in seconds since the epoch.
        reason: Why it could not be judged; empty where it was.
        recipe_hash: Hash of the recipe that it was judged under; empty for none.
    """

    part: str
    expect: str
    verdict: str
    score: float | None
    threshold: float | None
    bundle: str
    at_unix: float
    reason: str = ""
    recipe_hash: str = ""

    @property
    def is_right(self) -> bool:
        """Whether it was judged as recorded."""
        return self.verdict == self.expect and not self.reason

    @property
    def said(self) -> str:
        """Such as ``"GP-014 was OK, not NG"``."""
        return f"{self.part} was {self.reason or self.verdict}" + ("" if self.is_right else f", not {self.expect}")
