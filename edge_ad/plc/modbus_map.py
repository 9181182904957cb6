"""The Modbus map: where a PLC reads and writes what, and how it is encoded. Tables: docs/how-to/plc.md."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from edge_ad.plc.condition import Fault
from edge_ad.plc.handshake import HandshakeState
from edge_ad.plc.results import PartResult, VerdictCode
from edge_ad.streaming.frame import NO_RECIPE, RecipeMark
from edge_ad.streaming.golden.state import GoldenState

__all__ = [
    "COILS",
    "REGISTERS",
    "WRITABLE",
    "Coil",
    "LineState",
    "RecipeState",
    "Status",
    "Writable",
    "encode",
    "status_bits",
]

MAP_VERSION: Final = 2
REGISTERS: Final = 56
"""Input registers from 0 on; the holding registers from 0 on show the same, read-only."""
COILS: Final = 16
WRITABLE: Final = 100
"""First of the six holding registers that a client may write."""

_ID_BYTES: Final = 32
_MOST_16, _MOST_32 = 2**16 - 1, 2**32 - 1
_REASONS = (
    "",
    "not finite",
    "incomplete",
    "black",
    "over-exposed",
    "frozen",
    "another size",
    "another shape",
    "no part",
    "several parts",
    "part cut off",
    "part of another length",
    "golden check",
)
_OTHER_REASON = 99


class Status(IntEnum):
    """Discrete inputs, and bits of input register 0."""

    READY = 0
    BUSY = 1
    OK = 2
    NG = 3
    FAULT = 4
    HEARTBEAT = 5
    RESULT_VALID = 6
    RESULT_WAITING = 7
    RESULT_LOST = 8
    TRIGGER_ACCEPTED = 9
    TRIGGER_REFUSED = 10
    ALARM = 11
    GOLDEN_DUE = 12
    GOLDEN_FAILED = 13


class Coil(IntEnum):
    """What the PLC sets."""

    ACKNOWLEDGE = 0
    TRIGGER = 1


class Writable(IntEnum):
    """Holding registers that the PLC writes; each is the first of two, the high word."""

    ACKNOWLEDGED_SEQUENCE = WRITABLE
    PART_NUMBER = WRITABLE + 2
    RECIPE_NUMBER = WRITABLE + 4


class RecipeState(IntEnum):
    """What became of the newest request for a recipe."""

    NOTHING_ASKED = 0
    UNDER_WAY = 1
    DONE = 2
    REFUSED = 3


@dataclass(frozen=True)
class LineState:
    """Everything that the map shows; all of the same moment.

    Attributes:
        handshake: The hand-over of results.
        fault: What is wrong.
        problem: Why the newest frames are not judged; empty where they are.
        seconds: Since the server was opened; its lowest bit is the heartbeat.
        is_asked: Whether a part that the PLC asked for has no result yet.
        trigger_bit: What the newest trigger came to: accepted, refused, or None while the coil is not set.
        has_alarm: Whether an output fails or a result could not be handed over.
        recipe: The recipe in use.
        recipe_number: Its number; 0 for none.
        recipe_state: What became of the newest request for a recipe.
        golden: What is known of the line by its master parts.
    """

    handshake: HandshakeState
    fault: Fault
    problem: str
    seconds: int
    is_asked: bool = False
    trigger_bit: Status | None = None
    has_alarm: bool = False
    recipe: RecipeMark = NO_RECIPE
    recipe_number: int = 0
    recipe_state: RecipeState = RecipeState.NOTHING_ASKED
    golden: GoldenState = GoldenState.NONE


def status_bits(state: LineState) -> int:
    """The discrete inputs as a number, input 0 as its lowest bit."""
    handshake, sound = state.handshake, state.fault is Fault.NONE
    code = handshake.result.code if handshake.result is not None and handshake.is_valid else VerdictCode.NOTHING
    held = {
        Status.READY: sound,
        Status.BUSY: state.is_asked or handshake.waiting > 0,
        Status.OK: code is VerdictCode.OK and sound,
        Status.NG: code in (VerdictCode.NG, VerdictCode.NOT_INSPECTED),
        Status.FAULT: not sound,
        Status.HEARTBEAT: bool(state.seconds & 1),
        Status.RESULT_VALID: handshake.is_valid,
        Status.RESULT_WAITING: handshake.waiting > 0,
        Status.RESULT_LOST: handshake.lost > 0 or handshake.unacknowledged > 0,
        Status.ALARM: state.has_alarm,
        Status.GOLDEN_DUE: state.golden in (GoldenState.DUE, GoldenState.UNDER_WAY, GoldenState.UNSIGNED),
        Status.GOLDEN_FAILED: state.golden in (GoldenState.FAILED, GoldenState.OVERDUE),
    }
    if state.trigger_bit is not None:
        held[state.trigger_bit] = True
    return sum(1 << bit for bit, is_set in held.items() if is_set)


def encode(state: LineState) -> list[int]:
    """The input registers from 0 on: `REGISTERS` numbers from 0 to 65535."""
    handshake = state.handshake
    registers = [
        status_bits(state),
        int(state.fault),
        *_result_registers(handshake.result),
        *_words(handshake.lost),
        *_words(handshake.unacknowledged),
        min(handshake.waiting, _MOST_16),
        _reason_code(state.problem),
        *_words(state.seconds),
        MAP_VERSION,
        state.recipe_number,
        *_words(int(state.recipe.hash[:8], 16) if _is_hash(state.recipe.hash) else 0),
        int(state.recipe_state),
        int(state.golden),
    ]
    id_words = _id_words("" if handshake.result is None else handshake.result.part_id)
    return [*registers, *[0] * (REGISTERS - len(registers) - len(id_words)), *id_words]


def _result_registers(result: PartResult | None) -> list[int]:
    """Registers 2 to 23."""
    if result is None:
        result = PartResult(0, 0, "", VerdictCode.NOTHING, "", math.nan, math.nan, frames=0, source=0)
    first = result.regions[0] if result.regions else {}
    return [
        *_words(result.sequence),
        *_words(result.part),
        int(result.code),
        _reason_code(result.reason),
        *_float_words(result.score),
        *_float_words(result.threshold),
        *_region_words(first, len(result.regions)),
        min(result.frames, _MOST_16),
        min(result.defective, _MOST_16),
        min(result.source, _MOST_16),
        *_words(int(result.bundle[:8], 16) if _is_hash(result.bundle) else 0),
        *_words(int(result.at_unix)),
    ]


def _region_words(first: Mapping[str, Any], count: int) -> Sequence[int]:
    box = (first.get(name, 0) for name in ("x", "y", "width", "height"))
    return [count, *(max(0, min(int(value), _MOST_16)) for value in box)]


def _words(value: int) -> tuple[int, int]:
    """A 32-bit number, high word first; a larger one is the largest."""
    kept = min(value, _MOST_32)
    return kept >> 16, kept & _MOST_16


def _float_words(value: float) -> tuple[int, int]:
    """An IEEE 754 float32, high word first; beyond its range it is infinite."""
    try:
        packed = struct.pack(">f", value)
    except OverflowError:
        packed = struct.pack(">f", math.copysign(math.inf, value))
    high, low = struct.unpack(">HH", packed)
    return high, low


def _reason_code(reason: str) -> int:
    return _REASONS.index(reason) if reason in _REASONS else _OTHER_REASON


def _is_hash(text: str) -> bool:
    return len(text) >= 8 and all(sign in "0123456789abcdefABCDEF" for sign in text[:8])


def _id_words(part_id: str) -> list[int]:
    """The id as UTF-8, two bytes a register, the first one high, cut off or filled with zeros."""
    kept = part_id.encode("utf-8", "replace")[:_ID_BYTES].ljust(_ID_BYTES, b"\0")
    return list(struct.unpack(f">{_ID_BYTES // 2}H", kept))
