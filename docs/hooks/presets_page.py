"""The page of the presets, made of what the methods declare of their papers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from edge_ad.method_names import METHODS
from edge_ad.models.base import MethodParameters
from edge_ad.models.published import Publication, TrainingSettings
from edge_ad.models.registry import method_class

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

__all__ = ["on_files", "page"]

_INTRODUCTION = """# Presets

Made from what each method declares (`edge_ad/models/*/publications.py`).

    edge-ad train pbas --data DIR --preset published

`published` sets every parameter and setting to what the method's paper has. `edge` is what is taken without a preset.
An option or a `-p` goes before either. Where paper and code differ, or are silent, the last column says what is taken.
[How to reproduce a table](../how-to/reproduce.md) runs the preset over a whole data set.

All good photos are trained on with `published`, as papers do, so none is left to set a threshold by. The threshold of
such a run promises nothing, and says so. Set it with photos that were not trained on
([thresholds](../how-to/thresholds.md)), or train with `--hold-out`.
"""
_COLUMNS = "| parameter | paper | official code | `published` | `edge` | what is taken |\n|---|---|---|---|---|---|"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page to the site."""
    from mkdocs.structure.files import File

    files.append(File.generated(config, "reference/presets.md", content=page()))
    return files


def page() -> str:
    """The whole page as Markdown."""
    kinds = {name: method_class(name).parameters_type for name in METHODS.names()}
    parts = [_section(name, kind) for name, kind in kinds.items()]
    return "\n".join([_INTRODUCTION, *parts])


def _section(name: str, kind: type[MethodParameters]) -> str:
    heading, publication = f"\n## {name}\n", kind.publication
    others = [preset for preset in kind.all_presets() if preset not in ("edge", "published")]
    more = f"\nIt also has: {', '.join(f'`{preset}`' for preset in others)}.\n" if others else ""
    if publication is None:
        return f"{heading}\nOurs: it has no paper, and no preset `published`.\n{more}"
    code = f"Code: {publication.code}." if publication.code else "No code is public."
    remains = "".join(f"- {sentence}\n" for sentence in publication.remains)
    differs = f"\nWhat stays different:\n\n{remains}" if remains else ""
    named = "".join(f"- {sentence}\n" for sentence in _by_name(publication))
    known = f"\nBy the name of the product, as the code:\n\n{named}" if named else ""
    checked = f"Checked against: {publication.checked}"
    return (
        f"{heading}\n{publication.paper}. {code}\n\n{checked}\n{more}\n"
        + "\n".join(_table(publication, kind))
        + f"\n{known}{differs}"
    )


def _by_name(publication: Publication) -> Iterator[str]:
    for category, values in publication.by_category.items():
        given = ", ".join(f"`{name}` {_value(value)}" for name, value in values.items())
        yield f"`{category}`: {given} (`edge-ad reproduce` alone)"


def _table(publication: Publication, kind: type[MethodParameters]) -> Iterator[str]:
    yield _COLUMNS
    edge = TrainingSettings()
    for name, stated in publication.values.items():
        own = kind.model_fields[name].default if name in kind.model_fields else getattr(edge, name)
        cells = (stated.paper, stated.code, _value(stated.value), _value(own), stated.reason)
        yield f"| `{name}` | " + " | ".join(_cell(text) for text in cells) + " |"


def _value(value: Any) -> str:
    return "none" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;") or "–"
