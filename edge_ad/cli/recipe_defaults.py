"""Values that ``edge-ad stream`` takes from its recipe where the command line gives none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge_ad.errors import UsageError

__all__ = ["defaults_of_recipe"]


def defaults_of_recipe(recipe: str | None, folder: str | None) -> dict[str, Any] | None:
    """The recipe that a stream begins with, by the names that options have in the code; None where there is none.

    Args:
        recipe: What ``--recipe`` says.
        folder: What ``--recipes`` says.

    Raises:
        UsageError: There is no such recipe, it is wrong, or nothing says which of a folder the stream begins with.
    """
    if recipe is None and folder is None:
        return None
    from edge_ad.cli.recipe_file import check_recipes, find_recipe, read_recipe

    place = None if folder is None else Path(folder)
    if place is not None and not place.is_dir():
        raise UsageError(f"{place} is not a folder of recipes.", "For one recipe alone: --recipe FILE.")
    if recipe is None:
        assert place is not None
        names = ", ".join(one.name for one in check_recipes(place, opens_bundles=False)[0]) or "none that can be read"
        raise UsageError("Nothing says which recipe the stream begins with.", f"Add --recipe NAME; there are: {names}.")
    return read_recipe(find_recipe(place, recipe)).parameters
