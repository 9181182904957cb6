"""The recorded rows of `benchmarks.fader_table` as Markdown, for benchmarks/notes/controls.md.

python -m benchmarks.fader_markdown            # rewrite its tables from the recorded rows
python -m benchmarks.fader_markdown --show     # print them
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results" / "fader_table.jsonl"
DOCUMENT = Path(__file__).with_name("notes") / "controls.md"
_MODELS = {
    "-": "patch-gaussian: the mask source alone",
    "no-network": "control: the photo against its own mosaic",
    "ear": "EAR",
    "fader mlp": "FADeR, MLP (the paper)",
    "fader vit": "FADeR, ViT",
    "fader distance": "FADeR, distance (ours)",
    "fader constant": "control: constant soft mask",
    "fader ones": "control: fine-tuning alone",
}
_COLUMNS = {
    "image_auroc": "I-AUROC",
    "pixel_auroc": "P-AUROC",
    "pixel_ap": "P-AP",
    "pro": "PRO",
    "held_out": "held out",
}
_BETWEEN = re.compile(r"(?<=<!-- tables -->\n).*(?=<!-- end of tables -->)", re.DOTALL)


def read_rows(path: Path = RESULTS) -> list[dict[str, Any]]:
    """Recorded rows, in the order in which they were measured."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def tables(rows: Iterable[Mapping[str, Any]]) -> str:
    """One Markdown table a product; mask sources in the order in which they were measured."""
    products: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        products.setdefault(row["product"], []).append(row)
    return "\n".join(_table(product, part) for product, part in products.items())


def rewrite(text: str, rows: Iterable[Mapping[str, Any]]) -> str:
    """The document with its tables made anew."""
    return _BETWEEN.sub(lambda _: tables(rows), text)


def _table(product: str, rows: list[Mapping[str, Any]]) -> str:
    epochs = sorted({row["fader_epochs"] for row in rows if row["model"].startswith("fader")})
    brightness = max((row["brightness_auroc"] or 0.0) for row in rows)
    lines = [
        f"### {product}",
        "",
        (f"FADeR {' or '.join(map(str, epochs))} epochs; mean" if epochs else "FADeR not yet measured; mean")
        + f" brightness alone has an image AUROC of {brightness:.3f}.",
        "",
        f"| width | mask source | model | map | {' | '.join(_COLUMNS.values())} |",
        "|" + "---|" * (4 + len(_COLUMNS)),
    ]
    return "\n".join([*lines, *map(_line, rows), ""])


def _line(row: Mapping[str, Any]) -> str:
    name, is_fused = row["model"].removesuffix(" (fused)"), row["model"].endswith("(fused)")
    kind = "distance" if name == "-" else "fused" if is_fused else "paper"
    width, source = ("–", "–") if name == "-" else (row["width"], row["mask"])
    return f"| {width} | {source} | {_MODELS[name]} | {kind} | {' | '.join(f'{row[key]:.3f}' for key in _COLUMNS)} |"


def main() -> None:
    """Print the tables, or write them into the document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--show", action="store_true", help="print, change nothing")
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    rows = read_rows(arguments.results)
    if arguments.show:
        print(tables(rows))
        return
    DOCUMENT.write_text(rewrite(DOCUMENT.read_text(encoding="utf-8"), rows), encoding="utf-8")


if __name__ == "__main__":
    main()
