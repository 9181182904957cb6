"""Train what a recipe says, as the paper does, and go on where that was stopped."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_ad.data.products import Folders, list_good_photos
from edge_ad.data.splits import FEWEST_IMAGES
from edge_ad.errors import UsageError
from edge_ad.models.ear import Ear, EarParameters
from edge_ad.models.mask_sources.parameters import PROMPTED_SOURCE
from edge_ad.models.published import PUBLISHED
from edge_ad.models.registry import method_class
from edge_ad.reproduction.recipes import Options, key_of, request_values
from edge_ad.reproduction.tables import Recipe
from edge_ad.reproduction.tiny_networks import tiny_clip, tiny_vit
from edge_ad.storage import one_at_a_time
from edge_ad.training.held_out_defects import separation
from edge_ad.training.loop import EpochReport
from edge_ad.training.precision import choose_device
from edge_ad.training.request import TrainingRequest
from edge_ad.training.runs import load_run, read_record
from edge_ad.training.schedules import SCHEDULES
from edge_ad.training.train import resume, train

__all__ = ["GRID", "Trained", "Workshop", "parse_choice"]

Listener = Callable[[EpochReport], None]

GRID = tuple((rate, schedule) for rate in (1e-3, 1e-4, 1e-5) for schedule in ("fixed", "warm-up", "sgdr"))
"""Learning rates and schedules that FADeR's paper tries."""
_QUICK_GRID = (GRID[0], GRID[4])


@dataclass(frozen=True)
class Trained:
    """A finished training.

    Attributes:
        run: Its folder.
        choice: What was chosen without test images: name → candidate → figure, and ``taken``.
    """

    run: Path
    choice: Mapping[str, Any]


def parse_choice(text: str) -> tuple[float, str] | None:
    """Learning rate and schedule of ``RATE:SCHEDULE``; None for ``held-out`` and ``preset``.

    Raises:
        UsageError: It is none of them.
    """
    if text in ("held-out", "preset"):
        return None
    rate, _, schedule = text.partition(":")
    try:
        found = float(rate)
    except ValueError:
        found = 0.0
    if not found > 0 or schedule not in SCHEDULES:
        raise UsageError(f"--choose {text!r} is no choice.", "held-out, preset, or RATE:SCHEDULE such as 1e-4:sgdr")
    return found, schedule


@dataclass(frozen=True)
class Workshop:
    """Trains the recipes of one category.

    Attributes:
        out: Folder of the runs.
        dataset: Key of the data set.
        category: The category.
        photos: Its folder.
        options: What a user chose for the table.
        listen: Told after each epoch.
        note: Told what is trained, in words.
    """

    out: Path
    dataset: str
    category: str
    photos: Path
    options: Options
    listen: Listener
    note: Callable[[str], None]

    def trained(self, recipe: Recipe) -> Trained:
        """The run of a recipe: what is there, or trained to its end.

        Raises:
            EdgeAdError: It cannot be trained.
        """
        if method_class(recipe.method).continues:
            return self._trained_on_ear(recipe)
        run = self._run(self._root(recipe), recipe)
        return Trained(run, read_record(run).choices)

    def _trained_on_ear(self, recipe: Recipe) -> Trained:
        """FADeR: EAR on all photos, the learning rate on held-out ones, then FADeR on that EAR."""
        own = {name: value for name, value in recipe.values.items() if name in EarParameters.model_fields}
        ear = self.trained(recipe.model_copy(update={"method": Ear.method, "values": own}))
        scale = read_record(ear.run).parameters["mosaic"]
        given = parse_choice(self.options.choose)
        figures: Mapping[str, float] = {}
        if self.options.choose == "held-out":
            figures = self._figures(recipe, own, scale)
            rate, _, schedule = max(figures, key=lambda name: figures[name]).partition(":")
            given = float(rate), schedule
        values = {} if given is None else {"fader_learning_rate": given[0], "fader_schedule": given[1]}
        run = self._run(self._root(recipe), recipe, values | {"mosaic": scale}, ear=ear.run)
        return Trained(run, {**ear.choice, **({"schedule": {**figures, "taken": values}} if values else {})})

    def _figures(self, recipe: Recipe, own: Mapping[str, Any], scale: Any) -> dict[str, float]:
        """How each learning rate and schedule tells held-out good photos from the same ones with pseudo-defects."""
        root = self._root(recipe).with_name(f"{self._root(recipe).name}-choice")
        base = recipe.model_copy(update={"method": Ear.method, "values": {**own, "mosaic": scale}})
        ear = self._run(root / "ear", base, all_photos=False)
        device, figures = choose_device(self.options.device), {}
        for rate, schedule in _QUICK_GRID if self.options.quick else GRID:
            values = {"fader_learning_rate": rate, "fader_schedule": schedule, "mosaic": scale}
            run = self._run(root / f"{rate:g}-{schedule}", recipe, values, ear=ear, all_photos=False)
            opened = load_run(run)
            figures[f"{rate:g}:{schedule}"] = separation(opened.detector.to(device), opened.split, device)
        return figures

    def _root(self, recipe: Recipe) -> Path:
        return self.out / "runs" / key_of(recipe, self.dataset, self.category, self.options)

    def _run(
        self,
        root: Path,
        recipe: Recipe,
        more: Mapping[str, Any] | None = None,
        *,
        ear: Path | None = None,
        all_photos: bool = True,
    ) -> Path:
        """Train into a folder, go on there, or leave what is finished; another process at it is waited for."""
        root.mkdir(parents=True, exist_ok=True)
        with one_at_a_time(root, quietly=True):
            return self._run_alone(root, recipe, more or {}, ear, all_photos=all_photos)

    def _run_alone(
        self, root: Path, recipe: Recipe, more: Mapping[str, Any], ear: Path | None, *, all_photos: bool
    ) -> Path:
        if (root / "run.json").is_file():
            if read_record(root).status == "finished":
                return root
            self.note(f"Going on with {root.name}.")
            return resume(root, self.listen)
        values, settings = request_values(recipe, self.category, self.options)
        folders = Folders() if recipe.share == 1 else Folders(good=(self._subset(recipe),))
        request = TrainingRequest(
            method=recipe.method,
            data=None if folders.good else self.photos,
            root=root,
            values={**values, **more, **self._tiny_networks(recipe)},
            preset=PUBLISHED,
            device=self.options.device,
            ear=ear,
            workers=self.options.workers,
            compiled=self.options.compiled,
            folders=folders,
            all_photos=all_photos,
            **settings,
        )
        return train(request, self.listen)

    def _tiny_networks(self, recipe: Recipe) -> dict[str, str]:
        """Networks of the hub, where these are only tried out."""
        fields = method_class(recipe.method).parameters_type.model_fields
        if not self.options.quick or not {"mask_model", "clip_model"} & fields.keys():
            return {}
        name = "clip_model" if "clip_model" in fields else "mask_model"
        is_clip = name == "clip_model" or recipe.values.get("mask_source") == PROMPTED_SOURCE
        with one_at_a_time(self.out / "runs", quietly=True):
            return {name: str(tiny_clip(self.out / "quick-clip") if is_clip else tiny_vit(self.out / "quick-vit"))}

    def _subset(self, recipe: Recipe) -> Path:
        """A folder with a share of the training photos, drawn by the recipe's seed."""
        folder = self.out / "subsets" / self.dataset / self.category / f"{recipe.share:g}-{recipe.seed}" / "good"
        photos = list_good_photos(self.photos)
        count = min(len(photos), max(FEWEST_IMAGES, round(recipe.share * len(photos))))
        chosen = random.Random(recipe.seed).sample(photos, count)
        for path in chosen:
            _link(path, folder / path.name)
        return folder


def _link(source: Path, target: Path) -> None:
    """A second name of a file, or a copy where the disk has none; it appears whole."""
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        staged = target.with_name(f".{target.name}.partial")
        shutil.copy2(source, staged)
        staged.replace(target)
