"""What is fuzzed: something that reads what others wrote."""

from __future__ import annotations

import io
import random
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

__all__ = ["Target", "pack", "unpack"]

_DATE = (1980, 1, 1, 0, 0, 0)


class Target(ABC):
    """One reader and its inputs. Inputs are made in the runner's process and tried in a worker.

    Attributes:
        name: On the command line and of its folder in the corpus.
        share: Its part of the time, beside the others'.
        limit_s: Longest time for one input; a busy machine needs a multiple of what a quiet one does.
        limit_mib: Most memory that an input may take beside what the worker has at its start.
    """

    name: ClassVar[str]
    share: ClassVar[float] = 1.0
    limit_s: ClassVar[float] = 20.0
    limit_mib: ClassVar[int] = 1024

    def prepare(self) -> None:  # noqa: B027 - most need nothing
        """Make the valid inputs that are mutated; called once, in the runner's process."""

    @abstractmethod
    def make(self, rng: random.Random) -> bytes:
        """An input; the same for the same state of ``rng``."""

    def open(self) -> None:  # noqa: B027
        """Start what the inputs are given to; called once in each worker."""

    @abstractmethod
    def run(self, content: bytes) -> str:
        """Try an input.

        Returns:
            What is wrong, in one line without what differs from input to input; empty when nothing is. An exception
            that gets out is a finding too.
        """

    def close(self) -> None:  # noqa: B027
        """Stop it."""


def pack(files: Mapping[str, bytes]) -> bytes:
    """Several files as one input; the same files give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, _DATE), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def unpack(content: bytes) -> dict[str, bytes]:
    """What `pack` was given."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}
