"""The recipes of ``edge-ad stream``: what it begins with, and what it can be switched to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_ad.cli.bundle_places import is_in_registry
from edge_ad.cli.console import note
from edge_ad.cli.recipe_file import SWITCHED, RecipeFile, find_recipe, read_recipe, recipe_paths
from edge_ad.cli.recipe_model import settings
from edge_ad.errors import EdgeAdError, UsageError
from edge_ad.streaming.filters import parse_region
from edge_ad.streaming.frame import RecipeMark
from edge_ad.streaming.golden.plan import GoldenPlan
from edge_ad.streaming.recipe import BundleChoice, Recipe
from edge_ad.streaming.sources.base import CameraSettings
from edge_ad.streaming.warm_bundles import WarmLimits

if TYPE_CHECKING:
    from edge_ad.cli.stream_options import Recipes
    from edge_ad.streaming.delivery import Observer

__all__ = ["RecipeFolder", "check_golden", "open_recipes", "warm_limits"]

_MEMORY = Path("/proc/meminfo")
_RULES = ("part", "hysteresis", "cool_down", "drift", "scene")
_Stamp = tuple[int, int, int]


@dataclass(frozen=True)
class Running:
    """What the stream runs with.

    Attributes:
        values: Every option by its name in the code, as it is in use.
        overridden: Options of the command line, which no recipe changes.
        has_ids: Whether the trigger gives ids.
        runs_free: Whether frames come one after the other, so that nothing says which of them shows the next part.
        golden: What ``--golden`` gives, which no recipe changes; None where it is not given.
        sources: How many sources there are.
        folder_of: Gives the folder of a bundle, which is pulled from a registry where it is there.
    """

    values: Mapping[str, Any]
    overridden: frozenset[str]
    has_ids: bool
    runs_free: bool = False
    golden: GoldenPlan | None = None
    sources: int = 1
    folder_of: Callable[[str], Path] = Path


class RecipeFolder:
    """The recipes of a folder, or one file alone, each read again when it has changed.

    Args:
        place: The folder or the file.
        first: The recipe that the stream begins with.
        running: What it runs with.

    Attributes:
        first: The recipe that the stream begins with.

    Raises:
        UsageError: The first recipe names no bundle.
    """

    def __init__(self, place: Path, first: Path, running: Running) -> None:
        self._place, self._running = place, running
        self._read: dict[Path, tuple[_Stamp, RecipeFile | EdgeAdError]] = {}
        self.first = self._recipe(read_recipe(first))
        self._pull_bundles()

    def names(self) -> Mapping[str, int]:
        """Name of each recipe that can be read now → its number; in the order of their files."""
        return {file.name: file.number for file in self._files() if isinstance(file, RecipeFile)}

    def read(self, name: str) -> Recipe:
        """Read a recipe as it is now."""
        known = list(self._files())
        named = [file for file in known if isinstance(file, RecipeFile) and file.name == name]
        if len(named) > 1:
            raise UsageError(f"{len(named)} recipes are called {name}.", f"edge-ad recipe check {self._place}")
        if not named:
            wrong = [str(file) for file in known if isinstance(file, EdgeAdError) and f"{name}." in str(file)]
            raise UsageError(wrong[0] if wrong else f"There is no recipe {name}.", f"There are {self._listed()}.")
        self._check_fixed(named[0])
        return self._recipe(named[0])

    def observers(self, recipe: Recipe) -> list[Observer]:
        """The observers of a recipe's rules."""
        from edge_ad.streaming.verdicts import observers_from_options

        return observers_from_options(**recipe.rules, has_ids=self._running.has_ids)

    def _pull_bundles(self) -> None:
        """Pull what recipes name in a registry, so that a switch does not wait for it."""
        for file in self._files():
            bundle = None if isinstance(file, EdgeAdError) else self._value(file, "bundle")
            if bundle is not None and is_in_registry(bundle):
                with suppress(EdgeAdError):  # told when it is selected
                    self._running.folder_of(bundle)

    def unusable(self) -> Iterator[str]:
        """Why the stream cannot be switched to some of the recipes, a line each; their bundles are not opened here."""
        files = list(self._files())
        known = [file for file in files if isinstance(file, RecipeFile)]
        names, numbers = Counter(file.name for file in known), Counter(file.number for file in known if file.number)
        yield from (file.message for file in files if isinstance(file, EdgeAdError))
        yield from (f"{count} recipes are called {name}." for name, count in names.items() if count > 1)
        yield from (f"{count} recipes have the number {number}." for number, count in numbers.items() if count > 1)
        for file in known:
            try:
                self._check_fixed(file)
            except UsageError as error:
                yield error.message

    def _files(self) -> Iterable[RecipeFile | EdgeAdError]:
        for path in recipe_paths(self._place):
            try:
                status = path.stat()
            except OSError:
                continue  # removed meanwhile
            stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
            if self._read.get(path, (None,))[0] != stamp:
                self._read[path] = (stamp, _read_or_error(path))
            yield self._read[path][1]

    def _listed(self) -> str:
        return ", ".join(self.names()) or "none"

    def _check_fixed(self, file: RecipeFile) -> None:
        """Refuse what a running stream cannot change."""
        running, known = self._running, settings()
        for name, value in file.given.items():
            parameter = known[name].parameter
            is_open = name in SWITCHED or parameter in running.overridden
            if not is_open and value != running.values[parameter]:
                message = f"{file.name} asks for another {name}, which a running stream cannot change."
                raise UsageError(message, "Give it by the command line, or start a stream with that recipe.")
        has_part = self._value(file, "part") is not None
        if has_part != (running.values["part"] is not None):
            message = f"{file.name} {'has' if has_part else 'lacks'} a part rule, unlike the recipe of the start."
            raise UsageError(message, "Give part in all recipes or in none: results for a PLC depend on it.")

    def _value(self, file: RecipeFile, name: str) -> Any:
        """What holds of an option under a recipe: the command line's, the recipe's, or the default."""
        setting = settings()[name]
        if setting.parameter in self._running.overridden:
            return self._running.values[setting.parameter]
        return file.given.get(name, setting.default)

    def _recipe(self, file: RecipeFile) -> Recipe:
        values = {settings()[name].parameter: self._value(file, name) for name in SWITCHED | {"allow-unverified"}}
        bundle = values["bundle"]
        if bundle is None:
            raise UsageError(f"The recipe {file.name} names no bundle.", "Add a line: bundle: FOLDER")
        region = values["region"]
        recipe = Recipe(
            RecipeMark(file.name, file.hash),
            BundleChoice(
                self._running.folder_of(bundle),
                values["backend"],
                values["precision"],
                values["threads"],
                values["allows_unverified"],
                values["takes_bundle_threshold"],
            ),
            file.number,
            values["threshold"],
            None if region is None else parse_region(region),
            {name: values[name] for name in _RULES},
            CameraSettings(values["exposure_us"], values["gain"]),
            self._running.golden or file.golden,
        )
        running = self._running
        told_apart: dict[str, Any] = {"has_ids": running.has_ids, "runs_free": running.runs_free}
        check_golden(recipe.golden, **told_apart, sources=running.sources, part=values["part"])
        self.observers(recipe)  # raises what is wrong with its rules
        return recipe


def check_golden(
    plan: GoldenPlan | None, *, has_ids: bool, runs_free: bool, sources: int = 1, part: str | None = None
) -> None:
    """Refuse master parts that nothing tells apart.

    Args:
        plan: What is asked for; None for nothing.
        has_ids: Whether the trigger gives ids.
        runs_free: Whether frames come one after the other, so that nothing says which of them shows the next part.
        sources: How many sources there are.
        part: The part rule; None for none.

    Raises:
        UsageError: They are known by an id, and nothing gives one; or by their order, and many frames show each. Or
            several sources each have a verdict of their own on a master part.
    """
    if plan is not None and sources > 1 and not (part or "").endswith(":id"):
        message = "A golden check with several sources needs one verdict on the part, not one of each source."
        raise UsageError(message, "Add a trigger that gives ids, and --part, such as 1/2:id for two cameras.")
    if plan is not None and plan.identify == "order" and runs_free:
        message = "A golden check by order needs to know when the next part comes."
        raise UsageError(message, "Add --trigger or --part; or identify: operator.")
    if plan is not None and plan.identify == "barcode" and not has_ids:
        message = "A golden check by barcode needs a trigger that gives ids."
        raise UsageError(message, "Add --trigger http:PORT, mqtt://…, modbus or opcua; or identify: order.")


def _read_or_error(path: Path) -> RecipeFile | EdgeAdError:
    try:
        return read_recipe(path)
    except EdgeAdError as error:
        return error


def open_recipes(
    asked: Recipes,
    groups: Iterable[object],
    golden: GoldenPlan | None,
    folder_of: Callable[[str], Path],
    *,
    has_ids: bool,
    runs_free: bool,
    sources: int = 1,
) -> RecipeFolder | None:
    """The recipes of a stream; None where none is given.

    Args:
        asked: What the options say.
        groups: All other options.
        golden: What ``--golden`` gives.
        folder_of: Gives the folder of a bundle.
        has_ids: Whether the trigger gives ids.
        runs_free: As `check_golden` takes it.
        sources: How many sources there are.

    Raises:
        UsageError: The first recipe is wrong, or an option does not go together with recipes.
    """
    if asked.recipe is None:
        return None
    values = {name: value for group in groups for name, value in vars(group).items()}
    if values["is_watched"]:
        raise UsageError("--watch-bundle does not go together with a recipe.", "Switch recipes instead.")
    first = find_recipe(asked.recipes, asked.recipe)
    running = Running(values, asked.overridden, has_ids, runs_free, golden, sources, folder_of)
    folder = RecipeFolder(asked.recipes or first, first, running)
    for why in folder.unusable():
        note(f"The stream cannot be switched to every recipe: {why}")
    return folder


def warm_limits(asked: Recipes) -> WarmLimits:
    """How many bundles stay open; without a limit, half of the memory that is free now."""
    most_mb = asked.most_mb
    most_bytes = _free_bytes() // 2 or None if most_mb is None else most_mb * 1_000_000
    return WarmLimits(asked.most_bundles, most_bytes)


def _free_bytes() -> int:
    try:
        lines = dict(line.split(":", 1) for line in _MEMORY.read_text().splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError, IndexError):
        return 0
