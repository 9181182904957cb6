"""What a golden check asks for: the part ``golden`` of a recipe."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from edge_ad.document import Document

__all__ = ["GoldenPlan", "MasterPart", "time_text"]

_SPAN = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(s|min|h|d)")
_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_MOST_PARTS = 100
_LONGEST_ID = 64


def _seconds(value: object) -> object:
    """``8h`` → seconds."""
    match = _SPAN.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError("write a time such as 30min or 8h")
    return float(match[1]) * _SECONDS[match[2]]


def time_text(seconds: float) -> str:
    """A time as a plan gives it, such as ``"15 min"``."""
    unit = next((name for name in ("h", "min") if seconds >= _SECONDS[name]), "s")
    return f"{seconds / _SECONDS[unit]:.3g} {unit}"


def _text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


_Span = Annotated[
    float,
    BeforeValidator(_seconds),
    Field(gt=0, allow_inf_nan=False),
    WithJsonSchema({"type": "string", "pattern": f"^{_SPAN.pattern}$"}),
]


class MasterPart(Document):
    """A part whose verdict is known.

    Attributes:
        id: On its label, as the trigger gives it, or as people call it.
        expect: What the detector must say of it.
        note: What is wrong with it, or where it is kept.
    """

    model_config = ConfigDict(title="Master part", json_schema_extra={"description": "A part whose verdict is known."})

    id: Annotated[str, BeforeValidator(_text), Field(min_length=1, max_length=_LONGEST_ID)]
    expect: Literal["OK", "NG"]
    note: str = ""


class GoldenPlan(Document):
    """When which parts are asked for.

    Attributes:
        every_s: Time from one check to the next, in seconds; a stream begins with one.
        within_s: Time that a check may take, from being asked for, in seconds.
        on_failure: ``"stop"``: parts are no longer judged, and a PLC sees a fault; ``"flag"``: only said.
        identify: How a master part is known: by the id of its trigger, by the order of the list after somebody has
            begun the check, or by a person who names the next part.
        is_signed: Whether a person must sign a check that was passed.
        parts: The master parts.
    """

    model_config = ConfigDict(
        title="Golden check",
        populate_by_name=True,
        json_schema_extra={"description": "When which parts are asked for."},
    )

    every_s: _Span = Field(alias="every", description="Time from one check to the next, such as 8h.")
    within_s: _Span = Field(
        default=900.0,
        alias="within",
        description="Time that a check may take, such as 15min.",
        json_schema_extra={"default": "15min"},
    )
    on_failure: Literal["stop", "flag"] = Field(default="stop", alias="on-failure")
    identify: Literal["barcode", "order", "operator"] = "barcode"
    is_signed: bool = Field(default=True, alias="sign", description="Whether a person signs a check that was passed.")
    parts: tuple[MasterPart, ...] = Field(min_length=2, max_length=_MOST_PARTS)

    @model_validator(mode="after")
    def _has_both(self) -> GoldenPlan:
        """Refuse parts that show nothing, or cannot be told apart."""
        ids = [part.id for part in self.parts]
        if len(set(ids)) < len(ids):
            raise ValueError("two master parts have one id")
        if {part.expect for part in self.parts} != {"OK", "NG"}:
            raise ValueError("a golden check needs at least one part that is OK and one that is NG")
        return self
