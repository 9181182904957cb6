"""Parsing of untrusted bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

__all__ = ["parsed_or"]

_Answer = TypeVar("_Answer")


def parsed_or(otherwise: _Answer, parse: Callable[[], _Answer]) -> _Answer:
    """The result of ``parse``, or ``otherwise`` where it fails.

    Any exception counts (a number too large for an offset, too deep a nesting, too little memory): the file is at fault
    and must not end the program that reads it.
    """
    try:
        return parse()
    except Exception:
        return otherwise
