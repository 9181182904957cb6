"""``edge-ad show-defects``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from edge_ad.cli.options import JsonOption

if TYPE_CHECKING:
    from edge_ad.evaluation.sheet import DefectExample
    from edge_ad.photo_spec import PhotoSpec

__all__ = ["show_defects"]

_METHOD_HELP = (
    "Which defects: draem, which it learns from; mixed, which evaluate detectors; "
    "or one kind of these: perlin, cutpaste, scar, blur, smear, scratch."
)
_RUN_HELP = "A finished run: its held-out good images, and what it restores and finds there."
_TEXTURES_HELP = "Folder of texture photos; without it the run's, or rendered ones."
_KEY = (1, 0)  # of no training: that of draem has stage 0 alone
_SIZE = "256"
_SIZE_HELP = "Of the images, in pixels: the side of a square (256), or height x width (160x416)."


def show_defects(
    data: Annotated[Path | None, typer.Option(help="Folder of the product's photos.")] = None,
    run: Annotated[Path | None, typer.Option(help=_RUN_HELP)] = None,
    out: Annotated[Path, typer.Option(help="PNG file to write.")] = Path("defects.png"),
    method: Annotated[str, typer.Option(help=_METHOD_HELP)] = "draem",
    textures: Annotated[Path | None, typer.Option(help=_TEXTURES_HELP)] = None,
    opacity: Annotated[Literal["code", "slide"], typer.Option(help="Range of draem's opacity.")] = "code",
    count: Annotated[int, typer.Option(min=1, max=64, help="Defects to show.")] = 12,
    size: Annotated[str | None, typer.Option(help=_SIZE_HELP)] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the defects.")] = 0,
    skip_unreadable: Annotated[bool, typer.Option(help="Leave unreadable images out.")] = False,
    json: JsonOption = False,
) -> None:
    """Draw a sheet of defects simulated on your good parts, to see whether they look like yours."""
    from edge_ad.errors import UsageError

    if (data is None) == (run is None):
        raise UsageError("Say whose parts: --data or --run.", "edge-ad show-defects --data FOLDER")
    if run is not None:
        if size is not None or skip_unreadable:
            raise UsageError("--size and --skip-unreadable are the run's.", "Leave them out with --run.")
        facts = _show_run(run, out, _Choice(method, textures, opacity, seed), count)
    else:
        assert data is not None
        chosen = _Choice(method, textures, opacity, seed)
        facts = _show_product(data, out, chosen, count, _size_hw(size or _SIZE), skip_unreadable)
    _print(facts, json)


class _Choice:
    """Which defects."""

    def __init__(self, method: str, textures: Path | None, opacity: Literal["code", "slide"], seed: int) -> None:
        from edge_ad.data.simulated_defects import texture_photos

        self.method, self.opacity, self.seed = method, opacity, seed
        self.photos = () if textures is None else texture_photos(textures)

    def words(self) -> str:
        source = f"textures of {len(self.photos)} photos" if self.photos else "rendered textures"
        return f"{self.method}, seed {self.seed}, {source}"

    def examples(self, paths: Sequence[Path], size_hw: tuple[int, int], photos: PhotoSpec) -> list[DefectExample]:
        """One defect on each image."""
        from edge_ad.data.pseudo_defects import KINDS, PseudoDefects
        from edge_ad.data.simulated_defects import BLENDED_TEXTURES, DefectSimulator
        from edge_ad.errors import UsageError
        from edge_ad.evaluation.sheet import DefectExample
        from edge_ad.images import read_resized

        names, images = [path.name for path in paths], read_resized(paths, size_hw, photos)
        if self.method == BLENDED_TEXTURES:
            simulator = DefectSimulator(self.seed, self.photos, opacity=self.opacity, clean_share=0.0)
            samples = [simulator.sample(image, (*_KEY, index)) for index, image in enumerate(images)]
            return [DefectExample(name, *sample) for name, sample in zip(names, samples, strict=True)]
        if self.method != "mixed" and self.method not in KINDS:
            found = ", ".join(KINDS)
            raise UsageError(
                f"There are no defects {self.method!r}.", f"Choose one of: {BLENDED_TEXTURES}, mixed, {found}."
            )
        kinds = tuple(KINDS) if self.method == "mixed" else (self.method,)
        painted, masks = PseudoDefects(self.seed, self.photos, kinds=kinds).apply(images)
        return [DefectExample(*parts) for parts in zip(names, images, painted, masks, strict=True)]


def _show_product(
    data: Path, out: Path, chosen: _Choice, count: int, size_hw: tuple[int, int], skip_unreadable: bool
) -> dict[str, Any]:
    from edge_ad.data.photo_measures import measure_photos
    from edge_ad.data.products import open_product
    from edge_ad.evaluation.drawing import encode_png
    from edge_ad.evaluation.sheet import draw_defect_sheet
    from edge_ad.storage import write_file

    product = open_product(data, part="good", skip_unreadable=skip_unreadable)
    examples = chosen.examples(_cycled(product.good, count), size_hw, measure_photos(product.good))
    title, subtitle = f"Simulated defects on {product.name}", f"{chosen.words()}. Good, defective, outlined."
    write_file(out, encode_png(draw_defect_sheet(examples, title=title, subtitle=subtitle)))
    return _facts(out, examples)


def _show_run(root: Path, out: Path, chosen: _Choice, count: int) -> dict[str, Any]:
    """With the run's own opacity, and with its textures unless others were named."""
    from edge_ad.evaluation.drawing import encode_png
    from edge_ad.evaluation.sheet import draw_defect_sheet
    from edge_ad.storage import write_file
    from edge_ad.training.held_out_defects import judge_defects
    from edge_ad.training.runs import load_run

    run = load_run(root)
    if "opacity" in run.parameters and not chosen.photos:
        textures = run.parameters.get("textures")
        chosen = _Choice(chosen.method, Path(textures) if textures else None, run.parameters["opacity"], chosen.seed)
    held_out = (*run.split.calibrate, *run.split.threshold)
    judged = judge_defects(
        run.detector, chosen.examples(_cycled(held_out, count), run.detector.config.size_hw, run.split.photos)
    )
    split = run.split
    images = "good images" if split.is_fitted_on_all or split.has_no_held_out else "held-out images"
    pictures = "Good, defective, outlined, restored, found" if judged.left is not None else "Good, defective, found"
    sheet = draw_defect_sheet(
        judged.examples,
        title=f"What {run.method} makes of simulated defects on {images} of {run.product_name}",
        subtitle=f"{chosen.words()}. {pictures}. Green in the map: as much as in a good image.",
        map_threshold=max(judged.good_maximum, 1e-6),
    )
    write_file(out, encode_png(sheet))
    figures = {"image_auroc": judged.image_auroc, "pixel_ap": judged.pixel_ap, "left_after_restoring": judged.left}
    return _facts(out, judged.examples) | {name: value for name, value in figures.items() if value is not None}


def _size_hw(text: str) -> tuple[int, int]:
    from edge_ad.errors import UsageError
    from edge_ad.input_size import parse_input_size, side_lengths

    try:
        return side_lengths(parse_input_size(text))
    except ValueError as error:
        raise UsageError(f"--size {text}: {error}.", "For example: --size 256") from error


def _cycled(paths: Sequence[Path], count: int) -> list[Path]:
    return [paths[index % len(paths)] for index in range(count)]


def _facts(out: Path, examples: Sequence[DefectExample]) -> dict[str, Any]:
    shares = [float(example.mask.mean()) for example in examples]
    return {"sheet": out, "defects": len(examples), "smallest_share": min(shares), "largest_share": max(shares)}


def _print(facts: dict[str, Any], json: bool) -> None:
    from edge_ad.cli.console import print_facts, print_json

    if json:
        print_json(facts)
        return
    area = f"{facts.pop('smallest_share'):.2%} to {facts.pop('largest_share'):.2%}"
    rounded = {
        key.replace("_", " "): round(value, 4) if isinstance(value, float) else value for key, value in facts.items()
    }
    print_facts({"sheet": rounded.pop("sheet"), "defects": rounded.pop("defects"), "area": area, **rounded})
