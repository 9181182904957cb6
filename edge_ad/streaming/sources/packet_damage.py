"""Damage to compressed video that decoders take for pictures: runs of zeros in a file, frames lost on the way."""

from __future__ import annotations

from collections import deque

__all__ = ["LostFrames", "length_size", "zeros_inside"]

_CODECS = frozenset({"h264", "hevc"})
_FORBIDDEN = (b"\0\0\0", b"\0\0\1", b"\0\0\2")  # ITU-T H.264 7.4.1 and H.265 7.4.2: never inside a NAL unit
_TWO_ZEROS = b"\0\0"  # a unit ends with a bit 1; some muxers leave one byte of the next start code behind it
_STEPS_SEEN = 8  # as many equal steps make a constant frame rate
_ROUNDING = 0.02  # of a step: time stamps are rounded to the container's unit
_LOST_FROM = 1.5  # steps


def length_size(codec: str, extradata: bytes | None) -> int:
    """Number of bytes that give the length of each NAL unit in a file's packets; 0 where there are none.

    Args:
        codec: FFmpeg's name.
        extradata: The decoder configuration record of the container (ISO/IEC 14496-15), which starts with 1; MPEG
            transport streams have start codes instead, and no such record.
    """
    at = {"h264": 4, "hevc": 21}.get(codec)
    if at is None or not extradata or len(extradata) <= at or extradata[0] != 1:
        return 0
    return (extradata[at] & 3) + 1


def zeros_inside(packet: bytes, size: int) -> bool:
    """Whether a packet holds bytes that no encoder writes, as a file has where a block of it was never stored.

    H.264 and HEVC keep three bytes 0, 0, 0..2 out of their NAL units, and an arithmetic decoder reads a picture from
    any others without noticing.

    Args:
        packet: NAL units, each after its length.
        size: Bytes of a length, as `length_size` gives it.
    """
    at = 0
    while at + size <= len(packet):
        start, at = at + size, at + size + int.from_bytes(packet[at : at + size], "big")
        unit = packet[start:at]
        if at == start or at > len(packet) or unit.endswith(_TWO_ZEROS) or any(code in unit for code in _FORBIDDEN):
            return True
    return at != len(packet)


class LostFrames:
    """Finds where a stream of constant frame rate leaves out a time stamp.

    A transport stream tells of lost packets by a counter, but not at the frame after one that was lost as a whole.
    """

    def __init__(self) -> None:
        self._last: int | None = None
        self._steps: deque[int] = deque(maxlen=_STEPS_SEEN)

    def precede(self, decoded_at: int | None) -> bool:
        """Whether frames are missing just before this one.

        Args:
            decoded_at: Its decoding time stamp, in any unit; None where it has none.
        """
        if decoded_at is None:
            return False
        last, self._last = self._last, decoded_at
        if last is None:
            return False
        usual, is_constant = self._rate()
        lost = is_constant and decoded_at - last > _LOST_FROM * usual
        self._steps.append(decoded_at - last)
        return lost

    def _rate(self) -> tuple[int, bool]:
        """The usual step, and whether nearly all of the last steps were equal to it: one may be a gap itself."""
        usual = sorted(self._steps)[len(self._steps) // 2] if self._steps else 0
        odd = sum(abs(step - usual) > max(1, _ROUNDING * usual) for step in self._steps)
        return usual, usual > 0 and len(self._steps) >= _STEPS_SEEN // 2 and odd <= len(self._steps) // 4
