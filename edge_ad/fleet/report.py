"""What a device says of itself to others: its state, and what its stream says."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from edge_ad import __version__
from edge_ad.document import Document
from edge_ad.fleet.health import Health
from edge_ad.fleet.state import FollowState

__all__ = ["DeviceReport", "StreamHealth"]

_LONGEST_TEXT = 4000
_LONGEST_REASON = 400
_LONGEST_WATCH_S = 7 * 24 * 3600.0  # one that looks more seldom could not be told from one that is gone


class StreamHealth(Health):
    """`Health`; what a newer device says beside it is left out."""

    model_config = ConfigDict(extra="ignore")


class DeviceReport(Document):
    """A device that follows a tag. What a newer device says beside it is left out.

    Attributes:
        schema_version: Version of this schema.
        reference: What is followed.
        step: What the device does, or did last; see `Step`.
        digest: Of the bundle in its folder; empty for none that was pulled.
        message: Why, in one line.
        refused: Digest → why it is not used, shortened.
        at: When it looked at the tag last: ISO 8601 date and time, UTC, by its own clock.
        every_s: Time between two looks, in seconds.
        stream: Whether the stream that uses the bundle answers; empty where it is not asked.
        health: What it says; None where it does not.
        version: Of edge-ad.
    """

    model_config = ConfigDict(extra="ignore")

    schema_version: int = 1
    reference: str = Field(max_length=_LONGEST_TEXT)
    step: str = Field(max_length=40)
    digest: str = Field(default="", max_length=200)
    message: str = Field(default="", max_length=_LONGEST_TEXT)
    refused: dict[str, str] = Field(default_factory=dict)
    at: str = Field(default="", max_length=40)
    every_s: float = Field(default=60.0, gt=0, le=_LONGEST_WATCH_S)
    stream: Literal["", "answers", "does not answer"] = ""
    health: StreamHealth | None = None
    version: str = Field(default="", max_length=40)

    @classmethod
    def of(cls, state: FollowState, *, every_s: float, is_watched: bool, health: Health | None) -> DeviceReport:
        """The report of this device.

        Args:
            state: Of the agent.
            every_s: Time between two looks at the tag, in seconds.
            is_watched: Whether the stream is asked.
            health: What it answered; None for nothing.
        """
        answers: Literal["answers", "does not answer"] = "does not answer" if health is None else "answers"
        return cls(
            **state.model_dump(include={"reference", "step", "digest", "at"}),
            refused={digest: why[:_LONGEST_REASON] for digest, why in state.refused.items()},
            message=state.message[:_LONGEST_TEXT],
            every_s=every_s,
            stream=answers if is_watched else "",
            health=None if health is None else StreamHealth(**health.model_dump()),
            version=__version__,
        )
