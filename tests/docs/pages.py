"""The pages of the documentation, and what stands in them as code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["DOCS", "PAGES", "ROOT", "Block", "blocks", "name_of"]

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
NOTES = ROOT / "benchmarks" / "notes"
PAGES = (
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted(NOTES.glob("*.md")),
    *sorted(DOCS.rglob("*.md")),
)
_FENCED = re.compile(
    r"(?:^<!-- not run: (?P<why>[^\n]+) -->\n)?^```(?P<language>[\w-]*)[^\n]*\n(?P<code>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
_INDENTED = re.compile(r"(?:(?<=\n\n)|\A)(?:    [^\n]*(?:\n|\Z))+")


@dataclass(frozen=True)
class Block:
    """A block of code of a page.

    Attributes:
        language: What the fence says; empty for an indented block.
        code: The code, without indent.
        why: Why it is not run; empty where it is.
    """

    language: str
    code: str
    why: str = ""


def name_of(page: Path) -> str:
    """Path of a page below the repository."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> Iterator[Block]:
    """Every block of code of a page, fenced ones first."""
    text = page.read_text(encoding="utf-8")
    for found in _FENCED.finditer(text):
        yield Block(found["language"], found["code"], found["why"] or "")
    for found in _INDENTED.finditer(_FENCED.sub("", text)):
        yield Block("", "".join(line[4:] or "\n" for line in found[0].splitlines(keepends=True)))
