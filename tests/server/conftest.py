"""A live page without a token, and the check that none leaves anything behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.server.live_page import LivePage
from tests.streaming.results import no_thread_left

pytest.importorskip("starlette", reason="the server needs the extra web")
pytest.importorskip("granian", reason="the server needs the extra web")


@pytest.fixture
def page() -> Iterator[LivePage]:
    with LivePage() as page:
        yield page


@pytest.fixture(scope="module")
def shared_page() -> Iterator[LivePage]:
    """One page for many requests that change nothing."""
    with LivePage() as page:
        yield page


@pytest.fixture(autouse=True)
def _no_thread_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    if {"shared_page", "quick_page"} & set(request.fixturenames):  # it stays for other tests
        yield
    else:
        with no_thread_left("stream-server"):
            yield
