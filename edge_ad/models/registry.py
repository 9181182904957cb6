"""The register of methods.

A method is one class that says everything about itself. Third parties add theirs by the entry point
``edge_ad.methods``, whose name is the method's and whose value is its class.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from edge_ad.errors import UsageError
from edge_ad.method_names import DEFAULT_METHOD, METHODS
from edge_ad.models.base import AnomalyDetector, MethodParameters
from edge_ad.registry import did_you_mean

__all__ = [
    "DEFAULT_METHOD",
    "create_detector",
    "method_class",
    "method_names",
    "parse_parameters",
    "restore_detector",
]


def method_names() -> tuple[str, ...]:
    """Names of all methods, without aliases."""
    return METHODS.names()


def method_class(name: str) -> type[AnomalyDetector]:
    """The class of a method.

    Args:
        name: Its name or one of its aliases.

    Raises:
        UsageError: There is none of that name.
    """
    if (entry := METHODS.get(name)) is not None:
        return _checked(entry.load())
    for each in method_names():
        if name in method_class(each).aliases:
            return method_class(each)
    known = [*method_names(), *(alias for each in method_names() for alias in method_class(each).aliases)]
    hint = f"{did_you_mean(name, known)}Choose one of: {', '.join(method_names())}."
    raise UsageError(f"There is no method {name!r}.", hint)


def parse_parameters(method: str, values: Mapping[str, Any]) -> MethodParameters:
    """Check a method's parameters.

    Args:
        method: Name or alias of a method.
        values: Parameter → value; strings are converted.

    Raises:
        UsageError: Unknown method, unknown parameter or a value out of range.
    """
    kind = method_class(method).parameters_type
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            hint = f"{did_you_mean(name, kind.model_fields)}{method} has: {', '.join(kind.model_fields)}."
            raise UsageError(f"{method} has no parameter {name}.", hint) from error
        hint = f"It is {first['input']!r} here; docs/explanation/methods.md lists the parameters."
        message = first["msg"].removeprefix("Value error, ")
        raise UsageError(f"Parameter {name} of {method}: {message}.", hint) from error


def create_detector(method: str, values: Mapping[str, Any]) -> AnomalyDetector:
    """A new detector with pretrained frozen parts, ready to be trained.

    Its weights are drawn with the ``seed`` parameter.

    Raises:
        UsageError: As ``parse_parameters``, or a pretrained part cannot be loaded.
    """
    config = parse_parameters(method, values)
    torch.manual_seed(config.seed)
    return method_class(method).create(config).eval()


def restore_detector(method: str, values: Mapping[str, Any], state: Mapping[str, Tensor]) -> AnomalyDetector:
    """A trained detector from its parameters and state.

    Raises:
        UsageError: Unknown method or parameters.
        RuntimeError: The state belongs to another architecture.
    """
    kind = method_class(method)
    detector = kind(parse_parameters(method, {**kind.parameters_type.absent, **values}), pretrained=False)
    detector.load_state_dict(dict(state))
    return detector.eval()


def _checked(kind: type[AnomalyDetector]) -> type[AnomalyDetector]:
    if not issubclass(kind, AnomalyDetector):
        raise UsageError(f"The method {kind.__name__} is no AnomalyDetector.", "Report it to its maker.")
    return kind
