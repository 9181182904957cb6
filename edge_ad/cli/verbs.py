"""The verbs of ``edge-ad``: a static table, so that ``--help`` imports none of them."""

from __future__ import annotations

import importlib
import inspect
import math
import re
from collections.abc import Callable
from functools import wraps
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from edge_ad.errors import UsageError

__all__ = ["VERBS", "VerbGroup", "load_verb"]

VERBS: dict[str, str] = {
    "show-defects": "Draw defects as they are simulated on your parts.",
    "train": "Fit a detector to photos of good parts.",
    "evaluate": "Measure a run or a bundle on test images.",
    "export": "Write a run as a bundle, ready for devices.",
    "calibrate": "Add an FP16 or INT8 graph to a bundle.",
    "build-engine": "Build a bundle's engine for this machine.",
    "verify": "Check that an engine gives the trained numbers.",
    "stream": "Judge the frames of a camera, video or folder.",
    "records": "List, export or draw what streams recorded.",
    "benchmark": "Measure latency and frame rate on this machine.",
    "inspect": "Show what is inside a bundle and check its files.",
    "doctor": "Show which backends and devices are here.",
    "demo": "Go the whole way on a rendered product.",
}
"""Verb → its one line in ``edge-ad --help``. The order is the order of the work."""

_DOCSTRING_SECTION = re.compile(r"\n\n(Args|Raises|Returns|Examples?):\n")


def load_verb(verb: str) -> TyperCommand:
    """Import ``edge_ad.cli.<verb>`` and make a command of its function of the same name.

    Args:
        verb: A key of ``VERBS``, such as ``"build-engine"``.
    """
    name = verb.replace("-", "_")
    module = importlib.import_module(f"edge_ad.cli.{name}")
    function: Callable[..., None] = _with_finite_numbers(getattr(module, name))
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command(name=verb, cls=getattr(module, "COMMAND", TyperCommand), help=_help_text(function))(function)
    command = get_command(app)
    assert isinstance(command, TyperCommand)
    return command


class VerbGroup(TyperGroup):
    """A group that lists its verbs from the table and imports a verb only when it is used."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        # Placeholders: enough for the listing, completion and "did you mean".
        self.commands = {verb: TyperCommand(verb, help=line, short_help=line) for verb, line in VERBS.items()}

    def list_commands(self, ctx: Any) -> list[str]:
        """The verbs in the order of the work."""
        return list(self.commands)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Find the verb that was asked for, and only now import it."""
        name, placeholder, rest = super().resolve_command(ctx, args)
        return name, None if placeholder is None else load_verb(str(name)), rest


def _with_finite_numbers(function: Callable[..., None]) -> Callable[..., None]:
    """Refuse NaN and infinity in every option: as a threshold or a limit they would let everything pass."""

    @wraps(function)
    def checked(**options: object) -> None:
        for name, value in options.items():
            if isinstance(value, float) and not math.isfinite(value):
                option = f"--{name.replace('_', '-')}"
                raise UsageError(f"{option} cannot be {value}: it is not a finite number.", "Give a number.")
        function(**options)

    return checked


def _help_text(function: Callable[..., None]) -> str:
    # The options explain themselves; a docstring's sections are for readers of the code.
    return _DOCSTRING_SECTION.split(inspect.getdoc(function) or "", maxsplit=1)[0]
