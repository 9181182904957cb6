"""The page of the command line, made of what Typer knows of each command."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from edge_ad.cli.app import VERBS, load_verb

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

__all__ = ["on_files", "page"]

_INTRODUCTION = """# Command line

Made from the program itself. `edge-ad COMMAND --help` prints the same in a terminal.

Data go to stdout, progress and notes to stderr. Every command that reports takes `--json`.

| exit code | meaning |
|--:|---|
| 0 | done |
| 1 | it failed |
| 2 | an argument or the data cannot be used |
| 3 | a package or a device is missing |
| 4 | an accuracy gate was not passed, or records do not agree with their trail |
| 130, 143, 129 | ended by Ctrl-C, SIGTERM, SIGHUP; a stream that was running ends with 0 |
"""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page to the site."""
    from mkdocs.structure.files import File

    files.append(File.generated(config, "reference/cli.md", content=page()))
    return files


def page() -> str:
    """The whole page as Markdown."""
    return "\n".join([_INTRODUCTION, *(_command(verb) for verb in VERBS)])


def _command(verb: str) -> str:
    import typer

    command = load_verb(verb)
    context = typer.Context(command, info_name=verb)
    usage = " ".join(["edge-ad", verb, *command.collect_usage_pieces(context)])
    text = (command.help or "").strip()
    return "\n".join([f"\n## {verb}\n", f"    {usage}\n", text, "", *_table(command, context)])


def _table(command: Any, context: Any) -> Iterator[str]:
    rows = [record for item in command.get_params(context) if (record := item.get_help_record(context)) is not None]
    if rows:
        yield "| argument or option | what it is |\n|---|---|"
        for names, words in rows:
            yield f"| `{_one_line(names)}` | {_cell(words)} |"


def _cell(text: str) -> str:
    """Text for a cell of a table: no bar and no line break of its own, nothing that is taken for HTML."""
    return _one_line(text).replace("|", "\\|").replace("<", "&lt;")


def _one_line(text: str) -> str:
    return " ".join(text.split())
