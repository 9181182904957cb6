"""``edge-ad capture``: frames of the line's own camera as training photos."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_ad.cli.console import local_time, note, print_facts, print_json, rewrite_line
from edge_ad.cli.options import JsonOption, takes_groups
from edge_ad.cli.stream_options import Sources, SourceSettings, StreamCommand
from edge_ad.errors import DataError, StorageError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from edge_ad.bundle import Bundle
    from edge_ad.streaming.frame import Event
    from edge_ad.streaming.photo_capture import Captured
    from edge_ad.streaming.photo_recorder import PhotoRecorder, SavedPhoto
    from edge_ad.streaming.sources import Source
    from edge_ad.streaming.verdicts import CoolDownRule

__all__ = ["COMMAND", "capture"]

COMMAND = StreamCommand

_INTERRUPTED = 130
_EVERY_S = 10.0
_TOLD = frozenset({"source lost", "source returned", "corrupt", "cut off", "request lost", "frame size"})
_TOLD |= {"another shape"}


@dataclass(frozen=True)
class Photos:
    """What is saved, and where."""

    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Folder for the photos.")] = None
    every: Annotated[
        str | None, typer.Option("--every", metavar="TIME", help="At most one photo in so long: 2s, 500ms or 30f.")
    ] = None
    count: Annotated[int | None, typer.Option("--count", min=1, help="End with so many photos.")] = None
    max_seconds: Annotated[float | None, typer.Option("--max-seconds", min=0.0, help="End after so long.")] = None
    jpeg_quality: Annotated[
        int | None, typer.Option("--jpeg", metavar="QUALITY", help="Save JPEG, 1 to 100; PNG if not given.")
    ] = None
    like: Annotated[
        Path | None, typer.Option("--like", metavar="BUNDLE", help="Hold shape and light against this bundle's photos.")
    ] = None
    keeps_near_equal: Annotated[
        bool, typer.Option("--keep-near-equal", help="Save frames too on which nothing has changed.")
    ] = False
    region: Annotated[
        str | None, typer.Option("--region", metavar="X,Y,W,H", help="Part of the frame to save, as stream judges it.")
    ] = None
    trigger: Annotated[
        str,
        typer.Option(
            "--trigger", metavar="KIND", help="every, every:N, motion:x1,y1,x2,y2, http:PORT or mqtt://host/topic."
        ),
    ] = "every"
    checks_health: Annotated[
        bool,
        typer.Option("--frame-health/--no-frame-health", help="Leave out black, over-exposed and frozen frames."),
    ] = True
    sheet: Annotated[
        Path | None,
        typer.Option("--sheet", metavar="FILE.png", help="The contact sheet; DIR/.contact-sheet.png if not given."),
    ] = None
    has_sheet: Annotated[bool, typer.Option("--with-sheet/--no-sheet", help="Draw a contact sheet at the end.")] = True
    as_json: JsonOption = False


@takes_groups
def capture(photos: Photos, sources: Sources, settings: SourceSettings) -> None:
    """Save frames of cameras, videos or network streams as training photos.

    What is trained on should come the way that frames of the line come: the same camera, settings, codec and region. A
    detector knows a codec as it knows a part, and photos from a telephone or a lossless file are another scene than an
    H.264 stream. Frames on which nothing has changed are left out; what is dark, bright or blurred is told. Nothing is
    overwritten. Ctrl-C ends it, and what was saved stays.
    """
    from edge_ad.bundle import Bundle
    from edge_ad.cli.stream_setup import open_filters, open_sources
    from edge_ad.streaming.photo_recorder import PhotoRecorder
    from edge_ad.streaming.sinks.base import check_output
    from edge_ad.streaming.sources import SourceOptions

    if photos.out is None:
        raise UsageError("Say where the photos go.", "Such as --out photos/good")
    if photos.sheet is not None:
        if photos.sheet.exists():
            raise UsageError(f"{photos.sheet} exists.", "Choose another name: capture overwrites nothing.")
        check_output(photos.sheet, overwrite=False)
    like = None if photos.like is None else Bundle.open(photos.like)
    opened = open_sources(sources.cameras or [], sources.uris or [], SourceOptions(**vars(settings)))
    recorder = PhotoRecorder(
        photos.out,
        every=_every(photos.every, opened, is_paced=settings.pace == "source"),
        jpeg_quality=photos.jpeg_quality,
        drops_near_equal=not photos.keeps_near_equal,
        limits=None if like is None else like.scene(),
        as_seen=None if like is None else _as_seen(like),
    )
    filters = open_filters(photos.region, photos.trigger, checks_health=photos.checks_health, takes_8_bits=like is None)
    _run(photos, opened, recorder, filters, like)


def _as_seen(like: Bundle) -> Callable[[NDArray[np.uint8]], NDArray[np.uint8]]:
    """A frame as the network of the bundle sees it: sharpness and noise depend on the size."""
    manifest = like.manifest
    return lambda image: manifest.photos.prepare(image, manifest.input_size_hw).image


def _run(photos: Photos, sources: list[Source], recorder: PhotoRecorder, filters: object, like: Bundle | None) -> None:
    from edge_ad.streaming.filters import FilterOptions
    from edge_ad.streaming.photo_capture import Captured, capture_photos

    assert isinstance(filters, FilterOptions)
    counter = _Counter(recorder)
    failure: StorageError | None = None
    try:
        captured = capture_photos(
            sources,
            recorder,
            filters=filters,
            photos=None if like is None else like.manifest.photos,
            count=photos.count,
            max_seconds=photos.max_seconds,
            on_event=counter.event,
            on_photo=counter.photo,
        )
    except StorageError as error:  # a full disk: what was saved is there
        frames = recorder.count + sum(recorder.not_saved.values()) + 1  # and the one that had no room
        failure, captured = error, Captured("no room", frames, dict(recorder.not_saved))
    finally:
        counter.end()
    sheet = _sheet(photos, recorder) if photos.has_sheet and recorder.count else None
    _print(photos, recorder, captured, sheet)
    if failure is not None:
        raise failure
    if captured.ended_by in ("interrupted", "terminated"):
        raise typer.Exit(_INTERRUPTED)
    if not recorder.count:
        raise DataError("No photo was saved.", "The counts above say why; --keep-near-equal, --no-frame-health.")


def _every(text: str | None, sources: list[Source], *, is_paced: bool) -> CoolDownRule | None:
    from edge_ad.streaming.verdicts import CoolDownRule

    rule = None if text is None else CoolDownRule.parse(text)
    if rule is not None and rule.seconds and not is_paced and not all(source.is_live for source in sources):
        raise UsageError(
            f"--every {text} means little for a file that is read as fast as it goes.",
            "Count frames, such as --every 25f, or add --pace source.",
        )
    return rule


def _sheet(photos: Photos, recorder: PhotoRecorder) -> Path | None:
    """Draw the contact sheet; in the folder it has a name by which nobody takes it for a photo."""
    from edge_ad.evaluation.contact_sheet import draw_contact_sheet
    from edge_ad.evaluation.drawing import encode_png
    from edge_ad.storage import write_file

    assert photos.out is not None
    folder, shown = photos.out.resolve(), recorder.for_sheet()
    title = f"{folder.name}: {len(shown)} of {recorder.count} photos" if len(shown) < recorder.count else folder.name
    sheet = draw_contact_sheet(shown, title=title, subtitle=_subtitle(recorder))
    names = (f".contact-sheet{'' if number == 1 else f'-{number}'}.png" for number in range(1, 10_000))
    path = photos.sheet or next(place for name in names if not (place := folder / name).exists())
    try:
        write_file(path, encode_png(sheet))
    except StorageError as error:
        note(f"There is no contact sheet: {error.message}")
        return None
    return path


def _subtitle(recorder: PhotoRecorder) -> str:
    parts = [f"{recorder.count} photos"]
    parts += [f"{count} {kind}" for kind, count in recorder.odd.items()]
    parts += [f"{count} {reason} left out" for reason, count in recorder.not_saved.items()]
    return "   |   ".join(parts)


def _print(photos: Photos, recorder: PhotoRecorder, captured: Captured, sheet: Path | None) -> None:
    facts = {
        "saved": recorder.count,
        "folder": str(photos.out),
        "ended_by": captured.ended_by,
        "frames": captured.frames,
        "not_saved": captured.not_saved,
        "odd": dict(recorder.odd),
        "contact_sheet": None if sheet is None else str(sheet),
    }
    if photos.as_json:
        print_json(facts)
        return
    for name in ("not_saved", "odd"):
        counts = captured.not_saved if name == "not_saved" else recorder.odd
        facts[name] = ", ".join(f"{count} {reason}" for reason, count in counts.items()) or "none"
    print_facts({name.replace("_", " "): value for name, value in facts.items()})


class _Counter:
    """Counts up on stderr, in place in a terminal, else every ten seconds; says what is odd once for each kind."""

    def __init__(self, recorder: PhotoRecorder) -> None:
        self._recorder = recorder
        self._is_terminal = sys.stderr.isatty()
        self._is_inside_line = False
        self._next_at = time.monotonic() + _EVERY_S
        self._told: set[str] = set()

    def photo(self, photo: SavedPhoto) -> None:
        """Count a photo, and say what is odd about it if nothing of that kind was said before."""
        new = [kind for kind in self._recorder.odd if kind not in self._told]
        if new and photo.remark:
            self._told.update(new)
            self._line(f"{photo.path.name} is {photo.remark}; more like it are only counted.")
        left_out = sum(self._recorder.not_saved.values())
        text = f"{self._recorder.count} photos, {left_out} frames left out"
        if self._is_terminal:
            self._is_inside_line = True
            rewrite_line(text)
        elif time.monotonic() >= self._next_at:
            self._next_at = time.monotonic() + _EVERY_S
            note(text)

    def event(self, event: Event) -> None:
        """Say what happened to a source."""
        if event.kind in _TOLD:
            self._line(f"{local_time(event.at_unix)}  {event.kind}: {event.text}")

    def end(self) -> None:
        """Leave the line, so that what is printed next starts a new one."""
        if self._is_inside_line:
            self._is_inside_line = False
            note("")

    def _line(self, text: str) -> None:
        self.end()
        note(text)
