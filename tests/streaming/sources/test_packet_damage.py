"""Damage that decoders take for pictures: zeros inside packets, time stamps that are left out."""

from __future__ import annotations

from itertools import accumulate

import pytest

from edge_ad.streaming.sources.packet_damage import LostFrames, length_size, zeros_inside

_UNIT = bytes(range(1, 40))


def _packet(*units: bytes, size: int = 4) -> bytes:
    return b"".join(len(unit).to_bytes(size, "big") + unit for unit in units)


@pytest.mark.parametrize("size", [1, 2, 4])
def test_units_without_a_run_of_zeros_are_whole(size: int) -> None:
    assert not zeros_inside(_packet(_UNIT, b"\0\0\3\1" + _UNIT, _UNIT + b"\0", size=size), size)


@pytest.mark.parametrize(
    "packet",
    [
        _packet(_UNIT, _UNIT[:9] + bytes(3) + _UNIT),
        _packet(_UNIT[:9] + b"\0\0\1" + _UNIT),
        _packet(_UNIT[:9] + b"\0\0\2" + _UNIT),
        _packet(_UNIT, _UNIT + bytes(2)),  # its end, where the zeros go on in the next packet
        _packet(_UNIT) + bytes(20),
        _packet(_UNIT, _UNIT)[:-1],
        _packet(_UNIT) + b"\0",
        bytes(20),
    ],
)
def test_zeros_that_no_encoder_writes_are_damage(packet: bytes) -> None:
    assert zeros_inside(packet, 4)


def test_only_configuration_records_give_the_size_of_a_length() -> None:
    assert length_size("h264", bytes([1, 100, 0, 30, 0xFF])) == 4
    assert length_size("hevc", bytes([1, *bytes(20), 0xFD])) == 2
    assert length_size("h264", b"\0\0\0\1\x67") == 0  # start codes
    assert length_size("mpeg4", bytes([1, 100, 0, 30, 0xFF])) == 0
    assert length_size("h264", None) == 0


def _lost_at(steps: list[int]) -> list[int]:
    lost = LostFrames()
    return [number for number, at in enumerate(accumulate(steps, initial=0)) if lost.precede(at)]


def test_a_time_stamp_left_out_at_a_constant_rate_is_a_lost_frame() -> None:
    assert _lost_at([3754, 3753, 3754, 3754, 3753, 7507, 3754, 3753, 11261, 3754]) == [6, 9]


def test_a_new_constant_rate_is_a_gap_only_where_it_begins() -> None:
    assert _lost_at([3000] * 10 + [6000] * 20) == [11, 12, 13]


def test_frames_at_varying_distances_are_not_lost() -> None:
    assert _lost_at([3000, 5000, 9000, 3000, 12000, 3000, 7000, 3000, 15000, 4000, 8000, 3000]) == []


def test_frames_without_time_stamps_are_not_lost() -> None:
    lost = LostFrames()
    assert not any(lost.precede(None) for _ in range(20))
