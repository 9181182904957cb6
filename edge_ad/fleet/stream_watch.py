"""The stream that uses a bundle: asked how it does, and watched while a new bundle is tried."""

from __future__ import annotations

import time

from edge_ad.fleet.health import Health, HealthLimits, health_problem, read_health

__all__ = ["StreamWatch"]

_IN_A_ROW = 3


class StreamWatch:
    """Watches one stream by its metrics.

    Args:
        url: Address of its metrics; None for no stream.
        limits: When its health has fallen.
        trial_s: How long a new bundle is tried, in seconds.
        observe_s: Time between two looks, in seconds.

    Attributes:
        health: What it said last; None where it is not asked, or does not answer.
    """

    def __init__(self, url: str | None, limits: HealthLimits, *, trial_s: float, observe_s: float) -> None:
        self._url, self._limits = url, limits
        self._trial_s, self._observe_s = trial_s, observe_s
        self.health: Health | None = None

    def ask(self) -> Health | None:
        """Ask it now."""
        self.health = None if self._url is None else read_health(self._url)
        return self.health

    def try_out(self, before: Health, bundle: str) -> str:
        """Watch it until the time is over, or its health was bad three times in a row.

        Args:
            before: With the old bundle.
            bundle: Hash of the new one.

        Returns:
            What is wrong, in words; empty if nothing is.
        """
        until, start, bad, problem = time.monotonic() + self._trial_s, None, 0, ""
        while self._url is not None:
            time.sleep(self._observe_s)
            now = self.ask()
            is_used = now is not None and now.bundle == bundle
            start = start or (now if is_used else None)
            problem = health_problem(before, start, now, self._limits)
            bad = bad + 1 if problem else 0
            if bad == _IN_A_ROW:
                return problem
            if time.monotonic() > until:
                return problem if start is not None else "the stream did not take it over"
        return ""
