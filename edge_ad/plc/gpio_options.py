"""What ``--gpio`` says: a chip, its lines, and when pulses are given."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias, get_args

from edge_ad.errors import UsageError

__all__ = ["GpioOptions", "Line", "OutputName"]

OutputName: TypeAlias = Literal["ok", "ng", "ready", "alive"]
_OUTPUTS: tuple[OutputName, ...] = get_args(OutputName)
_EXAMPLE = "Such as --gpio gpiochip0,ng=17,ok=27,ready=22,pulse=50ms,delay=300ms."
_LINE = re.compile(r"(!?)([A-Za-z0-9_.:-]{1,64})")
_TIME = re.compile(r"(\d+(?:\.\d+)?)(ms|s)")
_BY_SPEED = re.compile(r"(\d+(?:\.\d+)?)mm@(\d+(?:\.\d+)?)mm/s")
_COUNTS = re.compile(r"(\d{1,9})p")
_LONGEST_PULSE_S, _LONGEST_DELAY_S = 10.0, 600.0


@dataclass(frozen=True)
class Line:
    """A line of the chip.

    Attributes:
        name: Its offset, or its name.
        is_inverted: Whether it is active when it is low.
    """

    name: int | str
    is_inverted: bool = False


@dataclass(frozen=True)
class GpioOptions:
    """Outputs for verdicts on one GPIO chip.

    Attributes:
        chip: Path of the device.
        outputs: Which lines; at least one of them.
        pulse_s: Length of a pulse on ``ok`` and ``ng``.
        delay_s: From the moment of the capture to the pulse; None for as soon as there is a verdict.
        delay_counts: The same in pulses of an encoder; None where it is a time.
        encoder: Input whose rising edges are counted.
    """

    chip: str
    outputs: dict[str, Line] = field(default_factory=dict)
    pulse_s: float = 0.05
    delay_s: float | None = None
    delay_counts: int | None = None
    encoder: Line | None = None

    @classmethod
    def parse(cls, text: str) -> GpioOptions:
        """Take ``CHIP,NAME=LINE,...``: outputs ``ok``, ``ng``, ``ready``, ``alive``; ``pulse``, ``delay``, ``encoder``.

        Raises:
            UsageError: It cannot be read, or makes no sense.
        """
        chip, *parts = (part.strip() for part in text.split(","))
        if not chip or "=" in chip:
            raise UsageError("--gpio names no chip.", _EXAMPLE)
        values: dict[str, Any] = {"chip": chip if "/" in chip else f"/dev/{chip}", "outputs": {}}
        for part in parts:
            name, equals, value = part.partition("=")
            if not equals or name in values or name in values["outputs"]:
                raise UsageError(f"--gpio: {part!r} is no NAME=VALUE, or is given twice.", _EXAMPLE)
            if name in _OUTPUTS:
                values["outputs"][name] = _line(name, value)
            else:
                values |= _setting(name, value)
        return _checked(cls(**values))

    def to_dict(self) -> dict[str, Any]:
        """The attributes as values that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> GpioOptions:
        """The options of which `to_dict` gave the values."""
        outputs = {name: Line(**line) for name, line in values["outputs"].items()}
        encoder = None if values["encoder"] is None else Line(**values["encoder"])
        return cls(**{**values, "outputs": outputs, "encoder": encoder})


def _setting(name: str, value: str) -> dict[str, Any]:
    if name == "encoder":
        return {"encoder": _line(name, value)}
    if name == "pulse" and (found := _TIME.fullmatch(value)) is not None:
        return {"pulse_s": _seconds(found)}
    if name == "delay":
        return _delay(value)
    hint = "Known are ok, ng, ready, alive, pulse (50ms), delay (300ms, 250mm@400mm/s or 120p) and encoder."
    raise UsageError(f"--gpio: {name}={value} cannot be used.", hint)


def _delay(value: str) -> dict[str, Any]:
    if (found := _TIME.fullmatch(value)) is not None:
        return {"delay_s": _seconds(found)}
    if (found := _BY_SPEED.fullmatch(value)) is not None and float(found[2]) > 0:
        return {"delay_s": float(found[1]) / float(found[2])}
    if (found := _COUNTS.fullmatch(value)) is not None:
        return {"delay_counts": int(found[1])}
    raise UsageError(
        f"--gpio: delay={value} cannot be read.",
        "A time (300ms), a distance at a speed (250mm@400mm/s), or pulses of an encoder (120p).",
    )


def _checked(options: GpioOptions) -> GpioOptions:
    if not options.outputs:
        raise UsageError("--gpio names no output.", _EXAMPLE)
    if (options.delay_counts is None) != (options.encoder is None):
        raise UsageError(
            "--gpio: a delay in pulses needs an encoder, and an encoder such a delay.", "delay=120p,encoder=5"
        )
    if not 1e-3 <= options.pulse_s <= _LONGEST_PULSE_S:
        raise UsageError("--gpio: a pulse is 1 ms to 10 s long.", "Such as pulse=50ms.")
    if options.delay_s is not None and options.delay_s > _LONGEST_DELAY_S:
        raise UsageError("--gpio: the delay is longer than ten minutes.", "Such as delay=300ms.")
    lines = [line.name for line in options.outputs.values()] + ([options.encoder.name] if options.encoder else [])
    if len(set(lines)) < len(lines):
        raise UsageError("--gpio: two of the lines are one.", "Each output and the encoder has a line of its own.")
    return options


def _line(name: str, value: str) -> Line:
    found = _LINE.fullmatch(value)
    if found is None:
        raise UsageError(f"--gpio: {name}={value} is no line.", "An offset (17) or a name; !17 is active when low.")
    return Line(int(found[2]) if found[2].isdigit() else found[2], bool(found[1]))


def _seconds(found: re.Match[str]) -> float:
    return float(found[1]) * (1e-3 if found[2] == "ms" else 1.0)
