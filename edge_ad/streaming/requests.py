"""What a running stream can be asked for: another bundle, or another recipe."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from edge_ad.streaming.frame import RecipeMark

__all__ = ["RecipeAnswer", "RecipeRequest", "SwapRequest"]


class SwapRequest(NamedTuple):
    """A request to swap the bundle.

    Attributes:
        path: Its folder.
        by: Who asked.
        any_product: Whether it may be of another product.
    """

    path: Path
    by: str
    any_product: bool


@dataclass(frozen=True)
class RecipeAnswer:
    """What became of a request for a recipe.

    Attributes:
        mark: Name and hash of the recipe.
        number: By which a PLC selects it; 0 for none.
        was_warm: Whether its bundle was open already.
        ms: From the request being taken to the first frame that may be captured under it.
    """

    mark: RecipeMark
    number: int
    was_warm: bool
    ms: float = 0.0


class RecipeRequest(NamedTuple):
    """A request for a recipe.

    Attributes:
        name: Its name.
        by: Who asks.
        is_prepared_only: Whether its bundle is only to be opened.
        answer: Set when it was carried out or refused.
    """

    name: str
    by: str
    is_prepared_only: bool
    answer: Future[RecipeAnswer]
