"""Reading recipes: one file or a folder of them, with every fault at once."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from edge_ad.cli.bundle_places import is_in_registry
from edge_ad.cli.recipe_model import recipe_model, settings
from edge_ad.errors import DataError, EdgeAdError, UsageError
from edge_ad.streaming.golden.plan import GoldenPlan
from edge_ad.strict_yaml import parse_yaml

__all__ = [
    "SWITCHED",
    "Fault",
    "RecipeFile",
    "check_recipes",
    "find_recipe",
    "read_golden",
    "read_recipe",
    "recipe_paths",
]

SWITCHED = frozenset(
    {"bundle", "backend", "precision", "threads", "threshold", "bundle-threshold"}
    | {"region", "part", "hysteresis", "cool-down", "drift", "scene", "exposure", "gain"}
)
"""What a running stream can take from another recipe; all else must be the same."""

_ALL_OR_NONE = ("bundle", "part", "exposure", "gain")
"""Options that a running stream cannot go without under one recipe when another one gives them."""

_ENDINGS = (".yaml", ".yml")
_LARGEST_BYTES = 1 << 20
_GOLDEN_HINT = "docs/how-to/golden_check.md shows such a file."
_OWN = ("name", "number", "golden")
_SAID = {"bool_type": "write true or false.", "int_type": "write a whole number.", "float_type": "write a number."}


@dataclass(frozen=True)
class Fault:
    """What is wrong in a recipe.

    Attributes:
        path: The file.
        field: Where in it, such as ``"source.0"``; empty for the file as a whole.
        text: What is wrong, and perhaps what to do.
    """

    path: Path
    field: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}: {self.field}: {self.text}" if self.field else f"{self.path}: {self.text}"


@dataclass(frozen=True)
class RecipeFile:
    """A recipe as it was read.

    Attributes:
        path: The file, absolute.
        hash: SHA-256 of its bytes, hexadecimal.
        name: What it is called: what the file says, else the file's name without its ending.
        number: By which a PLC selects it; 0 for none.
        given: Name of an option → its value, for what the file gives. Paths are absolute.
        golden: The master parts that it asks for; None for none.
    """

    path: Path
    hash: str
    name: str
    number: int
    given: Mapping[str, Any]
    golden: GoldenPlan | None = None

    @property
    def parameters(self) -> dict[str, Any]:
        """The same values by the names that the options have in the code."""
        known = settings()
        return {known[name].parameter: value for name, value in self.given.items()}


def recipe_paths(place: Path) -> list[Path]:
    """The recipes of a folder by name, or the one file.

    Raises:
        DataError: There is none.
    """
    if place.is_file():
        return [place]
    if not place.is_dir():
        raise DataError(f"There is no recipe at {place}.", "Give a .yaml file, or a folder of them.")
    # A link to nowhere is a recipe too, one that cannot be read.
    found = sorted(path for path in place.iterdir() if path.suffix.lower() in _ENDINGS and not path.is_dir())
    if not found:
        raise DataError(f"There is no recipe in {place}.", f"Recipes end in {' or '.join(_ENDINGS)}.")
    return found


def find_recipe(place: Path | None, name: str) -> Path:
    """The file that ``--recipe`` names.

    Args:
        place: The folder of ``--recipes``; None where it was not given.
        name: A file, or in the folder the name of a recipe or of its file.

    Raises:
        UsageError: There is none.
    """
    if place is None or Path(name).suffix.lower() in _ENDINGS:
        for path in (Path(name), *([] if place is None else [place / name])):
            if path.is_file():
                return path
        raise DataError(f"There is no recipe {name}.", "Give a .yaml file, or a name together with --recipes DIR.")
    known = {_name_in(path): path for path in recipe_paths(place)}
    by_file = {path.stem: path for path in known.values()}
    if (chosen := known.get(name) or by_file.get(name)) is not None:
        return chosen
    raise UsageError(f"{place} has no recipe {name}.", f"It has {', '.join(sorted(known))}.")


def _name_in(path: Path) -> str:
    """The name of a recipe, or of its file where that cannot be read."""
    try:
        return read_recipe(path).name
    except EdgeAdError:
        return path.stem


def read_recipe(path: Path) -> RecipeFile:
    """Read a recipe.

    Raises:
        UsageError: It is wrong; the message has the first fault, and how many more there are.
    """
    recipe, faults = _read(path)
    if recipe is None or faults:
        more = f" And {len(faults) - 1} more." if len(faults) > 1 else ""
        raise UsageError(f"{faults[0]}{more}", f"edge-ad recipe check {path} shows every fault.")
    return recipe


def read_golden(path: Path) -> GoldenPlan:
    """Read a golden check from a file of its own.

    Raises:
        UsageError: It is wrong; the message has the first fault, and how many more there are.
    """
    try:
        content = _content(path)[1]
        if not isinstance(content, dict):
            raise UsageError(f"{path} is no golden check: write NAME: VALUE, one in a line.", _GOLDEN_HINT)
        if "golden" in content:
            raise UsageError(f"{path} is a golden check itself: leave out the line golden:.", _GOLDEN_HINT)
        return GoldenPlan.model_validate(content)
    except ValidationError as error:
        faults = [_fault(path, found) for found in error.errors(include_url=False)]
        more = f" And {len(faults) - 1} more." if len(faults) > 1 else ""
        raise UsageError(f"{faults[0]}{more}", _GOLDEN_HINT) from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise DataError(f"{path} cannot be read: {why}.", "Give a .yaml file.") from error


def check_recipes(place: Path, *, opens_bundles: bool = True) -> tuple[list[RecipeFile], list[Fault]]:
    """Read recipes, and collect every fault.

    Args:
        place: A file, or a folder: there each has a name and a number of its own, and a stream can switch between them.
        opens_bundles: Whether to check every file of their bundles too.

    Raises:
        DataError: There is none.
    """
    paths = recipe_paths(place)
    read = [_read(path) for path in paths]
    faults = [fault for _, some in read for fault in some]
    recipes = [recipe for recipe, _ in read if recipe is not None]
    if opens_bundles:
        faults += [fault for path in paths for fault in _bundle_faults(path)]
    if place.is_dir():
        faults += _alike(recipes) + _not_switched(recipes) + _given_by_some(recipes)
    return recipes, faults


def _read(path: Path) -> tuple[RecipeFile | None, list[Fault]]:
    try:
        text, content = _content(path)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        return None, [Fault(path, "", f"cannot be read: {why}.")]
    if not isinstance(content, dict):
        return None, [Fault(path, "", "is no recipe: write NAME: VALUE, one in a line.")]
    try:
        document = recipe_model().model_validate(content)
    except ValidationError as error:
        return None, [_fault(path, found) for found in error.errors(include_url=False)]
    values = {key: value for key, value in dict(document).items() if value is not None}
    name, number = values.get("title") or path.stem, values.get("number") or 0
    given = {one.name: values[one.parameter] for one in settings().values() if one.parameter in values}
    recipe = RecipeFile(path.absolute(), hashlib.sha256(text).hexdigest(), name, number, given, values.get("golden"))
    try:
        return replace(recipe, given={key: _placed(recipe, key) for key in given}), []
    except RuntimeError:
        return None, [Fault(path, "", "has a path that begins with ~ and a user that this machine does not have.")]


def _content(path: Path) -> tuple[bytes, object]:
    with path.open("rb") as file:
        text = file.read(_LARGEST_BYTES + 1)
    if len(text) > _LARGEST_BYTES:
        raise ValueError("it is larger than a megabyte")
    return text, parse_yaml(text)


def _placed(recipe: RecipeFile, name: str) -> Any:
    """A value; a relative path is one from the folder of the recipe."""
    value = recipe.given[name]
    if name == "bundle":
        return value if is_in_registry(value) else str(_from_folder(recipe.path, Path(value)))
    return _from_folder(recipe.path, value) if settings()[name].is_path else value


def _from_folder(recipe: Path, given: Path) -> Path:
    return recipe.absolute().parent / given.expanduser()


def _fault(path: Path, found: Mapping[str, Any]) -> Fault:
    field, text = ".".join(map(str, found["loc"])), str(found["msg"]).removeprefix("Value error, ")
    if found["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(found["loc"][-1]), _names(found["loc"]), n=1)
        text = "there is no such option" + (f"; did you mean {near[0]}?" if near else ".")
    text = _SAID.get(found["type"], text[:1].lower() + text[1:] if text.startswith("Input") else text)
    return Fault(path, field, text if text.endswith((".", "?")) else f"{text}.")


def _names(place: Sequence[object]) -> list[str]:
    return [*_OWN, *settings()] if len(place) == 1 else []


def _bundle_faults(path: Path) -> list[Fault]:
    """What is wrong with the bundle, whatever else is wrong with its recipe."""
    from edge_ad.bundle import Bundle
    from edge_ad.fleet import ArtifactReference

    try:
        content = _content(path)[1]
    except (OSError, ValueError):
        return []  # told already
    bundle = content.get("bundle") if isinstance(content, dict) else None
    try:
        if isinstance(bundle, str) and is_in_registry(bundle):
            ArtifactReference.parse(bundle)
        elif isinstance(bundle, str):
            Bundle.open(_from_folder(path, Path(bundle)))
    except EdgeAdError as error:
        return [Fault(path, "bundle", str(error))]
    except RuntimeError:
        return []  # told already
    except OSError as error:
        return [Fault(path, "bundle", f"{error.strerror}.")]
    return []


def _alike(recipes: Iterable[RecipeFile]) -> list[Fault]:
    """Recipes with the name or number of another one."""
    faults, seen = list[Fault](), dict[object, Path]()
    for recipe in recipes:
        for field, value in (("name", recipe.name), ("number", recipe.number)):
            if value and (other := seen.setdefault((field, value), recipe.path)) != recipe.path:
                faults.append(Fault(recipe.path, field, f"{value} is that of {other.name} too."))
    return faults


def _not_switched(recipes: Sequence[RecipeFile]) -> list[Fault]:
    """Options that differ from the first recipe's, and that a running stream cannot change."""
    faults = list[Fault]()
    for recipe in recipes[1:]:
        for name, value in recipe.given.items():
            first = recipes[0].given.get(name, settings()[name].default)
            if name not in SWITCHED and value != first:
                text = f"a running stream cannot change it, and {recipes[0].path.name} has another value."
                faults.append(Fault(recipe.path, name, text))
    return faults


def _given_by_some(recipes: Sequence[RecipeFile]) -> list[Fault]:
    """Options that a recipe lacks, and that it cannot do without since another one gives them."""
    faults = list[Fault]()
    for name in _ALL_OR_NONE:
        givers = [recipe.path.name for recipe in recipes if name in recipe.given]
        lacking = [recipe for recipe in recipes if name not in recipe.given] if givers else []
        faults += [Fault(recipe.path, name, f"give it here too, as {givers[0]} does.") for recipe in lacking]
    return faults
