"""Checks an ONNX file before any backend reads it: it must hold all its weights, and no control flow.

A backend follows a graph anywhere: to weights in other files, which no hash of the bundle covers, and into endless
loops. So the file is parsed here first, as a protocol buffer and without the ``onnx`` package, which devices do not
have.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from edge_ad.errors import BundleError

__all__ = ["check_graph_file"]

_VARINT, _EIGHT_BYTES, _LENGTH_DELIMITED, _FOUR_BYTES = 0, 1, 2, 5
_FIXED_BYTES = {_EIGHT_BYTES: 8, _FOUR_BYTES: 4}
_LONGEST_VARINT = 10
# Message → field → message in it, of onnx.proto: every way to a tensor.
_PARTS = {
    "model": {7: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse tensor"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 10: "tensor", 22: "sparse tensor", 23: "sparse tensor"},
    "sparse tensor": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_REFUSED = {
    ("model", 20): "steps of a training",
    ("model", 25): "functions of its own",
    ("attribute", 6): "control flow (a graph inside a node)",
    ("attribute", 11): "control flow (graphs inside a node)",
    ("tensor", 13): "weights in another file, which its SHA-256 does not cover",
}
_OPERATOR, _DOMAIN = ("node", 4), ("node", 7)
_DATA_LOCATION = ("tensor", 14)
_CONTROL_FLOW = {b"If", b"Loop", b"Scan", b"SequenceMap"}
_ONNX_DOMAINS = {b"", b"ai.onnx"}


class _Field(NamedTuple):
    """A field of a message: where its content is, or its value if it is a number."""

    number: int
    kind: int
    start: int
    end: int
    value: int


def check_graph_file(content: bytes, path: Path) -> None:
    """Refuse an ONNX file that is not self-contained, or is more than a fixed sequence of operators.

    Args:
        content: Bytes of the file.
        path: The file, for the message.

    Raises:
        BundleError: It is not an ONNX file, keeps weights elsewhere, or has control flow, its own functions, training
            steps, or operators that ONNX does not define.
    """
    try:
        problem = next(_problems(content, "model", 0, len(content)), "")
    except (ValueError, IndexError):
        problem = "no complete ONNX graph"
    if problem:
        raise BundleError(f"{path} holds {problem}.", "Export the bundle again: edge-ad export <run>")


def _problems(content: bytes, message: str, start: int, end: int) -> Iterator[str]:
    """The problem of a message, in words that follow "the file holds"."""
    for field in _fields(content, start, end):
        place = (message, field.number)
        if place in _REFUSED:
            yield _REFUSED[place]
        elif place == _DATA_LOCATION and field.value:
            yield _REFUSED["tensor", 13]
        elif field.kind == _LENGTH_DELIMITED and place in (_OPERATOR, _DOMAIN):
            yield from _operator_problems(place, content[field.start : field.end])
        elif field.kind == _LENGTH_DELIMITED and field.number in _PARTS[message]:
            yield from _problems(content, _PARTS[message][field.number], field.start, field.end)


def _operator_problems(place: tuple[str, int], text: bytes) -> Iterator[str]:
    if place == _OPERATOR and text in _CONTROL_FLOW:
        yield f"control flow ({text.decode()})"
    if place == _DOMAIN and text not in _ONNX_DOMAINS:
        yield f"operators of {text.decode(errors='replace')!r}, which ONNX does not define"


def _fields(content: bytes, start: int, end: int) -> Iterator[_Field]:
    """The fields of a message.

    Raises:
        ValueError: They do not fill it exactly.
        IndexError: The file ends within one.
    """
    position = start
    while position < end:
        key, position = _varint(content, position)
        number, kind, value = key >> 3, key & 7, 0
        begin = position
        if kind == _VARINT:
            value, position = _varint(content, position)
        elif kind == _LENGTH_DELIMITED:
            length, begin = _varint(content, position)
            position = begin + length
        else:  # groups are not in ONNX
            position += _FIXED_BYTES.get(kind, end)
        if position > end or number == 0:
            raise ValueError("cut off")
        yield _Field(number, kind, begin, position, value)


def _varint(content: bytes, position: int) -> tuple[int, int]:
    """A varint (seven bits per byte), and the position after it."""
    value = 0
    for shift in range(0, 7 * _LONGEST_VARINT, 7):
        byte = content[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("a number that is too long")
