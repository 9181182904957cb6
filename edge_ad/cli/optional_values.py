"""Options that may be given without their value, such as ``--web`` and ``--web HOST:PORT``."""

from __future__ import annotations

from typing import Any, ClassVar

from typer.core import TyperCommand

__all__ = ["OptionalValueCommand"]


class OptionalValueCommand(TyperCommand):
    """A command some of whose options are empty when no value follows.

    Attributes:
        may_be_bare: Their names.
    """

    may_be_bare: ClassVar[frozenset[str]] = frozenset()

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Give a bare option an empty value."""
        given: list[str] = []
        for place, word in enumerate(args):
            given.append(word)
            if word in self.may_be_bare and (place + 1 == len(args) or args[place + 1].startswith("-")):
                given.append("")
        return super().parse_args(ctx, given)
