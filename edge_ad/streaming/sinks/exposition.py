"""Numbers in the text format that Prometheus reads, version 0.0.4."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

__all__ = ["CONTENT_TYPE", "Counter", "Histogram", "family"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_MOST_SERIES = 256  # what names them comes from outside: no name may take the memory
_OTHER = "other"

_Labels = tuple[str, ...]


def family(name: str, kind: str, text: str, samples: Mapping[Any, float], label_names: Sequence[str] = ()) -> str:
    """One metric with its help and type.

    Args:
        name: With its unit; a counter ends in ``_total``.
        kind: ``"counter"`` or ``"gauge"``.
        text: What it is, one line.
        samples: Values of the labels, a tuple of strings → number.
        label_names: Names of the labels.
    """
    lines = [_sample(name, zip(label_names, labels, strict=True), value) for labels, value in samples.items()]
    return "".join((_head(name, kind, text), *lines))


class Counter:
    """A counter with labels.

    Args:
        name: Ends in ``_total``.
        text: What it counts.
        label_names: Names of the labels.
    """

    def __init__(self, name: str, text: str, *label_names: str) -> None:
        self._name, self._text, self._label_names = name, text, label_names
        self._values: dict[_Labels, int] = {}

    def add(self, *labels: str) -> None:
        """Count one."""
        if labels not in self._values and len(self._values) >= _MOST_SERIES:
            labels = (_OTHER,) * len(labels)
        self._values[labels] = self._values.get(labels, 0) + 1

    def expose(self) -> str:
        """The text of it."""
        return family(self._name, "counter", self._text, dict(self._values), self._label_names)


class Histogram:
    """How often a duration was at most so long.

    Args:
        name: Ends in ``_seconds``.
        text: What it is.
        bounds: Upper bounds of the buckets in seconds, rising.
    """

    def __init__(self, name: str, text: str, bounds: Sequence[float]) -> None:
        self._name, self._text, self._bounds = name, text, tuple(bounds)
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def add(self, seconds: float) -> None:
        """Count a duration."""
        self._counts[bisect.bisect_left(self._bounds, seconds)] += 1
        self._sum += seconds

    def expose(self) -> str:
        """The text of it."""
        return "".join((_head(self._name, "histogram", self._text), *self._samples()))

    def _samples(self) -> Iterator[str]:
        seen = 0
        for bound, count in zip((*self._bounds, float("inf")), self._counts, strict=True):
            seen += count
            yield _sample(f"{self._name}_bucket", [("le", _number(bound))], seen)
        yield _sample(f"{self._name}_sum", (), self._sum)
        yield _sample(f"{self._name}_count", (), seen)


def _head(name: str, kind: str, text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("\n", "\\n")
    return f"# HELP {name} {escaped}\n# TYPE {name} {kind}\n"


def _sample(name: str, labels: Iterable[tuple[str, str]], value: float) -> str:
    text = ",".join(f'{label}="{_escaped(content)}"' for label, content in labels)
    return f"{name}{{{text}}} {_number(value)}\n" if text else f"{name} {_number(value)}\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    if value in (float("inf"), float("-inf")):
        return "+Inf" if value > 0 else "-Inf"
    return "NaN" if value != value else repr(value)
