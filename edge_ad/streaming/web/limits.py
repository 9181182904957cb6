"""How much anybody can ask of the live page."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True)
class Limits:
    """The bounds of one live page.

    Attributes:
        viewers: Pages and MJPEG streams at a time.
        connections: Open connections that have asked for something they may have.
        connections_per_address: Of them from one address: nobody locks everybody else out.
        strangers: Further ones that have not sent a whole request yet. Beyond it the one that has been silent longest
            goes, after half a second at least: whoever asks at once is heard.
        idle_s: Longest time without a complete request, in seconds.
        stall_s: Longest time in which a client that is sent something takes nothing of it, in seconds.
        header_bytes: Longest request line and headers together.
        body_bytes: Longest body of a request.
        body_s: Longest time for it to come, in seconds.
        guesses: Wrong tokens and sessions from one address; then it is refused unheard.
        guesses_per_s: How many of them an address gets back in a second.
        logins_per_s: Requests per second for the login from one address; four times as many at once.
        cpu_share: Of one core, what the server may use while more is asked of it than it can give.
        stranger_share: Of one core, what may be used for accepting connections and refusing them.
    """

    viewers: int = 16
    connections: int = 128
    connections_per_address: int = 64
    strangers: int = 64
    idle_s: float = 15.0
    stall_s: float = 15.0
    header_bytes: int = 16 << 10
    body_bytes: int = 4 << 10
    body_s: float = 5.0
    guesses: int = 20
    guesses_per_s: float = 0.1
    logins_per_s: float = 8.0
    cpu_share: float = 0.15
    stranger_share: float = 0.02
