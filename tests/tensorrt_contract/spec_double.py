"""Stand-ins for TensorRT's objects that have what the genuine class of a version has, and nothing else.

Only the libraries make a `Builder` or a `Runtime`; without them the classes are there and their objects are not. A
`SpecDouble` is such an object: an attribute that the genuine class lacks fails with its name, and so does a call that
no signature of the genuine method takes. What it answers is up to the test.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

__all__ = ["MissingSymbolError", "ModuleDouble", "SpecDouble", "assert_nothing_missing"]

_missing: list[str] = []


class MissingSymbolError(AttributeError):
    """The code touched what the genuine class of this version does not have."""


def assert_nothing_missing() -> None:
    """Fail also when the code under test swallowed the error; what was missing is then forgotten."""
    missing = "; ".join(_missing)
    _missing.clear()
    assert not missing, missing


class SpecDouble:
    """An object of a genuine class.

    Args:
        genuine: The class.
        version: Version of TensorRT, for the message.
        behaviour: Attribute → value, or function that stands in for the method; each must be genuine too.

    Attributes:
        calls: Method, arguments and keywords of each call, in order.
        values: Attribute → what the code assigned.
    """

    def __init__(self, genuine: type, version: str, behaviour: Mapping[str, Any] | None = None) -> None:
        object.__setattr__(self, "_genuine", genuine)
        object.__setattr__(self, "_version", version)
        object.__setattr__(self, "calls", [])
        object.__setattr__(self, "values", {})
        object.__setattr__(self, "_behaviour", dict(behaviour or {}))
        for name in self._behaviour:
            self._require(name)

    def __getattr__(self, name: str) -> Any:
        self._require(name)
        if name in self.values:
            return self.values[name]
        if name not in self._behaviour:
            raise AssertionError(f"the test gives {self._genuine.__name__}.{name} no behaviour")
        behaviour = self._behaviour[name]
        return self._method(name, behaviour) if callable(behaviour) else behaviour

    def __setattr__(self, name: str, value: Any) -> None:
        self._require(name)
        self.values[name] = value

    def _require(self, name: str) -> None:
        if name.startswith("__") or not hasattr(self._genuine, name):
            message = f"TensorRT {self._version} has no {self._genuine.__name__}.{name}"
            _missing.append(message)
            raise MissingSymbolError(message)

    def _method(self, name: str, behaviour: Callable[..., Any]) -> Callable[..., Any]:
        signatures = _signatures(getattr(self._genuine, name), name)

        def call(*arguments: Any, **keywords: Any) -> Any:
            if signatures and not any(_takes(names, arguments, keywords) for names in signatures):
                message = f"TensorRT {self._version}: {self._genuine.__name__}.{name} does not take this call"
                _missing.append(message)
                raise TypeError(f"{message}: {arguments} {keywords}; it takes {signatures}")
            self.calls.append((name, arguments, keywords))
            return behaviour(*arguments, **keywords)

        return call


class ModuleDouble(ModuleType):
    """A genuine module of which some classes make doubles; every other name is the genuine one."""

    def __init__(self, genuine: ModuleType, makers: Mapping[str, Callable[..., Any]]) -> None:
        super().__init__(genuine.__name__)
        self.__dict__.update({name: value for name, value in vars(genuine).items() if name not in makers})
        for name, maker in makers.items():
            assert hasattr(genuine, name), f"{genuine.__name__} has no {name}"
            setattr(self, name, maker)


def _signatures(method: Any, name: str) -> list[list[tuple[str, bool]]]:
    """Parameters of each overload, as pybind11 documents them: name, and whether it may be left out."""
    lines = re.findall(rf"^(?:\d+\. )?{re.escape(name)}\((.*)\) ->", getattr(method, "__doc__", None) or "", re.M)
    return [_parameters(line) for line in lines if not line.startswith("*args")]


def _parameters(text: str) -> list[tuple[str, bool]]:
    parts, depth, start = [], 0, 0
    for index, character in enumerate(text):
        depth += character in "[(<{"
        depth -= character in "])>}"
        if character == "," and depth == 0:
            parts.append(text[start:index])
            start = index + 1
    parts.append(text[start:])
    named = [(part.split(":")[0].split("=")[0].strip(), "=" in part) for part in parts if part.strip()]
    return named[1:] if named and named[0][0] in ("self", "arg0") else named


def _takes(parameters: list[tuple[str, bool]], arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> bool:
    rest = parameters[len(arguments) :]
    names = {name for name, _ in rest}
    required = {name for name, optional in rest if not optional}
    return len(arguments) <= len(parameters) and set(keywords) <= names and required <= set(keywords)
