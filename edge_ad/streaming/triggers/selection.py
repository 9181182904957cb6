"""Which trigger a text of the command line means."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from urllib.parse import parse_qsl

from edge_ad.errors import UsageError
from edge_ad.masked_address import MASK, masked_address
from edge_ad.streaming.triggers.base import EveryFrame, EveryNth, Trigger
from edge_ad.streaming.triggers.motion import DIFFERENCE, REFRACTORY_S, MotionTrigger

__all__ = ["trigger_from_text"]

_FORMS = "every, every:3, motion:x1,y1,x2,y2, http:8081 or mqtt://host/topic"


def trigger_from_text(text: str, more: Mapping[str, Callable[[str], Trigger]] | None = None) -> Trigger:
    """Read what ``--trigger`` says.

    ``every`` and ``every:N``; ``motion:x1,y1,x2,y2`` with ``?difference=12&refractory=0.5``;
    ``mqtt://[user:password@]host[:port]/topic``, ``mqtts://`` with TLS, with the variables of `Broker.parse`; and what
    is given beside them, such as ``http:PORT``, ``http:HOST:PORT`` with ``?token=SECRET`` (or the variable
    ``EDGE_AD_TRIGGER_TOKEN``, which no list of processes shows).

    Args:
        text: One of these.
        more: Further kinds → what makes one of them from the rest of the text, or raises ValueError.

    Returns:
        A trigger, not open yet: it is a context manager. One serves all sources of a stream.

    Raises:
        UsageError: It is none of these.
        MissingDependencyError: It needs paho-mqtt, which is not installed.
    """
    kind, _, rest = text.partition(":")
    make = {**_KINDS, **(more or {})}.get(kind.lower())
    if make is None:
        raise UsageError(f"Unknown trigger: {_without_secret(text)}.", f"Write {_FORMS}.")
    try:
        return make(rest)
    except ValueError:
        raise UsageError(f"The trigger {_without_secret(text)} cannot be read.", f"Write {_FORMS}.") from None


def _every(rest: str) -> Trigger:
    if not rest:
        return EveryFrame()
    if int(rest) < 1:
        raise ValueError(rest)
    return EveryNth(int(rest))


def _motion(rest: str) -> Trigger:
    line, _, query = rest.partition("?")
    x1, y1, x2, y2 = (int(number) for number in line.split(","))
    settings = _settings(query, ("difference", "refractory"))
    difference = float(settings.get("difference", DIFFERENCE))
    refractory_s = float(settings.get("refractory", REFRACTORY_S))
    if min(x1, y1, x2, y2) < 0 or (x1, y1) == (x2, y2) or not 0 < difference <= 255 or not 0 <= refractory_s < 1e6:
        raise ValueError(rest)
    return MotionTrigger((x1, y1), (x2, y2), difference=difference, refractory_s=refractory_s)


def _mqtt(rest: str, *, scheme: str = "mqtt") -> Trigger:
    from edge_ad.streaming.mqtt import Broker
    from edge_ad.streaming.triggers.mqtt_trigger import MqttTrigger

    try:
        broker = Broker.parse(f"{scheme}:{rest}")
    except UsageError:
        raise ValueError(rest) from None
    if not broker.topic:
        raise ValueError(rest)
    return MqttTrigger(broker)


def _mqtts(rest: str) -> Trigger:
    return _mqtt(rest, scheme="mqtts")


def _settings(query: str, known: tuple[str, ...]) -> dict[str, str]:
    settings = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)))
    if not settings.keys() <= set(known):
        raise ValueError(query)
    return settings


def _without_secret(text: str) -> str:
    """The text, where it is none of an address or a token; otherwise what may be shown of it."""
    if "://" in text:
        return masked_address(text)
    shown, question, _ = text.partition("?")
    if "@" in shown or "#" in shown:
        kind = text.partition(":")[0]
        return f"{kind if kind.lower() in {*_KINDS, 'http'} else ''}:{MASK}".strip(":")
    return shown if not question or "=" not in text else f"{shown}?{MASK}"


_KINDS: Mapping[str, Callable[[str], Trigger]] = {
    "every": _every,
    "all": _every,
    "motion": _motion,
    "mqtt": _mqtt,
    "mqtts": _mqtts,
}
