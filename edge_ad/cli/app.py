"""Entry point of ``edge-ad``: parses the command line, runs one verb, gives an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated, TextIO

import typer
from typer.main import get_command

from edge_ad import __version__
from edge_ad.cli.failures import report_failure
from edge_ad.cli.termination import TerminationSignals
from edge_ad.cli.verbs import VerbGroup
from edge_ad.errors import UsageError

__all__ = ["main"]

_LAST_STANDARD = 2  # the number of stderr

_app = typer.Typer(
    cls=VerbGroup,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"edge-ad {__version__}")
        raise typer.Exit


@_app.callback(invoke_without_command=True)
def _edge_ad(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Visual anomaly detection: from photos of good parts to a verified engine on the line."""
    if context.invoked_subcommand is None:
        print(context.get_help(), file=sys.stderr)
        raise typer.Exit(UsageError.exit_code)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``edge-ad``.

    Args:
        arguments: Command line without the program's name; ``sys.argv[1:]`` when None.

    Returns:
        Exit code: 0 ok, 1 failure, 2 usage, 3 missing dependency or device, 4 quality gate, 130 interrupted, 143 or 129
        ended by SIGTERM or SIGHUP.
    """
    _make_streams_safe()
    with TerminationSignals() as signals:
        return signals.exit_code(_reported(arguments))


def _reported(arguments: Sequence[str] | None) -> int:
    try:
        code = _run(arguments)
        sys.stdout.flush()  # here, where a reader that has gone is still caught
    except BrokenPipeError:
        _discard_stdout()
        return 1
    except (Exception, KeyboardInterrupt) as error:
        return report_failure(error)
    return code


def _run(arguments: Sequence[str] | None) -> int:
    try:
        code = get_command(_app).main(args=arguments, prog_name="edge-ad", standalone_mode=False)
    except SystemExit as stop:  # shell completion, and typer's own answer to a closed pipe
        code = stop.code
    return code if isinstance(code, int) else 0


def _make_streams_safe() -> None:
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # the caller closed it, as >&- does
            setattr(sys, name, _nowhere())
    # A file name that the terminal's encoding cannot show must not end a run.
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def _nowhere() -> TextIO:
    """The null device, also in place of every standard stream that is closed: no file may be opened as one of them."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= _LAST_STANDARD:
        pass
    return os.fdopen(number, "w", encoding="utf-8")


def _discard_stdout() -> None:
    # Without this the interpreter complains when it flushes what is left at exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
