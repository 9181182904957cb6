"""Which decoded frames of a video are whole: damage spreads from frame to frame up to the next key frame."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Generic, NamedTuple, TypeVar

__all__ = ["DamageFilter"]

_Picture = TypeVar("_Picture")

# Frames come out in the order in which they are shown, and damage goes on in the order in which they are decoded; no
# standard reorders more than 16.
_MOST_HELD = 17
_MOST_REMEMBERED = 64  # damaged frames: more than can be under way at once


class _Held(NamedTuple, Generic[_Picture]):
    picture: _Picture
    number: int  # in the order of decoding
    shown_at: int | None


class DamageFilter(Generic[_Picture]):
    """Lets whole frames through and counts the others.

    A frame is whole when nothing was damaged since the last key frame before it, in the order of decoding, that it does
    not precede in the order of showing.

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
        """Take a frame from the decoder.

        Args:
            picture: The frame.
            shown_at: Its presentation time stamp.
            is_key: Whether it was decoded from nothing else.
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
        """Frames that nothing can spoil any more, in the order in which they are shown.

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
        """What should have been shown by now was given up by the decoder."""
        for earlier in [at for at in self._pending if at < shown_at]:
            self.corrupt += not self._is_whole(self._pending.pop(earlier), earlier)

    def _is_settled(self, held: _Held[_Picture]) -> bool:
        return all(number > held.number for number in self._pending.values())

    def _is_whole(self, number: int, shown_at: int | None) -> bool:
        damaged_at = max((damaged for damaged in self._damaged if damaged <= number), default=None)
        return damaged_at is None or any(
            damaged_at < key <= number and (at is None or shown_at is None or at <= shown_at) for key, at in self._keys
        )
