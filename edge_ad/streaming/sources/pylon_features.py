"""Features of a Basler camera through pylon."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from edge_ad.runtime.machine_vision import load_pylon
from edge_ad.streaming.sources.genicam_features import Feature, FeatureRefusedError, Kind, as_limit

__all__ = ["PylonFeatures"]

_KINDS: dict[str, Kind] = {
    "Integer": "integer",
    "Float": "float",
    "Boolean": "boolean",
    "Enumeration": "enumeration",
    "String": "string",
    "Command": "command",
}


class PylonFeatures:
    """The features of an open camera. A camera that is gone raises pylon's own errors, as it does elsewhere.

    Args:
        nodes: Its node map.
    """

    def __init__(self, nodes: Any) -> None:
        _, self._genicam = load_pylon()
        self._nodes = nodes
        self._kinds = {getattr(self._genicam, f"intfI{name}"): kind for name, kind in _KINDS.items()}
        self._refusals = tuple(
            getattr(self._genicam, f"{name}Exception")
            for name in ("OutOfRange", "InvalidArgument", "Access", "LogicalError")
        )

    def names(self) -> Sequence[str]:
        """Those that its description offers to users."""
        nodes = [feature.GetNode() for feature in self._nodes.GetNodes()]
        return [node.GetName() for node in nodes if node.IsFeature() and self._kind(node)]

    def find(self, name: str) -> Feature | None:
        """One of them."""
        feature = self._feature(name)
        kind = None if feature is None else self._kind(feature.GetNode())
        if feature is None or kind is None:
            return None
        is_number = kind in ("integer", "float")
        return Feature(
            name,
            kind,
            bool(self._genicam.IsWritable(feature)),
            as_limit(feature.GetMin()) if is_number else None,
            as_limit(feature.GetMax()) if is_number else None,
            feature.GetInc() if kind == "integer" else None,
            tuple(feature.Symbolics) if kind == "enumeration" else (),
        )

    def value(self, name: str) -> str | None:
        """Its value as text."""
        feature = self._feature(name)
        if feature is None or self._kind(feature.GetNode()) in (None, "command"):
            return None
        return str(feature.ToString()) if self._genicam.IsReadable(feature) else None

    def set(self, name: str, value: str) -> None:
        """Set it from text."""
        self._do(name, lambda feature: feature.FromString(value))

    def run(self, name: str) -> None:
        """Run a command."""
        self._do(name, lambda feature: feature.Execute())

    def _do(self, name: str, what: Callable[[Any], object]) -> None:
        try:
            what(self._nodes.GetNode(name))
        except self._refusals as error:
            text = str(error).strip().partition("\n")[0].partition(" : ")[0]
            raise FeatureRefusedError(f"{text.rstrip('.')}.") from None

    def _feature(self, name: str) -> Any:
        """A feature that the camera has now; pylon gives something even for a name that it does not know."""
        feature = self._nodes.GetNode(name)
        return feature if feature is not None and self._genicam.IsAvailable(feature) else None

    def _kind(self, node: Any) -> Kind | None:
        return self._kinds.get(node.GetPrincipalInterfaceType())
