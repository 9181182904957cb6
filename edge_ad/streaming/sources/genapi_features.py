"""Features of a camera through GenApi, the standard's own library, from the description that the camera carries."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from edge_ad.errors import DeviceError
from edge_ad.runtime.gentl import first_line, load_genicam
from edge_ad.streaming.sources.genicam_features import Feature, FeatureRefusedError, Kind, as_limit

__all__ = ["GenapiFeatures", "camera_port", "node_map"]

_KINDS: dict[str, Kind] = {
    "IInteger": "integer",
    "IFloat": "float",
    "IBoolean": "boolean",
    "IEnumeration": "enumeration",
    "IString": "string",
    "ICommand": "command",
}
_PROBE_BYTES = 4


def camera_port(port: Any) -> Any:
    """The registers of a camera, as GenApi reads and writes them.

    Args:
        port: Remote port of an open device of ``genicam.gentl``.

    Returns:
        A ``genicam.genapi.AbstractPort`` with ``description()``, its XML as text, and ``answers()``.
    """
    gentl, genapi = load_genicam()

    class CameraPort(genapi.AbstractPort):  # type: ignore[misc, name-defined]
        """Passes registers on."""

        def __init__(self) -> None:
            super().__init__()
            self.name = port.name

        def is_open(self) -> bool:
            return True

        def get_access_mode(self) -> int:
            return int(genapi.EAccessMode.RW)

        def read(self, address: int, length: int) -> bytes:
            return bytes(port.read(address, length)[1])

        def write(self, address: int, value: bytes) -> None:
            port.write(address, value)

        def description(self) -> str:
            return _description(port)

        def answers(self) -> bool:
            """Whether the camera still answers; True where it has no register that may be read without an effect."""
            place = _place_of_description(port.url_info_list[0].url)
            try:
                return place is None or bool(port.read(place[0], _PROBE_BYTES))
            except gentl.GenericException:
                return False

    return CameraPort()


def node_map(port: Any) -> Any:
    """The features of the camera at a port made by `camera_port`: a connected ``genicam.genapi.NodeMap``."""
    _, genapi = load_genicam()
    nodes = genapi.NodeMap()
    nodes.load_xml_from_string(port.description())
    nodes.connect(port, port.name)
    return nodes


def _description(port: Any) -> str:
    url = port.url_info_list[0].url
    if (place := _place_of_description(url)) is not None:
        content = bytes(port.read(*place)[1])
    elif url.lower().startswith("file:"):
        content = Path(unquote(urlsplit(url).path)).read_bytes()
    else:
        raise DeviceError(f"The camera's description is at {url.partition(':')[0]}:, which is not read.")
    if content[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            content = archive.read(archive.namelist()[0])
    return content.rstrip(b"\0").decode("utf-8", "replace")


def _place_of_description(url: str) -> tuple[int, int] | None:
    """Address and bytes of a description in the camera: ``local:name.xml;ADDRESS;BYTES``, in hexadecimal."""
    kind, _, rest = url.partition(":")
    if kind.lower() != "local":
        return None
    _, address, size = rest.split(";")
    return int(address, 16), int(size.partition("?")[0], 16)


class GenapiFeatures:
    """The features of a ``genicam.genapi.NodeMap``."""

    def __init__(self, nodes: Any) -> None:
        gentl, self._genapi = load_genicam()
        self._errors = (self._genapi.GenericException, gentl.GenericException)  # of the description, and of the port
        self._nodes = nodes
        self._refusals = tuple(
            getattr(self._genapi, f"{name}Exception")
            for name in ("OutOfRange", "InvalidArgument", "Access", "LogicalError")
        )

    def names(self) -> Sequence[str]:
        """Those that its description offers to users."""
        return [value.node.name for value in self._nodes.nodes if value.node.is_feature() and self._kind(value)]

    def find(self, name: str) -> Feature | None:
        """One of them."""
        try:
            return self._found(name)
        except self._errors as error:
            raise _lost(error) from None

    def value(self, name: str) -> str | None:
        """Its value as text."""
        try:
            value = self._value(name)
            if value is None or self._kind(value) in (None, "command"):
                return None
            return str(value.to_string()) if self._genapi.is_readable(value.get_access_mode()) else None
        except self._errors as error:
            raise _lost(error) from None

    def set(self, name: str, value: str) -> None:
        """Set it from text."""
        self._do(name, lambda feature: feature.from_string(value))

    def run(self, name: str) -> None:
        """Run a command."""
        self._do(name, lambda feature: feature.execute())

    def _do(self, name: str, what: Any) -> None:
        feature = self._value(name)
        if feature is None:
            raise FeatureRefusedError("it is not there.")
        try:
            what(feature)
        except self._refusals as error:
            raise FeatureRefusedError(first_line(error)) from None
        except self._errors as error:
            raise _lost(error) from None

    def _found(self, name: str) -> Feature | None:
        value = self._value(name)
        kind = None if value is None else self._kind(value)
        if value is None or kind is None or not self._genapi.is_available(value.get_access_mode()):
            return None
        is_number = kind in ("integer", "float")
        return Feature(
            name,
            kind,
            bool(self._genapi.is_writable(value.get_access_mode())),
            as_limit(value.min) if is_number else None,
            as_limit(value.max) if is_number else None,
            value.inc if kind == "integer" else None,
            tuple(value.symbolics) if kind == "enumeration" else (),
        )

    def _value(self, name: str) -> Any:
        try:
            return self._nodes.get_node(name)
        except self._genapi.LogicalErrorException:
            return None

    def _kind(self, value: Any) -> Kind | None:
        return _KINDS.get(type(value).__name__)


def _lost(error: Exception) -> DeviceError:
    return DeviceError(f"The camera does not answer: {first_line(error)}", "Check its cable and power.")
