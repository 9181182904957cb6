"""The document of a recipe: every option of ``edge-ad stream`` by its name, made from the options themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, create_model

from edge_ad.cli.stream_options import (
    Ending,
    Frames,
    Sources,
    SourceSettings,
    StreamCommand,
    StreamEngine,
    VerdictOptions,
)
from edge_ad.cli.stream_outputs import Outputs
from edge_ad.document import Document
from edge_ad.errors import UsageError
from edge_ad.streaming.golden.plan import GoldenPlan

__all__ = ["Setting", "recipe_model", "settings"]

_GROUPS = (StreamEngine, Sources, SourceSettings, Frames, VerdictOptions, Outputs, Ending)
_LONGEST_NAME = 40
_MOST_NUMBER = 65535


@dataclass(frozen=True)
class Setting:
    """One option of ``edge-ad stream`` as a recipe names it.

    Attributes:
        name: Its name in a recipe: that of the command line without dashes before it, such as ``"save-ng"``.
        parameter: Its name in the code.
        kind: Its type, without None.
        option: The option itself.
        default: What holds where it is not given.
    """

    name: str
    parameter: str
    kind: Any
    option: Any
    default: object

    @property
    def is_path(self) -> bool:
        """Whether it names a file or folder."""
        return self.kind is Path


@cache
def settings() -> Mapping[str, Setting]:
    """The options by their name in a recipe, in the order of the help."""
    return {setting.name: setting for group in _GROUPS for setting in _settings_of(group)}


def _settings_of(group: Any) -> Iterator[Setting]:
    hints = get_type_hints(group, include_extras=True)
    for field in fields(group):
        kind, option = get_args(hints[field.name])
        yield Setting(_name_of(option), field.name, _without_none(kind), option, field.default)


def _name_of(option: Any) -> str:
    # Inside Annotated, typer takes an option's first name for its default.
    return str(option.default).partition("/")[0].removeprefix("--")


def _without_none(kind: Any) -> Any:
    if get_origin(kind) in (Union, UnionType):
        return next(one for one in get_args(kind) if one is not NoneType)
    return kind


@cache
def recipe_model() -> type[BaseModel]:
    """The document: `Document` with a field for each option, and those that only a recipe has."""
    given: dict[str, Any] = {
        "title": (
            _titled,
            Field(default=None, alias="name", description="Name of the recipe; by default that of its file."),
        ),
        "number": (
            Annotated[int, Field(strict=True, ge=1, le=_MOST_NUMBER)] | None,
            Field(default=None, description="Number by which a PLC selects it; each in a folder has one of its own."),
        ),
    }
    given["golden"] = (
        GoldenPlan | None,
        Field(default=None, description="Master parts that the line must judge as recorded, again and again."),
    )
    given |= {setting.parameter: _field_of(setting) for setting in settings().values()}
    return create_model("Recipe", __base__=Document, __doc__="A recipe of edge-ad stream.", **given)


def _check_title(text: str) -> str:
    if not text.isprintable() or text != " ".join(text.split()):
        raise ValueError("a name is one line of printable characters")
    return text


_titled = Annotated[str, Field(min_length=1, max_length=_LONGEST_NAME), AfterValidator(_check_title)] | None


def _field_of(setting: Setting) -> tuple[Any, Any]:
    option = setting.option
    limits = {"ge": option.min, "le": option.max} if setting.kind in (int, float) else {}
    checks: list[Any] = [Field(**{name: at for name, at in limits.items() if at is not None})]
    if setting.name in _CHECKS:
        checks.append(AfterValidator(_checked(_CHECKS[setting.name])))
    taken: Any = _TAKEN.get(setting.kind, setting.kind)
    for check in checks:
        taken = Annotated[taken, check]
    annotation: Any = taken | None
    shown: dict[str, Any] = {}
    if f"--{setting.name}" in StreamCommand.may_be_bare:
        annotation = Annotated[annotation, BeforeValidator(_bare)]
        shown = {"anyOf": [{"type": "string"}, {"type": "boolean"}]}
    elif setting.kind == list[str]:
        shown = {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "string"}]}
    return annotation, Field(
        default=None, alias=setting.name, title=setting.name, description=option.help, json_schema_extra=shown
    )


def _one_or_many(value: object) -> object:
    return value if isinstance(value, list) else [value]


def _text(value: object) -> object:
    """A number where text is asked for, such as that of a camera."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _bare(value: object) -> object:
    """``web: true`` for the option without a value."""
    return {True: "", False: None}.get(value, value) if isinstance(value, bool) else value


_line = Annotated[str, Field(strict=True), BeforeValidator(_text)]
_TAKEN: dict[Any, Any] = {
    str: _line,
    list[str]: Annotated[list[_line], BeforeValidator(_one_or_many)],
    bool: Annotated[bool, Field(strict=True)],
    int: Annotated[int, Field(strict=True)],
    float: Annotated[float, Field(strict=True, allow_inf_nan=False)],
    Path: Annotated[Path, BeforeValidator(_text)],
}


def _checked(check: Callable[[str], object]) -> Callable[[Any], Any]:
    """A check that raises what pydantic collects."""

    def run(value: Any) -> Any:
        try:
            check(value)
        except UsageError as error:
            raise ValueError(str(error)) from None
        return value

    return run


def _region(text: str) -> None:
    from edge_ad.streaming.filters import parse_region

    parse_region(text)


def _part(text: str) -> None:
    from edge_ad.streaming.verdicts import PartRule

    PartRule.parse(text)


def _cool_down(text: str) -> None:
    from edge_ad.streaming.verdicts import CoolDownRule

    CoolDownRule.parse(text)


def _hysteresis(share: float) -> None:
    from edge_ad.streaming.verdicts import Hysteresis

    Hysteresis(share)


def _trigger(text: str) -> None:
    from edge_ad.streaming.triggers import trigger_from_text
    from edge_ad.streaming.triggers.base import EveryFrame

    asked = dict.fromkeys(
        ("http", "modbus", "opcua"), lambda rest: EveryFrame()
    )  # servers, which are not to be started
    trigger_from_text(text, asked)


def _gpio(text: str) -> None:
    from edge_ad.plc.gpio_options import GpioOptions

    GpioOptions.parse(text)


def _mqtt(text: str) -> None:
    from edge_ad.streaming.mqtt import Broker

    Broker.parse(text)


def _webhook(text: str) -> None:
    from edge_ad.streaming.sinks.webhook import Endpoint

    Endpoint.parse(text)


def _source_option(parameter: str) -> Callable[[Any], None]:
    def check(value: Any) -> None:
        from edge_ad.streaming.sources.options import SourceOptions

        SourceOptions(**{parameter: value})

    return check


_SOURCE_OPTIONS = {
    "width": "width",
    "height": "height",
    "fps": "fps",
    "exposure": "exposure_us",
    "gain": "gain",
    "start": "start_s",
    "max-outage": "max_outage_s",
    "timeout": "timeout_s",
}
_CHECKS: dict[str, Callable[[Any], None]] = {
    "region": _region,
    "trigger": _trigger,
    "part": _part,
    "cool-down": _cool_down,
    "hysteresis": _hysteresis,
    "gpio": _gpio,
    "mqtt": _mqtt,
    "webhook": _webhook,
    **{name: _source_option(parameter) for name, parameter in _SOURCE_OPTIONS.items()},
}
