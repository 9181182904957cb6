"""Registries: names and what they stand for, our own and those that other distributions add by entry points."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import cache
from importlib.metadata import EntryPoint, entry_points

__all__ = ["Registry", "did_you_mean", "forget_third_party"]


class Registry:
    """Objects by name, imported when they are asked for.

    Args:
        group: Group of the entry points by which other distributions add theirs.
        built_in: Name → ``module:attribute`` of our own; they come first, and no entry point replaces one.
    """

    def __init__(self, group: str, built_in: Mapping[str, str] | None = None) -> None:
        self._group = group
        self._built_in = {name: EntryPoint(name, value, group) for name, value in (built_in or {}).items()}

    def names(self) -> tuple[str, ...]:
        """All names, our own first."""
        return tuple(dict.fromkeys([*self._built_in, *_third_party(self._group)]))

    def get(self, name: str) -> EntryPoint | None:
        """What is registered under a name, to be loaded; None where nothing is."""
        return self._built_in.get(name) or _third_party(self._group).get(name)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A question with the known name that is closest, followed by a space; empty where none is close."""
    written = {each.lower().replace("_", "-"): each for each in known}
    found = get_close_matches(name.lower().replace("_", "-"), written, n=1, cutoff=0.6)
    return f"Did you mean {written[found[0]]}? " if found else ""


def forget_third_party() -> None:
    """Read all entry points again when next asked: distributions were installed or removed."""
    _third_party.cache_clear()


@cache
def _third_party(group: str) -> Mapping[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=group)}
