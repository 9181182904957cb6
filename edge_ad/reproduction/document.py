"""A table with the published figure beside ours, as Markdown and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from edge_ad.models.published import Publication
from edge_ad.models.registry import method_class
from edge_ad.reproduction.datasets import DATASETS
from edge_ad.reproduction.recipes import Options, key_of
from edge_ad.reproduction.tables import Part, Table
from edge_ad.storage import write_file
from edge_ad.strict_json import to_json

__all__ = ["document_of", "write_document"]

_NONE = "–"
_METRICS = {"image_auroc": "I-AUROC", "image_ap": "I-AP", "pixel_auroc": "P-AUROC", "pixel_ap": "P-AP", "pro": "PRO"}
_QUICK = "**Tried out with tiny networks (`--quick`): no figure of ours means anything.**"
_PROTOCOL = (
    "Each cell of a column that was run: published → ours exact (ours by the papers' protocol). Exact counts the whole "
    "photo and every pixel. The papers' protocol has the network's input alone, counts the pixels that a resized mask "
    "covers entirely, and dilates what it compares for PRO (docs/how-to/reproduce.md). No test image chose any of it."
)

Rows = Mapping[str, Mapping[str, Any]]
"""Key of a cell → its newest row."""


def write_document(table: Table, out: Path, rows: Sequence[Mapping[str, Any]], options: Options) -> tuple[Path, Path]:
    """Write both forms beside the rows.

    Returns:
        The paths of the Markdown and of the JSON.

    Raises:
        StorageError: One cannot be written.
    """
    name = f"table-{table.id.replace('/', '-')}"
    markdown, record = out / f"{name}.md", out / f"{name}.json"
    document = document_of(table, rows, options)
    write_file(record, (to_json(document, indent=2) + "\n").encode())
    write_file(markdown, _markdown(table, document, options).encode())
    return markdown, record


def document_of(table: Table, rows: Sequence[Mapping[str, Any]], options: Options) -> dict[str, Any]:
    """Everything in the table: published figures, ours by both protocols, seeds and times."""
    newest = {str(row["key"]): row for row in rows}
    return {
        "id": table.id,
        "title": table.title,
        "source": table.source,
        "unit": table.unit,
        "metrics": table.metrics,
        "quick": options.quick,
        "notes": [*table.notes, *_remarks(table, options)],
        "columns": [column.model_dump() for column in table.columns],
        "parts": [_part(table, part, newest, options) for part in table.parts],
    }


def _remarks(table: Table, options: Options) -> Iterator[str]:
    methods = list(dict.fromkeys(recipe.method for recipe in table.own.values()))
    for method in methods:
        kind = method_class(method)
        publication = kind.parameters_type.publication
        if isinstance(publication, Publication):
            yield from (f"{method}: {sentence}" for sentence in publication.remains)
        if options.textures is None and "textures" in kind.parameters_type.model_fields:
            yield f"{method}: textures were rendered; the paper paints with photographs (--textures DTD/images)."
        if kind.continues:
            yield f"{method}: learning rate and schedule by {options.choose!r}; the paper does not say which it took."


def _part(table: Table, part: Part, rows: Rows, options: Options) -> dict[str, Any]:
    categories = list(part.rows) or list(DATASETS[part.dataset].categories)
    lines = [{"category": name, "cells": list(_cells(table, part, name, rows, options))} for name in categories]
    return {"dataset": part.dataset, "rows": lines, "mean": _mean(table, part, lines)}


def _cells(table: Table, part: Part, category: str, rows: Rows, options: Options) -> Iterator[dict[str, Any]]:
    published = part.rows.get(category, ((),) * len(table.columns))
    for figures, column in zip(published, table.columns, strict=True):
        recipe = column.recipe
        row = None if recipe is None else rows.get(key_of(recipe, part.dataset, category, options))
        yield _cell(table, figures, row)


def _cell(table: Table, published: Sequence[float | None], row: Mapping[str, Any] | None) -> dict[str, Any]:
    cell: dict[str, Any] = {"published": list(published) or [None] * len(table.metrics)}
    if row is None:
        return cell
    factor = 100.0 if table.unit == "percent" else 1.0
    for protocol in ("exact", "paper"):
        values = [row[protocol].get(name) for name in table.metrics]
        cell[protocol] = [None if value is None else factor * value for value in values]
    return cell | {
        "seed": row["seed"],
        "train_seconds": row["train_seconds"],
        "measure_seconds": row["measure_seconds"],
        "device": row["device"],
        "choice": row["choice"],
    }


def _mean(table: Table, part: Part, lines: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Means over the categories that were run, and how many these are."""
    found = []
    for index, published in enumerate(part.mean):
        cells = [line["cells"][index] for line in lines if "exact" in line["cells"][index]]
        mean: dict[str, Any] = {"published": list(published), "categories": len(cells), "of": len(lines)}
        if cells:
            for protocol in ("exact", "paper"):
                mean[protocol] = [_average([cell[protocol][at] for cell in cells]) for at in range(len(table.metrics))]
            mean["train_seconds"] = sum(cell["train_seconds"] for cell in cells)
        found.append(mean)
    return found


def _average(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if len(known) == len(values) else None


def _markdown(table: Table, document: Mapping[str, Any], options: Options) -> str:
    metrics = " / ".join(_metric_name(name) for name in table.metrics)
    head = [f"# Table {table.id}: {table.title}", f"{table.source}. {metrics}, in {_unit(table)}."]
    parts = ["\n".join(_part_lines(table, part)) for part in document["parts"]]
    notes = "\n".join(f"- {note}" for note in document["notes"])
    text = [
        *head,
        *([_QUICK] if options.quick else []),
        *parts,
        _PROTOCOL,
        *([notes] if notes else []),
        *_times(document),
    ]
    return "\n\n".join(text) + "\n"


def _unit(table: Table) -> str:
    return "percent" if table.unit == "percent" else "shares of one"


def _metric_name(name: str) -> str:
    metric, _, kind = name.partition("@")
    return f"{_METRICS[metric]} ({kind})" if kind else _METRICS[metric]


def _part_lines(table: Table, part: Mapping[str, Any]) -> Iterator[str]:
    labels = [column.label for column in table.columns]
    yield f"**{DATASETS[part['dataset']].name}**\n"
    yield f"| category | {' | '.join(labels)} |"
    yield "|---" * (len(labels) + 1) + "|"
    for line in part["rows"]:
        cells = line["cells"]
        if any("exact" in cell or any(value is not None for value in cell["published"]) for cell in cells):
            yield f"| {line['category']} | {' | '.join(_text(table, cell) for cell in cells)} |"
    run = max((mean["categories"] for mean in part["mean"]), default=0)
    of = part["mean"][0]["of"]
    name = "mean" if run in (0, of) else f"mean; ours of {run} of {of}"
    yield f"| **{name}** | {' | '.join(_text(table, mean) for mean in part['mean'])} |"


def _text(table: Table, cell: Mapping[str, Any]) -> str:
    published = _figures(table, cell["published"])
    if "exact" not in cell:
        return published
    return f"{published} → **{_figures(table, cell['exact'])}** ({_figures(table, cell['paper'])})"


def _figures(table: Table, values: Sequence[float | None]) -> str:
    digits = 1 if table.unit == "percent" else 3
    if all(value is None for value in values):
        return _NONE
    return " / ".join(_NONE if value is None else f"{value:.{digits}f}" for value in values)


def _times(document: Mapping[str, Any]) -> Iterator[str]:
    seconds = [mean["train_seconds"] for part in document["parts"] for mean in part["mean"] if "train_seconds" in mean]
    cells = [cell for part in document["parts"] for line in part["rows"] for cell in line["cells"] if "seed" in cell]
    if cells:
        seeds = ", ".join(str(seed) for seed in sorted({cell["seed"] for cell in cells}))
        devices = ", ".join(sorted({cell["device"] for cell in cells}))
        yield f"{len(cells)} trainings on {devices}, seed {seeds}: {sum(seconds) / 3600:.2f} hours in all."
