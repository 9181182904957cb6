"""Entry point of ``edge-ad``: parses the command line, runs one verb, returns an exit code."""

from __future__ import annotations

import importlib
import inspect
import math
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from functools import wraps
from types import FrameType, TracebackType
from typing import Annotated, Any, TextIO

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from edge_ad import __version__
from edge_ad.cli.failures import report_failure
from edge_ad.errors import UsageError

__all__ = ["VERBS", "TerminationSignals", "VerbGroup", "load_verb", "main"]

VERBS: dict[str, str] = {
    "capture": "Save frames of the line's camera as training photos.",
    "show-defects": "Draw defects as they are simulated on your parts.",
    "show-masks": "Draw what runs of ear and fader hide and restore.",
    "train": "Fit a detector to photos of good parts.",
    "predict": "Judge photos: a verdict, a score and regions for each.",
    "evaluate": "Measure a run or a bundle on test images.",
    "compare": "Put runs and bundles side by side on the same test images.",
    "export": "Write a run as a bundle, ready for devices.",
    "calibrate": "Add an FP16 or INT8 graph to a bundle.",
    "build-engine": "Build a bundle's engine for this machine.",
    "verify": "Check that an engine gives the trained numbers.",
    "publish": "Put a bundle into a registry, for devices to pull.",
    "pull": "Get a bundle from a registry, checked and whole.",
    "follow": "Keep a bundle at what a registry's tag names.",
    "fleet": "Show the devices that follow tags, on one page.",
    "stream": "Judge the frames of a camera, video or folder.",
    "serve": "Judge photos that others send by HTTP.",
    "recipe": "Check recipes: what a line needs for each product.",
    "records": "List, export, draw or confirm what streams recorded.",
    "retrain": "Train again with what people labelled on the line.",
    "threshold": "Show or set the thresholds of a bundle.",
    "benchmark": "Measure latency and frame rate on this machine.",
    "inspect": "Show what is inside a bundle and check its files.",
    "sweep": "Train many products, methods and seeds, on a cluster too.",
    "reproduce": "Run a paper's table again, figure beside figure.",
    "doctor": "Show the backends and devices of this machine.",
    "demo": "Run every step on a rendered product.",
}
"""Verb → its line in ``edge-ad --help``, in the order of the work."""

_OTHER_NAMES = {"recalibrate": "threshold"}
_DOCSTRING_SECTION = re.compile(r"\n\n(Args|Raises|Returns|Examples?):\n")
_NUMBERS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]  # Windows has no SIGHUP
_INTERRUPTED = 130


def load_verb(verb: str) -> TyperCommand:
    """Import ``edge_ad.cli.<verb>`` and make a command from its function of the same name.

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
    """A group that lists its verbs from the table, and imports a verb only when it is used."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        # Placeholders: enough for the listing, completion and "did you mean".
        self.commands = {verb: TyperCommand(verb, help=line, short_help=line) for verb, line in VERBS.items()}

    def list_commands(self, ctx: Any) -> list[str]:
        """The verbs in the order of the work."""
        return list(self.commands)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Import the verb that is called."""
        args = [_OTHER_NAMES.get(args[0], args[0]), *args[1:]]
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
    # Options have help of their own; the sections of a docstring are for readers of the code.
    return _DOCSTRING_SECTION.split(inspect.getdoc(function) or "", maxsplit=1)[0]


class TerminationSignals:
    """Inside, the first SIGTERM or SIGHUP raises KeyboardInterrupt and a second SIGTERM ends the process.

    A closing terminal sends SIGHUP more than once: later ones are ignored. A signal that is not at its default, such as
    SIGHUP under nohup, is left as it is. Outside the main thread, where Python allows no handlers, nothing is changed.
    """

    def __init__(self) -> None:
        self._received = 0
        self._ours: list[signal.Signals] = []

    def __enter__(self) -> TerminationSignals:
        if threading.current_thread() is threading.main_thread():
            self._ours = [number for number in _NUMBERS if signal.getsignal(number) == signal.SIG_DFL]
        for number in self._ours:
            signal.signal(number, self._end)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number in self._ours:
            signal.signal(number, signal.SIG_DFL)

    def exit_code(self, code: int) -> int:
        """The exit code of a command: 128 plus the number of the signal that ended it, if one did."""
        return 128 + self._received if self._received and code == _INTERRUPTED else code

    def _end(self, number: int, _frame: FrameType | None) -> None:
        self._received = number
        for ours in self._ours:
            signal.signal(ours, signal.SIG_DFL if ours == signal.SIGTERM else signal.SIG_IGN)
        raise KeyboardInterrupt


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
        sys.stdout.flush()  # here, where a closed pipe is still caught
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
        if getattr(sys, name) is None:  # closed by the caller, as by >&-
            setattr(sys, name, _nowhere())
    # A file name outside the terminal's encoding must not end a run.
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def _nowhere() -> TextIO:
    """The null device, put in place of every closed standard stream, so that no file is opened as one of them."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= _LAST_STANDARD:
        pass
    return os.fdopen(number, "w", encoding="utf-8")


def _discard_stdout() -> None:
    # Without this the interpreter reports an error when it flushes the rest at exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
