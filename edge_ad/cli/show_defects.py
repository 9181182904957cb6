"""``edge-ad show-defects``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from edge_ad.cli.options import JsonOption

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edge_ad.evaluation.defect_sheet import DefectTile

__all__ = ["show_defects"]

_METHOD_HELP = (
    "Whose defects: draem, those that it learns from; mixed, those that judge detectors; "
    "or one kind of these: perlin, cutpaste, scar, blur, smear, scratch."
)


def show_defects(
    data: Annotated[Path, typer.Option(help="Folder of the product's photos.")],
    out: Annotated[Path, typer.Option(help="PNG file to write.")] = Path("defects.png"),
    method: Annotated[str, typer.Option(help=_METHOD_HELP)] = "draem",
    textures: Annotated[
        Path | None, typer.Option(help="Folder of texture photos; without it they are rendered.")
    ] = None,
    opacity: Annotated[Literal["code", "slide"], typer.Option(help="Range of draem's opacity.")] = "code",
    count: Annotated[int, typer.Option(min=1, max=64, help="Defects to show.")] = 12,
    size: Annotated[int, typer.Option(min=32, max=2048, help="Side of the images, pixels.")] = 256,
    seed: Annotated[int, typer.Option(min=0, help="Of the defects.")] = 0,
    skip_unreadable: Annotated[bool, typer.Option(help="Leave unreadable images out.")] = False,
    json: JsonOption = False,
) -> None:
    """Draw a sheet of the defects that are simulated on your good parts, to see whether they look like yours."""
    from edge_ad.cli.console import print_facts, print_json
    from edge_ad.data.products import open_product
    from edge_ad.data.simulated_defects import texture_photos
    from edge_ad.evaluation.defect_sheet import draw_defect_sheet
    from edge_ad.evaluation.sheet import encode_png
    from edge_ad.images import read_resized
    from edge_ad.storage import write_file

    photos = () if textures is None else texture_photos(textures)
    product = open_product(data, skip_unreadable=skip_unreadable)
    paths = [product.good[index % len(product.good)] for index in range(count)]
    tiles = _tiles([path.name for path in paths], read_resized(paths, (size, size)), method, photos, opacity, seed)
    source = f"textures of {len(photos)} photos" if photos else "rendered textures"
    title, subtitle = (
        f"Simulated defects on {product.name}",
        f"{method}, seed {seed}, {source}. Good, defective, outlined.",
    )
    write_file(out, encode_png(draw_defect_sheet(tiles, title=title, subtitle=subtitle)))
    shares = [float(tile.mask.mean()) for tile in tiles]
    if json:
        print_json({"sheet": out, "defects": len(tiles), "smallest_share": min(shares), "largest_share": max(shares)})
    else:
        print_facts({"sheet": out, "defects": len(tiles), "area": f"{min(shares):.2%} to {max(shares):.2%}"})


def _tiles(
    names: list[str],
    images: NDArray[np.uint8],
    method: str,
    photos: tuple[Path, ...],
    opacity: Literal["code", "slide"],
    seed: int,
) -> list[DefectTile]:
    from edge_ad.data.pseudo_defects import KINDS, PseudoDefects
    from edge_ad.data.simulated_defects import DefectSimulator
    from edge_ad.errors import UsageError
    from edge_ad.evaluation.defect_sheet import DefectTile

    if method == "draem":
        simulator = DefectSimulator(seed, photos, opacity=opacity, clean_share=0.0)
        samples = [simulator.sample(image, (0, 0, index)) for index, image in enumerate(images)]
        return [DefectTile(name, *sample) for name, sample in zip(names, samples, strict=True)]
    if method != "mixed" and method not in KINDS:
        raise UsageError(f"There are no defects {method!r}.", f"Choose one of: draem, mixed, {', '.join(KINDS)}.")
    kinds = tuple(KINDS) if method == "mixed" else (method,)
    painted, masks = PseudoDefects(seed, photos, kinds=kinds).apply(images)
    return [DefectTile(*parts) for parts in zip(names, images, painted, masks, strict=True)]
