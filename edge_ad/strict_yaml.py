"""YAML that means what it looks like: no name twice, no references, and only true and false are truth values."""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any, cast

import yaml

__all__ = ["parse_yaml"]

_KINDS = (
    ("bool", r"true|false", "tf"),
    ("null", r"null|~|", "n~\0"),
    ("int", r"[-+]?(0|[1-9][0-9]*)", "-+0123456789"),
    ("float", r"[-+]?((\.[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+)", "-+.0123456789"),
)

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C parser where PyYAML was built with it


class _Loader(_Base):  # type: ignore[misc]
    """YAML 1.2's core values: ``12:30``, ``no`` and ``2026-11-29`` stay text."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - so PyYAML names it

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """A mapping; a name that stands in it twice is refused."""
        seen: set[Hashable] = set()
        for key, _ in node.value:
            name = self.construct_object(key, deep=True)
            if not isinstance(name, str):
                raise yaml.constructor.ConstructorError(None, None, "a name must be text", key.start_mark)
            if name in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{name} is given twice", key.start_mark)
            seen.add(name)
        return cast(dict[Hashable, Any], super().construct_mapping(node, deep))


for _tag, _pattern, _first in _KINDS:
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})$"), list(_first))


def parse_yaml(text: bytes) -> object:
    """Parse one YAML document of plain data.

    Args:
        text: UTF-8.

    Returns:
        Mappings with text as names, lists, text, numbers, truth values and None.

    Raises:
        ValueError: Not such YAML; the message has line and column, from 1.
    """
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=_Loader)):
            raise ValueError("references (*name) are not taken: write the value out")
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = "" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: "
        raise ValueError(f"{where}{error.problem or error}") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(" ".join(str(error).split()) or "nested too deeply") from None
