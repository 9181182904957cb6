"""Times on the command line: dates, spans before now, and how times are shown."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

from edge_ad.cli.console import local_time, note
from edge_ad.errors import UsageError

__all__ = ["local_iso", "span_from_text", "time_from_text"]

_SPANS = {"m": 60, "h": 3600, "d": 86400}
_SHORT_ZONE, _HOUR_ZONE = re.compile(r"(:\d\d|T\d\d)([+-]\d\d)(\d\d)$"), re.compile(r"(:[\d.]+|T\d\d)[+-]\d\d$")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")


def local_iso(at_unix: float) -> str:
    """Seconds since the epoch as ISO 8601 in local time, to the millisecond."""
    return local_time(at_unix, "milliseconds").replace(" ", "T")


def span_from_text(text: str | None, *, option: str) -> float | None:
    """Seconds of a span of time: ``15m`` → 900; None for none."""
    match = None if text is None else re.fullmatch(r"(\d{1,6})([mhd])", text.strip())
    if text is not None and (match is None or int(match[1]) == 0):
        raise UsageError(f"{option} {text} is no span of time.", "Such as 15m, 1h or 1d.")
    return None if match is None else float(int(match[1]) * _SPANS[match[2]])


def time_from_text(text: str | None, *, option: str) -> float | None:
    """Seconds since the epoch of a date, a date with time, or a span before now; without a zone, local time."""
    if text is None:
        return None
    number, unit = text[:-1], text[-1:]
    try:
        if unit in _SPANS and number.replace(".", "", 1).isdigit():
            return (datetime.now(timezone.utc) - timedelta(seconds=float(number) * _SPANS[unit])).timestamp()
        zoned = _SHORT_ZONE.sub(r"\1\2:\3", re.sub(r"[zZ]$", "+00:00", text.strip()))
        moment = datetime.fromisoformat(f"{zoned}:00" if _HOUR_ZONE.search(zoned) else zoned)
        return moment.timestamp() if moment.tzinfo is not None else _local(moment, text, option)
    except (ValueError, OverflowError, OSError) as error:
        hint = "Such as 2026-11-22, 2026-11-22T08:00, 2026-11-22T08:00+01:00, or 12h for twelve hours ago."
        raise UsageError(f"{text!r} is not a time.", hint) from error


def _local(moment: datetime, text: str, option: str) -> float:
    """A local time; when the clock is changed, some times exist twice and others not at all."""
    first, second = moment.replace(fold=0).timestamp(), moment.replace(fold=1).timestamp()
    if first < second:  # the clock was set back: take the time that leaves nothing out
        chosen = first if option.endswith("since") else second
        note(f"{option} {text} existed twice; taking {local_time(chosen)}. Add the zone to choose.")
        return chosen
    if first > second and _DAY.fullmatch(text.strip()) is None:  # a day may begin after 00:00
        hint = f"The clock was set forward then. Write {local_time(first)}, for example."
        raise UsageError(f"{text} did not exist here.", hint)
    return first
