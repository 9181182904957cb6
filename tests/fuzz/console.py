"""Run ``edge-ad`` in this process, and look for what it must never say."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO

from edge_ad.cli import main

__all__ = ["captured", "complaint", "run_command"]

_EXIT_CODES = (0, 1, 2, 3, 4)


@contextmanager
def captured() -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """Take what this process and its native libraries print, as files of stdout and stderr."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        sys.stdout.flush()
        sys.stderr.flush()
        kept = os.dup(1), os.dup(2)
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        try:
            yield out, err
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, descriptor in zip((1, 2), kept, strict=True):
                os.dup2(descriptor, number)
                os.close(descriptor)


def run_command(arguments: Sequence[str]) -> tuple[int, str, str]:
    """Run a command; gives its exit code, stdout, and what is wrong in one line."""
    with captured() as (out, err):
        code = main(arguments)
        sys.stdout.flush()
        sys.stderr.flush()
        out.seek(0)
        err.seek(0)
        said, errors = out.read().decode(errors="replace"), err.read().decode(errors="replace")
    return code, said, complaint(code, errors)


def complaint(code: int, errors: str) -> str:
    """What is wrong with how a command ended; empty when nothing is."""
    lines = errors.splitlines()
    if "this is a bug in edge-ad" in errors or "Traceback" in errors:
        last = next((line for line in lines if "this is a bug" in line), lines[-1])
        places = re.findall(r'File ".*?([^/]+\.py)", line \d+, in (\w+)', errors)
        where = ":".join(places[-1]) if places else "?"
        return f"bug in {where}: {re.sub(r'[0-9]+', 'N', last)[:200]}"
    if code not in _EXIT_CODES:
        return f"exit code {code}"
    if code and not any(line.startswith("error: ") for line in lines):
        return f"exit code {code} without an error line"
    return ""
