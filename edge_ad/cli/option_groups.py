"""Commands that take groups of options instead of fifty arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields
from functools import wraps
from typing import Any, get_type_hints

__all__ = ["takes_groups"]


def takes_groups(function: Callable[..., None]) -> Callable[..., None]:
    """Make a command that takes every option by itself of a function that takes them in groups.

    Args:
        function: Each argument is a dataclass whose fields are options: ``Annotated[type, typer.Option(...)]``, each
            with a default. No two of them have a field of the same name.

    Returns:
        A function whose signature lists the fields of all groups in their order, for typer to read.
    """
    groups = {name: kind for name, kind in get_type_hints(function).items() if name != "return"}

    @wraps(function)
    def command(**options: Any) -> None:
        function(
            **{name: kind(**{each.name: options[each.name] for each in fields(kind)}) for name, kind in groups.items()}
        )

    listed = [parameter for kind in groups.values() for parameter in _parameters(kind)]
    setattr(command, "__signature__", inspect.Signature(listed))  # noqa: B010 - what is wrapped has no such attribute
    command.__annotations__ = {}  # the groups mean nothing to typer
    return command


def _parameters(group: type) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    kind = inspect.Parameter.KEYWORD_ONLY
    return [
        inspect.Parameter(each.name, kind, default=each.default, annotation=hints[each.name]) for each in fields(group)
    ]
