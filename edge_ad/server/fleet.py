"""The page of a fleet, and the metrics of devices: what they said, and nothing that changes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from edge_ad.errors import require
from edge_ad.fleet.device_metrics import expose_devices
from edge_ad.fleet.devices import SeenDevice, Standing
from edge_ad.listen_address import Address
from edge_ad.server.server import HttpServer, Part
from edge_ad.strict_json import to_json

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

__all__ = ["DeviceMetrics", "FleetPage", "device_facts"]


class DeviceMetrics(Part):
    """Serves ``GET /metrics`` about devices.

    Args:
        server: What serves it.
        address: Where.
        devices: Gives the devices as they are known now.
        left_out: Gives how many more of the fleet there are; None for no fleet.

    Raises:
        UsageError: The host is not an address of this machine.
        DeviceError: The port is in use.
        MissingDependencyError: The extra ``web`` is not installed.
    """

    paths: frozenset[str] | None = frozenset({"/metrics"})

    def __init__(
        self,
        server: HttpServer,
        address: Address,
        devices: Callable[[], list[SeenDevice]],
        left_out: Callable[[], int | None] = lambda: None,
    ) -> None:
        require("prometheus_client", extra="web")
        self._devices, self._left_out = devices, left_out
        self.where = server.add(self, address)

    def routes(self) -> Sequence[BaseRoute]:
        """``GET /metrics``."""
        from starlette.routing import Route

        return [Route("/metrics", self._metrics, methods=["GET"])]

    async def _metrics(self, request: Request) -> Response:
        from starlette.responses import Response

        return Response(expose_devices(self._devices(), self._left_out()), media_type="text/plain; version=0.0.4")


class FleetPage(DeviceMetrics):
    """Serves the page of a fleet at ``/``, its data at ``/api/devices``, and ``/metrics``.

    Args:
        server: What serves it.
        address: Where.
        devices: Gives the devices as they are known now, in the order to show them in.
        broker: Address of the broker, without a login.
        is_connected: Whether the broker answers.
        left_out: Gives how many more devices there are.

    Raises:
        UsageError: The host is not an address of this machine.
        DeviceError: The port is in use.
        MissingDependencyError: The extra ``web`` is not installed.
    """

    paths = None

    def __init__(
        self,
        server: HttpServer,
        address: Address,
        devices: Callable[[], list[SeenDevice]],
        *,
        broker: str,
        is_connected: Callable[[], bool],
        left_out: Callable[[], int],
    ) -> None:
        super().__init__(server, address, devices, left_out)
        self._server, self._broker, self._is_connected = server, broker, is_connected

    def routes(self) -> Sequence[BaseRoute]:
        """The page and its files, the login, the data and the metrics."""
        from starlette.routing import Route

        from edge_ad.server.app import page_routes

        data = Route("/api/devices", self._data, methods=["GET"])
        return [*page_routes("fleet.html", title="Fleet"), data, *super().routes()]

    async def _data(self, request: Request) -> Response:
        from starlette.responses import Response

        devices = self._devices()
        counts = Counter(device.standing.word for device in devices)
        facts = {
            "broker": {"address": self._broker, "is_connected": self._is_connected()},
            "has_login": self._server.needs_token_at(self.where()),
            "counts": {standing.word: counts[standing.word] for standing in Standing},
            "left_out": self._left_out(),
            "devices": [device_facts(device) for device in devices],
        }
        return Response(to_json(facts), media_type="application/json")


def device_facts(device: SeenDevice) -> dict[str, Any]:
    """A device as plain data; ``age_s`` is null where nobody knows it."""
    report = device.report
    health = None if report.health is None else report.health.model_dump(include={"fps", "alarms", "frames"})
    return {
        "name": device.name,
        "standing": device.standing.word,
        "is_stale": device.is_stale,
        "is_online": device.is_online,
        "age_s": device.age_s if device.age_s != float("inf") else None,
        "health": health,
        **report.model_dump(include={"reference", "step", "digest", "message", "at", "stream", "version"}),
    }
