"""Small damage to bytes and to JSON documents, from a seed."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

__all__ = ["mutate_bytes", "mutate_document", "mutate_json"]

_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF)
_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 0.5, 2**31, 2**63, 2**64, 10**300, -(10**30), 1e308, 1e-320),
    *(float("nan"), float("inf"), float("-inf"), "", "x", "nan", "../x", "/etc/passwd", "a/b", ".", "CON", "\0"),
    *("\ud800", "\N{GRINNING FACE}", "x" * 300, "x" * 5000, "1e999", "auto", "fp32", "bf16", "int8", "2026-13-45"),
    *([], {}, [[]], [0, 0], [1], [-1, -1], [1e300, 1], [10**9, 10**9], {"": ""}, {"fp32": {}}),
)
_SPLICES = (
    *(b'"NaN"', b"NaN", b"Infinity", b"-Infinity", b"1e999", b"1" * 5000, b"[" * 3000, b'{"a":' * 3000, b"\xff\xfe"),
    *(b"\\ud800", b"\\u0000", b"\xef\xbb\xbf", b"//", b",", b"", b"\0", b"null"),
)


def mutate_bytes(content: bytes, rng: random.Random) -> bytes:
    """Flip, cut, repeat, insert or overwrite in a few places."""
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        at = rng.randrange(len(changed) + 1)
        length = min(rng.choice((1, 2, 4, 8, 64, 1024)), len(changed) - at)
        kind = rng.randrange(8)
        if kind <= 1 and length:
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == 2:
            del changed[at : at + length]
        elif kind == 3:
            changed[at:at] = changed[at : at + length] * rng.choice((1, 2, 50))
        elif kind == 4:
            changed[at:at] = rng.randbytes(rng.choice((1, 4, 32)))
        elif kind == 5:
            width = rng.choice((1, 2, 4, 8))
            number = rng.choice(_NUMBERS) & ((1 << 8 * width) - 1)
            changed[at : at + width] = number.to_bytes(width, rng.choice(("little", "big")))
        elif kind == 6:
            other = rng.randrange(len(changed) + 1)
            changed[at:at] = changed[other : other + length]
        elif rng.random() < 0.3:
            del changed[at:]
    return bytes(changed)


def mutate_document(document: Any, rng: random.Random) -> Any:
    """Change, remove, rename or add a value somewhere in a document."""
    changed = copy.deepcopy(document)
    for _ in range(rng.choice((1, 1, 2, 3))):
        places = list(_places(changed))
        if not places:
            return rng.choice(_VALUES)
        container, key = rng.choice(places)
        kind = rng.randrange(6)
        if kind <= 2:
            container[key] = copy.deepcopy(rng.choice(_VALUES))
        elif kind == 3:
            del container[key]
        elif kind == 4:
            other, other_key = rng.choice(places)
            container[key] = copy.deepcopy(other[other_key]) if _is_in(other, other_key) else {}
        elif isinstance(container, dict):
            container[str(rng.choice(_VALUES))] = container.pop(key)
        else:
            container.insert(key, copy.deepcopy(rng.choice(_VALUES)))
    return changed


def mutate_json(content: bytes, rng: random.Random) -> bytes:
    """The text of a document with another value, or with damage to the text itself."""
    kind = rng.random()
    if kind < 0.7:
        return json.dumps(mutate_document(json.loads(content), rng)).encode()
    if kind < 0.85:
        at = rng.randrange(len(content) + 1)
        return content[:at] + rng.choice(_SPLICES) + content[at + rng.choice((0, 1, 8)) :]
    return mutate_bytes(content, rng)


def _places(value: Any) -> Any:
    """Every container and key in a document."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from _places(value[key])


def _is_in(container: Any, key: Any) -> bool:
    return key in container if isinstance(container, dict) else key < len(container)
