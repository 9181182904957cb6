"""An MQTT client whose thread tells what it fails with, instead of ending unseen."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from edge_ad.errors import require

__all__ = ["mqtt_client"]

_AGAIN_S = 1.0


def mqtt_client(on_error: Callable[[Exception], None]) -> Any:
    """A client of paho-mqtt; after an error in its thread it connects again.

    Args:
        on_error: Told, in the client's thread, what it failed with: a packet that cannot be read, a callback of ours.

    Raises:
        MissingDependencyError: paho-mqtt is not installed.
    """
    paho: Any = require("paho.mqtt.client", extra="mqtt")
    is_over = threading.Event()

    class Client(paho.Client):  # type: ignore[misc]
        def loop_forever(self, *arguments: Any, **settings: Any) -> Any:
            """What the client's thread does."""
            while True:
                try:
                    return super().loop_forever(*arguments, **settings)
                except Exception as error:
                    on_error(error)
                while not is_over.wait(_AGAIN_S) and not self._is_back():
                    pass
                if is_over.is_set():
                    return None

        def disconnect(self, *arguments: Any, **settings: Any) -> Any:
            is_over.set()
            return super().disconnect(*arguments, **settings)

        def _is_back(self) -> bool:
            """Begin anew: what came of a broken packet would be read again."""
            try:
                self.reconnect()
            except Exception:  # it is told already; the next try may work
                return False
            return True

    return Client(paho.CallbackAPIVersion.VERSION2)
