"""An open fake engine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.streaming.fakes import FakeEngine


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    with FakeEngine() as engine:
        yield engine
