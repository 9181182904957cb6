"""The verbs: listed without being imported, run when used."""

import sys
from collections.abc import Callable
from typing import Annotated

import pytest
import typer

from edge_ad import __version__
from edge_ad.cli import main
from edge_ad.cli.app import VERBS, load_verb

Plant = Callable[[Callable[..., None]], None]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_that_is_listed_can_be_used(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--help"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"Usage: edge-ad {verb} ")
    assert "Args:" not in out
    assert err == ""


def test_help_lists_every_verb_on_its_own_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    for verb, line in VERBS.items():
        assert f"  {verb:<12}  {line}\n" in out


def test_a_verb_gets_its_arguments_and_its_docstring_becomes_its_help(
    plant_verb: Plant, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[tuple[str, int]] = []

    def say_it(word: str, times: Annotated[int, typer.Option(help="How often.")] = 1) -> None:
        """Say a word.

        Args:
            word: For readers of the code.
        """
        seen.append((word, times))

    plant_verb(say_it)
    assert main(["say-it", "hello", "--times", "3"]) == 0
    assert seen == [("hello", 3)]
    assert main(["say-it", "--help"]) == 0
    out = capsys.readouterr().out
    assert "Say a word." in out
    assert "How often." in out
    assert "For readers" not in out


def test_using_one_verb_imports_no_other(plant_verb: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    def idle() -> None:
        pass

    for verb in VERBS:
        monkeypatch.delitem(sys.modules, f"edge_ad.cli.{verb.replace('-', '_')}", raising=False)
    plant_verb(idle)
    assert main(["idle"]) == 0
    imported = {name for name in sys.modules if name.startswith("edge_ad.cli.")}
    assert not imported & {f"edge_ad.cli.{verb.replace('-', '_')}" for verb in VERBS if verb != "idle"}


def test_the_version_goes_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"edge-ad {__version__}\n"


def test_a_verb_is_a_command_named_as_typed() -> None:
    assert load_verb("doctor").name == "doctor"
