"""The request line and headers of a request, read only as far as it takes to know whether it is refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["RequestHead", "head_end", "may_become_head", "parse_head"]

_END = re.compile(rb"\r?\n\r?\n")
_LINE = re.compile(r"([A-Z]{1,16}) ([!-~]+) HTTP/1\.[01]")
_HEADER = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*(.*)")


@dataclass(frozen=True)
class RequestHead:
    """What a client asks for.

    Attributes:
        method: Such as GET.
        path: As it was sent, without the query.
        headers: By lower-case name; several of one name are joined with a comma.
    """

    method: str
    path: str
    headers: Mapping[str, str]


def head_end(content: bytes | bytearray, start: int = 0) -> int | None:
    """Where the body begins; None while the headers are not complete."""
    found = _END.search(content, max(0, start - 3))
    return None if found is None else found.end()


def may_become_head(content: bytes | bytearray) -> bool:
    """Whether it begins as a request does: what is none need not be waited for."""
    return content[:1].isupper()


def parse_head(content: bytes | bytearray) -> RequestHead | None:
    """Read a complete head; None when it is none."""
    first, *lines = content.decode("latin-1").replace("\r\n", "\n").rstrip("\n").split("\n")
    asked = _LINE.fullmatch(first)
    found = [_HEADER.fullmatch(line) for line in lines]
    if asked is None:
        return None
    headers: dict[str, str] = {}
    for match in found:
        if match is None or (match[1].lower() == "host" and "host" in headers):
            return None
        name, value = match[1].lower(), match[2].rstrip()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return RequestHead(asked[1], asked[2].partition("?")[0], headers)
