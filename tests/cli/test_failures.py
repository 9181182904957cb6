"""Every failure is one line, one hint and an exit code."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Annotated

import pytest
import typer

from edge_ad.cli import main
from edge_ad.errors import BundleError, DataError, DeviceError, EdgeAdError, MissingDependencyError, QualityGateError

Plant = Callable[[Callable[..., None]], None]


def fail_with(error: BaseException, plant_verb: Plant) -> int:
    def fail() -> None:
        raise error

    plant_verb(fail)
    return main(["fail"])


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (EdgeAdError("It broke.", "Mend it."), 1),
        (BundleError("It broke.", "Mend it."), 1),
        (DataError("It broke.", "Mend it."), 2),
        (MissingDependencyError("It broke.", "Mend it."), 3),
        (DeviceError("It broke.", "Mend it."), 3),
        (QualityGateError("It broke.", "Mend it."), 4),
    ],
)
def test_a_known_failure_is_a_line_a_hint_and_its_exit_code(
    error: EdgeAdError, code: int, plant_verb: Plant, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fail_with(error, plant_verb) == code
    assert capsys.readouterr() == ("", "error: It broke.\nhint: Mend it.\n")


def test_a_message_of_many_lines_is_printed_as_one(plant_verb: Plant, capsys: pytest.CaptureFixture[str]) -> None:
    fail_with(EdgeAdError("It\n  broke."), plant_verb)
    assert capsys.readouterr().err == "error: It broke.\n"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_a_disk_that_cannot_be_written_is_named(
    number: int, plant_verb: Plant, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fail_with(OSError(number, os.strerror(number), "out/bundle"), plant_verb) == 1
    error, hint = capsys.readouterr().err.splitlines()
    assert error == f"error: out/bundle: {os.strerror(number)}."
    assert hint.startswith("hint: ")


def test_a_missing_optional_package_is_named_with_its_extra(
    plant_verb: Plant, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fail_with(ModuleNotFoundError("No module named 'torch'", name="torch"), plant_verb) == 3
    assert "pip install 'edge-ad[train]'" in capsys.readouterr().err


def test_an_unforeseen_failure_shows_its_traceback_only_when_asked(
    plant_verb: Plant, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EDGE_AD_DEBUG", raising=False)
    assert fail_with(ZeroDivisionError("by zero"), plant_verb) == 1
    quiet = capsys.readouterr().err
    assert quiet.startswith("error: ZeroDivisionError: by zero (this is a bug")
    assert "Traceback" not in quiet
    monkeypatch.setenv("EDGE_AD_DEBUG", "1")
    assert fail_with(ZeroDivisionError("by zero"), plant_verb) == 1
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_ctrl_c_exits_130_without_a_traceback(plant_verb: Plant, capsys: pytest.CaptureFixture[str]) -> None:
    assert fail_with(KeyboardInterrupt(), plant_verb) == 130
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["calibrat"], "error: No such command 'calibrat'. Did you mean 'calibrate'?"),
        (["--loud"], "error: No such option: --loud"),
        (["twice"], "error: Missing option '--times'."),
        (["twice", "--times", "many"], "error: Invalid value for '--times': "),
    ],
)
def test_a_wrong_command_line_is_one_line_and_exit_2(
    arguments: list[str], message: str, plant_verb: Plant, capsys: pytest.CaptureFixture[str]
) -> None:
    def twice(times: Annotated[int, typer.Option()]) -> None:
        raise AssertionError("must not run")

    plant_verb(twice)
    assert main(arguments) == 2
    error, hint = capsys.readouterr().err.splitlines()
    assert error.startswith(message)
    assert hint.endswith("--help shows the options.")


def test_no_verb_shows_the_help_on_stderr_and_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "build-engine" in err


def test_a_reader_that_goes_away_is_met_in_silence() -> None:
    script = (
        "import sys, types\n"
        "from edge_ad.cli import app as verbs, main\n"
        "def flood():\n"
        "    for _ in range(100_000):\n"
        "        print('line')\n"
        "module = types.ModuleType('edge_ad.cli.flood')\n"
        "module.flood = flood\n"
        "sys.modules[module.__name__] = module\n"
        "verbs.VERBS['flood'] = 'Print a lot.'\n"
        "sys.exit(main(['flood']))\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert writer.stdout is not None
    assert writer.stderr is not None
    assert writer.stdout.readline() == b"line\n"
    writer.stdout.close()
    assert writer.stderr.read() == b""
    writer.stderr.close()
    assert writer.wait(timeout=300) == 1


@pytest.mark.skipif(os.name != "posix", reason="needs a shell that closes them")
@pytest.mark.parametrize("closing", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_as_the_null_device(closing: str) -> None:
    def run(arguments: str) -> tuple[int, bytes]:
        command = f"exec {sys.executable} -m edge_ad {arguments} {closing}"
        done = subprocess.run(["sh", "-c", command], capture_output=True, timeout=300)
        return done.returncode, done.stdout + done.stderr

    assert run("inspect no-such-bundle")[0] == 2
    code, shown = run("--version")
    assert (code, b"bug" in shown) == (0, False)
