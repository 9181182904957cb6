"""Height and width of a network's input: how they are written, read, and refused."""

from __future__ import annotations

from collections.abc import Sequence

from edge_ad.errors import UsageError

__all__ = [
    "LONGEST_SIDE",
    "MOST_PIXELS",
    "InputSize",
    "check_input_size",
    "parse_input_size",
    "side_lengths",
    "size_words",
]

InputSize = int | tuple[int, int]
"""A side of a square, or height and width, in pixels."""

LONGEST_SIDE = 8192
"""Of an input, in pixels."""
MOST_PIXELS = 4096 * 4096
"""Of an input."""


def parse_input_size(value: object) -> InputSize:
    """Read an input's size: ``256``, ``"256"``, ``"160x416"`` (height by width) or ``(160, 416)``.

    Args:
        value: As above.

    Returns:
        The side of a square, or height and width, in pixels.

    Raises:
        ValueError: It is none, or too large.
    """
    parts = value.lower().replace("×", "x").split("x") if isinstance(value, str) else value
    numbers = [_whole(part) for part in (parts if isinstance(parts, Sequence) else [parts])]
    if len(numbers) not in (1, 2) or None in numbers:
        raise ValueError("a size is a number of pixels, or height by width such as 160x416")
    sides = [number for number in numbers if number is not None]
    height, width = sides[0], sides[-1]
    if min(sides) < 1 or max(sides) > LONGEST_SIDE or height * width > MOST_PIXELS:
        raise ValueError(f"a side has 1 to {LONGEST_SIDE} pixels, and an input at most {MOST_PIXELS:,}")
    return height if height == width else (height, width)


def _whole(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    return int(value) if isinstance(value, str) and value.strip().isdecimal() else None


def side_lengths(size: InputSize) -> tuple[int, int]:
    """Height and width, in pixels."""
    return (size, size) if isinstance(size, int) else size


def size_words(size: InputSize) -> str:
    """A size as it is written on a command line: ``256``, or ``160x416`` for height by width."""
    return str(size) if isinstance(size, int) else f"{size[0]}x{size[1]}"


def check_input_size(size: InputSize, multiple: int, least: int = 1) -> None:
    """Refuse a size that a network does not take.

    Args:
        size: Of the input, in pixels.
        multiple: Height and width must be multiples of it.
        least: Pixels that each must have.

    Raises:
        UsageError: It does not fit.
    """
    if any(side % multiple or side < least for side in side_lengths(size)):
        sides = f"a multiple of {multiple}" if isinstance(size, int) else f"multiples of {multiple}"
        more = f", {least} or more" if least > multiple else ""
        raise UsageError(f"The image size {size_words(size)} does not fit.", f"Give --size {sides}{more}.")
