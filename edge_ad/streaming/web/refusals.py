"""Answers that refuse, as bytes: nothing is computed for who is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

__all__ = ["PROTECTING_HEADERS", "Refusal", "refusal"]

PROTECTING_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",  # with none, browsers hide where a form comes from, and it would be refused
    "cache-control": "no-store",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


@dataclass(frozen=True)
class Refusal:
    """An answer after which the connection ends.

    Attributes:
        content: The whole answer.
    """

    content: bytes

    def without_body(self) -> Refusal:
        """The same for HEAD: no body, and the headers that it would have."""
        return Refusal(self.content[: self.content.index(b"\r\n\r\n") + 4])


def refusal(status: int, text: str, headers: Mapping[str, str] | None = None) -> Refusal:
    """Make an answer of one line, with the headers that protect the page.

    Args:
        status: Of HTTP.
        text: The line; empty for none.
        headers: Further ones.
    """
    body = f"{text}\n".encode() if text else b""
    named = {
        **PROTECTING_HEADERS,
        **(headers or {}),
        "content-type": "text/plain; charset=utf-8",
        "content-length": str(len(body)),
        "connection": "close",
    }
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{name}: {value}" for name, value in named.items())]
    return Refusal("\r\n".join((*lines, "", "")).encode("ascii") + body)
