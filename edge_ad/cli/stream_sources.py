"""What ``edge-ad stream`` looks at: sources, and which of their frames are judged."""

from __future__ import annotations

import itertools
import os
import re
from typing import TYPE_CHECKING

from edge_ad.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from edge_ad.server import HttpServer
    from edge_ad.streaming.filters import FilterOptions
    from edge_ad.streaming.sources import Source, SourceOptions

__all__ = ["open_filters", "open_sources"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
_NAME_RULE = "A name has at most 40 letters, digits, dots, dashes and underscores, and begins with a letter or digit."


def open_sources(cameras: Sequence[str], uris: Sequence[str], options: SourceOptions) -> list[Source]:
    """Make the sources that were asked for; several go into one engine.

    ``NAME=ADDRESS`` gives a source the name that stands for it everywhere. An existing path with a ``=`` in it is a
    path. Addresses that look the same without their secrets get a number: ``rtsp://host/live #2``.

    Args:
        cameras: Numbers, or addresses of cameras.
        uris: Paths and addresses.
        options: What is asked of each of them.

    Raises:
        UsageError: None, one twice, two of one name, or one that cannot be understood.
    """
    from edge_ad.streaming.sources import source_from_uri

    if not cameras and not uris:
        raise UsageError("Give one source or several.", "Use --camera N or --source PATH_OR_URL.")
    opened: dict[str, Source] = {}
    addresses: set[str] = set()
    asked: list[tuple[str, Callable[[str, SourceOptions], Source]]] = [(text, _camera) for text in cameras]
    asked += [(uri, source_from_uri) for uri in uris]
    for text, make in asked:
        name, address = _name_and_address(text)
        source = make(address, options)
        source.rename(name or _unlike(source.name, opened, is_new=address not in addresses))
        if source.name in opened:
            what = f"Two sources are called {name}." if name else f"The source {source.name} is given twice."
            raise UsageError(what, "Name every source once, such as --source front=rtsp://host/live.")
        opened[source.name] = source
        addresses.add(address)
    return list(opened.values())


def _name_and_address(text: str) -> tuple[str, str]:
    """The name that ``NAME=ADDRESS`` gives, empty when it gives none, and the address."""
    name, equals, address = text.partition("=")
    if not equals or os.path.exists(os.path.expanduser(text)):  # noqa: PTH110, PTH111 - takes any text
        return "", text
    if _NAME.fullmatch(name) and address:
        return name, address
    if _NAME.fullmatch(name) or ("://" in address and not set(name) & set(":/?")):
        raise UsageError("A source's name or address is missing or wrong.", f"Write NAME=ADDRESS. {_NAME_RULE}")
    return "", text


def _unlike(name: str, others: Collection[str], *, is_new: bool) -> str:
    """A name that no other source has, where only what is hidden in two addresses tells them apart."""
    if not is_new or "://" not in name:
        return name
    numbered = (f"{name} #{number}" for number in itertools.count(2))
    return name if name not in others else next(other for other in numbered if other not in others)


def _camera(text: str, options: SourceOptions) -> Source:
    from edge_ad.streaming.sources import camera_source, source_from_uri

    try:
        number = int(text)
    except ValueError:
        return source_from_uri(text, options)
    return camera_source(number, options)


def open_filters(
    region: str | None,
    trigger: str,
    *,
    checks_health: bool,
    takes_8_bits: bool = False,
    server: HttpServer | None = None,
) -> FilterOptions:
    """What frames pass before they are judged.

    Args:
        region: ``x,y,w,h``, or None.
        trigger: What ``--trigger`` says.
        checks_health: Whether black, over-exposed and frozen frames are told apart.
        takes_8_bits: Whether frames of 8 bits are judged by a bundle of photos of more.
        server: What serves an HTTP trigger; None makes one of its own.

    Raises:
        UsageError: One that cannot be understood.
        DeviceError: The port of an HTTP trigger is in use.
        MissingDependencyError: An optional package is not installed.
    """
    from edge_ad.server import http_trigger
    from edge_ad.streaming.filters import FilterOptions
    from edge_ad.streaming.health import FrameHealth
    from edge_ad.streaming.region import Region
    from edge_ad.streaming.triggers import trigger_from_text

    kinds = {"http": lambda rest: http_trigger(rest, server)}
    return FilterOptions(
        region=None if region is None else Region.parse(region),
        make_health=(lambda source: FrameHealth(can_freeze=source.is_live)) if checks_health else None,
        trigger=None if trigger == "every" else trigger_from_text(trigger, kinds),
        takes_8_bits=takes_8_bits,
    )
