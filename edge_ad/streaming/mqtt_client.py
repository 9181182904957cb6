"""An MQTT client whose thread tells what it fails with, instead of ending unseen."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cache
from typing import Any

from edge_ad.errors import require

__all__ = ["mqtt_client"]

_AGAIN_S = 1.0


def mqtt_client(on_error: Callable[[Exception], None]) -> Any:
    """A client of paho-mqtt; after an error in its thread it connects again.

    Args:
        on_error: Told, in the client's thread, what it failed with: a packet that cannot be sent, a callback of ours.

    Raises:
        MissingDependencyError: paho-mqtt is not installed.
    """
    return _client_class()(on_error)


@cache
def _client_class() -> Any:
    paho: Any = require("paho.mqtt.client", extra="mqtt")

    class Client(paho.Client):  # type: ignore[misc]
        def __init__(self, on_error: Callable[[Exception], None]) -> None:
            super().__init__(paho.CallbackAPIVersion.VERSION2)
            self.tell_error = on_error
            self.is_over = threading.Event()

        def loop_forever(self, *arguments: Any, **settings: Any) -> Any:
            """What the client's thread does."""
            while True:
                try:
                    return super().loop_forever(*arguments, **settings)
                except Exception as error:
                    self.tell_error(error)
                while not self.is_over.wait(_AGAIN_S) and not self._begins_anew():
                    pass
                if self.is_over.is_set():
                    return self._let_go()

        def disconnect(self, *arguments: Any, **settings: Any) -> Any:
            self.is_over.set()
            return super().disconnect(*arguments, **settings)

        def _begins_anew(self) -> bool:
            """Connect again: what is left of a broken packet would be read again."""
            try:
                self.reconnect()
            except Exception:  # it is told already; the next try may work
                return False
            return True

        def _let_go(self) -> None:
            connection = self.socket()
            if connection is not None:
                connection.close()

    return Client
