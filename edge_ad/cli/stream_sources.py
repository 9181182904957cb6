"""What ``edge-ad stream`` looks at: sources, and which of their frames are judged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_ad.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_ad.streaming.filters import FilterOptions
    from edge_ad.streaming.sources import Source, SourceOptions

__all__ = ["open_filters", "open_sources"]


def open_sources(cameras: Sequence[str], uris: Sequence[str], options: SourceOptions) -> list[Source]:
    """Make the sources that were asked for; several go into one engine.

    Args:
        cameras: Numbers, or addresses of cameras.
        uris: Paths and addresses.
        options: What is asked of each of them.

    Raises:
        UsageError: None, one twice, or one that cannot be understood.
    """
    from edge_ad.streaming.sources import source_from_uri

    if not cameras and not uris:
        raise UsageError("Give one source or several.", "Use --camera N or --source PATH_OR_URL.")
    sources = [_camera(text, options) for text in cameras]
    sources += [source_from_uri(uri, options) for uri in uris]
    names = [source.name for source in sources]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UsageError(f"The source {twice[0]} is given twice.", "Name every source once.")
    return sources


def _camera(text: str, options: SourceOptions) -> Source:
    from edge_ad.streaming.sources import camera_source, source_from_uri

    try:
        number = int(text)
    except ValueError:
        return source_from_uri(text, options)
    return camera_source(number, options)


def open_filters(region: str | None, trigger: str, *, checks_health: bool, takes_8_bits: bool = False) -> FilterOptions:
    """What frames pass before they are judged.

    Args:
        region: ``x,y,w,h``, or None.
        trigger: What ``--trigger`` says.
        checks_health: Whether black, over-exposed and frozen frames are told apart.
        takes_8_bits: Whether frames of 8 bits are judged by a bundle of photos of more.

    Raises:
        UsageError: One that cannot be understood.
    """
    from edge_ad.streaming.filters import FilterOptions
    from edge_ad.streaming.health import FrameHealth
    from edge_ad.streaming.region import Region
    from edge_ad.streaming.triggers import trigger_from_text

    return FilterOptions(
        region=None if region is None else Region.parse(region),
        make_health=(lambda source: FrameHealth(can_freeze=source.is_live)) if checks_health else None,
        trigger=None if trigger == "every" else trigger_from_text(trigger),
        takes_8_bits=takes_8_bits,
    )
