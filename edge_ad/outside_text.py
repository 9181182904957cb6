"""Text from outside — names of files and sources, ids of parts, fields of a bundle — made safe to store and to show.

It is unchecked: a file name may not be UTF-8, an id may hold the bytes that clear a terminal.
"""

from __future__ import annotations

import re
import unicodedata

__all__ = ["printable", "storable"]

_SURROGATE = re.compile("[\ud800-\udfff]")
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})  # controls, what changes direction, half characters, line ends


def storable(text: str) -> str:
    r"""Text that every file, database and network takes: UTF-8 without half characters.

    Args:
        text: Anything; a byte of a file name that is no UTF-8 comes as a half character (surrogate escape).

    Returns:
        The same, such a byte written as ``\xff`` and any other half character as ``\ud800``.
    """
    return text if text.isascii() else _SURROGATE.sub(_escaped_surrogate, text)


def printable(text: str) -> str:
    r"""Text of one line that does nothing to a terminal but appear on it.

    Args:
        text: Anything.

    Returns:
        The same, with control characters, line ends and marks that turn the direction of writing spelled out, such as
        ``\x1b``, ``\n`` and ``\u202e``.
    """
    if text.isprintable():
        return text
    return "".join(_escaped(sign) if unicodedata.category(sign) in _HIDDEN else sign for sign in storable(text))


def _escaped(sign: str) -> str:
    return sign.encode("unicode_escape").decode("ascii")


def _escaped_surrogate(match: re.Match[str]) -> str:
    number = ord(match[0])
    return f"\\x{number - 0xDC00:02x}" if 0xDC80 <= number <= 0xDCFF else f"\\u{number:04x}"
