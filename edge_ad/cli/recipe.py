"""``edge-ad recipe``: checks the recipes of a line, and gives editors their schema."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from edge_ad.cli.console import print_json, print_line, print_table
from edge_ad.cli.options import JsonOption
from edge_ad.errors import UsageError

__all__ = ["recipe"]


def recipe(
    action: Annotated[Literal["check", "schema"], typer.Argument(metavar="check|schema")],
    place: Annotated[Path | None, typer.Argument(metavar="FILE|DIR", help="A recipe, or a folder of them.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Check recipes, or print their JSON schema for editors.

    check shows every fault, one in a line, with its place in the file; it also opens the bundles. In a folder each
    recipe must have a name and a number of its own, and a running stream must be able to switch between all of them.
    """
    if action == "schema":
        if place is not None:
            raise UsageError("The schema is the same for every recipe.", "Write: edge-ad recipe schema")
        print_json(_schema())
    elif place is None:
        raise UsageError("Say which recipes to check.", "Such as: edge-ad recipe check recipes/")
    else:
        _check(place, as_json=as_json)


def _schema() -> dict[str, object]:
    from edge_ad.cli.recipe_model import recipe_model

    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **recipe_model().model_json_schema()}


def _check(place: Path, *, as_json: bool) -> None:
    from edge_ad.cli.recipe_file import check_recipes

    recipes, faults = check_recipes(place)
    rows = [[one.name, one.number or None, one.path.name, one.hash[:12]] for one in recipes]
    if as_json:
        listed = [{"file": fault.path, "field": fault.field, "text": fault.text} for fault in faults]
        print_json({"recipes": [dict(zip(_COLUMNS, row, strict=True)) for row in rows], "faults": listed})
    else:
        for fault in faults:
            print_line(str(fault))
        if rows and not faults:
            print_table(_COLUMNS, rows)
    if faults:
        noun = "fault" if len(faults) == 1 else "faults"
        raise UsageError(f"{len(faults)} {noun} in {place}.", "Mend the lines above; no stream takes such a recipe.")


_COLUMNS = ("name", "number", "file", "hash")
