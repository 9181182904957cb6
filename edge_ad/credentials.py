"""Secrets come from environment variables, and none of them reaches another program."""

from __future__ import annotations

import os

__all__ = [
    "COSIGN_PASSWORD",
    "MQTT_CA",
    "MQTT_PASSWORD",
    "MQTT_USER",
    "REGISTRY_PASSWORD",
    "REGISTRY_USER",
    "TRIGGER_TOKEN",
    "WEBHOOK_TOKEN",
    "WEB_TOKEN",
    "credential",
    "environment_for_child",
]

WEB_TOKEN = "EDGE_AD_WEB_TOKEN"
TRIGGER_TOKEN = "EDGE_AD_TRIGGER_TOKEN"
WEBHOOK_TOKEN = "EDGE_AD_WEBHOOK_TOKEN"
MQTT_USER = "EDGE_AD_MQTT_USER"
MQTT_PASSWORD = "EDGE_AD_MQTT_PASSWORD"
MQTT_CA = "EDGE_AD_MQTT_CA"
REGISTRY_USER = "EDGE_AD_REGISTRY_USER"
REGISTRY_PASSWORD = "EDGE_AD_REGISTRY_PASSWORD"
COSIGN_PASSWORD = "COSIGN_PASSWORD"  # as cosign itself calls it

# Every setting of this program, so that a secret that is added later is kept back too.
_OWN = "EDGE_AD_"
# What systemd gave to this process alone: a child that had them could speak for the service, or read its credentials.
_OF_SERVICE = frozenset(
    {"CREDENTIALS_DIRECTORY", "LISTEN_FDNAMES", "LISTEN_FDS", "LISTEN_PID", "NOTIFY_SOCKET", "WATCHDOG_PID"}
    | {"WATCHDOG_USEC"}
)


def credential(variable: str) -> str | None:
    """What a variable of this module holds; None when it is not set or empty."""
    return os.environ.get(variable) or None


def environment_for_child() -> dict[str, str]:
    """The environment that another program is started with: this one's, without ours and without the service's."""
    kept_back = _OF_SERVICE | {COSIGN_PASSWORD}
    return {name: text for name, text in os.environ.items() if not name.startswith(_OWN) and name not in kept_back}
