"""The client of an MLflow server, and what it says when something is wrong."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from edge_ad.errors import DeviceError, UsageError, require
from edge_ad.masked_address import masked_address, masked_text
from edge_ad.outside_text import printable

__all__ = ["mlflow_client", "mlflow_errors"]

_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",  # nobody outside is told what is trained here
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}


def mlflow_client(address: str) -> Any:
    """An ``MlflowClient`` for runs and for models.

    What the environment says of MLflow is kept; without it, nothing is reported to its makers, and a server that is not
    there is not waited for long.

    Args:
        address: ``http://HOST:PORT``, or another address that MLflow takes.

    Raises:
        UsageError: It is no address: MLflow would take it for a folder, or choose a place itself.
        MissingDependencyError: mlflow is not installed.
    """
    if "://" not in address and not address.startswith("databricks"):
        shown = masked_address(address) if address else "An empty text"
        raise UsageError(f"{shown} is no address of an MLflow server.", "Such as --mlflow http://HOST:5000")
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    mlflow = require("mlflow", extra="mlflow")
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    with mlflow_errors(address):
        return mlflow.MlflowClient(tracking_uri=address, registry_uri=address)


@contextmanager
def mlflow_errors(address: str) -> Iterator[None]:
    """Turn what MLflow raises into one line.

    Raises:
        DeviceError: The server does not answer, or refuses.
    """
    failures = (
        require("mlflow.exceptions", extra="mlflow").MlflowException,
        require("requests", extra="mlflow").RequestException,
    )
    try:
        yield
    except failures as error:
        if _is_away(error):
            message = f"The MLflow server {masked_address(address)} does not answer."
            raise DeviceError(message, "Is the address right: --mlflow?") from error
        lines = str(error).strip().splitlines() or [type(error).__name__]
        said = printable(masked_text(lines[0]))[:300]
        raise DeviceError(f"MLflow refuses, or does not answer: {said}", "Is the address right: --mlflow?") from error


def _is_away(error: BaseException | None) -> bool:
    """Whether no server was reached; MLflow keeps the reason behind its own error."""
    lost = require("requests", extra="mlflow").ConnectionError
    while error is not None and not isinstance(error, lost):
        error = error.__cause__ or error.__context__
    return error is not None
