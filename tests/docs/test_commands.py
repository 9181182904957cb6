"""Every command line of the documentation is one that the program takes."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from edge_ad.cli.app import VERBS, load_verb
from tests.docs.pages import PAGES, blocks, name_of

_CALL = re.compile(r"(?:^|[\s=/'(])edge-ad(?:-device|-workstation|-jetson)? (?=[a-z])(?P<rest>.+)")
_PLACEHOLDERS = ("…", "...")


def commands(page: Path) -> Iterator[list[str]]:
    """The words of every call of edge-ad in the blocks of a page, from the verb on."""
    for block in blocks(page):
        if block.language in ("", "sh", "bash", "console", "ini", "yaml", "dockerfile"):
            for line in block.code.replace("\\\n", " ").splitlines():
                if "pip install" not in line and (found := _CALL.search(line)):
                    yield _words(found["rest"])


def _words(line: str) -> list[str]:
    """Words of a command, up to a comment or the end of the command."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="&;|")
    lexer.whitespace_split, lexer.commenters = True, "#"
    words: list[str] = []
    for word in lexer:
        if set(word) <= set("&;|"):
            break
        words.append(word)
    return words


def parse(words: list[str]) -> None:
    """Hold a call against the real command, without running it.

    Raises:
        Exception: An option or value that the command does not take.
    """
    command = load_verb(words[0])
    arguments = [word for word in words[1:] if word not in _PLACEHOLDERS]
    for option in ("--recipe", "--recipes"):  # whose files are not there
        if words[0] == "stream" and option in arguments:
            at = arguments.index(option)
            words = [words[0], *arguments[:at], *arguments[at + 2 :]]
            arguments = words[1:]
    if len(arguments) < len(words) - 1 or arguments in (["--help"], ["-h"]):  # the rest is left to the reader
        command.make_parser(typer.Context(command)).parse_args([word for word in arguments if word != "--help"])
    else:
        command.make_context(words[0], arguments)


PAGES_WITH_COMMANDS = [page for page in PAGES if page.exists() and any(commands(page))]


@pytest.mark.parametrize("page", PAGES_WITH_COMMANDS, ids=name_of)
def test_every_command_line_is_taken(page: Path) -> None:
    refused = []
    for words in commands(page):
        try:
            assert words[0] in VERBS, f"no such command: {words[0]}"
            parse(words)
        except Exception as error:
            refused.append(f"edge-ad {shlex.join(words)}: {getattr(error, 'message', None) or error}")
    assert refused == []


def test_pages_that_people_work_from_have_commands() -> None:
    names = {name_of(page) for page in PAGES_WITH_COMMANDS}
    assert {"README.md", "docs/tutorial/first_detector.md", "docs/how-to/thresholds.md"} <= names


@pytest.mark.parametrize("line", ["train --dta screw", "stream --camera", "predict", "benchmark runs/x --threads many"])
def test_a_wrong_command_line_is_noticed(line: str) -> None:
    with pytest.raises(Exception, match=r"(?i)no such option|requires|missing|valid"):
        parse(shlex.split(line))
