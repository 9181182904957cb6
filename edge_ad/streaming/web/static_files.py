"""The files of the page: a fixed list, read once, so that no request ever names a path."""

from __future__ import annotations

from importlib.resources import files

__all__ = ["StaticFiles", "static_files"]

StaticFiles = dict[str, tuple[bytes, str]]

_TYPES = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
_NAMES = (
    "index.html", "login.html", "style.css", "icon.svg", "app.js", "live.js", "verdict.js", "trend.js", "gallery.js",
    "events.js", "controls.js", "ask.js", "format.js",
)  # fmt: skip


def static_files() -> StaticFiles:
    """Name → content and media type."""
    folder = files("edge_ad.streaming.web") / "static"
    return {name: ((folder / name).read_bytes(), _TYPES[name.rpartition(".")[2]]) for name in _NAMES}
