"""A command whose options come in groups reads them as if each were an argument."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer
from typer.testing import CliRunner

from edge_ad.cli.options import takes_groups


@dataclass(frozen=True)
class _Size:
    width_px: Annotated[int, typer.Option("--width", min=1)] = 4
    height_px: Annotated[int | None, typer.Option("--height")] = None


@dataclass(frozen=True)
class _Look:
    names: Annotated[list[str] | None, typer.Option("--name")] = None
    is_bright: Annotated[bool, typer.Option("--bright/--dark")] = True


@takes_groups
def _draw(size: _Size, look: _Look) -> None:
    """Draw."""
    print(size, look.names or [], look.is_bright)


def _run(*words: str) -> str:
    app = typer.Typer(add_completion=False)
    app.command()(_draw)
    return CliRunner().invoke(app, list(words)).output


def test_every_group_gets_its_own_options() -> None:
    said = _run("--name", "a", "--height", "3", "--dark", "--name", "b")
    assert said == "_Size(width_px=4, height_px=3) ['a', 'b'] False\n"


def test_what_is_not_given_has_the_default_of_its_field() -> None:
    assert _run() == "_Size(width_px=4, height_px=None) [] True\n"


def test_a_limit_of_an_option_holds() -> None:
    assert "--width" in _run("--width", "0")
