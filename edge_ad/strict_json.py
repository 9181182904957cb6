"""JSON that every reader takes: no NaN, no infinity, no half characters."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any

from edge_ad.outside_text import storable

__all__ = ["plain", "to_json"]


def to_json(value: object, *, indent: int | None = None) -> str:
    """A value as JSON: full precision, keys in the order given, ASCII only.

    Args:
        value: As for `plain`.
        indent: Blanks per level; None for one line.
    """
    return json.dumps(plain(value), indent=indent, allow_nan=False)


def plain(value: Any) -> Any:
    """A value as what JSON has.

    Dataclasses, pydantic models, paths, sets and NumPy scalars and arrays are taken, and of anything else its text; a
    number that JSON does not have (NaN, infinity) becomes None.
    """
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, Mapping):
        return {storable(str(key)): plain(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in (sorted(value) if isinstance(value, (set, frozenset)) else value)]
    return _plain_object(value)


def _plain_object(value: Any) -> Any:
    if hasattr(value, "model_dump"):  # pydantic
        return plain(value.model_dump(mode="python"))
    if hasattr(value, "tolist"):  # NumPy
        return plain(value.tolist())
    return storable(str(value))
