"""Keeps pictures back that damage may have reached, until it is known whether it did."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["DamageFilter"]

_Picture = TypeVar("_Picture")
# Frames come out in display order, and damage propagates in decoding order; no standard reorders more than 16.
_MOST_HELD = 17
_MOST_REMEMBERED = 64  # damaged frames: more than the decoder can hold at once


@dataclass(frozen=True)
class _Held(Generic[_Picture]):  # no NamedTuple, which cannot be generic in Python 3.10
    picture: _Picture
    number: int  # in the order of decoding
    shown_at: int | None


class DamageFilter(Generic[_Picture]):
    """Passes undamaged frames and counts the others.

    A frame is undamaged when nothing was damaged since the last key frame that precedes it, both in decoding order and
    in display order.

    Attributes:
        corrupt: Frames that were damaged, or decoded from damaged ones, or that the decoder gave up.
        packets: Frames that came in, whole or not.
    """

    def __init__(self) -> None:
        self.corrupt = 0
        self.packets = 0
        self._pending: dict[int, int] = {}  # shown at → number, of what is with the decoder
        self._held: deque[_Held[_Picture]] = deque()
        self._damaged: deque[int] = deque(maxlen=_MOST_REMEMBERED)  # their numbers
        self._keys: deque[tuple[int, int | None]] = deque(maxlen=_MOST_HELD)  # number, shown at

    def feed(self, shown_at: int | None, *, is_corrupt: bool) -> None:
        """Note a packet that goes to the decoder.

        Args:
            shown_at: Its presentation time stamp, in any unit; None where it has none.
            is_corrupt: Whether it came in damaged.
        """
        number, self.packets = self.packets, self.packets + 1
        if shown_at is not None:
            self._pending[shown_at] = number
        if is_corrupt:
            self._damaged.append(number)

    def fail(self, shown_at: int | None) -> None:
        """Note that the decoder refused the packet that was fed last."""
        self._damaged.append(self.packets - 1)
        self.corrupt += 1
        if shown_at is not None:
            self._pending.pop(shown_at, None)

    def add(self, picture: _Picture, shown_at: int | None, *, is_key: bool, is_corrupt: bool) -> None:
        """Take a decoded frame.

        Args:
            picture: The frame.
            shown_at: Its presentation time stamp.
            is_key: Whether it was decoded without other frames.
            is_corrupt: Whether the decoder says that it is damaged.
        """
        number = self.packets - 1 if shown_at is None else self._pending.pop(shown_at, self.packets - 1)
        if is_corrupt:
            self._damaged.append(number)
        if is_key:
            self._keys.append((number, shown_at))
        if shown_at is not None:
            self._forget_before(shown_at)
        self._held.append(_Held(picture, number, shown_at))

    def whole(self, *, is_end: bool = False) -> Iterator[_Picture]:
        """Frames that later damage cannot affect, in display order.

        Args:
            is_end: Whether no further frame will come.
        """
        while self._held and (is_end or self._is_settled(self._held[0]) or len(self._held) > _MOST_HELD):
            held = self._held.popleft()
            if self._is_whole(held.number, held.shown_at):
                yield held.picture
            else:
                self.corrupt += 1

    def _forget_before(self, shown_at: int) -> None:
        """Count frames that should have been shown by now: the decoder has given them up."""
        for earlier in [at for at in self._pending if at < shown_at]:
            self.corrupt += not self._is_whole(self._pending.pop(earlier), earlier)

    def _is_settled(self, held: _Held[_Picture]) -> bool:
        return all(number > held.number for number in self._pending.values())

    def _is_whole(self, number: int, shown_at: int | None) -> bool:
        damaged_at = max((damaged for damaged in self._damaged if damaged <= number), default=None)
        return damaged_at is None or any(
            damaged_at < key <= number and (at is None or shown_at is None or at <= shown_at) for key, at in self._keys
        )
