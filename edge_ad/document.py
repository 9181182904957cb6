"""The base of whatever is read from and written to disk."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

__all__ = ["Document"]


class Document(BaseModel):
    """Base of whatever is read from and written to disk: known fields only, never changed, finite numbers only.

    A threshold of NaN or infinity would pass every part, and a limit of NaN every engine.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
